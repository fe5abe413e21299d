//! A file system that logs its operations and fails one of them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::checkpoint::MemoryFs;
use crate::fs::{DirEntry, Fs, FsFile, FsLock, LockError};

/// One operation that changes something or makes it durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Create(PathBuf),
    Write(PathBuf, Vec<u8>),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir,
}

impl Op {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Write(..) => "write",
            Self::Sync(_) => "sync",
            Self::Rename(..) => "rename",
            Self::Remove(_) => "remove",
            Self::SyncDir => "sync_dir",
        }
    }
}

#[derive(Debug, Default)]
struct Plan {
    log: Vec<Op>,
    /// Fails the operation of this number with this error number.
    fail: Option<(usize, i32)>,
    /// Fails every operation of this kind.
    fail_all: Option<(&'static str, i32)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FaultyFs {
    pub(super) inner: MemoryFs,
    plan: Arc<Mutex<Plan>>,
}

impl FaultyFs {
    pub(super) fn log(&self) -> Vec<Op> {
        self.plan.lock().unwrap().log.clone()
    }

    /// Fails the `n`-th operation from now on.
    pub(super) fn fail(&self, n: usize, errno: i32) {
        let mut plan = self.plan.lock().unwrap();
        plan.fail = Some((plan.log.len() + n, errno));
    }

    pub(super) fn fail_all(&self, kind: Option<&'static str>, errno: i32) {
        self.plan.lock().unwrap().fail_all = kind.map(|kind| (kind, errno));
    }

    fn enter(&self, op: Op) -> io::Result<()> {
        let mut plan = self.plan.lock().unwrap();
        let (number, kind) = (plan.log.len(), op.kind());
        let failed = plan.fail.filter(|(n, _)| *n == number).map(|(_, errno)| errno);
        let failed = failed.or(plan.fail_all.filter(|(k, _)| *k == kind).map(|(_, errno)| errno));
        if let Some(errno) = failed {
            plan.fail = None;
            return Err(io::Error::from_raw_os_error(errno));
        }
        plan.log.push(op);
        Ok(())
    }
}

struct FaultyFile {
    inner: Box<dyn FsFile>,
    path: PathBuf,
    fs: FaultyFs,
}

impl FsFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.fs.enter(Op::Write(self.path.clone(), bytes.to_vec()))?;
        self.inner.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.fs.enter(Op::Sync(self.path.clone()))?;
        self.inner.sync()
    }
}

impl Fs for FaultyFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.enter(Op::Create(path.to_owned()))?;
        let inner = self.inner.create_new(path)?;
        Ok(Box::new(FaultyFile { inner, path: path.to_owned(), fs: self.clone() }))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.inner.read_at(path, offset, len)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        if let Some(("read", errno)) = self.plan.lock().unwrap().fail_all {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.inner.read(path, limit)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.enter(Op::Rename(from.to_owned(), to.to_owned()))?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.enter(Op::Remove(path.to_owned()))?;
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.enter(Op::SyncDir)?;
        self.inner.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn FsLock>, LockError> {
        self.inner.lock(path, holder)
    }
}
