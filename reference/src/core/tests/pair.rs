//! A core and two scripted transports, driven by hand.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::*;
use crate::core::effect::{DlqFailure, Effect, OutcomeRecord};

/// How a transport treats a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Treat {
    /// Confirms it at once.
    Ack,
    /// Confirms it after a while.
    AckAfter(u64),
    /// Says that it went well but nobody confirmed: acks=0.
    Unconfirmed,
    /// Keeps it until the test, or a purge, ends it.
    Hold,
    /// Fails it at once with this claim and code.
    Fail(Persistence, i32),
    /// Fails it after so many milliseconds.
    FailAfter(u64, Persistence, i32),
    /// Refuses it.
    Refuse(ErrorClass),
}

/// One scripted transport.
#[derive(Debug)]
pub(super) struct Wire {
    /// Treatment of the next records, in order.
    pub(super) script: VecDeque<Treat>,
    /// Treatment of all others.
    pub(super) rest: Treat,
    /// Every record it took, with the time.
    pub(super) records: Vec<(Duration, Record)>,
    pub(super) open: Vec<AttemptId>,
    pub(super) purges: Vec<Duration>,
    pub(super) hints: usize,
    /// Purges are answered, in flight as possibly.
    pub(super) answers_purge: bool,
    pub(super) rebuilds: Vec<Duration>,
    pub(super) retired: Vec<Duration>,
}

impl Wire {
    fn new() -> Self {
        Self {
            script: VecDeque::new(),
            rest: Treat::Ack,
            records: Vec::new(),
            open: Vec::new(),
            purges: Vec::new(),
            hints: 0,
            answers_purge: true,
            rebuilds: Vec::new(),
            retired: Vec::new(),
        }
    }

    pub(super) fn script(&mut self, treats: impl IntoIterator<Item = Treat>) {
        self.script.extend(treats);
    }
}

/// Core and transports, with a clock that jumps to the next thing that happens.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) config: ProducerConfig,
    pub(super) core: Core,
    pub(super) now: Duration,
    pub(super) wires: PerRoute<Wire>,
    /// Deliveries on their way, by time and number.
    coming: BTreeMap<(Duration, u64), Delivery>,
    count: u64,
    sent: u64,
    pub(super) outcomes: Vec<OutcomeRecord>,
    pub(super) failures: Vec<DlqFailure>,
    pub(super) admitted: Vec<u64>,
    next_offset: PerRoute<i64>,
    /// Rebuilds that fail before one succeeds.
    pub(super) failing_rebuilds: usize,
    pub(super) spool: SpoolPart,
}

/// A scripted spool.
#[derive(Debug, Default)]
pub(super) struct SpoolPart {
    /// What it was asked to write.
    pub(super) written: Vec<SpoolEntry>,
    /// Answers of the next writes; then every write succeeds.
    pub(super) answers: VecDeque<Result<(), SpoolFault>>,
    /// Writes wait until [`Pair::answer`].
    pub(super) holds: bool,
    pub(super) held: Vec<(SpoolTicket, SpoolId)>,
    /// Events to give back.
    pub(super) stock: VecDeque<Recovered>,
    pub(super) recalls: Vec<(usize, usize)>,
    /// Recalls that fail before one succeeds.
    pub(super) failing_recalls: usize,
}

pub(super) const WALL_US: i64 = 1_735_689_600_000_000;

pub(super) fn id(n: u64) -> MessageId {
    MessageId(u128::from(n).to_be_bytes())
}

impl Pair {
    pub(super) fn new(config: ProducerConfig) -> Self {
        config.validate().unwrap();
        let origin = Origin { seed: 1, wall_us: WALL_US, epoch: 0 };
        Self {
            core: Core::new(&config, origin),
            config,
            now: Duration::ZERO,
            wires: PerRoute { main: Wire::new(), dlq: Wire::new() },
            coming: BTreeMap::new(),
            count: 0,
            sent: 0,
            outcomes: Vec::new(),
            failures: Vec::new(),
            admitted: Vec::new(),
            next_offset: PerRoute::default(),
            failing_rebuilds: 0,
            spool: SpoolPart::default(),
        }
    }

    pub(super) fn main(&mut self) -> &mut Wire {
        &mut self.wires.main
    }

    pub(super) fn dlq(&mut self) -> &mut Wire {
        &mut self.wires.dlq
    }

