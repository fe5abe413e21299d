//! Checkpointers: what was saved can be loaded, after any crash, or it is said that it cannot.
//!
//! One [`Store`] serves every variant: in memory or on a disk is its [`Fs`](crate::fs::Fs), plain
//! or compressed and the schema's version are its [`Options`]. All share one format, one index and
//! one recovery, so that what holds for one holds for all.
//!
//! ```
//! use std::sync::Arc;
//!
//! use dashproof_reference::checkpoint::{Compression, Draft, MemoryFs, Options, Store};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! struct State {
//!     step: u32,
//! }
//!
//! # fn main() -> Result<(), dashproof_reference::checkpoint::CheckpointError> {
//! // `StdFs` of the runtime instead of `MemoryFs` keeps them on a disk
//! let fs = Arc::new(MemoryFs::new());
//! let options = Options::new().compression(Compression::Zstd(3));
//! let store = Store::<State>::open(fs.clone(), "/checkpoints", options)?;
//!
//! let first = store.save(&Draft::new("thread-1", State { step: 1 }).node("plan"))?;
//! let draft = Draft::new("thread-1", State { step: 2 }).parent_id(&first.id);
//! let second = store.save(&draft)?;
//! assert!(second.generation > first.generation);
//!
//! let latest = store.latest("thread-1")?.map(|checkpoint| checkpoint.state);
//! assert_eq!(latest, Some(State { step: 2 }));
//! assert_eq!(store.load(&first.id)?.state, State { step: 1 });
//! let ids: Vec<String> = store.list("thread-1").into_iter().map(|info| info.id).collect();
//! assert_eq!(ids, [second.id, first.id.clone()]);
//! assert_eq!(store.list_threads().len(), 1);
//!
//! assert!(store.delete(&first.id)?);
//! assert!(store.load(&first.id).is_err());
//! store.close();
//!
//! let again = Store::<State>::open(fs, "/checkpoints", Options::new())?;
//! assert_eq!(again.list("thread-1").len(), 1);
//! # Ok(())
//! # }
//! ```

mod catalog;
mod counters;
mod damage;
mod error;
mod format;
mod index;
mod inspect;
mod memory;
mod model;
mod name;
mod open;
mod options;
mod payload;
mod read;
mod remove;
mod schema;
mod seam;
mod store;
#[cfg(test)]
mod tests;
mod v1;
mod value;
mod write;

pub use counters::{CHECKPOINT_METRICS, Counters, Series};
pub use damage::Reason;
pub use error::{CheckpointError, ErrorKind};
pub use format::VERSION;
pub use index::IndexDamage;
pub use inspect::{FileReport, Health, Role, inspect};
pub use memory::MemoryFs;
pub use model::{Checkpoint, Draft, Info, ThreadInfo, Timestamp};
pub use options::{MAX_STATE, Options};
pub use payload::Compression;
pub use schema::Schema;
pub use seam::{Clock, Entropy, SeededEntropy, SystemClock, SystemEntropy};
pub use store::Store;
pub use value::Value;
