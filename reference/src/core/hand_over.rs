//! Handing records to the transports, in order and within the caps.

use std::time::Duration;

use super::attempts::Slot;
use super::effect::{Body, Effect, HandOver};
use super::letter::Letter;
use super::store::{Key, Stage};
use super::{AttemptId, Cause, Core, ErrorClass, Reason, Refused, Route};

impl Core {
    /// The next record of a route, if one may go now.
    pub(super) fn next_hand_over(&mut self, route: Route, now: Duration) -> Option<HandOver> {
        loop {
            if !self.links.of(route).is_ready(now) {
                return None;
            }
            let key = match route {
                Route::Main => self.next_main(now)?,
                Route::Dlq => self.next_dlq()?,
            };
            if let Some(hand_over) = self.start(route, key) {
                return Some(hand_over);
            }
        }
    }

    /// The next event for main; events that expired while they waited end here.
    fn next_main(&mut self, now: Duration) -> Option<Key> {
        if self.links.main.open >= self.rules.max_in_flight || self.closing.main_is_cut() {
            return None;
        }
        loop {
            let (from_due, key) = match self.due.front() {
                Some(key) => (true, *key),
                None => (false, *self.fifo.front()?),
            };
            let stage = self.store.get(key).map(|e| e.stage);
            if stage == Some(Stage::Unsupplied) {
                // hand-over is in order: the head's payload is on its way
                return None;
            }
            if from_due {
                self.due.pop_front()
            } else {
                self.fifo.pop_front()
            };
            if stage != Some(Stage::Queued) {
                continue;
            }
            if self.store.get(key).is_some_and(|e| e.deadline <= now) {
                self.end_main(now, key, Reason::Deadline);
                continue;
            }
            if self.rules.strict && !self.may_go(key) {
                continue;
            }
            return Some(key);
        }
    }

    /// `order = "strict"`: parks the event while an older one of its thread is on its way.
    fn may_go(&mut self, key: Key) -> bool {
        let Some(entry) = self.store.get_mut(key) else { return false };
        let Some(thread) = self.threads.get_mut(entry.thread) else { return true };
        // events without a thread id have no order among them
        if thread.key.is_none() || thread.busy == Some(key) {
            return true;
        }
        if thread.busy.is_some() {
            entry.stage = Stage::Parked;
            thread.parked.push_back(key);
            return false;
        }
        thread.busy = Some(key);
        true
    }

    fn next_dlq(&mut self) -> Option<Key> {
        if self.closing.dlq_is_cut() {
            return None;
        }
        while let Some(key) = self.dead_letters.ready.pop_front() {
            let Some(entry) = self.store.get(key) else { continue };
            if entry.stage == Stage::DlqQueued {
                if let Some(letter) = &entry.dlq {
                    self.dead_letters.forget_deadline(key, letter.deadline);
                }
                return Some(key);
            }
        }
        None
    }

    fn start(&mut self, route: Route, key: Key) -> Option<HandOver> {
        let link = self.links.of_mut(route);
        let entry = self.store.get_mut(key)?;
        let attempt = self.attempts.open(key.index, route, link.generation);
        link.open += 1;
        match route {
            Route::Main => {
                entry.stage = Stage::MainOpen { attempt, confirmed: false };
                let most = self.counters.open_attempts_max.max(link.open as u64);
                self.counters.open_attempts_max = most;
            }
            Route::Dlq => entry.stage = Stage::DlqOpen { attempt, confirmed: false },
        }
        self.draft(route, key, attempt)
    }

    fn draft(&self, route: Route, key: Key, attempt: AttemptId) -> Option<HandOver> {
        let entry = self.store.get(key)?;
        let thread = self.threads.get(entry.thread)?;
        let (topic, body, at_us) = match route {
            Route::Main => {
                let body = Body::Main {
                    key: thread.key.clone(),
                    frame: entry.frame.clone(),
                    crc32: entry.crc32,
                };
                (&self.rules.topic, body, self.accepted_us(entry))
            }
            Route::Dlq => {
                let ended = entry.dlq.as_ref()?.ended;
                (&self.rules.dlq_topic, Body::Dlq(Box::new(self.letter(key)?)), self.wall(ended))
            }
        };
        Some(HandOver {
            attempt,
            route,
            topic: topic.clone(),
            message_id: entry.message_id,
            timestamp_ms: at_us / 1000,
            body,
        })
    }

    fn letter(&self, key: Key) -> Option<Letter> {
        let entry = self.store.get(key)?;
        let reason = entry.reason.map_or("", Reason::as_str);
        let failed = entry.failed.as_deref();
        let error = failed.map_or_else(
            || reason.to_owned(),
            |f| {
                let Cause { code, text, .. } = &f.cause;
                format!("{reason}: {} ({code}): {text}", super::errors::name(*code))
            },
        );
        Some(Letter {
            payload: entry.frame.clone(),
            error,
            source_topic: self.rules.topic.clone(),
            source_partition: failed.map_or(-1, |f| f.partition),
            source_offset: failed.map_or(-1, |f| f.offset),
            ended_us: self.wall(entry.dlq.as_ref()?.ended),
            consumer: self.rules.consumer.clone(),
            thread: self.threads.name(entry.thread),
            message_id: entry.message_id,
            payload_cut: self.rules.payload_cut,
            max_record_bytes: self.rules.max_record_bytes,
        })
    }

