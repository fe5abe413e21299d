//! What a session's stores live on: a simulated machine, or a directory of this one.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::{DIR, fresh};
use crate::disk::{Break, Image, Seen, SimFs};
use crate::history::Clock;
use crate::lane::HarnessError;
use crate::scenario::model::Phase;
use crate::subject::store::{Answered, Checkpointer, Open, Setup};

/// The simulated epoch, seconds: 2025-01-01T00:00:00Z.
const EPOCH_S: i64 = 1_735_689_600;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub(in crate::lane) struct Opening {
    pub(in crate::lane) variant: &'static str,
    pub(in crate::lane) schema: u32,
    pub(in crate::lane) keep: Option<NonZeroUsize>,
    pub(in crate::lane) entropy: u64,
    /// Somebody will ask for its metrics.
    pub(in crate::lane) scraped: bool,
}

/// Where the subject dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lane) enum Death {
    /// After so many more operations that change the disk.
    Ops(u64),
    /// Before or after the n-th operation of a kind.
    Phase(Phase, u64),
}

/// Told of every file operation.
pub(in crate::lane) type Watch = Box<dyn Fn(Seen<'_>) + Send + Sync>;

/// What stores live on. Paths are those of [`DIR`], wherever the directory really is.
pub(in crate::lane) trait Ground: Send {
    /// Tells every operation that changes the disk, and every other that fails.
    fn watch(&mut self, watch: Watch);
    /// Opens a store.
    fn open(&mut self, opening: Opening) -> Answered<Box<dyn Checkpointer>>;
    /// Opens another store on the directory that a store has, for a moment.
    fn open_second(&mut self, opening: Opening) -> Answered<()>;
    /// What another directory that begins with these files holds after one more save and a close;
    /// `None` when no store can be opened there.
    fn elsewhere(&mut self, files: Image, opening: Opening) -> Option<Image>;
    /// The files as programs see them.
    fn live(&self) -> Image;
    /// Those of them whose names are these.
    fn some(&self, which: &dyn Fn(&Path) -> bool) -> Image {
        let mut all = self.live();
        all.files.retain(|path, _| which(path));
        all
    }
    /// Files of the store's own that others on the machine can read, where that can be seen.
    fn public(&self) -> Vec<PathBuf> {
        Vec::new()
    }
    /// Changes a file at rest, or with `None` removes it.
    fn put(&mut self, path: &Path, bytes: Option<Vec<u8>>);
    /// Makes the directory.
    fn make_dir(&mut self);
    /// Takes the directory away with all that is in it.
    fn remove_dir(&mut self);
    /// Breaks an operation.
    fn fail(&mut self, broken: Break);
    /// So many more bytes fit.
    fn fill(&mut self, free: u64, fault: usize);
    /// Takes back what a fault broke.
    fn mend(&mut self, fault: usize);
    /// Sets the wall clock back; false where nobody can.
    fn set_back(&mut self, by: Duration) -> bool;
    /// Sets the wall clock forward; false where nobody can.
    fn set_forward(&mut self, by: Duration) -> bool;
    /// What the wall clock shows, seconds since 1970.
    fn wall(&self) -> i64;
    /// The next call is the subject's last.
    fn die(&mut self, death: Death);
    /// The subject is dead, and hears and answers nothing.
    fn is_dead(&self) -> bool;
    /// The timeline begins.
    fn begin(&mut self) {}
    /// Goes on to a time of the plan.
    fn go_to(&mut self, us: u64);
    /// Tells what the call under way did, where that was not told at once.
    fn catch_up(&mut self) {}
    /// The one file that is new since this was last asked, where operations are not told.
    fn appeared(&mut self) -> Option<PathBuf> {
        None
    }
    /// Whether the subject has an operation or a variant.
    fn can(&self, _what: &str) -> bool {
        true
    }
    /// What broke the run off.
    fn broken(&self) -> Option<HarnessError> {
        None
    }
    /// The simulated machine, if it is one.
    fn simulated(&self) -> Option<&Simulated> {
        None
    }
    /// Makes sure that the subject is dead, where there is a process to be killed.
    fn kill(&mut self) {}
}

/// Virtual time, and the wall clock that somebody may set.
#[derive(Debug, Default)]
pub(in crate::lane) struct DiskClock {
    now_us: AtomicU64,
    back_s: AtomicI64,
}

impl Clock for DiskClock {
    fn now_us(&self) -> u64 {
        self.now_us.load(Ordering::Relaxed)
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs().max(1)).unwrap_or(i64::MAX)
}

impl DiskClock {
    pub(super) fn advance_to(&self, us: u64) {
        self.now_us.fetch_max(us, Ordering::Relaxed);
    }

    /// Begins anew.
    pub(super) fn reset(&self) {
        self.now_us.store(0, Ordering::Relaxed);
        self.back_s.store(0, Ordering::Relaxed);
    }

    fn set_back(&self, by: Duration) {
        self.back_s.fetch_add(seconds(by), Ordering::Relaxed);
    }

    fn set_forward(&self, by: Duration) {
        self.back_s.fetch_sub(seconds(by), Ordering::Relaxed);
    }

    fn wall(&self) -> i64 {
        let now = i64::try_from(self.now_us() / 1_000_000).unwrap_or(0);
        EPOCH_S.saturating_add(now).saturating_sub(self.back_s.load(Ordering::Relaxed))
    }
}

/// A machine in memory.
#[derive(Clone)]
pub(in crate::lane) struct Simulated {
    pub(super) fs: SimFs,
    pub(super) open: Open,
    clock: Arc<DiskClock>,
}

impl Simulated {
    pub(super) fn new(open: Open, clock: Arc<DiskClock>) -> Self {
        Self { fs: fresh(), open, clock }
    }

    /// The same subject and clock on another disk.
    pub(super) fn on(&self, fs: SimFs) -> Self {
        Self { fs, ..self.clone() }
    }

    pub(super) fn setup(&self, opening: Opening) -> Setup {
        let clock = self.clock.clone();
        let Opening { variant, schema, keep, entropy, scraped } = opening;
        Setup {
            fs: Arc::new(self.fs.clone()),
            dir: DIR.into(),
            holder: "dashproof".to_owned(),
            variant: variant.to_owned(),
            schema,
            keep,
            entropy,
            wall: Arc::new(move || clock.wall()),
            scraped,
        }
    }
}

impl Ground for Simulated {
    fn watch(&mut self, watch: Watch) {
        self.fs.watch(watch);
    }

    fn open(&mut self, opening: Opening) -> Answered<Box<dyn Checkpointer>> {
        (self.open)(self.setup(opening))
    }

    fn open_second(&mut self, opening: Opening) -> Answered<()> {
        self.open(opening).map(drop)
    }

    fn elsewhere(&mut self, files: Image, opening: Opening) -> Option<Image> {
        let mut there = self.on(SimFs::new(files));
        let mut store = there.open(opening).ok()?;
        // what it answers is nobody's business: only its index is wanted
        let _ = store.save("elsewhere", None, "a state of another disk");
        store.close();
        Some(there.live())
    }

    fn live(&self) -> Image {
        self.fs.live()
    }

    fn some(&self, which: &dyn Fn(&Path) -> bool) -> Image {
        self.fs.some(which)
    }

    fn put(&mut self, path: &Path, bytes: Option<Vec<u8>>) {
        self.fs.damage(path, bytes);
    }

    fn make_dir(&mut self) {
        self.fs.make_dir(Path::new(DIR));
    }

    fn remove_dir(&mut self) {
        self.fs.remove_dir(Path::new(DIR));
    }

    fn fail(&mut self, broken: Break) {
        self.fs.fail(broken);
    }

    fn fill(&mut self, free: u64, fault: usize) {
        self.fs.fill(free, fault);
    }

    fn mend(&mut self, fault: usize) {
        self.fs.mend(fault);
    }

    fn set_back(&mut self, by: Duration) -> bool {
        self.clock.set_back(by);
        true
    }

    fn set_forward(&mut self, by: Duration) -> bool {
        self.clock.set_forward(by);
        true
    }

    fn wall(&self) -> i64 {
        self.clock.wall()
    }

    fn die(&mut self, death: Death) {
        match death {
            Death::Ops(ops) => self.fs.die_after(ops),
            Death::Phase(phase, nth) => self.fs.die_at(&phase.op, nth, phase.before),
        }
    }

    fn is_dead(&self) -> bool {
        self.fs.is_dead()
    }

    fn go_to(&mut self, us: u64) {
        self.clock.advance_to(us);
    }

    fn simulated(&self) -> Option<&Simulated> {
        Some(self)
    }
}
