//! Wrong checkpointers: the reference over a file system that cheats, the reference behind answers
//! that cheat, and a small store of its own.

mod counted;
mod fs;
pub(super) mod lies;
mod small;
mod table;

use fs::{
    counted_names, ignored_sync, kept_rejected, late_sync, no_dir_sync, one_error,
    private_variants, retried_sync, short_is_whole,
};
use lies::{
    bad_file_blocks, by_wall_clock, clock_ids, corrupt_as_none, index_first, newer_passed_over,
    not_loadable, silent_reset, trusts_index,
};
use small::{names_from_ids, payload_crc};
pub(super) use table::TABLE;
