//! Deliveries: what an attempt's end means for its event.

use std::sync::Arc;
use std::time::Duration;

use super::attempts::Slot;
use super::effect::{DlqFailure, Effect};
use super::retry::{Ended, Verdict};
use super::store::{Failed, Key, Stage};
use super::{
    AttemptId, Core, Delivery, ErrorClass, Failure, Outcome, Persistence, Reason, Refused, Route,
};

impl Core {
    /// An attempt has ended. False when nobody knows the attempt: the transport delivered twice,
    /// or something it never took.
    pub fn delivered(&mut self, now: Duration, delivery: &Delivery) -> bool {
        let now = self.advance(now);
        let attempt = delivery.attempt;
        // a delivery can overtake the shell's report of the submission
        self.submitted(now, attempt);
        match self.attempts.end(attempt) {
            Slot::Empty => false,
            Slot::Late { route } => {
                *self.counters.late_deliveries.of_mut(route) += 1;
                true
            }
            Slot::Open { index, route, generation } => {
                let link = self.links.of_mut(route);
                link.open = link.open.saturating_sub(1);
                match &delivery.result {
                    Ok(()) => link.succeeded(),
                    Err(failure) => {
                        if failure.trouble.is_some() {
                            link.down = Some(failure.cause());
                        }
                        if failure.class == ErrorClass::Fatal {
                            self.client_failed(now, route, generation);
                        }
                    }
                }
                if let Some(key) = self.store.key_at(index) {
                    match route {
                        Route::Main => self.main_delivered(now, key, delivery),
                        Route::Dlq => self.dlq_delivered(now, key, delivery),
                    }
                }
                true
            }
        }
    }

    /// The client of a route is unusable.
    pub(super) fn client_failed(&mut self, now: Duration, route: Route, generation: u16) {
        if self.links.of_mut(route).failed(now, generation) {
            self.effects.push_back(Effect::Retire(route));
        }
    }

    /// The client of a route is gone without a word: whatever it owes is possibly persisted, and
    /// another one is asked for.
    pub fn client_broke(&mut self, now: Duration, route: Route, failure: &Failure) {
        let now = self.advance(now);
        let generation = self.links.of(route).generation;
        for attempt in self.attempts.open_on(route, generation) {
            let delivery = Delivery {
                attempt,
                persistence: Persistence::Possibly,
                partition: -1,
                offset: -1,
                result: Err(failure.clone()),
            };
            self.delivered(now, &delivery);
        }
        self.client_failed(now, route, generation);
    }

    /// The shell has a new client for a route, or could not make one.
    pub fn rebuilt(&mut self, now: Duration, route: Route, connected: bool) {
        let now = self.advance(now);
        self.links.of_mut(route).rebuilt(now, connected);
        *self.counters.client_rebuilds.of_mut(route) += u64::from(connected);
    }

    fn main_delivered(&mut self, now: Duration, key: Key, delivery: &Delivery) {
        let cut = self.closing.main_is_cut();
        let acks_0 = self.rules.acks_0;
        let Some(entry) = self.store.get_mut(key) else { return };
        let in_time = matches!(entry.stage, Stage::MainOpen { attempt, .. }
            if attempt == delivery.attempt);
        if !in_time {
            self.main_delivered_after_cut(key, delivery);
            return;
        }
        let class = match &delivery.result {
            Ok(()) if !acks_0 => {
                let (partition, offset) = (delivery.partition, delivery.offset);
                self.release_thread(key);
                self.resolve(key, Outcome::Acked { partition, offset });
                return;
            }
            Ok(()) => {
                entry.main = entry.main.max(Persistence::Possibly);
                ErrorClass::Retryable
            }
            Err(failure) => {
                entry.main = entry.main.max(delivery.persistence);
                entry.failed = Some(Box::new(failed(failure, delivery)));
                failure.class
            }
        };
        let ended = Ended {
            class,
            attempts: entry.attempts,
            persistence: entry.main,
            now,
            deadline: entry.deadline,
            cut,
            unacknowledged: acks_0
                && (delivery.result.is_ok() || delivery.persistence > Persistence::Not),
        };
        let policy = &self.rules.policy.main;
        match policy.decide(&ended, policy.back_off(entry.attempts, &mut self.rng)) {
            Verdict::Again(at) => {
                entry.stage = Stage::MainBackOff(at);
                self.back_offs.insert((at, key));
            }
            Verdict::End(reason) => self.end_main(now, key, reason),
        }
    }

