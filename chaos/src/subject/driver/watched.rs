//! The harness's eye on a real file system: tells every operation that changes it, and kills the
//! process at one of them when it is asked to.
//!
//! It lies under the subject's store in the subject's own process, and it is the harness's: what it
//! tells is truth. It writes to a file, so that nothing of it is lost with the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dashproof_reference::fs::{DirEntry, Fs, FsFile, FsLock, LockError};
use serde::{Deserialize, Serialize};

use crate::disk::Doom;

/// Environment variable with the directory of the two files below.
pub(crate) const WATCH: &str = "DASHPROOF_WATCH";
/// The file that is told of operations, a [`Told`] per line.
pub(crate) const LOG: &str = "log";
/// The file with an [`Order`], taken when it is found.
pub(crate) const ORDER: &str = "order";

/// An operation that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Its name.
    pub(crate) op: String,
    /// The file or directory; both names of a rename, with ` -> ` between them.
    pub(crate) path: String,
    /// The error's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// When the process is to die.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Before the operation that comes after so many.
    After(u64),
    /// Before or after the n-th operation of a kind.
    At {
        /// Which kind.
        op: String,
        /// Which of them, from 1.
        nth: u64,
        /// Before it.
        before: bool,
    },
}

/// The names of the system's errors that stores meet.
const ERRORS: &[(i32, &str)] = &[
    (1, "EPERM"),
    (2, "ENOENT"),
    (5, "EIO"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (17, "EEXIST"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (24, "EMFILE"),
    (27, "EFBIG"),
    (28, "ENOSPC"),
    (30, "EROFS"),
    (36, "ENAMETOOLONG"),
    (122, "EDQUOT"),
];

/// The static name of an error, which is `EUNKNOWN` beyond the table.
pub(crate) fn known_error(name: &str) -> &'static str {
    ERRORS.iter().find(|(_, known)| *known == name).map_or("EUNKNOWN", |(_, known)| *known)
}

fn name_of(error: &io::Error) -> &'static str {
    let number = error.raw_os_error();
    ERRORS.iter().find(|(known, _)| Some(*known) == number).map_or("EUNKNOWN", |(_, name)| *name)
}

#[derive(Debug)]
struct State {
    log: File,
    order: PathBuf,
    /// Operations that still happen.
    left: Option<u64>,
    doom: Option<Doom>,
}

/// A file system under watch. Clones share the watch.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    inner: Arc<dyn Fs>,
    state: Arc<Mutex<State>>,
}

impl Watched {
    /// Puts `inner` under watch; `dir` is where the log and the orders are.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub(crate) fn new(inner: Arc<dyn Fs>, dir: &Path) -> io::Result<Self> {
        let log = OpenOptions::new().append(true).create(true).open(dir.join(LOG))?;
        let state = State { log, order: dir.join(ORDER), left: None, doom: None };
        Ok(Self { inner, state: Arc::new(Mutex::new(state)) })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Carries out an operation that changes something, under watch.
    fn change<T>(
        &self,
        op: &'static str,
        path: &str,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let last = self.with(|state| state.reaches(op));
        let done = act();
        // an operation that nobody can be told of counts as failed
        self.with(|state| state.tell(op, path, done.as_ref().err()))?;
        if last {
            die();
        }
        done
    }

    /// Carries out an operation that only looks, and tells of it when the system refuses it.
    fn look<T>(
        &self,
        op: &'static str,
        path: &Path,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let seen = act();
        if let Err(error) = &seen
            && error.raw_os_error().is_some()
            // a file that is not there is an answer, a directory that is not there is trouble
            && (op == "list" || error.kind() != io::ErrorKind::NotFound)
        {
            self.with(|state| state.tell(op, &path.to_string_lossy(), Some(error)))?;
        }
        seen
    }
}

