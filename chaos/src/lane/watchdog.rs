//! The one thread that looks after simulated runs from outside.
//!
//! A simulated host that goes on for ever without waiting would stop time, and the thread that
//! steps it with it. The criterion is counted in polls, so that the verdict does not depend on the
//! machine; only when it is looked at does. A task that never even yields is beyond that: after a
//! long time on the wall the process is ended.

use std::io::Write as _;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::exit;

/// Polls of one host without time moving that make a livelock. The busiest scenario of the library
/// takes some five hundred, and a load without a rate twenty thousand at most: it lets time pass.
pub const LIVELOCK: u64 = 100_000;
/// How often the runs are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Wall time without a step after which nothing but ending the process helps.
const STUCK: Duration = Duration::from_secs(180);

/// A run under watch, until it is dropped.
#[derive(Default)]
pub struct Watched {
    steps: AtomicU64,
    hosts: Mutex<Vec<Host>>,
    livelock: Mutex<Option<&'static str>>,
}

struct Host {
    runtime: Handle,
    blame: &'static str,
    /// Step and polls at the last look.
    seen: (u64, u64),
    /// Polls when time moved last.
    before: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static RUNS: Mutex<Vec<Weak<Watched>>> = Mutex::new(Vec::new());
static THREAD: Once = Once::new();

impl Watched {
    /// Begins to watch.
    #[must_use]
    pub fn begin() -> Arc<Self> {
        THREAD.call_once(|| {
            let spawned = std::thread::Builder::new().name("watchdog".to_owned()).spawn(look);
            // Without the thread a livelock hangs; nothing else is lost.
            drop(spawned);
        });
        let run = Arc::new(Self::default());
        lock(&RUNS).push(Arc::downgrade(&run));
        run
    }

    /// The calling task's host began a life; `blame` is who is at fault when it never waits.
    pub fn host(&self, blame: &'static str) {
        let runtime = Handle::current();
        lock(&self.hosts).retain(|host| host.blame != blame);
        let before = polls(&runtime);
        let seen = (self.steps.load(Ordering::Relaxed), before);
        lock(&self.hosts).push(Host { runtime, blame, seen, before });
    }

    /// Time moved. A step that ended is held to the same count as one that never does, or the
    /// verdict would depend on whether the thread happened to look.
    pub fn stepped(&self) {
        for host in lock(&self.hosts).iter_mut() {
            let polls = polls(&host.runtime);
            if polls.saturating_sub(host.before) > LIVELOCK {
                lock(&self.livelock).get_or_insert(host.blame);
            }
            host.before = polls;
        }
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Whom to blame for a livelock, if there was one.
    #[must_use]
    pub fn livelock(&self) -> Option<&'static str> {
        *lock(&self.livelock)
    }

    fn look(&self) {
        let step = self.steps.load(Ordering::Relaxed);
        for host in lock(&self.hosts).iter_mut() {
            let polls = polls(&host.runtime);
            let (since, before) = host.seen;
            if since != step {
                host.seen = (step, polls);
            } else if polls.saturating_sub(before) > LIVELOCK {
                lock(&self.livelock).get_or_insert(host.blame);
                // A panic in a simulated host ends it, and the step that never ended.
                host.runtime.spawn(async { resume_unwind(Box::new("livelock")) });
            }
        }
    }
}

#[cfg(tokio_unstable)]
fn polls(runtime: &Handle) -> u64 {
    runtime.metrics().worker_poll_count(0)
}

/// Without the metric nothing is simulated either.
#[cfg(not(tokio_unstable))]
fn polls(_: &Handle) -> u64 {
    0
}

/// The thread's work.
fn look() {
    let mut moved: (u64, Instant) = (0, Instant::now());
    loop {
        std::thread::sleep(LOOK);
        let runs: Vec<Arc<Watched>> = {
            let mut runs = lock(&RUNS);
            runs.retain(|run| run.strong_count() > 0);
            runs.iter().filter_map(Weak::upgrade).collect()
        };
        for run in &runs {
            run.look();
        }
        let steps: u64 = runs.iter().map(|run| run.steps.load(Ordering::Relaxed)).sum();
        if runs.is_empty() || steps != moved.0 {
            moved = (steps, Instant::now());
        } else if moved.1.elapsed() > STUCK {
            let text = "a simulated task has not yielded for three minutes; giving up";
            // Nothing is left to be told to when this fails.
            let _ = writeln!(std::io::stderr(), "dashproof: {text}");
            std::process::exit(i32::from(exit::INTERNAL));
        }
    }
}
