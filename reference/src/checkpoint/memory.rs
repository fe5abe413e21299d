//! A file system in memory: the memory checkpointer, and most tests.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fs::{DirEntry, Fs, FsFile, FsLock, LockError};

/// A file system in memory, shared by its clones and gone with the last. A store over it keeps
/// every promise but the one about crashes.
#[derive(Clone, Debug, Default)]
pub struct MemoryFs(Arc<Mutex<Tree>>);

#[derive(Debug, Default)]
struct Tree {
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Arc<Mutex<Vec<u8>>>>,
    locks: BTreeMap<PathBuf, String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryFs {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn file(&self, path: &Path) -> io::Result<Arc<Mutex<Vec<u8>>>> {
        locked(&self.0).files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl FsFile for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        locked(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct MemoryLock {
    tree: Arc<Mutex<Tree>>,
    path: PathBuf,
}

impl FsLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        locked(&self.tree).locks.remove(&self.path);
    }
}

impl Fs for MemoryFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        locked(&self.0).dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut tree = locked(&self.0);
        if !path.parent().is_some_and(|dir| tree.dirs.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if tree.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::default();
        tree.files.insert(path.to_owned(), Arc::clone(&file));
        Ok(Box::new(MemoryFile(file)))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = self.file(path)?;
        let bytes = locked(&file);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(len).min(bytes.len());
        Ok(bytes.get(start..end).unwrap_or_default().to_vec())
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.file(path)?;
        let bytes = locked(&file);
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.clone())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = locked(&self.0);
        let file = tree.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        tree.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = locked(&self.0).files.remove(path);
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let there = locked(&self.0).dirs.contains(dir);
        if there { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let tree = locked(&self.0);
        if !tree.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entry = |path: &PathBuf, is_file| {
            let name = path.file_name().filter(|_| path.parent() == Some(dir))?;
            Some(DirEntry { name: name.to_string_lossy().into_owned(), is_file })
        };
        let files = tree.files.keys().filter_map(|path| entry(path, true));
        Ok(files.chain(tree.dirs.iter().filter_map(|path| entry(path, false))).collect())
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn FsLock>, LockError> {
        let mut tree = locked(&self.0);
        if let Some(holder) = tree.locks.get(path) {
            return Err(LockError::Held { holder: holder.clone() });
        }
        tree.locks.insert(path.to_owned(), holder.to_owned());
        tree.files.entry(path.to_owned()).or_default();
        Ok(Box::new(MemoryLock { tree: Arc::clone(&self.0), path: path.to_owned() }))
    }
}
