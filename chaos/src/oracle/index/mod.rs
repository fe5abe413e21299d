//! One pass over the lines: who is who, so that every law is a short loop.
//!
//! Slots are positions in the vectors of [`Index`]; events have theirs in the order in which the
//! history first names them, which is the order in which they were offered.

mod build;
mod numbers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::load::Peaks;
use super::settings::Settings;
use crate::history::{
    DeliveryError, EventId, Kind, Line, LogRecord, Outcome, Persistence, Route, Src,
};
use crate::lane::spool;
use crate::scenario::model::{FaultKind, LaneName, Scenario};

/// A place in the history. Ordered by line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    /// Index of the line.
    pub(crate) line: usize,
    /// Time of the lane in microseconds.
    pub(crate) t_us: u64,
}

/// A record found in a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) pid: i64,
    pub(crate) epoch: i16,
}

/// A Produce request that carried an event and reached a broker whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transmission {
    pub(crate) at: At,
    pub(crate) route: Route,
    pub(crate) appended: bool,
    pub(crate) answered: Option<i16>,
    /// Nothing tells whether it was appended, not even the final log.
    pub(crate) unknown: bool,
    pub(crate) pid: i64,
    pub(crate) epoch: i16,
    /// Confirmations that the request asked for, where that was seen.
    pub(crate) acks: Option<i16>,
}

impl Transmission {
    /// It was appended, for all that is known.
    pub(crate) const fn may_be_appended(&self) -> bool {
        self.appended || self.unknown
    }
}

/// An event over the whole run.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: EventId,
    /// First time the harness offered it; `None`: never.
    pub(crate) offered: Option<At>,
    /// Place of its thread's name; 0 is no thread.
    pub(crate) thread: usize,
    pub(crate) bytes: usize,
    /// One per incarnation that knew it.
    pub(crate) lives: Vec<usize>,
    pub(crate) main: Vec<Place>,
    pub(crate) dlq: Vec<Place>,
    pub(crate) transmissions: Vec<Transmission>,
}

impl Event {
    pub(crate) fn places(&self, route: Route) -> &[Place] {
        match route {
            Route::Main => &self.main,
            Route::Dlq => &self.dlq,
        }
    }
}

/// An event in one incarnation.
#[derive(Debug)]
pub(crate) struct Life<'a> {
    pub(crate) event: usize,
    /// Slot of the incarnation.
    pub(crate) inc: usize,
    pub(crate) offered: Option<At>,
    pub(crate) accepted: Option<(At, u64)>,
    /// Slots of its attempts on both routes, in order of hand-over; refused ones are not here.
    pub(crate) attempts: Vec<usize>,
    /// Refused hand-overs: no attempts.
    pub(crate) refusals: Vec<(At, Route, &'a DeliveryError)>,
    pub(crate) outcomes: Vec<(At, &'a Outcome)>,
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered<'a> {
    pub(crate) at: At,
    pub(crate) persistence: Persistence,
    pub(crate) error: Option<&'a DeliveryError>,
}

/// A hand-over to a transport.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) inc: usize,
    pub(crate) number: u64,
    pub(crate) route: Route,
    pub(crate) events: &'a [EventId],
    pub(crate) at: At,
    pub(crate) refused: bool,
    pub(crate) delivery: Option<Delivered<'a>>,
}

/// A call of the harness.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) inc: usize,
    pub(crate) op: &'a str,
    pub(crate) at: At,
    pub(crate) deadline_us: Option<u64>,
    pub(crate) returned: Option<Returned<'a>>,
}

/// The end of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Returned<'a> {
    pub(crate) at: At,
    pub(crate) error: Option<&'a str>,
    pub(crate) answer: &'a serde_json::Value,
}

