//! The file system as programs see it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashproof_reference::fs::{DirEntry, Fs, FsFile, FsLock, LockError};

use super::fault::{Break, Doom, EBADF, EEXIST, ENAMETOOLONG, ENOENT, Failure, too_long};
use super::image::{Bytes, Image};
use super::log::{Log, Op, Seen};

type Watch = Arc<dyn Fn(Seen<'_>) + Send + Sync>;

/// A file system in memory that knows what of it is durable. Clones share it.
#[derive(Clone)]
pub struct SimFs(Arc<Mutex<Inner>>);

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimFs")
    }
}

#[derive(Default)]
struct Inner {
    base: Image,
    log: Log,
    dirs: BTreeSet<PathBuf>,
    /// By path; as text, for paths are slow to compare.
    names: BTreeMap<OsString, u64>,
    files: BTreeMap<u64, Bytes>,
    next: u64,
    /// The file of each open handle.
    handles: BTreeMap<u64, u64>,
    opened: u64,
    locks: BTreeMap<PathBuf, String>,
    breaks: Vec<Break>,
    /// Bytes that still fit, and the fault that says so.
    free: Option<(u64, usize)>,
    taken: u64,
    watch: Option<Watch>,
    /// Operations that still happen before the machine is dead.
    alive: Option<u64>,
    doom: Option<Doom>,
}

/// What an operation met.
type Met = Option<(Failure, usize)>;

impl Inner {
    fn dead(&self) -> bool {
        self.alive == Some(0)
    }

    /// True when the machine is dead before this operation; when it is after it, this is its last.
    fn dies_before(&mut self, op: &str) -> bool {
        if !self.doom.as_mut().is_some_and(|doom| doom.comes(op)) {
            return false;
        }
        let before = self.doom.take().is_some_and(|doom| doom.before);
        self.alive = Some(u64::from(!before));
        before
    }

    /// The failure that waits for this operation.
    fn meets(&mut self, op: &'static str) -> Met {
        let mut met = None;
        for waiting in &mut self.breaks {
            if waiting.meets(op) {
                met.get_or_insert((waiting.failure, waiting.fault));
            }
        }
        met
    }

    fn tell(
        &self,
        op: &'static str,
        path: &Path,
        error: Option<&'static str>,
        fault: Option<usize>,
    ) {
        if let Some(watch) = &self.watch {
            watch(Seen { op, path: &path.to_string_lossy(), error, fault });
        }
    }

