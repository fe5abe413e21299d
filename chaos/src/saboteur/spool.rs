//! Saboteurs between the spool and its disk.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dashproof_reference::fs::{DirEntry, Fs, FsFile, FsLock, LockError};

use crate::lane::spool::is_segment;

/// What a saboteur does to the files of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trick {
    /// Nothing that is written beside older segments stays: no record ever ends.
    ForgetEnds,
    /// Segments are read without their last third.
    CutTail,
    /// Epochs are forgotten.
    HideEpoch,
    /// Segments are never synced.
    NoSync,
    /// A sync of a segment that failed is said to have gone well.
    IgnoreSync,
    /// The directory is not synced after a segment was made.
    NoName,
    /// The directory is not synced after an epoch was begun.
    NoEpoch,
}

pub(super) fn no_ends(inner: Arc<dyn Fs>) -> Arc<dyn Fs> {
    wrap(inner, Trick::ForgetEnds)
}

pub(super) fn no_tail(inner: Arc<dyn Fs>) -> Arc<dyn Fs> {
    wrap(inner, Trick::CutTail)
}

pub(super) fn no_epoch(inner: Arc<dyn Fs>) -> Arc<dyn Fs> {
    wrap(inner, Trick::HideEpoch)
}

pub(super) fn no_sync(inner: Arc<dyn Fs>) -> Arc<dyn Fs> {
    wrap(inner, Trick::NoSync)
}

pub(super) fn ignored_sync(inner: Arc<dyn Fs>) -> Arc<dyn Fs> {
    wrap(inner, Trick::IgnoreSync)
}

pub(super) fn no_segment_name(inner: Arc<dyn Fs>) -> Arc<dyn Fs> {
    wrap(inner, Trick::NoName)
}

pub(super) fn no_epoch_name(inner: Arc<dyn Fs>) -> Arc<dyn Fs> {
    wrap(inner, Trick::NoEpoch)
}

fn wrap(inner: Arc<dyn Fs>, trick: Trick) -> Arc<dyn Fs> {
    Arc::new(Meddled { inner, trick, blind: AtomicBool::default(), skip: AtomicBool::default() })
}

/// A file system in the hands of a saboteur.
#[derive(Debug)]
struct Meddled {
    inner: Arc<dyn Fs>,
    trick: Trick,
    /// Older segments were found.
    blind: AtomicBool,
    /// The next sync of the directory is left out.
    skip: AtomicBool,
}

impl Meddled {
    fn is_blind(&self, path: &Path) -> bool {
        is_segment(path) && self.blind.load(Ordering::Relaxed)
    }
}

fn is_epoch(name: &str) -> bool {
    name.starts_with("epoch-")
}

/// A file whose syncs say that they went well, whether they are left out or failed.
struct Unsynced {
    file: Box<dyn FsFile>,
    left_out: bool,
}

impl FsFile for Unsynced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        if !self.left_out {
            drop(self.file.sync());
        }
        Ok(())
    }
}

/// Says that everything went well.
struct Nowhere;

impl FsFile for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Fs for Meddled {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        if self.is_blind(path) {
            return Ok(Box::new(Nowhere));
        }
        let is_epoch = path.file_name().is_some_and(|name| is_epoch(&name.to_string_lossy()));
        let skip = match self.trick {
            Trick::HideEpoch if is_epoch => {
                // there is none when it is the first
                drop(self.inner.remove(path));
                false
            }
            Trick::NoName => is_segment(path),
            Trick::NoEpoch => is_epoch,
            _ => false,
        };
        self.skip.store(skip, Ordering::Relaxed);
        let file = self.inner.create_new(path)?;
        let left_out = self.trick == Trick::NoSync;
        let lies = is_segment(path) && (left_out || self.trick == Trick::IgnoreSync);
        Ok(if lies { Box::new(Unsynced { file, left_out }) } else { file })
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.inner.read_at(path, offset, len)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.inner.read(path, limit)?;
        if self.trick == Trick::CutTail && is_segment(path) {
            bytes.truncate(bytes.len() / 3 * 2);
        }
        Ok(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.is_blind(path) { Ok(()) } else { self.inner.remove(path) }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.skip.swap(false, Ordering::Relaxed) { Ok(()) } else { self.inner.sync_dir(dir) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut names = self.inner.list(dir)?;
        if self.trick == Trick::HideEpoch {
            names.retain(|entry| !is_epoch(&entry.name));
        }
        let older = names.iter().any(|entry| is_segment(Path::new(&entry.name)));
        self.blind.store(older && self.trick == Trick::ForgetEnds, Ordering::Relaxed);
        Ok(names)
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn FsLock>, LockError> {
        self.inner.lock(path, holder)
    }
}
