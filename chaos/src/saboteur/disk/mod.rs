//! Wrong checkpointers: the reference over a file system that cheats, the reference behind answers
//! that cheat, and a small store of its own.

mod fs;
mod lies;
mod small;
mod table;

use fs::{counted_names, ignored_sync, late_sync, no_dir_sync};
use lies::{
    bad_file_blocks, by_wall_clock, corrupt_as_none, not_loadable, silent_reset, trusts_index,
};
use small::payload_crc;
pub(super) use table::TABLE;
