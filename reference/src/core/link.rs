//! The state of one route's client: up, held for a moment, or being rebuilt.

use std::time::Duration;

use super::Cause;

/// Pause of a route after its client refused a record for now.
const HOLD_OFF: Duration = Duration::from_millis(50);
/// Wait before the first rebuild; it doubles with every rebuild that did not help.
const REBUILD_BASE: Duration = Duration::from_millis(100);
/// Longest wait before a rebuild.
const REBUILD_CAP: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// The next rebuild is due then.
    Down(Duration),
    /// The shell is connecting.
    Rebuilding,
}

/// One route's client as the core sees it.
#[derive(Debug)]
pub(super) struct Link {
    state: State,
    held_until: Duration,
    /// Rebuilds since the last success.
    rebuilds: u32,
    /// Counts clients; an attempt remembers whose it is.
    pub(super) generation: u16,
    /// Open attempts.
    pub(super) open: usize,
    /// Why nothing gets through, since the last success.
    pub(super) down: Option<Cause>,
}

impl Link {
    pub(super) const fn new() -> Self {
        let (state, held_until) = (State::Up, Duration::ZERO);
        Self { state, held_until, rebuilds: 0, generation: 0, open: 0, down: None }
    }

    /// May a record be handed over now?
    pub(super) fn is_ready(&self, now: Duration) -> bool {
        self.state == State::Up && now >= self.held_until
    }

    /// The client refused a record for now.
    pub(super) fn hold(&mut self, now: Duration) {
        self.held_until = now + HOLD_OFF;
    }

    /// A delivery succeeded: whatever was wrong is over.
    pub(super) fn succeeded(&mut self) {
        self.rebuilds = 0;
        self.down = None;
    }

    /// The client is unusable. True when this is news: it must be retired.
    pub(super) fn failed(&mut self, now: Duration, generation: u16) -> bool {
        if generation != self.generation || self.state != State::Up {
            return false;
        }
        self.schedule(now);
        true
    }

    fn schedule(&mut self, now: Duration) {
        let wait = REBUILD_BASE.saturating_mul(1 << self.rebuilds.min(16)).min(REBUILD_CAP);
        self.rebuilds = self.rebuilds.saturating_add(1);
        self.state = State::Down(now + wait);
    }

    /// True once when the rebuild is due.
    pub(super) fn rebuild_due(&mut self, now: Duration) -> bool {
        let due = matches!(self.state, State::Down(at) if at <= now);
        if due {
            self.state = State::Rebuilding;
        }
        due
    }

    /// The shell has a new client, or could not make one.
    pub(super) fn rebuilt(&mut self, now: Duration, connected: bool) {
        if connected {
            self.generation = self.generation.wrapping_add(1);
            self.state = State::Up;
            self.held_until = now;
        } else {
            self.schedule(now);
        }
    }

    /// When something changes by time alone; a hold matters only when records wait.
    pub(super) fn next_timeout(&self, now: Duration, records_wait: bool) -> Option<Duration> {
        match self.state {
            State::Down(at) => Some(at),
            State::Up if records_wait && self.held_until > now => Some(self.held_until),
            State::Up | State::Rebuilding => None,
        }
    }
}
