//! Fills the [`Index`].

mod ends;
mod unknown;

use std::collections::BTreeMap;

use super::numbers::{Ids, Numbers};
use super::{
    Anomaly, At, Attempt, Delivered, Event, FaultSeen, Incarnation, Index, Life, LogView, Place,
    Returned, Transmission,
};
use crate::history::{EventId, FaultPhase, Kind, Line, Outcome, ProduceTruth, Route, Src};
use crate::oracle::load::Peaks;
use crate::oracle::settings::Settings;
use crate::scenario::model::{LaneName, Scenario};

pub(super) fn build<'a>(lines: &'a [Line], scenario: &'a Scenario) -> Index<'a> {
    let settings = Settings::of(scenario);
    let mut builder = Builder::new(lines, scenario, settings);
    builder.read_logs();
    for (n, line) in lines.iter().enumerate() {
        let at = At { line: n, t_us: line.t_us };
        let inc = builder.incarnation(line.inc);
        builder.line(at, inc, line);
    }
    builder.place_logs();
    unknown::settle(&mut builder.index);
    builder.unflagged();
    let mut index = builder.index;
    index.tells_attempts = !index.attempts.is_empty() || !index.lives.iter().any(was_taken);
    index.peaks = (0..index.incs.len()).map(|inc| Peaks::of(&index, inc)).collect();
    index
}

/// What `late` means.
const LATE: &str = "a delivery is called late when it comes after its event's outcome";

struct Builder<'a> {
    index: Index<'a>,
    routes: BTreeMap<&'a str, Route>,
    /// The topic that was asked for last, since most requests are about one.
    last_route: Option<(&'a str, Route)>,
    threads: BTreeMap<&'a str, usize>,
    /// Number of an incarnation in the history → slot.
    incs: BTreeMap<u32, usize>,
    /// Slot of an incarnation → its attempts by number.
    attempts: Vec<Numbers>,
    /// Slot of an incarnation → life by slot of its event.
    lives: Vec<Numbers>,
    calls: Numbers,
    /// Deliveries after the outcome of their event that are not called late.
    unflagged: Vec<(At, Option<usize>, u64)>,
    /// The subject calls deliveries late.
    flags: bool,
    limit: usize,
}

/// The subject took the event; what is rejected or lost has no attempts to tell.
fn was_taken(life: &Life<'_>) -> bool {
    let refused =
        |outcome: &Outcome| matches!(outcome, Outcome::Rejected { .. } | Outcome::LostInCrash);
    life.accepted.is_some() || life.outcomes.iter().any(|(_, outcome)| !refused(outcome))
}

impl<'a> Builder<'a> {
    fn new(lines: &'a [Line], scenario: &'a Scenario, settings: Settings) -> Self {
        let limit = lines.len().saturating_mul(2).max(1024);
        Self {
            index: Index {
                lines,
                scenario,
                settings,
                lane: LaneName::Sim,
                seed: 0,
                subject: "",
                has_run: false,
                incs: Vec::new(),
                events: Vec::new(),
                lives: Vec::new(),
                attempts: Vec::new(),
                calls: Vec::new(),
                faults: BTreeMap::new(),
                logs: Vec::new(),
                unresolved: Vec::new(),
                anomalies: Vec::new(),
                panicked: Vec::new(),
                procs: Vec::new(),
                requests: Vec::new(),
                peaks: Vec::new(),
                spool: None,
                threads: vec![""],
                stall_us: 0,
                broker_stall_us: 0,
                disk_failures: Vec::new(),
                tells_attempts: true,
                ids: Ids::new(limit),
            },
            routes: BTreeMap::new(),
            last_route: None,
            threads: BTreeMap::from([("", 0)]),
            incs: BTreeMap::new(),
            attempts: Vec::new(),
            lives: Vec::new(),
            calls: Numbers::new(limit),
            unflagged: Vec::new(),
            flags: false,
            limit,
        }
    }

