//! How an event ends: main without success, then the DLQ, then its one outcome.

use std::time::Duration;

use super::store::{DeadLetter, Entry, Key, Stage};
use super::{Cause, Core, Outcome, PerRoute, Persistence, Reason, Route};

impl Core {
    /// Main has ended without success, for a reason that is fixed from here on. The event goes on
    /// to the DLQ if one may take it.
    pub(super) fn end_main(&mut self, now: Duration, key: Key, reason: Reason) {
        let Some(entry) = self.store.get_mut(key) else { return };
        entry.reason = Some(reason);
        let takes =
            self.rules.dlq && reason != Reason::Acks0 && !entry.from_dlq && !entry.frame.is_empty();
        let main_left_open = match entry.stage {
            Stage::MainOpen { attempt, .. } => Some(attempt),
            _ => None,
        }
        .filter(|attempt| {
            matches!(self.attempts.get(*attempt), super::attempts::Slot::Open { .. })
        });
        let main_before_cut = entry.main;
        if main_left_open.is_some() {
            entry.main = entry.main.max(Persistence::Possibly);
        }
        let deadline = now + self.rules.dlq_timeout;
        entry.dlq = Some(Box::new(DeadLetter {
            deadline,
            attempts: 0,
            persistence: Persistence::Not,
            delivered: false,
            ended: now,
            main_before_cut,
            main_left_open,
            acked: None,
        }));
        self.release_thread(key);
        if !takes || self.closing.dlq_is_cut() {
            self.finish(key);
            return;
        }
        let permit = self.dead_letters.enter(key, deadline);
        self.counters.dlq_over_limit += u64::from(!permit);
        self.set_stage(key, if permit { Stage::DlqQueued } else { Stage::DlqWaiting });
    }

    /// `order = "strict"`: the next event of the thread may go.
    pub(super) fn release_thread(&mut self, key: Key) {
        if !self.rules.strict {
            return;
        }
        let Some(entry) = self.store.get(key) else { return };
        let Some(thread) = self.threads.get_mut(entry.thread) else { return };
        if thread.busy != Some(key) {
            return;
        }
        thread.busy = None;
        while let Some(next) = thread.parked.pop_front() {
            if let Some(entry) = self.store.get_mut(next)
                && entry.stage == Stage::Parked
            {
                entry.stage = Stage::Queued;
                thread.busy = Some(next);
                self.due.push_back(next);
                return;
            }
        }
    }

    /// Both routes are over for the event: the spool gets it, or it gets its outcome.
    pub(super) fn finish(&mut self, key: Key) {
        let Some(outcome) = self.earned(key) else { return };
        let Some(entry) = self.store.get(key) else { return };
        if !self.is_for_spool(entry, &outcome) {
            self.conclude(key, outcome);
        } else if !self.closing.is_over() {
            self.spool(key);
        } else if entry.from_spool.is_some() {
            // its record is where it was
            let PerRoute { main, dlq } = entry.claims();
            self.conclude(key, Outcome::Spooled { main, dlq });
        } else {
            self.conclude(key, outcome);
        }
    }

    /// The outcome that the two routes of an event have earned, by the lines of the contract but
    /// for line 4, which is the spool's to give.
    pub(super) fn earned(&self, key: Key) -> Option<Outcome> {
        let entry = self.store.get(key)?;
        let reason = entry.reason.unwrap_or(Reason::Abandoned);
        let PerRoute { main, dlq } = entry.claims();
        let letter = entry.dlq.as_deref();
        Some(if let Some((partition, offset)) = letter.and_then(|l| l.acked) {
            Outcome::Acked { partition, offset }
        } else if letter.is_some_and(|l| l.delivered) {
            Outcome::DeadLettered { cause: reason, main }
        } else if main > Persistence::Not || dlq > Persistence::Not {
            Outcome::InDoubt { reason, main, dlq }
        } else {
            Outcome::Dropped { reason }
        })
    }

