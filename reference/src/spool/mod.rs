//! The spool: events that neither main nor the DLQ took, on disk until the next open.
//!
//! A spool is a directory that one producer at a time owns, with segments of entries that are
//! appended, synced, and never changed. A *record* entry holds an event with what is known of both
//! routes; a *claims* entry replaces that knowledge; a *resolved* entry ends the record. What is
//! live is the log, read from its start. The byte layout is in the [manual](crate::manual).
//!
//! ```
//! # use std::sync::Arc;
//! # use dashproof_reference::fs::Fs;
//! # use dashproof_reference::spool::{Spool, SpoolOptions};
//! # fn example(fs: Arc<dyn Fs>) -> Result<(), Box<dyn std::error::Error>> {
//! let options = SpoolOptions::new("/var/lib/app/spool");
//! let mut spool = Spool::open(fs, options, "pid 42")?;
//! while spool.pending() > 0 {
//!     for recovered in spool.take(100, 1 << 20)? {
//!         println!("{} is to be sent again", recovered.record.message_id);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Everything here blocks, and goes through [`Fs`](crate::fs::Fs).

mod append;
mod entry;
mod epoch;
mod recovery;
mod segment;
mod store;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use entry::len_of;
pub use segment::{Damage, MAGIC, VERSION};
pub use store::{Spool, SpoolError, SpoolOptions, SpoolStatus};

pub use crate::core::{Recovered, SpoolEntry, SpoolFault, SpoolId, SpoolRecord};