    fn offer_of(n: u64, thread: &str, bytes: usize, from_dlq: bool) -> Offer<'_> {
        let measure = Measure { message: bytes, header: 20 };
        Offer { message_id: id(n), thread, tenant: "default", measure, from_dlq }
    }

    /// Offers an event; its id is its number. An accepted one is supplied at once.
    pub(super) fn offer(&mut self, thread: &str, bytes: usize) -> Admission {
        let admission = self.offer_unsupplied(thread, bytes, false);
        self.supply(admission);
        admission
    }

    pub(super) fn offer_unsupplied(
        &mut self,
        thread: &str,
        bytes: usize,
        from_dlq: bool,
    ) -> Admission {
        self.sent += 1;
        let offer = Self::offer_of(self.sent, thread, bytes, from_dlq);
        self.core.offer(self.now, &offer)
    }

    /// A waiting send tries again.
    pub(super) fn enter(&mut self, ticket: u64, n: u64, thread: &str, bytes: usize) -> Admission {
        let offer = Self::offer_of(n, thread, bytes, false);
        let admission = self.core.enter(self.now, ticket, &offer);
        self.supply(admission);
        admission
    }

    pub(super) fn supply(&mut self, admission: Admission) {
        if let Admission::Accepted { key, sequence } = admission {
            let payload = Payload {
                frame: Bytes::from(format!("payload {sequence}")),
                crc32: HeaderValue::new(b"00000000"),
                compression_failed: false,
            };
            self.core.supply(self.now, key, payload);
            self.pump();
        } else {
            self.pump();
        }
    }

    /// Offers a small event that must be accepted; returns its sequence.
    pub(super) fn send(&mut self, thread: &str) -> u64 {
        match self.offer(thread, 100) {
            Admission::Accepted { sequence, .. } => sequence,
            other => panic!("not accepted: {other:?}"),
        }
    }

    fn delivery(
        &mut self,
        route: Route,
        attempt: AttemptId,
        persistence: Persistence,
        code: i32,
    ) -> Delivery {
        let ok = code == 0;
        let offset = if ok && persistence == Persistence::Persisted {
            let next = self.next_offset.of_mut(route);
            *next += 1;
            *next - 1
        } else {
            -1
        };
        let class = self.config.error_class(code);
        let failure = Failure::new(code, class, "scripted");
        let result = if ok { Ok(()) } else { Err(failure) };
        Delivery { attempt, persistence, partition: 2, offset, result }
    }

    /// Carries out effects until there are none.
    pub(super) fn pump(&mut self) {
        while let Some(effect) = self.core.poll(self.now) {
            match effect {
                Effect::HandOver(hand_over) => {
                    let route = hand_over.route;
                    let record = hand_over.into_record();
                    self.submit(route, record);
                }
                Effect::Resolved(record) => self.outcomes.push(record),
                Effect::Admit(ticket) => self.admitted.push(ticket),
                Effect::FlushHint(route) => self.wires.of_mut(route).hints += 1,
                Effect::Purge(route) => self.purge(route),
                Effect::Retire(route) => {
                    let now = self.now;
                    self.wires.of_mut(route).retired.push(now);
                    self.purge(route);
                }
                Effect::Rebuild(route) => {
                    let now = self.now;
                    self.wires.of_mut(route).rebuilds.push(now);
                    let fails = self.failing_rebuilds > 0;
                    self.failing_rebuilds = self.failing_rebuilds.saturating_sub(1);
                    self.core.rebuilt(self.now, route, !fails);
                }
                Effect::DlqFailed(failure) => self.failures.push(*failure),
                Effect::Spool(write) => self.spool(write),
                Effect::Recall { events, bytes } => self.recall(events, bytes),
            }
        }
    }

    fn spool(&mut self, write: SpoolWrite) {
        let ordinal = u32::try_from(self.spool.written.len()).unwrap();
        let id = SpoolId { segment: 9, ordinal };
        self.spool.written.push(write.entry);
        if self.spool.holds {
            self.spool.held.push((write.ticket, id));
            return;
        }
        let answer = self.spool.answers.pop_front().unwrap_or(Ok(()));
        self.core.spooled(self.now, write.ticket, answer.map(|()| id));
    }

    /// Answers every write that is held.
    pub(super) fn answer(&mut self, answer: Result<(), SpoolFault>) {
        for (ticket, id) in std::mem::take(&mut self.spool.held) {
            self.core.spooled(self.now, ticket, answer.map(|()| id));
        }
        self.pump();
    }

    /// Events of an earlier incarnation, ids from 1000, in this thread.
    pub(super) fn stock(&mut self, thread: &str, count: u64, claims: PerRoute<Persistence>) {
        for n in 0..count {
            let record = SpoolRecord {
                message_id: id(1000 + n),
                thread: thread.into(),
                sequence: 500 + n,
                accepted_us: WALL_US - 60_000_000,
                bytes: 100,
                from_dlq: false,
                claims,
                frame: Bytes::from(format!("spooled {n}")),
            };
            let id = SpoolId { segment: 1, ordinal: u32::try_from(n).unwrap() };
            self.spool.stock.push_back(Recovered { id, record });
        }
        self.core.expect(self.spool.stock.len(), 100);
        self.pump();
    }

    fn recall(&mut self, events: usize, bytes: usize) {
        self.spool.recalls.push((events, bytes));
        let failed = self.spool.failing_recalls > 0;
        self.spool.failing_recalls = self.spool.failing_recalls.saturating_sub(1);
        let count = if failed { 0 } else { events.min(bytes / 100).min(self.spool.stock.len()) };
        let events = self.spool.stock.drain(..count).collect();
        let left = self.spool.stock.len();
        self.core.recalled(self.now, Recalled { events, left, next_bytes: 100, failed });
    }

    fn submit(&mut self, route: Route, record: Record) {
        let attempt = record.attempt;
        let now = self.now;
        let wire = self.wires.of_mut(route);
        let treat = wire.script.pop_front().unwrap_or(wire.rest);
        if let Treat::Refuse(class) = treat {
            let refused = Refused::new(-184, class, "scripted refusal");
            self.core.refused(now, attempt, &refused);
            return;
        }
        wire.records.push((now, record));
        self.core.submitted(now, attempt);
        let (after, persistence, code) = match treat {
            Treat::Ack => (0, Persistence::Persisted, 0),
            Treat::AckAfter(after) => (after, Persistence::Persisted, 0),
            Treat::Unconfirmed => (0, Persistence::Possibly, 0),
            Treat::Fail(persistence, code) => (0, persistence, code),
            Treat::FailAfter(after, persistence, code) => (after, persistence, code),
            Treat::Hold | Treat::Refuse(_) => {
                self.wires.of_mut(route).open.push(attempt);
                return;
            }
        };
        let delivery = self.delivery(route, attempt, persistence, code);
        self.count += 1;
        self.coming.insert((now + ms(after), self.count), delivery);
    }

    fn purge(&mut self, route: Route) {
        let now = self.now;
        let wire = self.wires.of_mut(route);
        wire.purges.push(now);
        if wire.answers_purge {
            for attempt in std::mem::take(&mut wire.open) {
                let delivery = self.delivery(route, attempt, Persistence::Possibly, -151);
                self.count += 1;
                self.coming.insert((now, self.count), delivery);
            }
        }
    }

    /// Ends a held attempt now.
    pub(super) fn deliver(&mut self, attempt: AttemptId, persistence: Persistence, code: i32) {
        let dlq = self.wires.dlq.open.contains(&attempt);
        let route = if dlq { Route::Dlq } else { Route::Main };
        self.wires.of_mut(route).open.retain(|open| *open != attempt);
        let delivery = self.delivery(route, attempt, persistence, code);
        self.core.delivered(self.now, &delivery);
        self.pump();
    }

    /// Does everything that happens up to a time, in order, and leaves the clock there.
    pub(super) fn run_until(&mut self, until: Duration) {
        for _ in 0..100_000 {
            self.pump();
            let coming = self.coming.first_key_value().map(|((at, _), _)| *at);
            let timeout = self.core.next_timeout().map(|at| at.max(self.now));
            let next = [coming, timeout].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = self.now.max(until);
                return;
            };
            self.now = self.now.max(next);
            if coming == Some(next) {
                let (_, delivery) = self.coming.pop_first().unwrap();
                assert!(self.core.delivered(self.now, &delivery), "{delivery:?}");
            } else {
                self.core.handle_timeout(self.now);
            }
        }
        panic!("livelock at {:?}: {:?}", self.now, self.core.next_timeout());
    }

    /// Goes on for a while.
    pub(super) fn run(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Goes on until every event has an outcome; the clock stays where that was.
    pub(super) fn run_to_rest(&mut self) {
        for _ in 0..100_000 {
            self.pump();
            if self.core.gauges().queue_events == 0 {
                return;
            }
            let coming = self.coming.first_key_value().map(|((at, _), _)| *at);
            let next = [coming, self.core.next_timeout()].into_iter().flatten().min();
            let next = next.expect("events are left and nothing will ever happen");
            self.run_until(next.max(self.now));
        }
        panic!("no rest: {:?}", self.core.gauges());
    }

    /// Outcomes told so far, without the events they belong to.
    pub(super) fn told(&self) -> Vec<Outcome> {
        self.outcomes.iter().map(|r| r.outcome).collect()
    }

    /// Why the events of these outcomes did not reach main.
    pub(super) fn causes(&self) -> Vec<Option<Box<crate::core::Cause>>> {
        self.outcomes.iter().map(|r| r.cause.clone()).collect()
    }

    /// When records of a route were handed over.
    pub(super) fn times(&self, route: Route) -> Vec<Duration> {
        self.wires.of(route).records.iter().map(|(at, _)| *at).collect()
    }

    /// The events of the records of a route, in order of hand-over.
    pub(super) fn handed(&self, route: Route) -> Vec<u64> {
        let number = |record: &Record| {
            let (_, id) = &record.headers[0];
            u64::from_be_bytes(id[8..].try_into().unwrap())
        };
        self.wires.of(route).records.iter().map(|(_, record)| number(record)).collect()
    }
}