/// One `open` … `close`, drop or crash.
#[derive(Debug)]
pub(crate) struct Incarnation {
    /// Number in the history.
    pub(crate) number: u32,
    pub(crate) lives: Vec<usize>,
    /// First call of `close`, or of the `drop` that let the last handle go.
    pub(crate) end_called: Option<At>,
    /// That call returned.
    pub(crate) ended: Option<At>,
    /// It ended by `close` (and not by drop).
    pub(crate) by_close: bool,
    pub(crate) crashed: Option<At>,
    /// Handles that live: `open` makes one.
    handles: i64,
    /// The `drop` that let the last handle go: called, returned.
    dropped: Option<(At, At)>,
    /// A `close` answered with an error.
    close_failed: bool,
    /// Events whose `send` was cancelled.
    pub(crate) cancelled: Vec<usize>,
    /// A handle was dropped, with the sends that waited on it.
    pub(crate) dropped_handle: bool,
    /// Lines of scrapes.
    pub(crate) scrapes: Vec<At>,
}

/// Why laws that need attempts say nothing where the subject does not tell them.
pub(crate) const NO_ATTEMPTS: &str = "the subject tells no attempts";

impl Incarnation {
    /// The last handle is gone: that ends it, unless a `close` does. One that failed does not, and
    /// whether it or the drop is answered first is chance.
    fn let_go(&mut self) {
        let Some((called, returned)) = self.dropped else { return };
        if self.ended.is_none() && (self.end_called.is_none() || self.close_failed) {
            self.ended = Some(returned);
            self.by_close = false;
            self.end_called.get_or_insert(called);
        }
    }

    /// A `close` with this error failed by the application's own doing: it had dropped the last
    /// handle before, or the one that the call borrowed.
    pub(crate) fn excuses(&self, error: &str) -> bool {
        (error.starts_with("no_handle") && self.dropped.is_some())
            || (error.starts_with("cancelled") && self.dropped_handle)
    }

    /// True when D1 and M1 bind for it.
    pub(crate) fn is_closed(&self) -> bool {
        self.ended.is_some() && self.crashed.is_none()
    }
}

/// What was seen of a fault of the scenario.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultSeen {
    pub(crate) begin: Option<At>,
    pub(crate) effect: Option<At>,
    pub(crate) end: Option<At>,
}

/// The final content of a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogView<'a> {
    pub(crate) route: Route,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) records: &'a [LogRecord],
}

/// A claim that does not fit the protocol.
#[derive(Clone, Debug)]
pub(crate) struct Anomaly {
    pub(crate) at: At,
    pub(crate) event: Option<usize>,
    pub(crate) rule: &'static str,
    pub(crate) expected: &'static str,
    pub(crate) observed: String,
}

/// The history, indexed.
#[derive(Debug)]
pub(crate) struct Index<'a> {
    pub(crate) lines: &'a [Line],
    pub(crate) scenario: &'a Scenario,
    pub(crate) settings: Settings,
    pub(crate) lane: LaneName,
    pub(crate) seed: u64,
    pub(crate) subject: &'a str,
    pub(crate) has_run: bool,
    pub(crate) incs: Vec<Incarnation>,
    pub(crate) events: Vec<Event>,
    pub(crate) lives: Vec<Life<'a>>,
    pub(crate) attempts: Vec<Attempt<'a>>,
    pub(crate) calls: Vec<Call<'a>>,
    /// By index in the scenario file, with the name.
    pub(crate) faults: BTreeMap<(usize, &'a str), FaultSeen>,
    pub(crate) logs: Vec<LogView<'a>>,
    /// Records that resolve to no event, as `topic/partition@offset`.
    pub(crate) unresolved: Vec<String>,
    pub(crate) anomalies: Vec<Anomaly>,
    /// Answers that say that the call panicked.
    pub(crate) panicked: Vec<At>,
    /// Lines of `proc`, in order.
    pub(crate) procs: Vec<At>,
    /// Lines of Produce requests, in order.
    pub(crate) requests: Vec<At>,
    /// How full it was, by slot of the incarnation.
    pub(crate) peaks: Vec<Peaks>,
    /// Events that the spool held at the end, where it was read.
    pub(crate) spool: Option<BTreeSet<EventId>>,
    /// Names of threads; events carry their place here.
    pub(crate) threads: Vec<&'a str>,
    /// Longest stall of the machine in microseconds.
    pub(crate) stall_us: u64,
    /// The same of real brokers.
    pub(super) broker_stall_us: u64,
    /// Operations on the spool's disk that failed, by incarnation.
    pub(super) disk_failures: Vec<(u32, At, &'a str)>,
    /// The subject tells its attempts. One that took events and told no attempt in the whole run is
    /// one that cannot; one that told any tells all.
    pub(crate) tells_attempts: bool,
    ids: numbers::Ids,
}

/// A `proc` line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proc<'a> {
    pub(crate) at: At,
    pub(crate) src: Src,
    pub(crate) what: &'a str,
    pub(crate) value: i64,
    pub(crate) text: &'a str,
}

