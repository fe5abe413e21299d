//! Hand-made histories: a small language in which each test tells one story.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::history::{
    DeliveryError, ErrorClass, EventId, FORMAT_VERSION, FaultPhase, Kind, Line, LogRecord, Outcome,
    Persistence, ProduceTruth, Route, Src,
};
use crate::oracle::index::Index;
use crate::oracle::metrics::{SERIES, Tally};
use crate::oracle::{Judgement, LawId, LawStatus, judge};
use crate::scenario::model::{LaneName, Scenario};

pub(super) use Persistence::{Not, Persisted, Possibly};
pub(super) use Route::{Dlq, Main};

/// A history under construction. Time stands still until [`Story::at`] moves it.
pub(super) struct Story {
    pub(super) scenario: Scenario,
    lines: Vec<Line>,
    now_us: u64,
    inc: u32,
    attempts: u64,
    calls: u64,
    sequences: BTreeMap<String, u64>,
    threads: BTreeMap<u32, String>,
    logs: BTreeMap<(Route, i32), Vec<LogRecord>>,
}

pub(super) fn id(n: u32) -> EventId {
    EventId { load: 0, n }
}

pub(super) fn acked(offset: i64) -> Outcome {
    Outcome::Acked { partition: 0, offset }
}

pub(super) fn dropped(reason: &str) -> Outcome {
    Outcome::Dropped { reason: reason.into() }
}

pub(super) fn rejected(reason: &str) -> Outcome {
    Outcome::Rejected { reason: reason.into() }
}

pub(super) fn dead_lettered(reason: &str, main: Persistence) -> Outcome {
    Outcome::DeadLettered { reason: reason.into(), main }
}

pub(super) fn in_doubt(reason: &str, main: Persistence, dlq: Persistence) -> Outcome {
    Outcome::InDoubt { reason: reason.into(), main, dlq }
}

fn class(code: i32) -> ErrorClass {
    match code {
        10 | 87 => ErrorClass::Permanent,
        47 => ErrorClass::Fatal,
        _ => ErrorClass::Retryable,
    }
}

impl Story {
    /// A run on `sim` whose producer is open.
    pub(super) fn new() -> Self {
        Self::on(LaneName::Sim, "reference")
    }

    /// A run of this subject on a lane.
    pub(super) fn on(lane: LaneName, subject: &str) -> Self {
        let scenario = Scenario { id: "outage/made-by-hand".into(), ..Scenario::default() };
        let mut story = Self {
            scenario,
            lines: Vec::new(),
            now_us: 0,
            inc: 0,
            attempts: 0,
            calls: 0,
            sequences: BTreeMap::new(),
            threads: BTreeMap::new(),
            logs: BTreeMap::from([((Main, 0), vec![]), ((Main, 1), vec![]), ((Dlq, 0), vec![])]),
        };
        story.truth(Kind::Run {
            scenario: story.scenario.id.clone(),
            text: String::new(),
            lane: lane.as_str().to_owned(),
            seed: 7,
            subject: subject.to_owned(),
            run: "00".repeat(10),
            environment: Vec::new(),
        });
        let open = story.call("open", None);
        story.returned(open, "open", None);
        story.truth(Kind::Ready);
        story
    }

    /// Producer settings.
    pub(super) fn producer(mut self, settings: serde_json::Value) -> Self {
        self.scenario.producer = settings;
        self
    }

    /// The time is now this many milliseconds.
    pub(super) fn at(&mut self, ms: u64) -> &mut Self {
        self.now_us = ms * 1000;
        self
    }

    pub(super) fn line(&mut self, src: Src, kind: Kind) -> &mut Self {
        let (n, t_us, inc) = (self.lines.len() as u64, self.now_us, self.inc);
        self.lines.push(Line { v: FORMAT_VERSION, n, t_us, inc, src, kind });
        self
    }

    /// A line of the harness.
    pub(super) fn truth(&mut self, kind: Kind) -> &mut Self {
        self.line(Src::Harness, kind)
    }

