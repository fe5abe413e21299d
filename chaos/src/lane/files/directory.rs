//! A directory of this machine, and the child process that has it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;

use super::remote::{Broken, Line};
use super::room::Room;
use crate::disk::{Break, Image, Seen};
use crate::history::Recorder;
use crate::lane::disk::ground::{Death, Ground, Opening, Watch};
use crate::lane::disk::{DIR, is_index};
use crate::lane::scratch::{ROOM, Scratch};
use crate::lane::{HarnessError, child};
use crate::subject::driver::watched::{self, LOG, ORDER, Order, Told, WATCH};
use crate::subject::process::ProcessSubject;
use crate::subject::store::{Answered, Checkpointer, Refusal};

/// Operations that are told, by their static names.
const OPS: &[&str] =
    &["create_dir", "create", "write", "sync", "rename", "remove", "sync_dir", "read", "list"];

/// A process owes answers until it has been told `bye`.
const ENDED: &str = "the subject's process ended in the middle of the run";

/// What a run in a directory begins with.
pub(super) struct Start {
    pub(super) recorder: Recorder,
    pub(super) runtime: Handle,
    pub(super) command: Vec<String>,
    /// When the run is cut.
    pub(super) deadline: Instant,
    /// What a foreign subject declares; everything, where it is ours.
    pub(super) declared: Option<BTreeSet<String>>,
    /// Everything of the cell lies below.
    pub(super) root: Scratch,
    /// Where the directory lies that can be full.
    pub(super) room: Option<Room>,
}

/// A directory, with the process that has the store.
pub(super) struct Directory {
    // the file system of its own goes before what it is mounted in
    room: Option<Room>,
    start: Start,
    dir: PathBuf,
    line: Option<Line>,
    broken: Broken,
    watch: Option<Watch>,
    /// Bytes of the log that were told.
    told: usize,
    full: Option<usize>,
    /// The process is to die: that it ends is no surprise.
    doomed: bool,
    began: Instant,
    elsewhere: u32,
    /// Files that the harness has put there: they are as private as it is.
    put: BTreeSet<PathBuf>,
    /// Files that were there at the last look, where nobody tells of new ones.
    known: BTreeSet<PathBuf>,
}

/// The directory of a cell below its root.
pub(super) fn home(root: &Path, has_room: bool) -> PathBuf {
    root.join(if has_room { ROOM } else { "disk" }).join("store")
}

impl Directory {
    pub(super) fn new(mut start: Start) -> Self {
        let room = start.room.take();
        let dir = home(start.root.path(), room.is_some());
        Self {
            room,
            dir,
            start,
            line: None,
            broken: Broken::default(),
            watch: None,
            told: 0,
            full: None,
            doomed: false,
            began: Instant::now(),
            elsewhere: 0,
            put: BTreeSet::new(),
            known: BTreeSet::new(),
        }
    }

    /// A fresh process for a store on `dir`; where there is none the run is broken off.
    fn process(&self, dir: &Path, recorder: &Recorder, watched: bool) -> Option<Line> {
        let (program, args) = self.start.command.split_first()?;
        let watched = watched && self.is_watched();
        let watch = watched.then(|| (WATCH, OsString::from(self.start.root.path())));
        let inside = self.start.runtime.enter();
        let spawned = ProcessSubject::spawn_with(program, args, watch, recorder.clone());
        drop(inside);
        let process = match spawned {
            Ok(process) => Arc::new(process),
            Err(error) => {
                self.broken.set("environment", format!("cannot start `{program}`: {error}"));
                return None;
            }
        };
        match self.start.runtime.block_on(child::hello(&process, program)) {
            Ok(_) => {}
            Err(error) => {
                self.broken.set(error.blame, error.message);
                return None;
            }
        }
        Some(Line {
            process,
            runtime: self.start.runtime.clone(),
            deadline: self.start.deadline,
            broken: self.broken.clone(),
            dir: dir.to_string_lossy().into_owned(),
        })
    }

    /// The harness's own file system lies under the store: it is our subject.
    fn is_watched(&self) -> bool {
        self.start.declared.is_none()
    }

    fn goodbye(&self, line: &Line) {
        self.start.runtime.block_on(child::goodbye(&line.process));
    }

    fn order(&self) -> PathBuf {
        self.start.root.path().join(ORDER)
    }

    /// The real place of a path of the history.
    fn real(&self, path: &Path) -> PathBuf {
        path.strip_prefix(DIR).map_or_else(|_| path.to_owned(), |inside| self.dir.join(inside))
    }
}

/// The files of a directory, under the names that histories use.
fn files(dir: &Path) -> Image {
    let mut image = Image::default();
    image.dirs.insert(DIR.into());
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| path.is_file()) {
        if let (Some(name), Ok(bytes)) = (path.file_name(), std::fs::read(&path)) {
            image.files.insert(Path::new(DIR).join(name), bytes.into());
        }
    }
    image
}

fn gone() -> Refusal {
    Refusal { kind: "exited".to_owned(), text: "there is no process".to_owned() }
}

impl Ground for Directory {
    fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Each open is another process: what the one before left is all that it has.
    fn open(&mut self, opening: Opening) -> Answered<Box<dyn Checkpointer>> {
        if let Some(before) = self.line.take() {
            if !self.doomed && !before.process.is_alive() {
                self.broken.set("implementation", ENDED.to_owned());
            }
            self.goodbye(&before);
        }
        let (dir, recorder) = (self.dir.clone(), self.start.recorder.clone());
        let line = self.process(&dir, &recorder, true).ok_or_else(gone)?;
        self.line = Some(line.clone());
        line.open(0, opening)
    }

