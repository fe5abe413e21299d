//! A file system in memory that knows what is durable, and may die after any operation.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::fs::{DirEntry, Fs, FsFile, FsLock, LockError};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Data {
    pub(crate) bytes: Vec<u8>,
    pub(crate) synced: usize,
}

type Node = Arc<Mutex<Data>>;

#[derive(Debug, Default)]
struct Inner {
    live: BTreeMap<PathBuf, Node>,
    /// Directory entries after the last `sync_dir`.
    durable: BTreeMap<PathBuf, Node>,
    locked: Option<String>,
    ops: usize,
    /// Operations that still work.
    left: Option<usize>,
    /// The next syncs fail, after so many that do not.
    failing_syncs: usize,
    sound_syncs: usize,
    /// The next creations fail, after so many that do not.
    failing_creates: usize,
    sound_creates: usize,
    /// Reads of this file as a whole fail.
    unreadable: Option<PathBuf>,
    capacity: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct MemFs(Arc<Mutex<Inner>>);

/// What a crash leaves of bytes and names that were not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Crash {
    Nothing,
    Half,
    All,
    NamesOnly,
}

impl MemFs {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Changes the disk; the operation fails when it has died.
    fn op(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.lock();
        inner.ops += 1;
        match &mut inner.left {
            Some(0) => return Err(io::Error::other("the machine is off")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(inner)
    }

    pub(crate) fn ops(&self) -> usize {
        self.lock().ops
    }

    pub(crate) fn die_after(&self, ops: usize) {
        self.lock().left = Some(ops);
    }

    pub(crate) fn fail_syncs(&self, n: usize) {
        self.lock().failing_syncs = n;
    }

    pub(crate) fn fail_creates(&self, n: usize) {
        self.lock().failing_creates = n;
    }

    /// Some syncs fail after so many.
    pub(crate) fn fail_syncs_after(&self, sound: usize, failing: usize) {
        let mut inner = self.lock();
        (inner.sound_syncs, inner.failing_syncs) = (sound, failing);
    }

    /// One creation fails after so many.
    pub(crate) fn fail_create_after(&self, n: usize) {
        let mut inner = self.lock();
        (inner.sound_creates, inner.failing_creates) = (n, 1);
    }

    pub(crate) fn unreadable(&self, name: Option<&str>) {
        self.lock().unreadable = name.map(|name| Path::new("/spool").join(name));
    }

    pub(crate) fn capacity(&self, bytes: Option<usize>) {
        self.lock().capacity = bytes;
    }

    /// The disk after a power failure, for another life.
    pub(crate) fn crashed(&self, how: Crash) -> Self {
        let inner = self.lock();
        let mut names = inner.durable.clone();
        if !matches!(how, Crash::Nothing) {
            names = inner.live.clone();
        }
        let image = |node: &Node| {
            let data = node.lock().unwrap().clone();
            let unsynced = data.bytes.len() - data.synced;
            let kept = match how {
                Crash::Nothing | Crash::NamesOnly => 0,
                Crash::Half => unsynced / 2,
                Crash::All => unsynced,
            };
            let bytes = data.bytes[..data.synced + kept].to_vec();
            Arc::new(Mutex::new(Data { synced: bytes.len(), bytes }))
        };
        let live: BTreeMap<_, _> = names.iter().map(|(p, node)| (p.clone(), image(node))).collect();
        let durable = live.clone();
        Self(Arc::new(Mutex::new(Inner { live, durable, ..Inner::default() })))
    }

    /// Names in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        self.lock().live.keys().map(name).collect()
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let data = Data { bytes: bytes.to_vec(), synced: bytes.len() };
        let node = Arc::new(Mutex::new(data));
        let mut inner = self.lock();
        inner.live.insert(Path::new("/spool").join(name), node.clone());
        inner.durable.insert(Path::new("/spool").join(name), node);
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.lock().live[&Path::new("/spool").join(name)].lock().unwrap().bytes.clone()
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        self.lock().live.get(path).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

struct File {
    fs: MemFs,
    node: Node,
}

impl FsFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let inner = self.fs.op()?;
        let used: usize = inner.live.values().map(|n| n.lock().unwrap().bytes.len()).sum();
        let room = inner.capacity.map_or(usize::MAX, |c| c.saturating_sub(used));
        if room == 0 && !bytes.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        let len = bytes.len().min(room);
        self.node.lock().unwrap().bytes.extend(&bytes[..len]);
        Ok(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.fs.op()?;
        if inner.sound_syncs > 0 {
            inner.sound_syncs -= 1;
        } else if inner.failing_syncs > 0 {
            inner.failing_syncs -= 1;
            return Err(io::Error::other("EIO"));
        }
        let mut data = self.node.lock().unwrap();
        data.synced = data.bytes.len();
        Ok(())
    }
}

struct Lock(MemFs);

impl FsLock for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.lock().locked = None;
    }
}

impl Fs for MemFs {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        self.op().map(drop)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut inner = self.op()?;
        if inner.sound_creates > 0 {
            inner.sound_creates -= 1;
        } else if inner.failing_creates > 0 {
            inner.failing_creates -= 1;
            return Err(io::Error::other("EIO"));
        }
        if inner.live.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = Node::default();
        inner.live.insert(path.to_owned(), node.clone());
        Ok(Box::new(File { fs: self.clone(), node }))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let node = self.node(path)?;
        let data = node.lock().unwrap();
        let from = usize::try_from(offset).unwrap().min(data.bytes.len());
        Ok(data.bytes[from..(from + len).min(data.bytes.len())].to_vec())
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        if self.lock().unreadable.as_deref() == Some(path) {
            return Err(io::Error::other("EIO"));
        }
        let bytes = self.node(path)?.lock().unwrap().bytes.clone();
        if bytes.len() as u64 > limit { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.op()?;
        let node = inner.live.remove(from).ok_or(ErrorKind::NotFound)?;
        inner.live.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.op()?.live.remove(path).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut inner = self.op()?;
        inner.durable = inner.live.clone();
        Ok(())
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<DirEntry>> {
        Ok(self.names().into_iter().map(|name| DirEntry { name, is_file: true }).collect())
    }

    fn lock(&self, _path: &Path, holder: &str) -> Result<Box<dyn FsLock>, LockError> {
        let mut inner = self.op()?;
        if let Some(holder) = &inner.locked {
            return Err(LockError::Held { holder: holder.clone() });
        }
        inner.locked = Some(holder.to_owned());
        Ok(Box::new(Lock(self.clone())))
    }
}