    /// A line of the subject.
    pub(super) fn claim(&mut self, kind: Kind) -> &mut Self {
        self.line(Src::Subject, kind)
    }

    /// The harness offers an event of thread `t0`.
    pub(super) fn offered(&mut self, n: u32) -> &mut Self {
        self.offered_by(n, "t0", 100)
    }

    pub(super) fn offered_by(&mut self, n: u32, thread: &str, bytes: usize) -> &mut Self {
        self.threads.insert(n, thread.to_owned());
        self.truth(Kind::Offered { event: id(n), thread: thread.into(), bytes })
    }

    /// The subject accepts it with the next sequence of its thread.
    pub(super) fn accepted(&mut self, n: u32) -> &mut Self {
        let thread = self.threads.get(&n).cloned().unwrap_or_default();
        let last = self.sequences.entry(thread).or_default();
        *last += 1;
        let sequence = *last;
        self.claim(Kind::Accepted { event: id(n), sequence })
    }

    /// Offered and accepted.
    pub(super) fn taken(&mut self, n: u32) -> &mut Self {
        self.offered(n).accepted(n)
    }

    /// Handed over; returns the attempt's number.
    pub(super) fn attempt(&mut self, route: Route, n: u32) -> u64 {
        self.attempts += 1;
        let attempt = self.attempts;
        self.claim(Kind::Attempt { attempt, events: vec![id(n)], route });
        attempt
    }

    pub(super) fn refused(&mut self, attempt: u64, route: Route, code: i32) -> &mut Self {
        let error = DeliveryError { code, class: class(code), reason: "not now".into(), why: None };
        self.claim(Kind::Refused { attempt, route, error })
    }

    /// The broker takes a Produce request with the event and appends it to partition 0.
    pub(super) fn appended(&mut self, route: Route, n: u32, answered: Option<i16>) -> i64 {
        self.appended_to(route, 0, n, answered, 0)
    }

    /// As before, to a partition and under a producer epoch.
    pub(super) fn appended_to(
        &mut self,
        route: Route,
        partition: i32,
        n: u32,
        answered: Option<i16>,
        epoch: i16,
    ) -> i64 {
        let thread: Arc<str> = self.threads.get(&n).map_or("", String::as_str).into();
        let log = self.logs.entry((route, partition)).or_default();
        let offset = i64::try_from(log.len()).unwrap();
        log.push(LogRecord {
            letter: String::new(),
            offset,
            events: vec![id(n)],
            pid: 1,
            epoch,
            thread,
            sequence: None,
            size: 150,
            frame: None,
            defects: Vec::new(),
        });
        self.request(route, partition, n, Some(offset), answered, epoch);
        offset
    }

    /// The broker takes a Produce request with the event and appends nothing.
    pub(super) fn turned_down(&mut self, route: Route, n: u32, answered: i16) -> &mut Self {
        self.request(route, 0, n, None, Some(answered), 0)
    }

    /// The proxy passes a Produce request with the event on, and no broker answers it.
    pub(super) fn unanswered(&mut self, route: Route, n: u32) -> &mut Self {
        self.request(route, 0, n, None, None, 0);
        if let Some(Line { kind: Kind::Request { produce, .. }, .. }) = self.lines.last_mut() {
            produce[0].unknown = true;
        }
        self
    }

    /// The last Produce asked for this many confirmations.
    pub(super) fn asks_for(&mut self, wanted: i16) -> &mut Self {
        let requests = self.lines.iter_mut().rev();
        let mut requests = requests.filter_map(|line| match &mut line.kind {
            Kind::Request { acks, .. } => Some(acks),
            _ => None,
        });
        if let Some(acks) = requests.next() {
            *acks = Some(wanted);
        }
        self
    }

