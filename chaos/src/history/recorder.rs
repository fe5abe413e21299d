//! Collects the lines of a run, numbers them and stamps them with the lane's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FORMAT_VERSION, FaultPhase, Kind, Line, Src};

/// The lane's own time, in microseconds since the run began. Virtual in `sim`.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now_us(&self) -> u64;
}

/// Shared, cheap to clone. Lines are kept in memory until the run is over.
#[derive(Clone)]
pub struct Recorder {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    inc: u32,
    subject_muted: bool,
}

impl Recorder {
    /// An empty history stamped by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while holding the lock cannot leave a line half written: pushes are last.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane's time.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// Appends a line. A muted subject (crashed, not yet reopened) is not recorded: whatever a
    /// killed process would have said after its death is no evidence.
    pub fn record(&self, src: Src, kind: Kind) {
        let _ = self.place(src, kind);
    }

    /// As [`Recorder::record`]; returns the line's number for [`Recorder::amend`], `None` when it
    /// was not recorded.
    #[must_use]
    pub fn place(&self, src: Src, kind: Kind) -> Option<u64> {
        let t_us = self.clock.now_us();
        let mut state = self.state();
        if src == Src::Subject && state.subject_muted {
            return None;
        }
        let (n, inc) = (state.lines.len() as u64, state.inc);
        state.lines.push(Line { v: FORMAT_VERSION, n, t_us, inc, src, kind });
        Some(n)
    }

    /// Completes a line whose end was open when it was written: a request stands where it was
    /// carried out, and learns later whether its answer left. Without effect on a line that was
    /// taken out.
    pub fn amend(&self, n: u64, change: impl FnOnce(&mut Kind)) {
        let at = usize::try_from(n).unwrap_or(usize::MAX);
        if let Some(line) = self.state().lines.get_mut(at).filter(|line| line.n == n) {
            change(&mut line.kind);
        }
    }

    /// A line of the harness.
    pub fn harness(&self, kind: Kind) {
        self.record(Src::Harness, kind);
    }

    /// A phase of the fault with this index.
    pub fn fault(&self, fault: usize, name: &str, phase: FaultPhase) {
        self.harness(Kind::Fault { fault, name: name.to_owned(), phase });
    }

    /// Starts incarnation `inc`; lines from now on carry it and the subject is heard again.
    pub fn incarnation(&self, inc: u32) {
        let mut state = self.state();
        state.inc = inc;
        state.subject_muted = false;
    }

    /// From now on the subject's lines are ignored (it was killed).
    pub fn mute_subject(&self) {
        self.state().subject_muted = true;
    }

    /// Looks at what was recorded so far, without a copy.
    pub fn read<T>(&self, look: impl FnOnce(&[Line]) -> T) -> T {
        look(&self.state().lines)
    }

    /// A copy of what was recorded so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.state().lines.clone()
    }

    /// Takes the lines out.
    #[must_use]
    pub fn take(&self) -> Vec<Line> {
        std::mem::take(&mut self.state().lines)
    }
}
