//! Offering an event: accepted, waiting for room, or rejected.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::effect::Effect;
use super::measure::Measure;
use super::store::{Entry, Key, Stage};
use super::{Core, HeaderValue, MessageId, Outcome, Persistence, Reason};

/// An event as the core needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Who it is.
    pub message_id: MessageId,
    /// Thread id; empty means none.
    pub thread: &'a str,
    /// Tenant, for the rate limit.
    pub tenant: &'a str,
    /// Its size.
    pub measure: Measure,
    /// It was read from a dead-letter queue: it is never dead-lettered again.
    pub from_dlq: bool,
}

/// Answer to an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is the producer's now. Encode it with the sequence, then [`Core::supply`].
    Accepted {
        /// Names it.
        key: Key,
        /// Its sequence.
        sequence: u64,
    },
    /// No room: wait for [`Effect::Admit`] with this ticket, then [`Core::enter`]; or
    /// [`Core::leave`].
    Waiting(u64),
    /// Refused; the outcome is counted and told.
    Rejected(Reason),
}

/// An encoded event.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The frame.
    pub frame: Bytes,
    /// CRC32 of the frame, as its record header carries it.
    pub crc32: HeaderValue,
    /// Compression was due and failed; the frame is plain.
    pub compression_failed: bool,
}

impl Core {
    /// Offers an event. Sequence and acceptance are one step; a refused event takes no sequence.
    pub fn offer(&mut self, now: Duration, offer: &Offer<'_>) -> Admission {
        let now = self.advance(now);
        let (thread, sequence) = self.threads.next(offer.thread);
        let bytes = offer.measure.with_sequence(sequence);
        let reason = if self.closing.has_begun() {
            Reason::Closed
        } else if bytes > self.rules.max_message_bytes {
            Reason::Oversize
        } else if !self.limiter.take(now, offer.tenant) {
            Reason::RateLimited
        } else if self.line.is_empty() && self.has_room(bytes) {
            return self.accept(now, offer, thread, bytes);
        } else if self.rules.reject_when_full {
            Reason::QueueFull
        } else {
            return Admission::Waiting(self.line.join(offer.message_id, offer.thread, bytes));
        };
        self.reject(offer.message_id, offer.thread, reason)
    }

    /// A waiting `send` was called: it is accepted if it is its turn and there is room.
    pub fn enter(&mut self, now: Duration, ticket: u64, offer: &Offer<'_>) -> Admission {
        let now = self.advance(now);
        if !self.line.contains(ticket) {
            // `close` emptied the line, and counted it then
            return Admission::Rejected(Reason::Closed);
        }
        let (thread, sequence) = self.threads.next(offer.thread);
        let bytes = offer.measure.with_sequence(sequence);
        if !(self.line.is_head(ticket) && self.has_room(bytes)) {
            self.line.uncall(ticket);
            return Admission::Waiting(ticket);
        }
        self.line.leave(ticket);
        let admission = if bytes > self.rules.max_message_bytes {
            self.reject(offer.message_id, offer.thread, Reason::Oversize)
        } else {
            self.accept(now, offer, thread, bytes)
        };
        self.call_next();
        admission
    }

    /// A waiting `send` was dropped.
    pub fn leave(&mut self, now: Duration, ticket: u64) {
        self.advance(now);
        if let Some(waiter) = self.line.leave(ticket) {
            let outcome = Outcome::Rejected { reason: Reason::Cancelled };
            self.tell(waiter.message_id, waiter.thread, None, outcome, None);
            self.call_next();
        }
    }

    /// Rejects an event that the shell could not even offer.
    pub fn refuse(&mut self, now: Duration, id: MessageId, thread: &str, reason: Reason) -> Reason {
        self.advance(now);
        let reason = if self.closing.has_begun() { Reason::Closed } else { reason };
        self.reject(id, thread, reason);
        reason
    }

    fn reject(&mut self, message_id: MessageId, thread: &str, reason: Reason) -> Admission {
        let (known, _) = self.threads.next(thread);
        let thread = known.map_or_else(|| Arc::from(thread), |t| self.threads.name(t));
        self.tell(message_id, thread, None, Outcome::Rejected { reason }, None);
        Admission::Rejected(reason)
    }

    fn has_room(&self, bytes: usize) -> bool {
        // what the spool gives back goes first
        self.recall.left == 0
            && self.store.len() < self.rules.max_events
            && self.store.bytes().saturating_add(bytes) <= self.rules.max_bytes
    }

    /// Room may have come: calls the head of the line.
    pub(super) fn call_next(&mut self) {
        if self.recall.left > 0 {
            return;
        }
        let (store, rules) = (&self.store, &self.rules);
        let fits = |bytes: usize| {
            store.len() < rules.max_events && store.bytes().saturating_add(bytes) <= rules.max_bytes
        };
        if let Some(ticket) = self.line.call(fits) {
            self.effects.push_back(Effect::Admit(ticket));
        }
    }

    fn accept(
        &mut self,
        now: Duration,
        offer: &Offer<'_>,
        thread: Option<u32>,
        bytes: usize,
    ) -> Admission {
        let (thread, sequence) = self.threads.assign(thread, offer.thread);
        let key = self.store.insert(Entry {
            message_id: offer.message_id,
            thread,
            sequence,
            bytes,
            accepted: now,
            deadline: now + self.rules.delivery_timeout,
            frame: Bytes::new(),
            crc32: HeaderValue::default(),
            from_dlq: offer.from_dlq,
            stage: Stage::Unsupplied,
            attempts: 0,
            main: Persistence::Not,
            reason: None,
            failed: None,
            dlq: None,
            from_spool: None,
        });
        self.fifo.push_back(key);
        let events = self.store.len() as u64;
        self.counters.queue_events_max = self.counters.queue_events_max.max(events);
        Admission::Accepted { key, sequence }
    }

    /// The encoded form of an accepted event has come.
    pub fn supply(&mut self, now: Duration, key: Key, payload: Payload) {
        self.advance(now);
        self.counters.compression_failures += u64::from(payload.compression_failed);
        if let Some(entry) = self.store.get_mut(key).filter(|e| e.stage == Stage::Unsupplied) {
            entry.frame = payload.frame;
            entry.crc32 = payload.crc32;
            entry.stage = Stage::Queued;
        }
    }

    /// An accepted event turned out not to be encodable: nothing of it was sent anywhere.
    pub fn supply_failed(&mut self, now: Duration, key: Key) {
        let now = self.advance(now);
        if self.store.get(key).is_some_and(|e| e.stage == Stage::Unsupplied) {
            self.end_main(now, key, Reason::PermanentError);
        }
    }
}