impl State {
    /// Dies if the time has come; true when this operation is the last.
    fn reaches(&mut self, op: &str) -> bool {
        if let Ok(text) = std::fs::read(&self.order) {
            drop(std::fs::remove_file(&self.order));
            match serde_json::from_slice(&text) {
                Ok(Order::After(ops)) => self.left = Some(ops),
                Ok(Order::At { op, nth, before }) => self.doom = Some(Doom { op, nth, before }),
                Err(_) => {}
            }
        }
        if self.left == Some(0) {
            die();
        }
        self.left = self.left.map(|left| left - 1);
        if !self.doom.as_mut().is_some_and(|doom| doom.comes(op)) {
            return false;
        }
        if self.doom.take().is_some_and(|doom| doom.before) {
            die();
        }
        true
    }

    fn tell(&mut self, op: &str, path: &str, error: Option<&io::Error>) -> io::Result<()> {
        let error = error.map(|error| name_of(error).to_owned());
        let told = Told { op: op.to_owned(), path: path.to_owned(), error };
        let mut line = serde_json::to_vec(&told)?;
        line.push(b'\n');
        self.log.write_all(&line)
    }
}

/// SIGKILL: no handler, no destructor, no flush.
fn die() {
    let own = rustix::process::getpid();
    let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    loop {
        // the signal is on its way
        std::thread::park();
    }
}

struct WatchedFile {
    fs: Watched,
    path: String,
    file: Box<dyn FsFile>,
}

impl FsFile for WatchedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = &mut self.file;
        self.fs.change("write", &self.path, || file.write(bytes))
    }

    fn sync(&mut self) -> io::Result<()> {
        let file = &mut self.file;
        self.fs.change("sync", &self.path, || file.sync())
    }
}

impl Fs for Watched {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.change("create_dir", &dir.to_string_lossy(), || self.inner.create_dir(dir))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let name = path.to_string_lossy().into_owned();
        let file = self.change("create", &name, || self.inner.create_new(path))?;
        Ok(Box::new(WatchedFile { fs: self.clone(), path: name, file }))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.look("read", path, || self.inner.read_at(path, offset, len))
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.look("read", path, || self.inner.read(path, limit))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let both = format!("{} -> {}", from.display(), to.display());
        self.change("rename", &both, || self.inner.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change("remove", &path.to_string_lossy(), || self.inner.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change("sync_dir", &dir.to_string_lossy(), || self.inner.sync_dir(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.look("list", dir, || self.inner.list(dir))
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn FsLock>, LockError> {
        self.inner.lock(path, holder)
    }
}

#[cfg(test)]
mod tests {
    use dashproof_reference::runtime::StdFs;

    use super::*;

    fn told(dir: &Path) -> Vec<Told> {
        let text = std::fs::read_to_string(dir.join(LOG)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn every_change_is_told_with_its_error_and_what_only_looks_is_not() {
        let root = tempfile::tempdir().unwrap();
        let fs = Watched::new(Arc::new(StdFs), root.path()).unwrap();
        let (a, b) = (root.path().join("a"), root.path().join("b"));
        let mut file = fs.create_new(&a).unwrap();
        file.write_all(b"bytes").unwrap();
        file.sync().unwrap();
        fs.rename(&a, &b).unwrap();
        assert_eq!(fs.read(&b, 9).unwrap(), b"bytes");
        assert!(fs.read(&a, 9).is_err());
        assert!(fs.remove(&a).is_err());
        let told: Vec<(String, Option<String>)> =
            told(root.path()).into_iter().map(|told| (told.op, told.error)).collect();
        let ok = |op: &str| (op.to_owned(), None);
        let failed = ("remove".to_owned(), Some("ENOENT".to_owned()));
        assert_eq!(told, [ok("create"), ok("write"), ok("sync"), ok("rename"), failed]);
    }

    #[test]
    fn the_last_operation_is_the_nth_of_its_kind() {
        let root = tempfile::tempdir().unwrap();
        let fs = Watched::new(Arc::new(StdFs), root.path()).unwrap();
        let order = Order::At { op: "remove".to_owned(), nth: 2, before: false };
        std::fs::write(root.path().join(ORDER), serde_json::to_vec(&order).unwrap()).unwrap();
        let last = |op| fs.with(|state| state.reaches(op));
        assert_eq!(["rename", "remove", "remove"].map(last), [false, false, true]);
        assert!(!root.path().join(ORDER).exists(), "an order is taken once");
    }
}
