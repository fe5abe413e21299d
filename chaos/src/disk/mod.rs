//! A simulated file system, and every disk that a crash could leave of it.
//!
//! [`SimFs`] keeps what programs see and a log of what they did; [`crash::states`] makes from the
//! log every [`Image`] that the medium can hold after a crash at any point. What is assumed of the
//! medium is in [the manual](crate::manual::_disk).
//!
//! ```
//! use std::path::Path;
//!
//! use dashproof::disk::{Image, SimFs, crash};
//! use dashproof_reference::fs::{Fs, FsFile};
//!
//! # fn main() -> std::io::Result<()> {
//! let fs = SimFs::new(Image::default());
//! fs.create_dir(Path::new("/d"))?;
//! let mut file = fs.create_new(Path::new("/d/a"))?;
//! file.write_all(b"bytes")?;
//! file.sync()?;
//! // the name is not durable: some crash states have no such file
//! let all = crash::states(&fs.log(), &fs.base(), 0);
//! assert!(all.states.iter().any(|s| s.ops == 4 && s.image.file("/d/a").is_none()));
//!
//! fs.sync_dir(Path::new("/d"))?;
//! let all = crash::states(&fs.log(), &fs.base(), 0);
//! let last: Vec<_> = all.states.iter().filter(|s| s.ops == 5).collect();
//! assert!(last.iter().all(|s| s.image.file("/d/a") == Some(&b"bytes"[..])));
//! # Ok(())
//! # }
//! ```

pub mod crash;
mod fault;
mod image;
mod log;
pub mod machine;
mod sim;
#[cfg(test)]
mod tests;

pub(crate) use fault::Doom;
pub use fault::{Break, Failure};
pub use image::Image;
pub use log::{Log, Op, Seen};
pub use machine::Machine;
pub use sim::SimFs;
