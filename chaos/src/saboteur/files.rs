//! Stores whose locks are no locks between processes, and one whose files are everybody's.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashproof_reference::fs::{DirEntry, Fs, FsFile, FsLock, LockError};

use super::{Sabotage, Saboteur};
use crate::scenario::model::LaneName::Files;
use crate::subject::store::{self, Answered, Checkpointer, Setup};

pub(super) const TABLE: &[Saboteur] = &[
    Saboteur {
        name: "lock-that-outlives-its-holder",
        row: "",
        law: "K1",
        rule: "open",
        lane: Files,
        scenarios: &["checkpoint/dead-holder"],
        about: "takes a lock file that is there for a lock that is held: a dead holder blocks all",
        sabotage: Sabotage::Store(outlives),
    },
    Saboteur {
        name: "lock-inside-the-process",
        row: "",
        law: "K4",
        rule: "locked",
        lane: Files,
        scenarios: &["checkpoint/second-open", "checkpoint/dead-holder"],
        about: "remembers which directories are taken, and another process knows nothing of it",
        sabotage: Sabotage::Store(inside),
    },
    Saboteur {
        name: "nameless-holder",
        row: "",
        law: "K4",
        rule: "holder",
        lane: Files,
        scenarios: &["checkpoint/second-open"],
        about: "refuses a directory that is taken without saying who has it",
        sabotage: Sabotage::Store(nameless),
    },
    Saboteur {
        name: "id-counter-not-atomic",
        row: "",
        law: "K4",
        rule: "unique",
        lane: Files,
        scenarios: &["checkpoint/saved-at-once"],
        about: "reads its counter of ids and writes it back later: two threads get one id",
        sabotage: Sabotage::Store(super::disk::lies::racing_ids),
    },
    Saboteur {
        name: "public-files",
        row: "SEC-4",
        law: "K9",
        rule: "private",
        lane: Files,
        scenarios: &["checkpoint/sizes"],
        about: "makes files that everybody on the machine can read",
        sabotage: Sabotage::Store(public),
    },
];

fn public(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    over(setup, Trick::Public)
}

fn outlives(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    over(setup, Trick::Outlives)
}

fn inside(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    over(setup, Trick::Inside)
}

fn nameless(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    store::reference(Setup { holder: "somebody".to_owned(), ..setup })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trick {
    /// The file is the lock.
    Outlives,
    /// A list in memory is the lock.
    Inside,
    /// Files are everybody's.
    Public,
}

fn over(setup: Setup, trick: Trick) -> Answered<Box<dyn Checkpointer>> {
    let fs = Arc::new(Locking { inner: setup.fs.clone(), trick });
    store::reference(Setup { fs, ..setup })
}

/// Directories that this process has.
static TAKEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn taken() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Locking {
    inner: Arc<dyn Fs>,
    trick: Trick,
}

/// Removes its file at its end, if it comes to that.
struct FileLock(Arc<dyn Fs>, PathBuf);

impl FsLock for FileLock {}

impl Drop for FileLock {
    fn drop(&mut self) {
        drop(self.0.remove(&self.1));
    }
}

/// Forgotten with the process.
struct ListLock(PathBuf);

impl FsLock for ListLock {}

impl Drop for ListLock {
    fn drop(&mut self) {
        taken().remove(&self.0);
    }
}

fn held(holder: &str) -> LockError {
    LockError::Held { holder: holder.to_owned() }
}

impl Fs for Locking {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = self.inner.create_new(path)?;
        #[cfg(unix)]
        if self.trick == Trick::Public {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?;
        }
        Ok(file)
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.inner.read_at(path, offset, len)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.inner.read(path, limit)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn FsLock>, LockError> {
        match self.trick {
            Trick::Public => self.inner.lock(path, holder),
            Trick::Inside if !taken().insert(path.to_owned()) => Err(held(holder)),
            Trick::Inside => Ok(Box::new(ListLock(path.to_owned()))),
            Trick::Outlives => match self.inner.create_new(path) {
                Ok(mut file) => {
                    file.write_all(holder.as_bytes())?;
                    file.sync()?;
                    Ok(Box::new(FileLock(self.inner.clone(), path.to_owned())))
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let text = self.inner.read(path, 1024).unwrap_or_default();
                    Err(held(&String::from_utf8_lossy(&text)))
                }
                Err(error) => Err(error.into()),
            },
        }
    }
}