    /// Carries out an operation that changes the disk, unless it fails.
    fn change<T>(
        &mut self,
        op: &'static str,
        path: &Path,
        act: impl FnOnce(&mut Self) -> Result<(T, Op), (i32, &'static str)>,
    ) -> io::Result<T> {
        if self.dead() {
            return Err(Failure::Errno(5, "EIO").error());
        }
        let met = self.meets(op);
        self.change_met(op, path, met, Op::Nothing, act)
    }

    /// The same where it is known what the operation met, and what such a failure leaves.
    fn change_met<T>(
        &mut self,
        op: &'static str,
        path: &Path,
        met: Met,
        left: Op,
        act: impl FnOnce(&mut Self) -> Result<(T, Op), (i32, &'static str)>,
    ) -> io::Result<T> {
        if self.dies_before(op) {
            return Err(Failure::Errno(5, "EIO").error());
        }
        self.alive = self.alive.map(|left| left.saturating_sub(1));
        if let Some((failure, fault)) = met.filter(|(f, _)| *f != Failure::Short) {
            self.log.0.push(left);
            self.tell(op, path, Some(failure.name()), Some(fault));
            return Err(failure.error());
        }
        match act(self) {
            Ok((value, done)) => {
                self.log.0.push(done);
                self.tell(op, path, None, None);
                Ok(value)
            }
            Err((number, name)) => {
                self.log.0.push(Op::Nothing);
                self.tell(op, path, Some(name), None);
                Err(io::Error::from_raw_os_error(number))
            }
        }
    }

    /// An operation that only looks; told when it fails by a fault.
    fn look(&mut self, op: &'static str, path: &Path) -> io::Result<()> {
        if self.dead() {
            return Err(Failure::Errno(5, "EIO").error());
        }
        match self.meets(op) {
            None => Ok(()),
            Some((failure, fault)) => {
                self.tell(op, path, Some(failure.name()), Some(fault));
                Err(failure.error())
            }
        }
    }

    fn file_of(&self, handle: u64) -> io::Result<u64> {
        let number = self.handles.get(&handle).copied();
        number.ok_or_else(|| io::Error::from_raw_os_error(EBADF))
    }

    fn bytes(&self, path: &Path) -> io::Result<&[u8]> {
        let number = self.names.get(path.as_os_str());
        let bytes = number.and_then(|number| self.files.get(number));
        bytes.map(Bytes::all).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl SimFs {
    /// A machine that starts with this disk.
    #[must_use]
    pub fn new(base: Image) -> Self {
        let mut inner = Inner { dirs: base.dirs.clone(), ..Inner::default() };
        for (number, (path, bytes)) in (0..).zip(&base.files) {
            inner.names.insert(path.clone().into(), number);
            inner.files.insert(number, Bytes::Shared(bytes.clone()));
            inner.next = number + 1;
        }
        inner.base = base;
        Self(Arc::new(Mutex::new(inner)))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every operation that changes the disk, and of the others those that fail by a
    /// [`Break`], and lists of a directory that is not there.
    pub fn watch(&self, watch: impl Fn(Seen<'_>) + Send + Sync + 'static) {
        self.inner().watch = Some(Arc::new(watch));
    }

    /// The disk that the machine started with.
    #[must_use]
    pub fn base(&self) -> Image {
        self.inner().base.clone()
    }

    /// What was done since.
    #[must_use]
    pub fn log(&self) -> Log {
        self.inner().log.clone()
    }

    /// What programs see now.
    #[must_use]
    pub fn live(&self) -> Image {
        self.some(|_| true)
    }

    /// The files among it whose names are these.
    #[must_use]
    pub fn some(&self, which: impl Fn(&Path) -> bool) -> Image {
        let mut inner = self.inner();
        let Inner { names, files, dirs, .. } = &mut *inner;
        let chosen = names.iter().filter(|(path, _)| which(Path::new(path)));
        let file =
            |(path, number): (&OsString, &u64)| Some((path.into(), files.get_mut(number)?.share()));
        Image { files: chosen.filter_map(file).collect(), dirs: dirs.clone() }
    }

    /// Breaks an operation.
    pub fn fail(&self, waiting: Break) {
        self.inner().breaks.push(waiting);
    }

    /// So many more bytes fit.
    pub fn fill(&self, free: u64, fault: usize) {
        self.inner().free = Some((free, fault));
    }

    /// Bytes that were written while [`SimFs::fill`] limited them.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.inner().taken
    }

    /// Breaks what lasts just as another has it broken: calls that fail from then on, and the room
    /// that is left.
    pub fn take_over(&self, other: &Self) {
        let (breaks, free) = {
            let other = other.inner();
            (other.breaks.clone(), other.free)
        };
        let mut inner = self.inner();
        inner.breaks.extend(breaks.into_iter().filter(|waiting| waiting.from_then_on));
        inner.free = free.or(inner.free);
    }

    /// Takes back what a fault broke.
    pub fn mend(&self, fault: usize) {
        let mut inner = self.inner();
        inner.breaks.retain(|waiting| waiting.fault != fault);
        inner.free = inner.free.filter(|(_, by)| *by != fault);
    }

    /// The machine dies after so many more operations that change the disk: nothing after them
    /// happens or is seen.
    pub fn die_after(&self, ops: u64) {
        self.inner().alive = Some(ops);
    }

    /// The machine dies before or after the `nth` operation of this name from now on.
    pub fn die_at(&self, op: &str, nth: u64, before: bool) {
        self.inner().doom = Some(Doom { op: op.to_owned(), nth, before });
    }

    /// Makes a directory that was always there.
    pub fn make_dir(&self, dir: &Path) {
        let mut inner = self.inner();
        inner.dirs.extend(dir.ancestors().map(Path::to_owned));
        inner.base.dirs.extend(dir.ancestors().map(Path::to_owned));
    }

    /// The machine is dead.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.inner().dead()
    }

    /// Takes a directory away with all that is in it.
    pub fn remove_dir(&self, dir: &Path) {
        let mut inner = self.inner();
        inner.dirs.retain(|known| !known.starts_with(dir));
        inner.names.retain(|path, _| !Path::new(path).starts_with(dir));
        inner.log.0.push(Op::Gone(dir.to_owned()));
    }

    /// Changes a file at rest, or with `None` removes it. That is an operation of the log, and
    /// durable; what was under way elsewhere stays so.
    pub fn damage(&self, path: &Path, bytes: Option<Vec<u8>>) {
        let mut inner = self.inner();
        let left = match bytes {
            None => {
                inner.names.remove(path.as_os_str());
                None
            }
            Some(bytes) => {
                let number = inner.names.get(path.as_os_str()).copied().unwrap_or(inner.next);
                inner.next = inner.next.max(number.saturating_add(1));
                inner.names.insert(path.into(), number);
                let content: Arc<[u8]> = bytes.into();
                inner.files.insert(number, Bytes::Shared(content.clone()));
                Some((number, content))
            }
        };
        inner.log.0.push(Op::Rest(path.to_owned(), left));
    }
}

struct SimFile {
    fs: SimFs,
    path: PathBuf,
    handle: u64,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.fs.inner().handles.remove(&self.handle);
    }
}

impl FsFile for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.fs.inner();
        if inner.dead() {
            return Err(Failure::Errno(5, "EIO").error());
        }
        let mut met = inner.meets("write");
        let short = met.filter(|(failure, _)| *failure == Failure::Short);
        let mut take = if short.is_some() { bytes.len().div_ceil(2) } else { bytes.len() };
        let mut cut = None;
        if let Some((free, fault)) = inner.free
            && free < take as u64
        {
            take = usize::try_from(free).unwrap_or(usize::MAX);
            cut = Some(fault);
            if take == 0 && short.is_some() {
                met = None;
            }
            if take == 0 {
                met = met.or(Some((Failure::Errno(28, "ENOSPC"), fault)));
            }
        }
        let number = inner.file_of(self.handle)?;
        let taken = bytes.get(..take).unwrap_or_default();
        let wrote = inner.change_met("write", &self.path, met, Op::Nothing, |inner| {
            inner.files.entry(number).or_default().append(taken);
            if let Some((free, _)) = &mut inner.free {
                *free -= take as u64;
                inner.taken += take as u64;
            }
            Ok((take, Op::Write(number, taken.into())))
        });
        // a short write is no error: only the fault is told
        for fault in short.map(|(_, fault)| fault).into_iter().chain(cut) {
            inner.tell("short_write", &self.path, None, Some(fault));
        }
        wrote
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.fs.inner();
        if inner.dead() {
            return Err(Failure::Errno(5, "EIO").error());
        }
        let met = inner.meets("sync");
        let number = inner.file_of(self.handle)?;
        let lost = met.is_some_and(|(failure, _)| failure == Failure::LostPages);
        let left = if lost { Op::Lose(number) } else { Op::Doubt(number) };
        inner.change_met("sync", &self.path, met, left, |_| Ok(((), Op::Sync(number))))
    }
}

struct SimLock {
    fs: SimFs,
    path: PathBuf,
}

impl FsLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.fs.inner().locks.remove(&self.path);
    }
}