    /// Logs name the route of each topic, which requests need: they are read first. Of a partition
    /// that was read twice the last reading counts.
    fn read_logs(&mut self) {
        let mut logs: BTreeMap<(&str, i32), LogView<'a>> = BTreeMap::new();
        for line in self.index.lines {
            if let Kind::Log { topic, route: Some(route), partition, records } = &line.kind {
                let (route, partition) = (*route, *partition);
                self.routes.insert(topic, route);
                logs.insert((topic, partition), LogView { route, topic, partition, records });
            }
        }
        self.index.logs = logs.into_values().collect();
        self.index.logs.sort_by_key(|log| (log.route, log.partition));
    }

    fn route(&self, topic: &str) -> Option<Route> {
        let settings = &self.index.settings;
        self.routes.get(topic).copied().or_else(|| {
            if topic == settings.topic {
                Some(Route::Main)
            } else if topic == settings.dlq.topic {
                Some(Route::Dlq)
            } else {
                None
            }
        })
    }

    fn incarnation(&mut self, number: u32) -> usize {
        if let Some(slot) = self.incs.get(&number) {
            return *slot;
        }
        let slot = self.index.incs.len();
        self.incs.insert(number, slot);
        self.index.incs.push(Incarnation {
            number,
            lives: Vec::new(),
            end_called: None,
            ended: None,
            by_close: false,
            crashed: None,
            handles: 1,
            dropped: None,
            close_failed: false,
            cancelled: Vec::new(),
            dropped_handle: false,
            scrapes: Vec::new(),
        });
        self.attempts.push(Numbers::new(self.limit));
        self.lives.push(Numbers::new(self.limit));
        slot
    }

    /// Place of a thread's name.
    fn thread(&mut self, name: &'a str) -> usize {
        let next = self.index.threads.len();
        let place = *self.threads.entry(name).or_insert(next);
        if place == next {
            self.index.threads.push(name);
        }
        place
    }

    /// Slot of an event, made when it is new.
    fn event(&mut self, id: EventId) -> usize {
        if let Some(slot) = self.index.ids.get(id) {
            return slot;
        }
        let slot = self.index.events.len();
        self.index.ids.set(id, slot);
        self.index.events.push(Event {
            id,
            offered: None,
            thread: 0,
            bytes: 0,
            lives: Vec::new(),
            main: Vec::new(),
            dlq: Vec::new(),
            transmissions: Vec::new(),
        });
        slot
    }

