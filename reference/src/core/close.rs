//! The phases of `close(d)` and the share of `d` that each has.

use std::time::Duration;

/// Shares of the deadline in percent, from the moment `close` begins.
pub mod share {
    /// Until here main goes on as before; then back-offs are cut and main is purged.
    pub const MAIN: u32 = 60;
    /// Until here main's deliveries are awaited; then an open main attempt counts as possibly.
    pub const MAIN_DELIVERIES: u32 = 70;
    /// Until here the DLQ goes on; then it is purged. At the deadline whatever is left is resolved.
    pub const DLQ: u32 = 95;
    /// The same with a spool, which needs time of its own: a busy disk takes long to sync.
    pub const DLQ_BEFORE_SPOOL: u32 = 80;
    /// Until here, with a spool, the DLQ's deliveries are awaited; then an open DLQ attempt counts
    /// as possibly. The rest is the spool's.
    pub const DLQ_DELIVERIES: u32 = 85;
}

/// How far a close has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Not begun.
    Running,
    /// New events are rejected, the rest goes on.
    Draining,
    /// Main is cut and purged.
    MainCut,
    /// Main is over, whatever is open.
    MainOver,
    /// The DLQ is cut and purged.
    DlqCut,
    /// The DLQ is over, whatever is open; the spool has the rest of the time.
    DlqOver,
    /// Everything is resolved.
    Over,
}

/// The machine: it steps through the phases as time passes.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) phase: Phase,
    began: Duration,
    within: Duration,
    /// Until where the DLQ goes on, in percent.
    dlq: u32,
}

impl Closing {
    pub(super) const fn new(spool: bool) -> Self {
        let dlq = if spool { share::DLQ_BEFORE_SPOOL } else { share::DLQ };
        Self { phase: Phase::Running, began: Duration::ZERO, within: Duration::ZERO, dlq }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.phase > Phase::Running
    }

    pub(super) fn main_is_cut(&self) -> bool {
        self.phase >= Phase::MainCut
    }

    pub(super) fn dlq_is_cut(&self) -> bool {
        self.phase >= Phase::DlqCut
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase >= Phase::Over
    }

    /// Begins, unless it has begun.
    pub(super) fn begin(&mut self, now: Duration, within: Duration) -> bool {
        if self.has_begun() {
            return false;
        }
        *self = Self { phase: Phase::Draining, began: now, within, ..*self };
        true
    }

    /// A later call with an earlier deadline brings the end forward; never the other way round.
    pub(super) fn bring_forward(&mut self, now: Duration, within: Duration) {
        let left = now.saturating_sub(self.began).saturating_add(within);
        self.within = self.within.min(left);
    }

    fn at(&self, percent: u32) -> Duration {
        // a deadline of centuries must not overflow; the order of the steps is what matters
        self.began.saturating_add(self.within.saturating_mul(percent) / 100)
    }

    /// When the next phase begins.
    pub(super) fn next(&self) -> Option<(Duration, Phase)> {
        match self.phase {
            Phase::Running | Phase::Over => None,
            Phase::Draining => Some((self.at(share::MAIN), Phase::MainCut)),
            Phase::MainCut => Some((self.at(share::MAIN_DELIVERIES), Phase::MainOver)),
            Phase::MainOver => Some((self.at(self.dlq), Phase::DlqCut)),
            Phase::DlqCut => Some((self.at(share::DLQ_DELIVERIES.max(self.dlq)), Phase::DlqOver)),
            Phase::DlqOver => Some((self.at(100), Phase::Over)),
        }
    }

    /// Enters the next phase if its time has come.
    pub(super) fn step(&mut self, now: Duration) -> Option<Phase> {
        let (at, phase) = self.next()?;
        if now < at {
            return None;
        }
        self.phase = phase;
        Some(phase)
    }
}