impl Fs for SimFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner().change("create_dir", dir, |inner| {
            inner.dirs.extend(dir.ancestors().map(Path::to_owned));
            Ok(((), Op::Dir(dir.to_owned())))
        })
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let handle = self.inner().change("create", path, |inner| {
            if too_long(path) {
                return Err(ENAMETOOLONG);
            }
            if !path.parent().is_some_and(|dir| inner.dirs.contains(dir)) {
                return Err(ENOENT);
            }
            if inner.names.contains_key(path.as_os_str()) || inner.dirs.contains(path) {
                return Err(EEXIST);
            }
            let number = inner.next;
            inner.next += 1;
            inner.names.insert(path.into(), number);
            inner.files.insert(number, Bytes::default());
            let handle = inner.opened;
            inner.opened += 1;
            inner.handles.insert(handle, number);
            Ok((handle, Op::Create(path.to_owned(), number)))
        })?;
        Ok(Box::new(SimFile { fs: self.clone(), path: path.to_owned(), handle }))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut inner = self.inner();
        inner.look("read", path)?;
        let bytes = inner.bytes(path)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(len).min(bytes.len());
        Ok(bytes.get(start..end).unwrap_or_default().to_vec())
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut inner = self.inner();
        inner.look("read", path)?;
        let bytes = inner.bytes(path)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.to_vec())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let both = PathBuf::from(format!("{} -> {}", from.display(), to.display()));
        self.inner().change("rename", &both, |inner| {
            if too_long(to) {
                return Err(ENAMETOOLONG);
            }
            let number = inner.names.remove(from.as_os_str()).ok_or(ENOENT)?;
            inner.names.insert(to.into(), number);
            Ok(((), Op::Rename(from.to_owned(), to.to_owned())))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner().change("remove", path, |inner| {
            inner.names.remove(path.as_os_str()).ok_or(ENOENT)?;
            Ok(((), Op::Remove(path.to_owned())))
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.dead() {
            return Err(Failure::Errno(5, "EIO").error());
        }
        let met = inner.meets("sync_dir");
        inner.change_met("sync_dir", dir, met, Op::DoubtDir(dir.to_owned()), |inner| {
            let there = inner.dirs.contains(dir);
            if there { Ok(((), Op::SyncDir(dir.to_owned()))) } else { Err(ENOENT) }
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut inner = self.inner();
        inner.look("list", dir)?;
        if !inner.dirs.contains(dir) {
            inner.tell("list", dir, Some(ENOENT.1), None);
            return Err(io::ErrorKind::NotFound.into());
        }
        let entry = |path: &Path, is_file| {
            let name = path.file_name().filter(|_| path.parent() == Some(dir))?;
            Some(DirEntry { name: name.to_string_lossy().into_owned(), is_file })
        };
        let files = inner.names.keys().filter_map(|path| entry(Path::new(path), true));
        Ok(files.chain(inner.dirs.iter().filter_map(|path| entry(path, false))).collect())
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<Box<dyn FsLock>, LockError> {
        let mut inner = self.inner();
        inner.look("lock", path)?;
        if let Some(holder) = inner.locks.get(path) {
            return Err(LockError::Held { holder: holder.clone() });
        }
        inner.locks.insert(path.to_owned(), holder.to_owned());
        if !inner.names.contains_key(path.as_os_str()) {
            // only a lock is held by it: nobody misses it after a crash, so it is in no log
            let number = u64::MAX - inner.locks.len() as u64;
            inner.names.insert(path.into(), number);
            inner.files.insert(number, Bytes::default());
        }
        drop(inner);
        Ok(Box::new(SimLock { fs: self.clone(), path: path.to_owned() }))
    }
}
