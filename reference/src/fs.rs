//! The file system as stores see it: small, and explicit about what is durable when.
//!
//! Every store of this crate (checkpointers, spool, epoch) works through [`Fs`], so that the same
//! code runs on a disk ([`StdFs`](crate::runtime::StdFs)) and on a simulated one whose every crash
//! state can be enumerated. All calls block: shells call them off the async path.
//!
//! What a caller may rely on after a crash, and nothing more:
//!
//! * bytes of a file, once [`FsFile::sync`] said `Ok`;
//! * creations, renames and removals in a directory, once [`Fs::sync_dir`] of it said `Ok`.
//!
//! After a failed [`FsFile::sync`] nothing is known about the file, and a second sync that says
//! `Ok` proves nothing (Linux marks the pages clean): the file must be abandoned.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A file that was created to be written once, from its start to its end.
pub trait FsFile: Send {
    /// Appends some of `bytes` and says how many; fewer than given is no error.
    ///
    /// # Errors
    /// What the system answers, `StorageFull` for one. Some of the bytes may have been written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes everything written durable.
    ///
    /// # Errors
    /// The content of the file is unknown from then on.
    fn sync(&mut self) -> io::Result<()>;

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// As [`FsFile::write`]; `WriteZero` when the system takes no more without saying why.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_counted(bytes).map_err(|(_, error)| error)
    }

    /// The same, for whoever must know what of it is in the file.
    ///
    /// # Errors
    /// As [`FsFile::write_all`], with the number of bytes that were taken before.
    fn write_counted(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.write(rest) {
                Ok(0) => return Err((taken, io::ErrorKind::WriteZero.into())),
                Ok(n) => taken += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((taken, error)),
            }
        }
        Ok(())
    }
}

/// Held as long as it lives; the system frees it when its process ends, however it ends.
pub trait FsLock: Send + Sync {}

/// An exclusive lock that was not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else has it.
    #[error("locked by {holder}")]
    Held {
        /// What the holder wrote about itself.
        holder: String,
    },
    /// The lock file could not be opened, locked or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Its name; names that are not Unicode are given lossily and belong to nobody here.
    pub name: String,
    /// It is a plain file.
    pub is_file: bool,
}

/// A file system. Paths are used as given; nothing is followed that the system does not follow.
pub trait Fs: Send + Sync + fmt::Debug + 'static {
    /// Makes a directory and its missing parents, durably, readable by its owner only. What is
    /// there of them is made durable too, as far as this process may.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates a file that must not exist, readable and writable by its owner only.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;

    /// Reads up to `len` bytes from `offset`; fewer at the end of the file.
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Reads a whole file.
    ///
    /// # Errors
    /// `FileTooLarge` when it is longer than `limit` bytes; nothing is read then.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// As [`Self::read`], to the start of a buffer that grows if it must; says how many bytes there
    /// are. What follows them in the buffer means nothing. For callers that read often: memory that
    /// is new each time costs more than a file's bytes. A file that has the `expected` length takes
    /// one call less; any other is read as well.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn read_into(
        &self,
        path: &Path,
        limit: u64,
        expected: Option<usize>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let _ = expected;
        *buffer = self.read(path, limit)?;
        Ok(buffer.len())
    }

    /// Renames a file within a directory, over an older file of that name if there is one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, in no order that means anything.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Takes an exclusive lock by means of a file that is made if missing; `holder` is written into
    /// it for whoever finds it taken. A holder that has died holds nothing.
    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn FsLock>, LockError>;
}

/// A failed file operation: which, where, why.
#[derive(Debug, thiserror::Error)]
#[error("{op} of {} failed: {source}", path.display())]
pub struct FsError {
    /// `create`, `write`, `sync`, `rename`, `sync_dir`, `remove`, `list`, `read`.
    pub op: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

impl FsError {
    /// Names the operation and the place of a system error.
    #[must_use]
    pub fn new(op: &'static str, path: &Path, source: io::Error) -> Self {
        Self { op, path: path.to_owned(), source }
    }
}