    /// The event has its outcome but for the books.
    pub(super) fn conclude(&mut self, key: Key, outcome: Outcome) {
        let Some(entry) = self.store.get(key) else { return };
        let reason = entry.reason.unwrap_or(Reason::Abandoned);
        let wanted = self.rules.dlq && reason != Reason::Acks0 && !entry.from_dlq;
        let missed = matches!(outcome, Outcome::InDoubt { .. } | Outcome::Dropped { .. });
        self.counters.dlq_dropped += u64::from(wanted && missed);
        self.resolve(key, outcome);
    }

    /// The event leaves the producer with its one outcome.
    pub(super) fn resolve(&mut self, key: Key, outcome: Outcome) {
        let open = self.open_attempt(key);
        let Some(entry) = self.store.remove(key) else { return };
        let left_open = entry.dlq.as_ref().and_then(|l| l.main_left_open);
        for (route, attempt) in open.into_iter().chain(left_open.map(|a| (Route::Main, a))) {
            self.leave_open(route, attempt);
        }
        self.leave_dlq(key, &entry);
        if let Some(from) = &entry.from_spool
            && !matches!(outcome, Outcome::Spooled { .. })
        {
            self.end_record(from.id);
        }
        // counted with the outcome: `close` can cut an attempt that is confirmed in time after all
        self.counters.send_failures += u64::from(!matches!(outcome, Outcome::Acked { .. }));
        self.flushes.resolved(key, &outcome);
        let thread = self.threads.name(entry.thread);
        let cause = self.cause(&entry, &outcome);
        self.tell(entry.message_id, thread, Some(entry.sequence), outcome, cause);
        self.call_next();
    }

    /// Why an event did not reach main: what its last attempt was told or, if none was made or it
    /// has not ended, what keeps the connection down.
    fn cause(&self, entry: &Entry, outcome: &Outcome) -> Option<Box<Cause>> {
        if matches!(outcome, Outcome::Acked { .. }) {
            return None;
        }
        let own = entry.failed.as_ref().map(|failed| failed.cause.clone());
        own.or_else(|| self.links.main.down.clone()).map(Box::new)
    }

    /// The DLQ is over for an event: somebody else gets its permit.
    pub(super) fn leave_dlq(&mut self, key: Key, entry: &Entry) {
        if let Some(letter) = &entry.dlq {
            self.dead_letters.forget_deadline(key, letter.deadline);
        }
        let holds_permit =
            matches!(entry.stage, Stage::DlqQueued | Stage::DlqOpen { .. } | Stage::DlqBackOff(_));
        if holds_permit {
            let store = &self.store;
            let lives = |k: Key| store.get(k).is_some_and(|e| e.stage == Stage::DlqWaiting);
            if let Some(next) = self.dead_letters.release(lives) {
                self.set_stage(next, Stage::DlqQueued);
            }
        }
    }

    /// A delivery of this attempt, if it still comes, is late.
    fn leave_open(&mut self, route: Route, attempt: super::AttemptId) {
        if self.attempts.abandon(attempt) {
            let link = self.links.of_mut(route);
            link.open = link.open.saturating_sub(1);
        }
    }

    /// Gives the event its outcome now, whatever is open.
    pub(super) fn force(&mut self, now: Duration, key: Key) {
        let Some(entry) = self.store.get_mut(key) else { return };
        match entry.stage {
            Stage::MainOpen { .. } => entry.main = entry.main.max(Persistence::Possibly),
            Stage::DlqOpen { .. } => {
                if let Some(letter) = &mut entry.dlq {
                    letter.persistence = letter.persistence.max(Persistence::Possibly);
                }
            }
            _ => {}
        }
        if let Some((_, attempt)) = self.open_attempt(key) {
            // without effect on an event that is being spooled
            self.confirm(key, attempt);
        }
        if self.store.get(key).is_some_and(|e| e.reason.is_none()) {
            // phase `DlqCut` or later: this resolves it
            self.end_main(now, key, Reason::Abandoned);
        } else {
            self.finish(key);
        }
    }
}
