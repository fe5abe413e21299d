//! Laws over random schedules: whatever the application, the transports and time do.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Send {
        thread: u8,
        bytes: usize,
    },
    /// The waiting send at this place in line (of those known) tries, or is dropped.
    Enter(usize),
    Leave(usize),
    /// What the transports do from now on.
    Main(Treat),
    Dlq(Treat),
    /// An open attempt ends: route, place, claim and code.
    Deliver {
        dlq: bool,
        at: usize,
        how: u8,
    },
    Pass(u64),
    Flush,
    Close(u64),
    FailRebuilds(usize),
}

fn treat() -> impl Strategy<Value = Treat> {
    use Persistence::{Not, Possibly};
    prop_oneof![
        3 => Just(Treat::Ack),
        2 => (1..3000u64).prop_map(Treat::AckAfter),
        3 => Just(Treat::Hold),
        1 => Just(Treat::Unconfirmed),
        1 => Just(Treat::Fail(Not, TIMED_OUT)),
        1 => Just(Treat::Fail(Possibly, TIMED_OUT)),
        1 => Just(Treat::Fail(Not, TOO_LARGE)),
        1 => Just(Treat::Fail(Not, errors::LOCAL_FATAL)),
        1 => (1..3000u64).prop_map(|after| Treat::FailAfter(after, Possibly, TIMED_OUT)),
        1 => Just(Treat::Refuse(ErrorClass::Retryable)),
        1 => Just(Treat::Refuse(ErrorClass::Permanent)),
        1 => Just(Treat::Refuse(ErrorClass::Fatal)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..4u8, 1..600usize).prop_map(|(thread, bytes)| Step::Send { thread, bytes }),
        3 => (0..4usize).prop_map(Step::Enter),
        1 => (0..4usize).prop_map(Step::Leave),
        2 => treat().prop_map(Step::Main),
        2 => treat().prop_map(Step::Dlq),
        6 => (any::<bool>(), 0..8usize, 0..6u8)
            .prop_map(|(dlq, at, how)| Step::Deliver { dlq, at, how }),
        4 => (0..4000u64).prop_map(Step::Pass),
        1 => Just(Step::Flush),
        1 => (0..8000u64).prop_map(Step::Close),
        1 => (0..3usize).prop_map(Step::FailRebuilds),
    ]
}

fn config() -> impl Strategy<Value = ProducerConfig> {
    (any::<[bool; 6]>(), 1..5u32, 1..4usize).prop_map(|(flags, attempts, narrow)| {
        let [dlq, idempotence, twice, reject, strict, acks_0] = flags;
        let mut config = ProducerConfig::default().delivery_timeout(ms(3000));
        config.idempotence = idempotence;
        config.acks = if acks_0 && !idempotence { Acks::None } else { Acks::All };
        config.order = if strict { Order::Strict } else { Order::Thread };
        config.retry.retry_possibly_persisted = twice;
        config.retry.max_attempts = attempts;
        config.dlq.enabled = dlq;
        config.dlq.max_concurrent = narrow;
        config.dlq.timeout = ms(2000);
        config.max_in_flight = narrow * 2;
        config.max_message_bytes = 500;
        config.queue.max_events = 8;
        config.queue.max_bytes = 1500;
        config.queue.when_full = if reject { WhenFull::Reject } else { WhenFull::Wait };
        config
    })
}

/// What the test itself knows.
struct World {
    pair: Pair,
    /// Waiting sends: ticket, event number, thread, bytes.
    line: Vec<(u64, u64, u8, usize)>,
    offered: u64,
    sequences: BTreeMap<u8, u64>,
    flushes: Vec<(FlushId, BTreeSet<u64>)>,
    accepted: Vec<u64>,
}

fn thread(n: u8) -> String {
    if n == 0 { String::new() } else { format!("thread {n}") }
}

impl World {
    fn admitted(&mut self, n: u64, name: u8, admission: Admission) {
        if let Admission::Accepted { sequence, .. } = admission {
            let last = self.sequences.entry(name).or_default();
            *last += 1;
            assert_eq!(sequence, *last, "no gap in thread {name}");
            self.accepted.push(n);
        }
    }