    /// `close` did not wait for this attempt, but its event is still on its way to the DLQ: what is
    /// known of main gets better.
    fn main_delivered_after_cut(&mut self, key: Key, delivery: &Delivery) {
        let Some(entry) = self.store.get_mut(key) else { return };
        let Some(letter) = &mut entry.dlq else { return };
        letter.main_left_open = None;
        match &delivery.result {
            Ok(()) if !self.rules.acks_0 => {
                letter.acked = Some((delivery.partition, delivery.offset));
                entry.main = Persistence::Persisted;
                if !matches!(entry.stage, Stage::DlqOpen { .. } | Stage::Spooling { .. }) {
                    self.finish(key);
                }
            }
            // what the spool was told stands
            _ if matches!(entry.stage, Stage::Spooling { .. }) => {}
            Ok(()) => entry.main = letter.main_before_cut.max(Persistence::Possibly),
            Err(failure) => {
                entry.main = letter.main_before_cut.max(delivery.persistence);
                entry.failed = Some(Box::new(failed(failure, delivery)));
            }
        }
    }

    fn dlq_delivered(&mut self, now: Duration, key: Key, delivery: &Delivery) {
        let cut = self.closing.dlq_is_cut();
        let Some(entry) = self.store.get_mut(key) else { return };
        let Some(letter) = &mut entry.dlq else { return };
        letter.persistence = letter.persistence.max(delivery.persistence);
        if matches!(entry.stage, Stage::Spooling { .. }) {
            letter.delivered = delivery.result.is_ok();
            entry.stage = Stage::Spooling { dlq_open: None };
            self.counters.dlq_send_failures += u64::from(delivery.result.is_err());
            return;
        }
        let failure = match &delivery.result {
            Ok(()) => {
                letter.delivered = delivery.persistence == Persistence::Persisted;
                self.finish(key);
                return;
            }
            Err(failure) => failure,
        };
        self.counters.dlq_send_failures += 1;
        let ended = Ended {
            class: failure.class,
            attempts: letter.attempts,
            persistence: letter.persistence,
            now,
            deadline: letter.deadline,
            cut: cut || letter.acked.is_some(),
            unacknowledged: false,
        };
        let (attempt, deadline, persistence) =
            (letter.attempts, letter.deadline, letter.persistence);
        let policy = &self.rules.policy.dlq;
        let verdict = policy.decide(&ended, policy.back_off(attempt, &mut self.rng));
        let will_retry = matches!(verdict, Verdict::Again(_));
        self.tell_dlq_failure(key, attempt, failure, persistence, will_retry);
        match verdict {
            Verdict::Again(at) => {
                self.set_stage(key, Stage::DlqBackOff(at));
                self.dead_letters.back_off(key, at);
                self.dead_letters.watch_deadline(key, deadline);
            }
            Verdict::End(_) => self.finish(key),
        }
    }

    fn tell_dlq_failure(
        &mut self,
        key: Key,
        attempt: u32,
        failure: &Failure,
        persistence: Persistence,
        will_retry: bool,
    ) {
        let Some(entry) = self.store.get(key) else { return };
        let source = entry.failed.as_deref();
        self.effects.push_back(Effect::DlqFailed(Box::new(DlqFailure {
            topic: self.rules.topic.clone(),
            partition: source.map_or(-1, |f| f.partition),
            offset: source.map_or(-1, |f| f.offset),
            thread: self.threads.name(entry.thread),
            trace_id: entry.message_id,
            attempt,
            code: failure.code,
            reason: failure.reason.clone(),
            persistence,
            will_retry,
        })));
    }

    /// A refusal that no waiting can mend ends the route for the event; no attempt was made.
    pub(super) fn refused_for_good(
        &mut self,
        now: Duration,
        route: Route,
        key: Key,
        refused: &Refused,
    ) {
        match route {
            Route::Main => {
                if let Some(entry) = self.store.get_mut(key) {
                    let cause = refused.cause();
                    entry.failed = Some(Box::new(Failed { cause, partition: -1, offset: -1 }));
                }
                self.end_main(now, key, Reason::PermanentError);
            }
            Route::Dlq => {
                let failure = Failure {
                    code: refused.code,
                    class: refused.class,
                    reason: Arc::clone(&refused.reason),
                    trouble: refused.trouble,
                };
                let entry = self.store.get(key).and_then(|e| e.dlq.as_ref());
                let (attempt, persistence) =
                    entry.map_or((0, Persistence::Not), |l| (l.attempts, l.persistence));
                self.tell_dlq_failure(key, attempt, &failure, persistence, false);
                self.finish(key);
            }
        }
    }

    pub(super) fn set_stage(&mut self, key: Key, stage: Stage) {
        if let Some(entry) = self.store.get_mut(key) {
            entry.stage = stage;
        }
    }

    /// The open attempt of an event, by route.
    pub(super) fn open_attempt(&self, key: Key) -> Option<(Route, AttemptId)> {
        match self.store.get(key)?.stage {
            Stage::MainOpen { attempt, .. } => Some((Route::Main, attempt)),
            Stage::DlqOpen { attempt, .. } | Stage::Spooling { dlq_open: Some(attempt) } => {
                Some((Route::Dlq, attempt))
            }
            _ => None,
        }
    }
}

fn failed(failure: &Failure, delivery: &Delivery) -> Failed {
    let (partition, offset) = (delivery.partition, delivery.offset.max(-1));
    Failed { cause: failure.cause(), partition, offset }
}
