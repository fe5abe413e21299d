//! How an event ends: main without success, then the DLQ, then its one outcome.

use std::time::Duration;

use super::store::{DeadLetter, Key, Stage};
use super::{Core, Outcome, Persistence, Reason, Route};

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

    /// The event gets the outcome that its two routes have earned, by the lines of the contract.
    /// Line 4 (spooled) belongs here, between the DLQ and the last two, once there is a spool.
    pub(super) fn finish(&mut self, key: Key) {
        let Some(entry) = self.store.get(key) else { return };
        let reason = entry.reason.unwrap_or(Reason::Abandoned);
        let main = entry.main;
        let letter = entry.dlq.as_deref();
        let dlq = letter.map_or(Persistence::Not, |l| l.persistence);
        let outcome = if let Some((partition, offset)) = letter.and_then(|l| l.acked) {
            Outcome::Acked { partition, offset }
        } else if letter.is_some_and(|l| l.delivered) {
            Outcome::DeadLettered { cause: reason, main }
        } else if main > Persistence::Not || dlq > Persistence::Not {
            Outcome::InDoubt { reason, main, dlq }
        } else {
            Outcome::Dropped { reason }
        };
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
        // counted with the outcome: `close` can cut an attempt that is confirmed in time after all
        self.counters.send_failures += u64::from(!matches!(outcome, Outcome::Acked { .. }));
        self.flushes.resolved(key, &outcome);
        let thread = self.threads.name(entry.thread);
        self.tell(entry.message_id, thread, Some(entry.sequence), outcome);
        self.call_next();
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
