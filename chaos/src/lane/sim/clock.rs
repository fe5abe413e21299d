//! Virtual time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::Duration;

use crate::history::Clock;

/// Virtual time of whichever host asks.
#[derive(Default)]
pub(super) struct SimClock {
    /// Time at the end of the last step, microseconds; what is told outside of a host.
    step_us: AtomicU64,
    /// A host is being killed: its runtime no longer knows the time.
    killing: AtomicBool,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl SimClock {
    /// A step is over.
    pub(super) fn stepped(&self, elapsed: Duration) {
        self.step_us.store(micros(elapsed), Ordering::Relaxed);
    }

    /// While `kill` runs the time of the last step is told.
    pub(super) fn frozen(&self, kill: impl FnOnce()) {
        self.killing.store(true, Ordering::Relaxed);
        kill();
        self.killing.store(false, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> u64 {
        let inside = !self.killing.load(Ordering::Relaxed);
        let elapsed = inside.then(turmoil::sim_elapsed).flatten();
        elapsed.map_or_else(|| self.step_us.load(Ordering::Relaxed), micros)
    }
}