impl<'a> Index<'a> {
    /// Indexes a history. Total: whatever the lines say.
    pub(crate) fn new(lines: &'a [Line], scenario: &'a Scenario) -> Self {
        build::build(lines, scenario)
    }

    pub(crate) fn event(&self, slot: usize) -> Option<&Event> {
        self.events.get(slot)
    }

    /// Slot of the event with this id.
    pub(crate) fn slot(&self, id: EventId) -> Option<usize> {
        self.ids.get(id)
    }

    /// Name of an event's thread.
    pub(crate) fn thread(&self, event: &Event) -> &'a str {
        self.threads.get(event.thread).copied().unwrap_or("")
    }

    /// The peaks of an incarnation.
    pub(crate) fn peaks(&self, inc: usize) -> Peaks {
        self.peaks.get(inc).copied().unwrap_or_default()
    }

    /// Lives of an event, in order of incarnation.
    pub(crate) fn lives_of(&self, event: &Event) -> impl DoubleEndedIterator<Item = &Life<'a>> {
        event.lives.iter().filter_map(|slot| self.lives.get(*slot))
    }

    /// Attempts of a life on a route, in order of hand-over.
    pub(crate) fn attempts_of(
        &self,
        life: &Life<'a>,
        route: Route,
    ) -> impl Iterator<Item = &Attempt<'a>> {
        life.attempts
            .iter()
            .filter_map(|slot| self.attempts.get(*slot))
            .filter(move |attempt| attempt.route == route)
    }

    /// The incarnation of a life.
    pub(crate) fn inc_of(&self, life: &Life<'a>) -> Option<&Incarnation> {
        self.incs.get(life.inc)
    }

    /// When the file system that the spool is on was not what it should be: from the begin of a
    /// fault that it met to its end, or to its effect where that comes once.
    fn disk_faults(&self) -> impl Iterator<Item = (At, Option<At>)> {
        self.faults.iter().filter_map(|((n, _), seen)| {
            let (begin, effect) = (seen.begin?, seen.effect?);
            match &self.scenario.faults.get(*n)?.kind {
                FaultKind::Fs(fault) if fault.is_lasting() => Some((begin, seen.end)),
                FaultKind::Fs(_) => Some((begin, Some(effect))),
                _ => None,
            }
        })
    }

    /// When the incarnation of a life ended, its file system was not what it should be.
    pub(crate) fn is_disk_broken_at_end(&self, life: &Life<'_>) -> bool {
        let Some(ended) = self.inc_of(life).and_then(|inc| inc.ended) else { return false };
        self.disk_faults().any(|(begin, end)| begin < ended && end.is_none_or(|end| end > ended))
    }

    /// While an event was open, up to this outcome, its file system was not what it should be.
    pub(crate) fn is_disk_broken_in(&self, life: &Life<'_>, told: At) -> bool {
        let accepted = life.accepted.map(|(at, _)| at);
        let since = |end: At| accepted.is_none_or(|at| at < end);
        self.disk_faults().any(|(begin, end)| begin < told && end.is_none_or(since))
    }

    /// A line about files: the spool's, as it was read at the end.
    fn file(&mut self, (at, inc): (At, u32), op: &'a str, path: &'a str, error: Option<&str>) {
        if error.is_some() {
            let is_append =
                matches!(op, "create" | "write" | "sync") && spool::is_segment(Path::new(path));
            self.disk_failures.push((inc, at, if is_append { "append" } else { op }));
        }
        if op == spool::READ || op == spool::HOLDS {
            self.spool.get_or_insert_default().extend(path.parse::<EventId>());
        }
    }

    /// Entries of the spool that the scenario's damage may have cost.
    pub(crate) fn damaged_entries(&self) -> usize {
        let faults = self.faults.keys().filter_map(|(n, _)| self.scenario.faults.get(*n));
        let costs = faults.map(|fault| match fault.kind {
            FaultKind::SpoolDamage(what) => what.costs(),
            _ => 0,
        });
        costs.sum()
    }

    /// The last outcome over all incarnations.
    pub(crate) fn disposition(&self, event: &Event) -> Option<(At, &'a Outcome)> {
        self.lives_of(event).rev().find_map(|life| life.outcomes.last().copied())
    }

    pub(crate) fn line(&self, at: At) -> Option<&'a Line> {
        self.lines.get(at.line)
    }

    /// Process facts.
    pub(crate) fn procs(&self) -> impl Iterator<Item = Proc<'a>> {
        self.procs.iter().filter_map(|at| match self.line(*at) {
            Some(Line { src, kind: Kind::Proc { what, value, text }, .. }) => {
                Some(Proc { at: *at, src: *src, what, value: *value, text })
            }
            _ => None,
        })
    }

    /// How long what the subject depends on stood still at worst: the machine, its brokers, or,
    /// where the system had to read its pages from a disk, the subject itself.
    pub(crate) fn standstill_us(&self) -> u64 {
        let own = self.procs().filter(|fact| fact.what == "stall" && fact.src == Src::Subject);
        let own = own.filter_map(|fact| u64::try_from(fact.value).ok()).max();
        let own = own.filter(|_| self.page_ins() > 0).unwrap_or(0);
        self.stall_us.max(self.broker_stall_us).max(own)
    }

    /// Times that the subject waited for a page that the system had to read from a disk.
    pub(crate) fn page_ins(&self) -> u64 {
        let (mut before, mut waits) = (None, 0);
        for fact in self.procs().filter(|fact| fact.what == "page_ins") {
            match (fact.text, before) {
                ("before", _) => before = Some(fact.value),
                (_, Some(from)) => waits += u64::try_from(fact.value - from).unwrap_or(0),
                _ => {}
            }
        }
        waits
    }

    /// What timing laws allow beyond the bound they state: a tick where time is virtual, elsewhere
    /// what librdkafka's coarse clock and the machine's own stalls cost.
    pub(crate) fn tolerance_us(&self) -> u64 {
        match self.lane {
            LaneName::Sim | LaneName::Disk => micros(self.scenario.tick),
            _ => 2_000_000_u64.saturating_add(self.stall_us.max(self.broker_stall_us)),
        }
    }

    /// True where the harness's own file system lies under the subject and shows what it does.
    pub(crate) fn shows_files(&self) -> bool {
        self.lane != LaneName::Files || !self.subject.starts_with("driver:")
    }

    /// Something that the scenario breaks was really met.
    pub(crate) fn met_a_fault(&self) -> bool {
        self.faults.values().any(|fault| fault.effect.is_some())
    }

    /// True on lanes where the reference's client is librdkafka.
    pub(crate) fn is_librdkafka(&self) -> bool {
        matches!(self.lane, LaneName::Wire | LaneName::Mock | LaneName::Kafka | LaneName::External)
    }
}

/// Whole microseconds, saturating.
pub(crate) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds as people read them.
pub(crate) fn ms(us: u64) -> String {
    match us % 1000 {
        0 => format!("{} ms", us / 1000),
        rest => format!("{}.{rest:03} ms", us / 1000),
    }
}
