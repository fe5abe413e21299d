//! What happens by time alone, and what `flush`, `close` and drop do.

use std::time::Duration;

use super::close::Phase;
use super::effect::Effect;
use super::flush::FlushId;
use super::ledger::Tally;
use super::store::{Key, Stage};
use super::{Core, Outcome, Reason, Route};

/// What a flush came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// Outcomes of the events it waited for, as far as they are resolved.
    pub tally: Tally,
    /// Events that are not.
    pub pending: u64,
}

impl Core {
    /// When [`Core::handle_timeout`] has something to do; `None` while only I/O can go on.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.is_closed() {
            return None;
        }
        let main_waits = !(self.fifo.is_empty() && self.due.is_empty());
        let dlq_waits = !self.dead_letters.ready.is_empty();
        [
            self.store.next_deadline(),
            self.back_offs.first().map(|(at, _)| *at),
            self.dead_letters.next_timeout(),
            self.recall.next_timeout(),
            self.links.main.next_timeout(self.now, main_waits),
            self.links.dlq.next_timeout(self.now, dlq_waits),
            self.closing.next().map(|(at, _)| at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Duration) {
        let now = self.advance(now);
        while let Some(phase) = self.closing.step(now) {
            self.enter_phase(now, phase);
        }
        while let Some(key) = self.store.overdue(now) {
            let waits = self.store.get(key).is_some_and(|e| {
                matches!(
                    e.stage,
                    Stage::Unsupplied | Stage::Queued | Stage::Parked | Stage::MainBackOff(_)
                )
            });
            if waits {
                self.end_main(now, key, Reason::Deadline);
            }
        }
        self.drop_resolved_heads();
        self.main_back_offs(now);
        self.recall.step(now);
        while let Some(key) = self.dead_letters.overdue(now) {
            self.finish(key);
        }
        while let Some(key) = self.dead_letters.back_off_over(now) {
            if self.store.get(key).is_some_and(|e| matches!(e.stage, Stage::DlqBackOff(_))) {
                self.set_stage(key, Stage::DlqQueued);
            }
        }
        for route in [Route::Main, Route::Dlq] {
            if !self.is_closed() && self.links.of_mut(route).rebuild_due(now) {
                self.effects.push_back(Effect::Rebuild(route));
            }
        }
    }

    /// Events that expired at the head of the queue leave it, or a long outage would fill it.
    fn drop_resolved_heads(&mut self) {
        let store = &self.store;
        let waits = |key: Key| {
            store.get(key).is_some_and(|e| matches!(e.stage, Stage::Unsupplied | Stage::Queued))
        };
        while self.fifo.front().is_some_and(|key| !waits(*key)) {
            self.fifo.pop_front();
        }
        self.dead_letters.drop_heads(|key, stage| store.get(key).is_some_and(|e| e.stage == stage));
    }

    fn main_back_offs(&mut self, now: Duration) {
        while let Some((at, key)) = self.back_offs.first().copied() {
            if at > now {
                return;
            }
            self.back_offs.pop_first();
            if self.store.get(key).is_some_and(|e| e.stage == Stage::MainBackOff(at)) {
                self.set_stage(key, Stage::Queued);
                self.due.push_back(key);
            }
        }
    }

    fn enter_phase(&mut self, now: Duration, phase: Phase) {
        if phase == Phase::Over {
            self.withdraw(now);
        }
        let keys: Vec<Key> = self.store.keys().collect();
        match phase {
            Phase::Running | Phase::Draining => {}
            Phase::MainCut => {
                for key in keys {
                    self.cut_main(now, key, false);
                }
                self.fifo.clear();
                self.due.clear();
                self.back_offs.clear();
                self.effects.push_back(Effect::Purge(Route::Main));
            }
            Phase::MainOver => {
                for key in keys {
                    self.cut_main(now, key, true);
                }
            }
            Phase::DlqCut => {
                for key in keys {
                    let waits = self.store.get(key).is_some_and(|e| {
                        matches!(
                            e.stage,
                            Stage::DlqWaiting | Stage::DlqQueued | Stage::DlqBackOff(_)
                        )
                    });
                    if waits {
                        self.finish(key);
                    }
                }
                if self.rules.dlq {
                    self.effects.push_back(Effect::Purge(Route::Dlq));
                }
            }
            Phase::DlqOver => {
                for key in keys {
                    // what the spool does not keep wins nothing by not waiting
                    let open = self
                        .store
                        .get(key)
                        .is_some_and(|e| matches!(e.stage, Stage::DlqOpen { .. }) && self.keeps(e));
                    if open {
                        self.finish(key);
                    }
                }
            }
            Phase::Over => {
                for key in keys {
                    self.force(now, key);
                }
            }
        }
    }

    /// Ends main for an event that is still on it.
    fn cut_main(&mut self, now: Duration, key: Key, open_too: bool) {
        let cut = self.store.get(key).is_some_and(|e| match e.stage {
            Stage::Unsupplied | Stage::Queued | Stage::Parked | Stage::MainBackOff(_) => true,
            Stage::MainOpen { .. } => open_too,
            Stage::DlqWaiting
            | Stage::DlqQueued
            | Stage::DlqOpen { .. }
            | Stage::DlqBackOff(_)
            | Stage::Spooling { .. } => false,
        });
        if cut {
            self.end_main(now, key, Reason::Abandoned);
        }
    }

    /// Begins a flush of everything accepted so far.
    pub fn flush(&mut self, now: Duration) -> FlushId {
        self.advance(now);
        self.hint();
        self.flushes.begin(self.store.last_number())
    }

    fn hint(&mut self) {
        self.effects.push_back(Effect::FlushHint(Route::Main));
        if self.rules.dlq {
            self.effects.push_back(Effect::FlushHint(Route::Dlq));
        }
    }

    /// True when everything accepted before the flush has an outcome.
    #[must_use]
    pub fn is_flushed(&self, id: FlushId) -> bool {
        let Some(up_to) = self.flushes.up_to(id) else { return true };
        self.store.oldest().is_none_or(|oldest| oldest.number > up_to)
    }

    /// Ends a flush, done or not.
    pub fn end_flush(&mut self, id: FlushId) -> Flushed {
        let up_to = self.flushes.up_to(id).unwrap_or_default();
        let pending = self.store.keys().take_while(|key| key.number <= up_to).count() as u64;
        Flushed { tally: self.flushes.end(id), pending }
    }

    /// Begins to close: new and waiting sends are rejected from here on, and by `now + within`
    /// everything is resolved. A second call can only bring that forward.
    pub fn close(&mut self, now: Duration, within: Duration) {
        let now = self.advance(now);
        if !self.closing.begin(now, within) {
            self.closing.bring_forward(now, within);
            self.handle_timeout(now);
            return;
        }
        // what was not given back yet stays on the spool
        self.recall.left = 0;
        self.empty_line();
        self.hint();
        if within.is_zero() {
            self.handle_timeout(now);
        }
    }

    fn empty_line(&mut self) {
        for (ticket, waiter) in self.line.empty() {
            let outcome = Outcome::Rejected { reason: Reason::Closed };
            self.tell(waiter.message_id, waiter.thread, None, outcome, None);
            self.effects.push_back(Effect::Admit(ticket));
        }
    }

    /// The last handle is gone: everything is resolved at once, an open attempt as possibly.
    pub fn abandon(&mut self, now: Duration) {
        let now = self.advance(now);
        if self.is_closed() {
            return;
        }
        self.withdraw(now);
        self.closing.begin(now, Duration::ZERO);
        self.closing.phase = Phase::Over;
        self.recall.left = 0;
        self.empty_line();
        let keys: Vec<Key> = self.store.keys().collect();
        for key in keys {
            self.force(now, key);
        }
        self.effects.push_back(Effect::Purge(Route::Main));
        if self.rules.dlq {
            self.effects.push_back(Effect::Purge(Route::Dlq));
        }
    }
}
