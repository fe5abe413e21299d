//! The disk of a simulated machine: it outlives the subject, and forgets what was not synced.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashproof_reference::fs::{DirEntry, Fs, FsFile, FsLock, LockError};

use crate::fault::spool;
use crate::scenario::model::SpoolDamage;

type Node = Arc<Mutex<Data>>;

#[derive(Clone, Debug, Default)]
struct Data {
    bytes: Vec<u8>,
    synced: usize,
}

#[derive(Debug)]
struct Inner {
    /// Counts lives of the subject; what an earlier one still holds writes nothing any more.
    life: u64,
    files: BTreeMap<PathBuf, Node>,
    /// Names as of the last `sync_dir`.
    durable: BTreeMap<PathBuf, Node>,
    locks: BTreeMap<PathBuf, String>,
    rng: fastrand::Rng,
}

/// The disk.
#[derive(Clone, Debug)]
pub(super) struct SimDisk(Arc<Mutex<Inner>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            life: 0,
            files: BTreeMap::new(),
            durable: BTreeMap::new(),
            locks: BTreeMap::new(),
            rng: fastrand::Rng::with_seed(seed ^ 0x6469_736b),
        })))
    }

    /// The file system of the life that begins.
    pub(super) fn mount(&self) -> Arc<dyn Fs> {
        Arc::new(SimFs { disk: self.clone(), life: lock(&self.0).life })
    }

    /// The subject's machine dies. Of what was not synced, each file keeps as much and the
    /// directory as many changes as chance has it.
    pub(super) fn power_off(&self) {
        let mut inner = lock(&self.0);
        inner.life += 1;
        inner.locks.clear();
        let Inner { files, durable, rng, .. } = &mut *inner;
        let mut kept = std::mem::take(durable);
        for (path, node) in &*files {
            if !kept.contains_key(path) && rng.bool() {
                kept.insert(path.clone(), Arc::clone(node));
            }
        }
        kept.retain(|path, _| files.contains_key(path) || rng.bool());
        for node in kept.values() {
            let mut data = lock(node);
            let unsynced = data.bytes.len().saturating_sub(data.synced);
            let left = data.synced + rng.usize(0..=unsynced);
            data.bytes.truncate(left);
            data.synced = left;
        }
        (*files, *durable) = (kept.clone(), kept);
    }

    /// Segments of spools with their content.
    pub(super) fn segments(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let is_spool = |path: &PathBuf| path.extension().is_some_and(|e| e == "spool");
        let inner = lock(&self.0);
        let files = inner.files.iter().filter(|(path, _)| is_spool(path));
        files.map(|(path, node)| (path.clone(), lock(node).bytes.clone())).collect()
    }

    /// Damages the spool; false when there is nothing to damage.
    pub(super) fn damage(&self, what: SpoolDamage) -> bool {
        let Some((path, bytes)) = spool::damage(what, &self.segments()) else { return false };
        let mut inner = lock(&self.0);
        let node = Arc::new(Mutex::new(Data { synced: bytes.len(), bytes }));
        inner.files.insert(path.clone(), Arc::clone(&node));
        inner.durable.insert(path, node);
        true
    }
}

/// The disk as one life of the subject sees it.
#[derive(Clone, Debug)]
struct SimFs {
    disk: SimDisk,
    life: u64,
}

impl SimFs {
    fn inner(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = lock(&self.disk.0);
        if inner.life == self.life {
            Ok(inner)
        } else {
            Err(io::Error::other("the machine is off"))
        }
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        self.inner()?.files.get(path).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

struct SimFile {
    fs: SimFs,
    node: Node,
}

impl FsFile for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _on = self.fs.inner()?;
        lock(&self.node).bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        let _on = self.fs.inner()?;
        let mut data = lock(&self.node);
        data.synced = data.bytes.len();
        Ok(())
    }
}

struct SimLock {
    fs: SimFs,
    path: PathBuf,
}

impl FsLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        if let Ok(mut inner) = self.fs.inner() {
            inner.locks.remove(&self.path);
        }
    }
}

impl Fs for SimFs {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        self.inner().map(drop)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut inner = self.inner()?;
        if inner.files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = Node::default();
        inner.files.insert(path.to_owned(), Arc::clone(&node));
        Ok(Box::new(SimFile { fs: self.clone(), node }))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let node = self.node(path)?;
        let data = lock(&node);
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(data.bytes.len());
        let to = from.saturating_add(len).min(data.bytes.len());
        Ok(data.bytes.get(from..to).unwrap_or_default().to_vec())
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let node = self.node(path)?;
        let bytes = lock(&node).bytes.clone();
        if bytes.len() as u64 > limit { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner()?;
        let node = inner.files.remove(from).ok_or(ErrorKind::NotFound)?;
        inner.files.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.inner()?.files.remove(path);
        removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut inner = self.inner()?;
        inner.durable = inner.files.clone();
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let inner = self.inner()?;
        let here = inner.files.keys().filter(|path| path.parent() == Some(dir));
        let name = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
        Ok(here.filter_map(name).map(|name| DirEntry { name, is_file: true }).collect())
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn FsLock>, LockError> {
        let mut inner = self.inner()?;
        if let Some(holder) = inner.locks.get(path) {
            return Err(LockError::Held { holder: holder.clone() });
        }
        inner.locks.insert(path.to_owned(), holder.to_owned());
        Ok(Box::new(SimLock { fs: self.clone(), path: path.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(fs: &dyn Fs, name: &str, bytes: &[u8], sync: bool) {
        let mut file = fs.create_new(Path::new(name)).unwrap();
        file.write_all(bytes).unwrap();
        if sync {
            file.sync().unwrap();
            fs.sync_dir(Path::new("/")).unwrap();
        }
    }

    #[test]
    fn what_was_synced_outlives_every_power_failure_and_the_rest_as_chance_has_it() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            let fs = disk.mount();
            write(fs.as_ref(), "/a", b"synced", true);
            write(fs.as_ref(), "/b", b"not synced", false);
            disk.power_off();
            assert!(fs.read(Path::new("/a"), 100).is_err(), "an earlier life reads nothing");
            let fs = disk.mount();
            assert_eq!(fs.read(Path::new("/a"), 100).unwrap(), b"synced");
            lengths.insert(fs.read(Path::new("/b"), 100).map_or(99, |b| b.len()));
        }
        assert!(lengths.len() > 5 && lengths.contains(&99), "{lengths:?}");
    }

    #[test]
    fn a_lock_dies_with_its_life() {
        let disk = SimDisk::new(1);
        let fs = disk.mount();
        let held = fs.lock(Path::new("/lock"), "one").unwrap();
        assert!(fs.lock(Path::new("/lock"), "two").is_err());
        disk.power_off();
        let fs = disk.mount();
        let _two = fs.lock(Path::new("/lock"), "two").unwrap();
        drop(held);
        assert!(fs.lock(Path::new("/lock"), "three").is_err(), "a dead holder frees nothing");
    }
}