    /// The transport took the record.
    pub fn submitted(&mut self, now: Duration, attempt: AttemptId) {
        self.advance(now);
        if let Slot::Open { index, .. } = self.attempts.get(attempt)
            && let Some(key) = self.store.key_at(index)
        {
            self.confirm(key, attempt);
        }
    }

    /// An attempt has really begun: it counts.
    pub(super) fn confirm(&mut self, key: Key, attempt: AttemptId) {
        let Some(entry) = self.store.get_mut(key) else { return };
        match &mut entry.stage {
            Stage::MainOpen { attempt: open, confirmed } if *open == attempt && !*confirmed => {
                *confirmed = true;
                entry.attempts += 1;
                self.counters.send_retries += u64::from(entry.attempts > 1);
            }
            Stage::DlqOpen { attempt: open, confirmed } if *open == attempt && !*confirmed => {
                *confirmed = true;
                if let Some(letter) = &mut entry.dlq {
                    letter.attempts += 1;
                    self.counters.dlq_send_retries += u64::from(letter.attempts > 1);
                }
            }
            _ => {}
        }
    }

    /// The transport did not take the record: no attempt was made. Retryable (and fatal, which is
    /// the client's fault and not the event's) leaves the event queued until its deadline;
    /// permanent ends its route.
    pub fn refused(&mut self, now: Duration, attempt: AttemptId, refused: &Refused) {
        let now = self.advance(now);
        let Slot::Open { route, generation, .. } = self.attempts.get(attempt) else {
            self.attempts.end(attempt);
            return;
        };
        if refused.class != ErrorClass::Permanent {
            self.links.of_mut(route).down = Some(refused.cause());
        }
        match refused.class {
            ErrorClass::Retryable => self.links.of_mut(route).hold(now),
            ErrorClass::Fatal => self.client_failed(now, route, generation),
            ErrorClass::Permanent => {
                if let Some(key) = self.take_back(attempt) {
                    self.refused_for_good(now, route, key, refused);
                }
                return;
            }
        }
        self.handed_back(now, attempt);
    }

    /// The record was not submitted, because one before it was refused for now: it is the next to
    /// go. Several are given back in reverse order.
    pub fn handed_back(&mut self, now: Duration, attempt: AttemptId) {
        let now = self.advance(now);
        let Slot::Open { route, .. } = self.attempts.get(attempt) else {
            self.attempts.end(attempt);
            return;
        };
        let Some(key) = self.take_back(attempt) else { return };
        match route {
            Route::Main => self.requeue_main(now, key),
            Route::Dlq => self.requeue_dlq(now, key),
        }
    }

    /// Takes back the hand-overs that nobody has fetched yet: they were no attempts.
    pub(super) fn withdraw(&mut self, now: Duration) {
        let effects = std::mem::take(&mut self.effects);
        let is_one = |effect: &Effect| matches!(effect, Effect::HandOver(_));
        let (unsent, rest): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_one);
        self.effects.extend(rest);
        for effect in unsent.into_iter().rev() {
            if let Effect::HandOver(hand_over) = effect {
                self.handed_back(now, hand_over.attempt);
            }
        }
    }

    /// Undoes [`Core::start`].
    fn take_back(&mut self, attempt: AttemptId) -> Option<Key> {
        let Slot::Open { index, route, .. } = self.attempts.end(attempt) else { return None };
        let link = self.links.of_mut(route);
        link.open = link.open.saturating_sub(1);
        self.store.key_at(index)
    }

    fn requeue_main(&mut self, now: Duration, key: Key) {
        let cut = self.closing.main_is_cut();
        let Some(entry) = self.store.get_mut(key) else { return };
        if !matches!(entry.stage, Stage::MainOpen { .. }) {
            return;
        }
        entry.stage = Stage::Queued;
        let (attempts, overdue) = (entry.attempts, entry.deadline <= now);
        if cut {
            self.end_main(now, key, Reason::Abandoned);
        } else if overdue {
            self.end_main(now, key, Reason::Deadline);
        } else if attempts == 0 && self.threads_first(key) {
            self.fifo.push_front(key);
        } else {
            self.due.push_front(key);
        }
    }

    /// True for an event that came from the line of first attempts.
    fn threads_first(&self, key: Key) -> bool {
        self.fifo.front().is_none_or(|front| key < *front)
    }

    fn requeue_dlq(&mut self, now: Duration, key: Key) {
        let cut = self.closing.dlq_is_cut();
        let Some(entry) = self.store.get_mut(key) else { return };
        let Some(letter) = &entry.dlq else { return };
        let deadline = letter.deadline;
        entry.stage = Stage::DlqQueued;
        if cut || deadline <= now {
            self.finish(key);
        } else {
            self.dead_letters.watch_deadline(key, deadline);
            self.dead_letters.ready.push_front(key);
        }
    }
}
