//! File systems that leave out what makes a save durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashproof_reference::fs::{DirEntry, Fs, FsFile, FsLock, LockError};

use crate::subject::store::{self, Answered, Checkpointer, Setup};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trick {
    /// Directories are never synced.
    NoDirSync,
    /// A file is synced after it got its name.
    LateSync,
    /// A sync that fails is taken for one that did not.
    IgnoredSync,
    /// A sync that fails is tried again, and believed then.
    RetriedSync,
    /// Temporary names are counted.
    CountedNames,
    /// A full disk and a missing right are errors like any other.
    OneError,
    /// A write that took a part is taken for one that took all.
    ShortIsWhole,
    /// The file of a save that failed when it had its name stays.
    KeptRejected,
}

pub(in crate::saboteur) fn no_dir_sync(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    over(setup, Trick::NoDirSync)
}

pub(in crate::saboteur) fn late_sync(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    over(setup, Trick::LateSync)
}

pub(in crate::saboteur) fn ignored_sync(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    over(setup, Trick::IgnoredSync)
}

pub(in crate::saboteur) fn retried_sync(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    over(setup, Trick::RetriedSync)
}

pub(in crate::saboteur) fn short_is_whole(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    over(setup, Trick::ShortIsWhole)
}

pub(in crate::saboteur) fn kept_rejected(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    over(setup, Trick::KeptRejected)
}

pub(in crate::saboteur) fn one_error(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    over(setup, Trick::OneError)
}

/// Each variant has files that the others do not find.
pub(in crate::saboteur) fn private_variants(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    let dir = match setup.variant.as_str() {
        "compressed" => "/store/compressed",
        "versioned" => "/store/versioned",
        _ => "/store/file",
    };
    store::reference(Setup { dir: dir.into(), ..setup })
}

pub(in crate::saboteur) fn counted_names(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    over(setup, Trick::CountedNames)
}

impl Trick {
    fn told(self, error: io::Error) -> io::Error {
        if self == Self::OneError { io::Error::other("it did not work") } else { error }
    }
}

/// The reference over a file system that cheats.
fn over(setup: Setup, trick: Trick) -> Answered<Box<dyn Checkpointer>> {
    let inner = setup.fs.clone();
    let fs = Arc::new(Cheating { inner, trick, state: Arc::default() });
    store::reference(Setup { fs, ..setup })
}

type SharedFile = Arc<Mutex<Box<dyn FsFile>>>;

#[derive(Default)]
struct State {
    /// Files that still want a sync.
    unsynced: BTreeMap<PathBuf, SharedFile>,
    /// What temporary files are really called.
    names: BTreeMap<PathBuf, PathBuf>,
    /// The file that got its name last.
    renamed: Option<PathBuf>,
    /// Files that are not removed.
    kept: BTreeSet<PathBuf>,
}

struct Cheating {
    inner: Arc<dyn Fs>,
    trick: Trick,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for Cheating {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cheating({:?})", self.trick)
    }
}

fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct CheatingFile {
    file: SharedFile,
    trick: Trick,
}

impl FsFile for CheatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wrote = locked(&self.file).write(bytes).map_err(|error| self.trick.told(error))?;
        Ok(if self.trick == Trick::ShortIsWhole { bytes.len() } else { wrote })
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.trick {
            Trick::LateSync => Ok(()),
            Trick::IgnoredSync => {
                drop(locked(&self.file).sync());
                Ok(())
            }
            Trick::RetriedSync => {
                let mut file = locked(&self.file);
                file.sync().or_else(|_| file.sync())
            }
            _ => locked(&self.file).sync(),
        }
    }
}

impl Cheating {
    fn name(&self, path: &Path) -> PathBuf {
        locked(&self.state).names.get(path).cloned().unwrap_or_else(|| path.to_owned())
    }

    /// The next number for a temporary file.
    fn count(&self, path: &Path) -> PathBuf {
        let temporary =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tmp-"));
        if self.trick != Trick::CountedNames || !temporary {
            return path.to_owned();
        }
        let mut state = locked(&self.state);
        let name = path.with_file_name(format!("tmp-{:032x}.dck", state.names.len()));
        state.names.insert(path.to_owned(), name.clone());
        name
    }
}

impl Fs for Cheating {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let made = self.inner.create_new(&self.count(path));
        let file: SharedFile = Arc::new(Mutex::new(made.map_err(|error| self.trick.told(error))?));
        if self.trick == Trick::LateSync {
            locked(&self.state).unsynced.insert(path.to_owned(), file.clone());
        }
        Ok(Box::new(CheatingFile { file, trick: self.trick }))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.inner.read_at(path, offset, len)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.inner.read(path, limit)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let renamed = self.inner.rename(&self.name(from), to);
        renamed.map_err(|error| self.trick.told(error))?;
        let mut state = locked(&self.state);
        state.renamed = Some(to.to_owned());
        let late = state.unsynced.remove(from);
        drop(state);
        late.map_or(Ok(()), |file| locked(&file).sync())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if locked(&self.state).kept.contains(path) {
            return Ok(());
        }
        self.inner.remove(&self.name(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match self.trick {
            Trick::NoDirSync => Ok(()),
            Trick::IgnoredSync => {
                drop(self.inner.sync_dir(dir));
                Ok(())
            }
            Trick::RetriedSync => self.inner.sync_dir(dir).or_else(|_| self.inner.sync_dir(dir)),
            Trick::KeptRejected => self.inner.sync_dir(dir).inspect_err(|_| {
                let mut state = locked(&self.state);
                let rejected = state.renamed.take();
                state.kept.extend(rejected);
            }),
            _ => self.inner.sync_dir(dir),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn FsLock>, LockError> {
        self.inner.lock(path, holder)
    }
}