    fn resolved(&self) -> BTreeSet<u64> {
        let number = |id: MessageId| u64::try_from(u128::from_be_bytes(id.0)).unwrap();
        self.pair.outcomes.iter().map(|r| number(r.message_id)).collect()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send { thread: name, bytes } => {
                self.offered += 1;
                let n = self.offered;
                let admission = self.pair.offer(&thread(name), bytes);
                if let Admission::Waiting(ticket) = admission {
                    self.line.push((ticket, n, name, bytes));
                }
                self.admitted(n, name, admission);
            }
            Step::Enter(at) => {
                let Some(&(ticket, n, name, bytes)) = self.line.get(at) else { return };
                let admission = self.pair.enter(ticket, n, &thread(name), bytes);
                if !matches!(admission, Admission::Waiting(_)) {
                    self.line.remove(at);
                }
                self.admitted(n, name, admission);
            }
            Step::Leave(at) => {
                if at < self.line.len() {
                    let (ticket, ..) = self.line.remove(at);
                    self.pair.core.leave(self.pair.now, ticket);
                    self.pair.pump();
                }
            }
            Step::Main(treat) => self.pair.main().rest = treat,
            Step::Dlq(treat) => self.pair.dlq().rest = treat,
            Step::Deliver { dlq, at, how } => self.deliver(dlq, at, how),
            Step::Pass(time) => self.pair.run(ms(time)),
            Step::Flush => {
                let waits: BTreeSet<u64> = self.accepted.iter().copied().collect();
                let id = self.pair.core.flush(self.pair.now);
                self.flushes.push((id, &waits - &self.resolved()));
            }
            Step::Close(within) => {
                self.pair.core.close(self.pair.now, ms(within));
                self.pair.pump();
            }
            Step::FailRebuilds(n) => self.pair.failing_rebuilds = n,
        }
    }

    fn deliver(&mut self, dlq: bool, at: usize, how: u8) {
        let route = if dlq { Route::Dlq } else { Route::Main };
        let Some(&open) = self.pair.wires.of(route).open.get(at) else { return };
        let (persistence, code) = match how {
            0 | 1 => (Persistence::Persisted, 0),
            2 => (Persistence::Not, TIMED_OUT),
            3 => (Persistence::Possibly, TIMED_OUT),
            4 => (Persistence::Not, TOO_LARGE),
            _ => (Persistence::Possibly, errors::LOCAL_FATAL),
        };
        self.pair.deliver(open, persistence, code);
    }

    /// What must hold at every moment.
    fn check(&self) {
        let config = &self.pair.config;
        let gauges = self.pair.core.gauges();
        assert!(gauges.queue_events <= config.queue.max_events as u64, "R2: {gauges:?}");
        assert!(gauges.queue_bytes <= config.queue.max_bytes as u64, "R2: {gauges:?}");
        assert!(gauges.open_attempts.main <= config.max_in_flight as u64, "R1: {gauges:?}");
        assert!(gauges.open_attempts.dlq <= config.dlq.max_concurrent as u64, "Q4: {gauges:?}");
        let resolved = self.resolved();
        assert_eq!(resolved.len(), self.pair.outcomes.len(), "D1: an event ended twice");
        let open = self.accepted.iter().filter(|n| !resolved.contains(n)).count() as u64;
        assert_eq!(open, gauges.queue_events, "the gauge is the accepted and unresolved");
        for (id, waits) in &self.flushes {
            let done = waits.is_subset(&resolved);
            assert_eq!(self.pair.core.is_flushed(*id), done, "D9: {waits:?} {resolved:?}");
        }
        assert_eq!(self.pair.core.counters().tally.sum(), self.pair.outcomes.len() as u64, "M1");
    }

    /// What must hold when it is over.
    fn balance(&self) {
        assert!(self.pair.core.is_closed());
        assert_eq!(self.pair.core.gauges(), Gauges::default(), "M3");
        assert_eq!(self.pair.outcomes.len() as u64, self.offered, "D1: an event has no outcome");
        let mut tally = Tally::default();
        for record in &self.pair.outcomes {
            tally.add(&record.outcome);
            let (label, reason) = (record.outcome.label(), record.outcome.reason());
            assert!(ledger::is_legal(label, reason), "{:?}", record.outcome);
        }
        let counters = self.pair.core.counters();
        assert_eq!(counters.tally, tally, "M1");
        let failed = ["dead_lettered", "in_doubt", "dropped"].map(|l| tally.total(l));
        assert_eq!(counters.send_failures, failed.iter().sum::<u64>(), "M1");
        let retries = |route| {
            let handed = self.pair.handed(route);
            let events: BTreeSet<&u64> = handed.iter().collect();
            (handed.len() - events.len()) as u64
        };
        assert_eq!(counters.send_retries, retries(Route::Main), "M1");
        assert_eq!(counters.dlq_send_retries, retries(Route::Dlq), "M1");
        if self.pair.config.acks == Acks::None {
            assert_eq!(tally.total("acked"), 0);
        }
        self.first_attempts_in_order();
    }

    /// D6: within a thread first attempts are in acceptance order; strict, all attempts.
    fn first_attempts_in_order(&self) {
        let mut last: BTreeMap<&[u8], u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let handed = self.pair.handed(Route::Main);
        let strict = self.pair.config.order == Order::Strict;
        for (n, (_, record)) in handed.iter().zip(&self.pair.wires.main.records) {
            let Some(key) = record.key.as_deref() else { continue };
            let before = last.entry(key).or_default();
            let order = self.accepted.iter().position(|a| a == n).unwrap() as u64 + 1;
            if seen.insert(*n) {
                assert!(order > *before, "D6: event {n}");
                *before = order;
            } else if strict {
                assert_eq!(order, *before, "strict: event {n} again");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2 * ProptestConfig::default().cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_schedule_balances(
        config in config(),
        steps in prop::collection::vec(step(), 1..120),
        end in prop_oneof![Just(None), (0..6000u64).prop_map(Some)],
    ) {
        let mut world = World {
            pair: Pair::new(config),
            line: Vec::new(),
            offered: 0,
            sequences: BTreeMap::new(),
            flushes: Vec::new(),
            accepted: Vec::new(),
        };
        for step in &steps {
            world.step(step);
            world.check();
        }
        match end {
            // the last handle is dropped; its waiting sends went first
            None => {
                for (ticket, ..) in std::mem::take(&mut world.line) {
                    world.pair.core.leave(world.pair.now, ticket);
                }
                world.pair.core.abandon(world.pair.now);
                world.pair.pump();
            }
            Some(within) => {
                world.pair.core.close(world.pair.now, ms(within));
                let until = world.pair.now + ms(8000);
                world.pair.run_until(until);
                prop_assert!(world.pair.core.is_closed(), "D10");
            }
        }
        world.balance();
    }
}