    fn request(
        &mut self,
        route: Route,
        partition: i32,
        n: u32,
        appended: Option<i64>,
        answered: Option<i16>,
        epoch: i16,
    ) -> &mut Self {
        let truth = ProduceTruth {
            topic: topic(route),
            partition,
            pid: 1,
            epoch,
            base_sequence: 0,
            events: vec![Some(id(n))],
            appended,
            answered,
            unknown: false,
        };
        self.line(
            Src::Broker,
            Kind::Request {
                broker: 1,
                api: "Produce".into(),
                conn: 1,
                correlation: 0,
                produce: vec![truth],
                answered: Some(0),
                acks: Some(-1),
            },
        )
    }

    pub(super) fn delivered(&mut self, attempt: u64, route: Route, offset: i64) -> &mut Self {
        let (persistence, partition, error, late) = (Persisted, 0, None, false);
        let kind = Kind::Delivery { attempt, route, persistence, partition, offset, error, late };
        self.claim(kind)
    }

    pub(super) fn failed(
        &mut self,
        attempt: u64,
        route: Route,
        code: i32,
        persistence: Persistence,
    ) -> &mut Self {
        let reason = "it failed".into();
        let error = Some(DeliveryError { code, class: class(code), reason, why: None });
        let (partition, offset, late) = (-1, -1, false);
        let kind = Kind::Delivery { attempt, route, persistence, partition, offset, error, late };
        self.claim(kind)
    }

    pub(super) fn outcome(&mut self, n: u32, outcome: Outcome) -> &mut Self {
        self.claim(Kind::Outcome { event: id(n), outcome, why: None })
    }

    /// The straight way of an event: attempt, append, delivery, ack.
    pub(super) fn sent(&mut self, n: u32) -> &mut Self {
        let attempt = self.attempt(Main, n);
        let offset = self.appended(Main, n, Some(0));
        self.delivered(attempt, Main, offset).outcome(n, acked(offset))
    }

    /// The straight way through the DLQ, after main has failed.
    pub(super) fn buried(&mut self, n: u32, reason: &str, main: Persistence) -> &mut Self {
        let attempt = self.attempt(Dlq, n);
        let offset = self.appended(Dlq, n, Some(0));
        self.delivered(attempt, Dlq, offset).outcome(n, dead_lettered(reason, main))
    }

    /// Calls an operation; returns the number of the call.
    pub(super) fn call(&mut self, op: &str, within_ms: Option<u64>) -> u64 {
        self.calls += 1;
        let id = self.calls;
        let deadline_us = within_ms.map(|deadline| deadline * 1000);
        self.truth(Kind::Call { id, op: op.to_owned(), deadline_us, event: None });
        id
    }

    pub(super) fn returned(&mut self, id: u64, op: &str, error: Option<&str>) -> &mut Self {
        let answer = serde_json::Value::Null;
        let (op, error) = (op.to_owned(), error.map(str::to_owned));
        self.truth(Kind::Return { id, op, error, why: None, answer })
    }

    /// `close` returned, with a report that equals the ledger.
    pub(super) fn closed(&mut self, id: u64) -> &mut Self {
        let mut counts = BTreeMap::new();
        for line in &self.lines {
            if let Kind::Outcome { outcome, .. } = &line.kind
                && line.inc == self.inc
            {
                *counts.entry(crate::oracle::ledger::key(outcome)).or_insert(0_u64) += 1;
            }
        }
        let answer = json!({ "counts": counts });
        self.truth(Kind::Return { id, op: "close".to_owned(), error: None, why: None, answer })
    }

    /// Closes at once, as after a quiet run, and scrapes.
    pub(super) fn close(&mut self) -> &mut Self {
        let id = self.call("close", Some(3000));
        self.closed(id).scrape(true)
    }

    pub(super) fn proc(&mut self, src: Src, what: &str, value: i64, text: &str) -> &mut Self {
        self.line(src, Kind::Proc { what: what.to_owned(), value, text: text.to_owned() })
    }

    pub(super) fn fault(&mut self, name: &str, phase: FaultPhase) -> &mut Self {
        self.truth(Kind::Fault { fault: 0, name: name.to_owned(), phase })
    }