    /// The life of an event in an incarnation, made when it is new.
    fn life(&mut self, inc: usize, id: EventId) -> Option<&mut Life<'a>> {
        let event = self.event(id);
        let lives = self.lives.get_mut(inc)?;
        let slot = if let Some(slot) = lives.get(event as u64) {
            slot
        } else {
            let slot = self.index.lives.len();
            lives.set(event as u64, slot);
            self.index.lives.push(Life {
                event,
                inc,
                offered: None,
                accepted: None,
                attempts: Vec::new(),
                refusals: Vec::new(),
                outcomes: Vec::new(),
            });
            self.index.events.get_mut(event)?.lives.push(slot);
            self.index.incs.get_mut(inc)?.lives.push(slot);
            slot
        };
        self.index.lives.get_mut(slot)
    }

    fn line(&mut self, at: At, inc: usize, line: &'a Line) {
        match &line.kind {
            Kind::Run { lane, seed, subject, .. } => {
                let named = LaneName::ALL.into_iter().find(|l| l.as_str() == lane);
                self.index.lane = named.unwrap_or(LaneName::Sim);
                self.index.seed = *seed;
                self.index.subject = subject;
                self.index.has_run = true;
            }
            Kind::Call { id, op, deadline_us, event } => {
                self.called(at, inc, *id, op, *deadline_us, *event);
            }
            Kind::Return { id, op, error, answer, .. } => {
                let returned = Returned { at, error: error.as_deref(), answer };
                self.returned(*id, op, inc, returned);
            }
            Kind::Fault { fault, name, phase } => {
                note_fault(self.index.faults.entry((*fault, name)).or_default(), *phase, at);
            }
            Kind::Request { produce, acks, .. } => {
                self.index.requests.push(at);
                for truth in produce {
                    self.transmitted(at, truth, *acks);
                }
            }
            Kind::Scrape { .. } => {
                if let Some(inc) = self.index.incs.get_mut(inc) {
                    inc.scrapes.push(at);
                }
            }
            Kind::Proc { what, value, text } if what == "stall" && text == "brokers" => {
                let stall = u64::try_from(*value).unwrap_or(0);
                self.index.broker_stall_us = self.index.broker_stall_us.max(stall);
            }
            Kind::Proc { what, value, .. } => self.process(at, inc, line.src, what, *value),
            Kind::Fs { op, path, error } => {
                self.index.file((at, line.inc), op, path, error.as_deref());
            }
            Kind::Ready | Kind::Log { .. } => {}
            claim => self.claim(at, inc, line.src, claim),
        }
    }

    /// Lines about events.
    fn claim(&mut self, at: At, inc: usize, src: Src, kind: &'a Kind) {
        match kind {
            Kind::Offered { event, thread, bytes } => {
                let slot = self.event(*event);
                let thread = self.thread(thread);
                if let Some(event) = self.index.events.get_mut(slot)
                    && event.offered.is_none()
                {
                    event.offered = Some(at);
                    event.thread = thread;
                    event.bytes = *bytes;
                }
                if let Some(life) = self.life(inc, *event) {
                    life.offered.get_or_insert(at);
                }
            }
            Kind::Accepted { event, sequence } => {
                if let Some(life) = self.life(inc, *event) {
                    life.accepted.get_or_insert((at, *sequence));
                }
            }
            Kind::Outcome { event, outcome, .. } => self.outcome(at, inc, src, *event, outcome),
            Kind::Attempt { attempt, events, route } => {
                self.attempt(at, inc, *attempt, events, *route);
            }
            Kind::Refused { attempt, route, error } => {
                let Some(slot) = self.attempts.get(inc).and_then(|a| a.get(*attempt)) else {
                    return;
                };
                let Some(attempt) = self.index.attempts.get_mut(slot) else { return };
                attempt.refused = true;
                for id in attempt.events {
                    if let Some(life) = self.life(inc, *id) {
                        life.attempts.retain(|a| *a != slot);
                        life.refusals.push((at, *route, error));
                    }
                }
            }
            Kind::Delivery { attempt, persistence, error, late, .. } => {
                let (persistence, error) = (*persistence, error.as_ref());
                let delivered = Delivered { at, persistence, error };
                self.delivered(inc, *attempt, delivered, *late);
            }
            _ => {}
        }
    }

    fn outcome(&mut self, at: At, inc: usize, src: Src, id: EventId, outcome: &'a Outcome) {
        let lost = matches!(outcome, Outcome::LostInCrash);
        if lost && src == Src::Subject {
            let event = Some(self.event(id));
            self.anomaly(at, event, "lost_in_crash", "only the harness writes lost_in_crash", {
                "the subject claimed it".to_owned()
            });
            return;
        }
        if let Some(life) = self.life(inc, id) {
            life.outcomes.push((at, outcome));
        }
    }

    fn attempt(&mut self, at: At, inc: usize, number: u64, events: &'a [EventId], route: Route) {
        let slot = self.index.attempts.len();
        if self.attempts.get(inc).is_some_and(|a| a.get(number).is_some()) {
            let observed = format!("attempt {number} was handed over twice");
            self.anomaly(at, None, "attempt", "attempt numbers are unique", observed);
            return;
        }
        if let Some(numbers) = self.attempts.get_mut(inc) {
            numbers.set(number, slot);
        }
        for id in events {
            if let Some(life) = self.life(inc, *id)
                && life.attempts.last() != Some(&slot)
            {
                life.attempts.push(slot);
            }
        }
        self.index.attempts.push(Attempt {
            inc,
            number,
            route,
            events,
            at,
            refused: false,
            delivery: None,
        });
    }

    fn delivered(&mut self, inc: usize, number: u64, delivered: Delivered<'a>, late: bool) {
        let expected = "every delivery ends one attempt, which was handed over before";
        let slot = self.attempts.get(inc).and_then(|a| a.get(number));
        let first = slot.and_then(|slot| self.index.attempts.get(slot)).map(|attempt| {
            let event = attempt.events.first().and_then(|id| self.index.ids.get(*id));
            (event, attempt.delivery.is_some(), attempt.refused)
        });
        let observed = match first {
            None => format!("a delivery of attempt {number}, which was never handed over"),
            Some((_, true, _)) => format!("a second delivery of attempt {number}"),
            Some((_, _, true)) => format!("a delivery of attempt {number}, which was refused"),
            Some(_) => {
                if let Some(attempt) = slot.and_then(|slot| self.index.attempts.get_mut(slot)) {
                    attempt.delivery = Some(delivered);
                }
                self.flagged(inc, slot, delivered.at, late);
                return;
            }
        };
        let event = first.and_then(|(event, ..)| event);
        self.anomaly(delivered.at, event, "delivery", expected, observed);
    }

    /// The order of lines says whether a delivery is late; what the subject calls it must agree.
    fn flagged(&mut self, inc: usize, slot: Option<usize>, at: At, late: bool) {
        let Some(attempt) = slot.and_then(|slot| self.index.attempts.get(slot)) else { return };
        let (number, events) = (attempt.number, attempt.events);
        let told = |id: &EventId| {
            let event = self.index.ids.get(*id)?;
            let life = self.lives.get(inc)?.get(event as u64)?;
            Some(!self.index.lives.get(life)?.outcomes.is_empty())
        };
        let resolved = events.iter().filter(|id| told(id) == Some(true)).count();
        let event = events.first().and_then(|id| self.index.ids.get(*id));
        self.flags |= late;
        if late && resolved == 0 && !events.is_empty() {
            let observed = format!("attempt {number} is called late before its event's outcome");
            self.anomaly(at, event, "late", LATE, observed);
        } else if !late && resolved > 0 && resolved == events.len() {
            self.unflagged.push((at, event, number));
        }
    }

    /// A subject that leaves the flag out everywhere does not tell it.
    fn unflagged(&mut self) {
        if !self.flags {
            return;
        }
        for (at, event, number) in std::mem::take(&mut self.unflagged) {
            let observed = format!("attempt {number} came after its event's outcome, not late");
            self.anomaly(at, event, "late", LATE, observed);
        }
    }

    fn anomaly(
        &mut self,
        at: At,
        event: Option<usize>,
        rule: &'static str,
        expected: &'static str,
        observed: String,
    ) {
        self.index.anomalies.push(Anomaly { at, event, rule, expected, observed });
    }

    fn transmitted(&mut self, at: At, truth: &'a ProduceTruth, acks: Option<i16>) {
        let known = self.last_route.filter(|(topic, _)| **topic == *truth.topic);
        let Some(route) = known.map(|(_, route)| route).or_else(|| self.route(&truth.topic)) else {
            return;
        };
        self.last_route = Some((&truth.topic, route));
        let transmission = Transmission {
            at,
            route,
            appended: truth.appended.is_some(),
            answered: truth.answered,
            unknown: truth.unknown,
            pid: truth.pid,
            epoch: truth.epoch,
            acks,
        };
        for id in truth.events.iter().flatten() {
            let slot = self.event(*id);
            if let Some(event) = self.index.events.get_mut(slot) {
                event.transmissions.push(transmission);
            }
        }
    }

    /// After the pass, so that events keep the order in which they were offered.
    fn place_logs(&mut self) {
        for log in self.index.logs.clone() {
            for record in log.records {
                if record.events.is_empty() {
                    let place = format!("{}/{}@{}", log.topic, log.partition, record.offset);
                    self.index.unresolved.push(place);
                }
                let place = Place {
                    partition: log.partition,
                    offset: record.offset,
                    pid: record.pid,
                    epoch: record.epoch,
                };
                for id in &record.events {
                    let slot = self.event(*id);
                    let Some(event) = self.index.events.get_mut(slot) else { continue };
                    match log.route {
                        Route::Main => event.main.push(place),
                        Route::Dlq => event.dlq.push(place),
                    }
                }
            }
        }
    }
}

fn note_fault(seen: &mut FaultSeen, phase: FaultPhase, at: At) {
    match phase {
        FaultPhase::Begin => {
            seen.begin.get_or_insert(at);
        }
        FaultPhase::Effect => {
            seen.effect.get_or_insert(at);
        }
        // A fault that comes and goes is over when it went for the last time.
        FaultPhase::End => seen.end = Some(at),
    }
}
