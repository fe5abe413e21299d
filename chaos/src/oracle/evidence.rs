//! The lines that show a violation, for a person to read.

use super::findings::Broken;
use super::index::{At, Event, Index};
use super::plays;
use crate::history::{EventId, Kind, Line, LogRecord, ProduceTruth};
use crate::lane::external::BOOTSTRAP;
use crate::lane::{FILE, FREE};
use crate::report::violation::Violation;
use crate::scenario::model::LaneName;

/// A violation with its evidence.
pub(super) fn violation(index: &Index<'_>, broken: &Broken) -> Violation {
    let event = broken.event.and_then(|slot| index.event(slot));
    let mut history = event.map(|event| about(index, event)).unwrap_or_default();
    for at in &broken.lines {
        if let Some(line) = index.line(*at)
            && !history.iter().any(|known| known.n == line.n)
        {
            history.push(line.clone());
        }
    }
    history.sort_by_key(|line| line.n);
    let id = |slot: &usize| index.event(*slot).map(|event| event.id);
    Violation {
        law: broken.law,
        sentence: broken.law.sentence(),
        rule: broken.rule,
        expected: broken.expected.clone(),
        observed: broken.observed.clone(),
        event: event.map(|event| event.id),
        others: broken.others.iter().filter_map(id).collect(),
        count: broken.count,
        history,
        blame: broken.blame,
        reproduce: reproduce(index, broken),
    }
}

/// The command that shows it again. Where it is about a crash state, the disk is made again too.
fn reproduce(index: &Index<'_>, broken: &Broken) -> String {
    let (lane, seed) = (index.lane.as_str(), index.seed);
    let told = |wanted: &str| match index.lines.first().map(|line| &line.kind) {
        Some(Kind::Run { environment, .. }) => {
            environment.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.clone())
        }
        _ => None,
    };
    let scenario = told(FILE).unwrap_or_else(|| index.scenario.id.clone());
    let mut command = format!("dashproof run {} --lane {lane} --seed {seed}", quoted(&scenario));
    if index.lane == LaneName::External
        && let Some(bootstrap) = told(BOOTSTRAP)
    {
        command.push_str(" --bootstrap ");
        command.push_str(&quoted(&bootstrap));
    }
    if let Some(name) = index.subject.strip_prefix("saboteur:") {
        command.push_str(" --saboteur ");
        command.push_str(name);
    } else if let Some(driver) = index.subject.strip_prefix("driver:") {
        command.push_str(" --driver ");
        command.push_str(&quoted(driver));
    }
    let play = broken.lines.first().and_then(|at| plays::free_at(index.lines, at.line));
    let free = told(FREE).or_else(|| play.map(|free| free.to_string()));
    let states = broken.lines.iter().filter_map(|at| match &index.line(*at)?.kind {
        Kind::CrashState(state) => Some(&state.state),
        _ => None,
    });
    if let Some(free) = free.filter(|_| states.clone().next().is_none()) {
        // one play of those on a full disk
        command.push_str(" --free ");
        command.push_str(&quoted(&free));
    }
    if let Some(state) = states.into_iter().next() {
        let by = index.subject.strip_prefix("saboteur:").map(|name| format!("-{name}"));
        let by = by.unwrap_or_default();
        let run = format!("{RUNS}/{}/{lane}-seed{seed}{by}", index.scenario.id);
        command.push_str(&format!(" --out {RUNS} ; dashproof replay {} ", quoted(&run)));
        command.push_str(&format!("--crash-state {}", quoted(state)));
    }
    command
}

/// Where a run is kept so that one of its crash states can be looked at.
const RUNS: &str = "target/runs";

/// As a shell takes it for one word.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Every line about an event: offered, accepted, its attempts and their ends, requests that carried
/// it, its outcomes, its records.
fn about(index: &Index<'_>, event: &Event) -> Vec<Line> {
    let mut places: Vec<At> = event.offered.into_iter().collect();
    for life in index.lives_of(event) {
        places.extend(life.offered);
        places.extend(life.accepted.map(|(at, _)| at));
        places.extend(life.outcomes.iter().map(|(at, _)| *at));
        places.extend(life.refusals.iter().map(|(at, ..)| *at));
        for attempt in life.attempts.iter().filter_map(|slot| index.attempts.get(*slot)) {
            places.push(attempt.at);
            places.extend(attempt.delivery.map(|delivery| delivery.at));
        }
    }
    places.extend(event.transmissions.iter().map(|t| t.at));
    places.sort_unstable();
    places.dedup();
    let mut lines: Vec<Line> =
        places.iter().filter_map(|at| Some(narrow(index.line(*at)?, event.id))).collect();
    for line in index.lines {
        if let Kind::Log { records, .. } = &line.kind
            && records.iter().any(|record| record.events.contains(&event.id))
        {
            lines.push(narrow(line, event.id));
        }
    }
    lines
}

/// The line with only what concerns the event.
fn narrow(line: &Line, id: EventId) -> Line {
    let kind = match &line.kind {
        Kind::Request { broker, api, conn, correlation, produce, answered, acks } => {
            let carries = |part: &&ProduceTruth| part.events.contains(&Some(id));
            let only =
                |part: &ProduceTruth| ProduceTruth { events: vec![Some(id)], ..part.clone() };
            Kind::Request {
                broker: *broker,
                api: api.clone(),
                conn: *conn,
                correlation: *correlation,
                produce: produce.iter().filter(carries).map(only).collect(),
                answered: *answered,
                acks: *acks,
            }
        }
        Kind::Log { topic, route, partition, records } => {
            let holds = |record: &&LogRecord| record.events.contains(&id);
            Kind::Log {
                topic: topic.clone(),
                route: *route,
                partition: *partition,
                records: records.iter().filter(holds).cloned().collect(),
            }
        }
        other => other.clone(),
    };
    Line { kind, ..line.clone() }
}
