//! Whether another attempt is made, when, and why not.

use std::time::Duration;

use super::{ErrorClass, Persistence, Reason};

/// Rules of one route.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) max_attempts: u32,
    pub(super) base: Duration,
    pub(super) cap: Duration,
    pub(super) jitter: f64,
    /// Idempotence is off, or the settings allow a second copy.
    pub(super) retry_possibly_persisted: bool,
}

/// An attempt that ended without success.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) class: ErrorClass,
    /// Attempts so far, this one included.
    pub(super) attempts: u32,
    /// What is known of the log over all attempts.
    pub(super) persistence: Persistence,
    pub(super) now: Duration,
    /// After it no further attempt is started.
    pub(super) deadline: Duration,
    /// `close` has cut this route.
    pub(super) cut: bool,
    /// acks=0, and the record was sent: nobody will ever know.
    pub(super) unacknowledged: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Hand over again at this time.
    Again(Duration),
    /// The route has ended, for this reason.
    End(Reason),
}

impl Policy {
    /// `base · 2^(attempts-1)`, at most `cap`, plus up to `jitter` of itself.
    pub(super) fn back_off(&self, attempts: u32, rng: &mut fastrand::Rng) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let plain = self.base.saturating_mul(1 << doublings).min(self.cap);
        plain + plain.mul_f64(self.jitter * rng.f64())
    }

    /// Decides. Where no further attempt is made, the reason is the first that holds, in the order
    /// of the contract.
    pub(super) fn decide(&self, ended: &Ended, back_off: Duration) -> Verdict {
        let at = ended.now + back_off;
        let unsure = ended.persistence > Persistence::Not && !self.retry_possibly_persisted;
        let reason = if ended.class != ErrorClass::Retryable {
            Reason::PermanentError
        } else if ended.unacknowledged {
            Reason::Acks0
        } else if ended.cut {
            Reason::Abandoned
        } else if at >= ended.deadline {
            Reason::Deadline
        } else if unsure {
            Reason::Unconfirmed
        } else if ended.attempts >= self.max_attempts {
            Reason::RetriesExhausted
        } else {
            return Verdict::Again(at);
        };
        Verdict::End(reason)
    }
}
