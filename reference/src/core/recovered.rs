//! The spool's two ways: events that go there, and events that come back.

use std::time::Duration;

use super::effect::Effect;
use super::spooling::{Recalled, SpoolEntry, SpoolId, SpoolRecord, SpoolTicket, SpoolWrite};
use super::store::{Entry, FromSpool, Key, Stage};
use super::{Core, HeaderValue, Outcome, PerRoute, Persistence, Reason, Recovered, SpoolFault};
use crate::codec::crc32_hex;

/// Events of earlier incarnations that are on the spool.
#[derive(Debug, Default)]
pub(super) struct Recall {
    /// Not given back yet. While there are any, new events wait.
    pub(super) left: usize,
    /// Protobuf bytes of the first of them.
    next_bytes: usize,
    /// The shell is reading.
    asked: bool,
    /// Failures since something was last given back.
    failures: u32,
    /// When it is asked again after a failure.
    again: Option<Duration>,
}

impl Recall {
    /// When there is something to do because time has passed.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.again.filter(|_| self.left > 0)
    }

    /// Time has passed.
    pub(super) fn step(&mut self, now: Duration) {
        self.again = self.again.filter(|at| *at > now);
    }
}

impl Core {
    /// The spool holds so many events of earlier incarnations: they go before all new ones. Called
    /// once, before anything is offered.
    pub fn expect(&mut self, records: usize, next_bytes: usize) {
        self.recall = Recall { left: records, next_bytes, ..Recall::default() };
    }

    /// Asks for the next events of the spool when there is room for a fair share of them.
    pub(super) fn next_recall(&mut self) -> Option<Effect> {
        let Recall { left, next_bytes, asked, again, .. } = self.recall;
        let waits = asked || again.is_some_and(|at| at > self.now);
        if left == 0 || waits || self.closing.has_begun() {
            return None;
        }
        let rules = &self.rules;
        let mut events = rules.max_events.saturating_sub(self.store.len());
        let mut bytes = rules.max_bytes.saturating_sub(self.store.bytes());
        if self.store.len() == 0 {
            // what is larger than the settings now allow still comes back, alone
            (events, bytes) = (events.max(1), bytes.max(next_bytes));
        }
        let share = left.min(rules.max_events.div_ceil(4));
        if events < share || bytes < next_bytes {
            return None;
        }
        (self.recall.asked, self.recall.again) = (true, None);
        Some(Effect::Recall { events, bytes })
    }

    /// The spool has given back what it was asked for, or failed to, and is asked again after a
    /// back-off as between attempts of an event. Once `close` has begun nothing is taken any more:
    /// it is on the spool as before.
    pub fn recalled(&mut self, now: Duration, recalled: Recalled) {
        let now = self.advance(now);
        self.recall.asked = false;
        if recalled.failed {
            self.counters.spool_failures += 1;
        }
        if self.closing.has_begun() {
            return;
        }
        self.recall.left = recalled.left;
        self.recall.next_bytes = recalled.next_bytes;
        self.recall.failures =
            if recalled.failed { self.recall.failures.saturating_add(1) } else { 0 };
        if recalled.failed {
            let back_off = self.rules.policy.main.back_off(self.recall.failures, &mut self.rng);
            self.recall.again = Some(now + back_off);
        }
        for event in recalled.events {
            self.take_back_in(now, event);
        }
        self.call_next();
    }

    fn take_back_in(&mut self, now: Duration, Recovered { id, record }: Recovered) {
        let thread = self.threads.index(&record.thread);
        let from = FromSpool { id, claims: record.claims, accepted_us: record.accepted_us };
        let key = self.store.insert(Entry {
            message_id: record.message_id,
            thread,
            sequence: record.sequence,
            bytes: record.bytes,
            accepted: now,
            deadline: now + self.rules.delivery_timeout,
            crc32: HeaderValue::new(&crc32_hex(&record.frame)),
            frame: record.frame,
            from_dlq: record.from_dlq,
            stage: Stage::Queued,
            attempts: 0,
            main: Persistence::Not,
            reason: None,
            failed: None,
            dlq: None,
            from_spool: Some(Box::new(from)),
        });
        self.fifo.push_back(key);
        self.counters.recovered += 1;
        let events = self.store.len() as u64;
        self.counters.queue_events_max = self.counters.queue_events_max.max(events);
    }

    /// Wall time of an event's acceptance, in whichever incarnation that was.
    pub(super) fn accepted_us(&self, entry: &Entry) -> i64 {
        entry.from_spool.as_ref().map_or_else(|| self.wall(entry.accepted), |f| f.accepted_us)
    }