    /// The second is another process too.
    fn open_second(&mut self, opening: Opening) -> Answered<()> {
        let (dir, recorder) = (self.dir.clone(), self.start.recorder.clone());
        let line = self.process(&dir, &recorder, true).ok_or_else(gone)?;
        let opened = line.open(0, opening).map(drop);
        self.goodbye(&line);
        opened
    }

    fn elsewhere(&mut self, image: Image, opening: Opening) -> Option<Image> {
        let dir = self.start.root.path().join(format!("elsewhere{}", self.elsewhere));
        self.elsewhere += 1;
        std::fs::create_dir(&dir).ok()?;
        for (path, bytes) in &image.files {
            std::fs::write(dir.join(path.file_name()?), bytes).ok()?;
        }
        // what happens there is no part of the history
        let aside = Recorder::new(Arc::new(child::RealClock(self.began)));
        let line = self.process(&dir, &aside, false)?;
        let mut store = line.open(0, opening).ok()?;
        let _ = store.save("elsewhere", None, "a state of another disk");
        store.close();
        self.goodbye(&line);
        Some(files(&dir))
    }

    fn live(&self) -> Image {
        files(&self.dir)
    }

    #[cfg(unix)]
    fn public(&self) -> Vec<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        if !self.is_watched() {
            return Vec::new();
        }
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = Path::new(DIR).join(entry.file_name());
            let mode = entry.metadata().map_or(0, |known| known.permissions().mode());
            if mode & 0o077 != 0 && !self.put.contains(&path) {
                all.push(path);
            }
        }
        all.sort();
        all
    }

    fn put(&mut self, path: &Path, bytes: Option<Vec<u8>>) {
        let real = self.real(path);
        if !real.exists() {
            self.put.insert(path.to_owned());
        }
        let path = real;
        let done = match bytes {
            Some(bytes) => std::fs::write(&path, bytes),
            None => std::fs::remove_file(&path),
        };
        if let Err(error) = done {
            self.broken.set("environment", format!("cannot change {}: {error}", path.display()));
        }
    }

    fn make_dir(&mut self) {
        if let Err(error) = std::fs::create_dir_all(&self.dir) {
            self.broken.set("environment", format!("no directory: {error}"));
        }
    }

    fn remove_dir(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            self.broken.set("environment", format!("the directory is not deleted: {error}"));
        }
    }

    fn fail(&mut self, _: Break) {
        // refused before the run: a real file system fails when it likes
    }

    fn fill(&mut self, free: u64, fault: usize) {
        self.full = Some(fault);
        if let Some(room) = &self.room
            && let Err(error) = room.fill(free)
        {
            self.broken.set("environment", format!("the file system is not filled: {error}"));
        }
    }

    fn mend(&mut self, fault: usize) {
        if self.full.take_if(|full| *full == fault).is_some()
            && let Some(room) = &self.room
        {
            room.empty();
        }
    }

    fn set_back(&mut self, _: Duration) -> bool {
        false
    }

    fn set_forward(&mut self, _: Duration) -> bool {
        false
    }

    fn wall(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    fn die(&mut self, death: Death) {
        self.doomed = true;
        let order = match death {
            Death::Ops(ops) => Order::After(ops),
            Death::Phase(phase, nth) => Order::At { op: phase.op, nth, before: phase.before },
        };
        let text = serde_json::to_vec(&order).unwrap_or_default();
        if let Err(error) = std::fs::write(self.order(), text) {
            self.broken.set("environment", format!("no order to die: {error}"));
        }
    }

    fn is_dead(&self) -> bool {
        self.line.as_ref().is_some_and(|line| !line.process.is_alive())
    }

    fn begin(&mut self) {
        self.began = Instant::now();
    }

    fn go_to(&mut self, us: u64) {
        let until = self.began + Duration::from_micros(us);
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }

    fn catch_up(&mut self) {
        let log = std::fs::read(self.start.root.path().join(LOG)).unwrap_or_default();
        let new = log.get(self.told..).unwrap_or_default();
        // a line that is still being written is the next time's
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.told += whole;
        let real = self.dir.to_string_lossy();
        let Some(watch) = &self.watch else { return };
        for line in new.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n') {
            let Ok(Told { op, path, error }) = serde_json::from_slice(line) else { continue };
            let Some(op) = OPS.iter().find(|known| **known == op) else { continue };
            let error = error.as_deref().map(watched::known_error);
            let fault = self.full.filter(|_| error == Some("ENOSPC"));
            watch(Seen { op, path: &path.replace(&*real, DIR), error, fault });
        }
    }

    fn appeared(&mut self) -> Option<PathBuf> {
        if self.is_watched() {
            return None;
        }
        let now: BTreeSet<PathBuf> = files(&self.dir).files.into_keys().collect();
        let mut new = now.difference(&self.known).filter(|path| !is_index(path)).cloned();
        let one = new.next().filter(|_| new.next().is_none());
        self.known = now;
        one
    }

    fn can(&self, what: &str) -> bool {
        self.start.declared.as_ref().is_none_or(|declared| declared.contains(what))
    }

    fn broken(&self) -> Option<HarnessError> {
        if self.is_dead() && !self.doomed {
            self.broken.set("implementation", ENDED.to_owned());
        }
        self.broken.get()
    }

    fn kill(&mut self) {
        drop(std::fs::remove_file(self.order()));
        self.doomed = false;
        if let Some(line) = self.line.take() {
            self.start.runtime.block_on(line.process.kill());
        }
        self.catch_up();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            self.goodbye(&line);
        }
    }
}