    /// The next incarnation.
    pub(super) fn reopen(&mut self) -> &mut Self {
        self.inc += 1;
        self.attempts = 0;
        self.sequences.clear();
        let open = self.call("open", None);
        self.returned(open, "open", None)
    }

    /// The text that a truthful subject would export now.
    pub(super) fn truthful(&self) -> String {
        let index = Index::new(&self.lines, &self.scenario);
        let inc = index.incs.iter().position(|inc| inc.number == self.inc).unwrap_or(0);
        let tally = Tally::at(&index, inc, usize::MAX);
        SERIES.iter().map(|series| series.export(&tally)).collect()
    }

    pub(super) fn scrape(&mut self, last: bool) -> &mut Self {
        let text = self.truthful();
        self.scraped(text, last)
    }

    pub(super) fn scraped(&mut self, text: String, last: bool) -> &mut Self {
        self.claim(Kind::Scrape { text, last })
    }

    /// Something is wrong with the last record of a log.
    pub(super) fn defect(&mut self, route: Route, text: &str) -> &mut Self {
        let record = self.logs.get_mut(&(route, 0)).and_then(|log| log.last_mut()).unwrap();
        record.defects.push(text.to_owned());
        self
    }

    /// A record that no request explains.
    pub(super) fn planted(&mut self, route: Route, events: Vec<EventId>) -> &mut Self {
        let log = self.logs.entry((route, 0)).or_default();
        log.push(LogRecord {
            letter: String::new(),
            offset: i64::try_from(log.len()).unwrap(),
            events,
            pid: 1,
            epoch: 0,
            thread: "".into(),
            sequence: None,
            size: 150,
            frame: None,
            defects: Vec::new(),
        });
        self
    }

    /// The records of a log, to be bent.
    pub(super) fn log(&mut self, route: Route) -> &mut Vec<LogRecord> {
        self.logs.get_mut(&(route, 0)).unwrap()
    }

    /// The whole history, with the logs read at its end.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = self.lines.clone();
        let (t_us, inc) = (self.now_us, self.inc);
        for ((route, partition), records) in &self.logs {
            let kind = Kind::Log {
                topic: topic(*route),
                route: Some(*route),
                partition: *partition,
                records: records.clone(),
            };
            let n = lines.len() as u64;
            lines.push(Line { v: FORMAT_VERSION, n, t_us, inc, src: Src::Broker, kind });
        }
        lines
    }

    pub(super) fn judge(&self) -> Judgement {
        judge(&self.lines(), &self.scenario)
    }

    /// Asserts that the law was checked and holds, and that nothing else is broken.
    #[track_caller]
    pub(super) fn holds(&self, law: LawId) {
        let judgement = self.judge();
        let all: Vec<String> = judgement.violations.iter().map(ToString::to_string).collect();
        assert!(all.is_empty(), "{}", all.join("\n\n"));
        let (_, status) = judgement.laws.iter().find(|(id, _)| *id == law).unwrap();
        assert!(matches!(status, LawStatus::Held { checks: 1.. }), "{law}: {status:?}");
    }

    /// The violations of a law as a person reads them.
    #[track_caller]
    pub(super) fn broken(&self, law: LawId) -> String {
        let judgement = self.judge();
        let texts: Vec<String> = judgement
            .violations
            .iter()
            .filter(|violation| violation.law == law)
            .map(ToString::to_string)
            .collect();
        assert!(!texts.is_empty(), "{law} holds: {:?}", judgement.laws);
        texts.join("\n\n")
    }

    /// Asserts that this rule of this law is broken.
    #[track_caller]
    pub(super) fn breaks(&self, law: LawId, rule: &str) {
        let judgement = self.judge();
        let found: Vec<(LawId, &str)> =
            judgement.violations.iter().map(|v| (v.law, v.rule)).collect();
        assert!(found.contains(&(law, rule)), "{found:?}");
    }
}

fn topic(route: Route) -> Arc<str> {
    match route {
        Main => "dashstream-events".into(),
        Dlq => "dashstream-dlq".into(),
    }
}