    /// Line 4 of the contract: with a directory, what neither route took, unless no resend could
    /// mend it.
    pub(super) fn is_for_spool(&self, entry: &Entry, earned: &Outcome) -> bool {
        matches!(earned, Outcome::InDoubt { .. } | Outcome::Dropped { .. }) && self.keeps(entry)
    }

    /// The spool would keep this event.
    pub(super) fn keeps(&self, entry: &Entry) -> bool {
        self.rules.spool
            && !matches!(entry.reason, Some(Reason::PermanentError | Reason::Acks0))
            && !entry.frame.is_empty()
    }

    /// Gives an event to the spool; it has no outcome before the answer.
    pub(super) fn spool(&mut self, key: Key) {
        let Some(entry) = self.store.get_mut(key) else { return };
        let dlq_open = match entry.stage {
            Stage::Spooling { .. } => return,
            Stage::DlqOpen { attempt, .. } => Some(attempt),
            _ => None,
        }
        .filter(|a| matches!(self.attempts.get(*a), super::attempts::Slot::Open { .. }));
        if let (Some(_), Some(letter)) = (dlq_open, &mut entry.dlq) {
            letter.persistence = letter.persistence.max(Persistence::Possibly);
        }
        let left = entry.clone();
        entry.stage = Stage::Spooling { dlq_open };
        self.leave_dlq(key, &left);
        let claims = left.claims();
        let (ticket, entry) = if let Some(from) = &left.from_spool {
            (SpoolTicket::Update(key), SpoolEntry::Claims(from.id, claims))
        } else {
            let record = SpoolRecord {
                message_id: left.message_id,
                thread: self.threads.name(left.thread),
                sequence: left.sequence,
                accepted_us: self.accepted_us(&left),
                bytes: left.bytes,
                from_dlq: left.from_dlq,
                claims,
                frame: left.frame,
            };
            (SpoolTicket::Keep(key), SpoolEntry::Record(Box::new(record)))
        };
        self.write(ticket, entry);
    }

    /// A record's event has an outcome that the spool must not undo.
    pub(super) fn end_record(&mut self, id: SpoolId) {
        self.write(SpoolTicket::End, SpoolEntry::Resolved(id));
    }

    fn write(&mut self, ticket: SpoolTicket, entry: SpoolEntry) {
        self.spool_open += 1;
        self.effects.push_back(Effect::Spool(SpoolWrite { ticket, entry }));
    }

    /// The spool has made an entry durable (the id is the entry's), or has not.
    pub fn spooled(
        &mut self,
        now: Duration,
        ticket: SpoolTicket,
        result: Result<SpoolId, SpoolFault>,
    ) {
        self.advance(now);
        self.spool_open = self.spool_open.saturating_sub(1);
        match result {
            Ok(_) => {}
            Err(SpoolFault::Full) => self.counters.spool_full += 1,
            Err(SpoolFault::Failed | SpoolFault::Unsure) => self.counters.spool_failures += 1,
        }
        let (key, record) = match ticket {
            SpoolTicket::Keep(key) => (key, result.ok()),
            SpoolTicket::Update(key) => (key, None),
            SpoolTicket::End => return,
        };
        let kept = matches!(ticket, SpoolTicket::Update(_)) || result.is_ok();
        let earned = self.earned(key);
        let earned = if result == Err(SpoolFault::Unsure) { earned.map(doubted) } else { earned };
        match earned {
            Some(Outcome::InDoubt { .. } | Outcome::Dropped { .. }) if kept => {
                let Some(entry) = self.store.get(key) else { return };
                let PerRoute { main, dlq } = entry.claims();
                self.conclude(key, Outcome::Spooled { main, dlq });
            }
            Some(outcome) => {
                // a delivery that came meanwhile, or no spool: the record, if any, is not needed
                self.conclude(key, outcome);
                if let Some(id) = record {
                    self.end_record(id);
                }
            }
            // it got its outcome without the spool
            None => {
                if let Some(id) = record {
                    self.end_record(id);
                }
            }
        }
    }
}

/// The next open may find the event's record and send it.
fn doubted(earned: Outcome) -> Outcome {
    let (reason, main, dlq) = match earned {
        Outcome::Dropped { reason } => (reason, Persistence::Not, Persistence::Not),
        Outcome::InDoubt { reason, main, dlq } => (reason, main, dlq),
        other => return other,
    };
    let possibly = Persistence::Possibly;
    Outcome::InDoubt { reason, main: main.max(possibly), dlq: dlq.max(possibly) }
}
