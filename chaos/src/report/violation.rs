//! A broken law, with everything a person needs to understand it and to see it again.

mod states;
mod stores;

use std::fmt;

use crate::history::{DeliveryError, EventId, Kind, Line, Outcome, Persistence, Src};
use crate::oracle::{Blame, LawId};

/// A broken rule of a law.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The law.
    pub law: LawId,
    /// The law in one sentence.
    pub sentence: &'static str,
    /// Which of its rules; stable, for saboteurs and tests.
    pub rule: &'static str,
    /// What had to be.
    pub expected: String,
    /// What was.
    pub observed: String,
    /// The first event that broke it, where it is about an event.
    pub event: Option<EventId>,
    /// The next few.
    pub others: Vec<EventId>,
    /// How often the rule was broken.
    pub count: u64,
    /// The lines that show it, in order; of requests and logs only what concerns the event.
    pub history: Vec<Line>,
    /// Who is at fault.
    pub blame: Blame,
    /// The command that shows it again.
    pub reproduce: String,
}

/// Lines of a history that are printed; the rest is counted.
const SHOWN: usize = 40;

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} broken: {}", self.law, self.sentence)?;
        writeln!(f, "  expected   {}", self.expected)?;
        writeln!(f, "  observed   {}", self.observed)?;
        if let Some(event) = self.event {
            write!(f, "  event      {event}")?;
            if !self.others.is_empty() {
                let others: Vec<String> = self.others.iter().map(ToString::to_string).collect();
                write!(f, ", then {}", others.join(", "))?;
            }
            let named = self.others.len() as u64 + 1;
            if self.count > named {
                write!(f, " and {} more", self.count - named)?;
            }
            writeln!(f)?;
        } else if self.count > 1 {
            writeln!(f, "  times      {}", self.count)?;
        }
        for line in self.history.iter().take(SHOWN) {
            writeln!(f, "{}", Row(line))?;
        }
        if self.history.len() > SHOWN {
            writeln!(f, "               … {} more lines", self.history.len() - SHOWN)?;
        }
        writeln!(f, "  blame      {}", self.blame.as_str())?;
        write!(f, "  reproduce  {}", self.reproduce)
    }
}

/// A line of a history as people read it: time, what happened, details.
pub struct Row<'a>(pub &'a Line);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { t_us, inc, src, kind, .. } = self.0;
        write!(f, "{:>9}.{:03} ms  ", t_us / 1000, t_us % 1000)?;
        if *inc > 0 {
            write!(f, "(incarnation {inc}) ")?;
        }
        match src {
            Src::Subject | Src::Harness => {}
            Src::Broker => write!(f, "broker: ")?,
            Src::Proxy => write!(f, "proxy: ")?,
            Src::Fs => write!(f, "fs: ")?,
            Src::Os => write!(f, "os: ")?,
        }
        write_kind(f, kind)
    }
}

fn write_kind(f: &mut fmt::Formatter<'_>, kind: &Kind) -> fmt::Result {
    match kind {
        Kind::Run { scenario, lane, seed, subject, .. } => {
            write!(f, "run of {scenario} on {lane}, seed {seed}, subject {subject}")
        }
        Kind::Ready => write!(f, "ready"),
        Kind::Call { op, deadline_us, .. } => {
            write!(f, "{op} called")?;
            match deadline_us {
                Some(us) => write!(f, ", deadline {} ms", us / 1000),
                None => Ok(()),
            }
        }
        Kind::Return { op, error, answer, .. } => {
            write!(f, "{op} returned")?;
            match (error, answer) {
                (Some(error), _) => write!(f, " the error: {error}"),
                (None, serde_json::Value::Null) => Ok(()),
                (None, answer) => write!(f, " {answer}"),
            }
        }
        Kind::Fault { name, phase, .. } => write!(f, "fault {name} {phase:?}"),
        Kind::Scrape { last, .. } => {
            write!(f, "{}", if *last { "judging scrape" } else { "scrape" })
        }
        Kind::Proc { what, value, text } => write!(f, "process {what} {value} {text}"),
        Kind::Fs { op, path, error } => {
            write!(f, "{op} {path}: {}", error.as_deref().unwrap_or("ok"))
        }
        Kind::Request { .. } | Kind::Log { .. } => write_truth(f, kind),
        Kind::StoreCall(_) | Kind::StoreAnswer(_) | Kind::AtRest(_) | Kind::DamageSeen(_) => {
            stores::write(f, kind)
        }
        Kind::CrashState(_) | Kind::CrashTally(_) => stores::write_crash(f, kind),
        Kind::StateOffered(_)
        | Kind::StateAnswered(_)
        | Kind::StateReceived(_)
        | Kind::StateHeap(_)
        | Kind::StateLost(_) => states::write(f, kind),
        claim => write_claim(f, claim),
    }
}

fn write_truth(f: &mut fmt::Formatter<'_>, kind: &Kind) -> fmt::Result {
    match kind {
        Kind::Request { broker, api, conn, produce, answered, .. } => {
            write!(f, "{api} at broker {broker} (connection {conn})")?;
            for part in produce {
                write!(f, ", {}/{}", part.topic, part.partition)?;
                match part.appended {
                    Some(offset) => write!(f, " appended at {offset}")?,
                    None if part.unknown => write!(f, " perhaps appended")?,
                    None => write!(f, " not appended")?,
                }
                write!(f, " (pid {}, epoch {})", part.pid, part.epoch)?;
                match part.answered {
                    Some(code) => write!(f, ", answered {code}")?,
                    None => write!(f, ", answer withheld")?,
                }
            }
            match (produce.is_empty(), answered) {
                (true, Some(code)) => write!(f, ", answered {code}"),
                (true, None) => write!(f, ", answer withheld"),
                _ => Ok(()),
            }
        }
        Kind::Log { topic, partition, records, .. } => {
            write!(f, "log {topic}/{partition} holds")?;
            for record in records {
                write!(f, " offset {}", record.offset)?;
                for defect in &record.defects {
                    write!(f, " [{defect}]")?;
                }
            }
            if records.is_empty() { write!(f, " nothing") } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn write_claim(f: &mut fmt::Formatter<'_>, kind: &Kind) -> fmt::Result {
    match kind {
        Kind::Offered { thread, bytes, .. } => {
            write!(f, "offered, thread {thread:?}, {bytes} bytes")
        }
        Kind::Accepted { sequence, .. } => write!(f, "accepted, sequence {sequence}"),
        Kind::Attempt { attempt, route, .. } => {
            write!(f, "attempt {attempt} handed over to {}", route.as_str())
        }
        Kind::Refused { attempt, route, error } => {
            write!(f, "attempt {attempt} refused by {}: {}", route.as_str(), Cause(error))
        }
        Kind::Delivery { attempt, persistence, partition, offset, error, late, .. } => {
            write!(f, "attempt {attempt} delivered: ")?;
            match error {
                None => write!(f, "ok")?,
                Some(error) => write!(f, "{}", Cause(error))?,
            }
            write!(f, ", {}", persistence.as_str())?;
            if *offset >= 0 {
                write!(f, ", partition {partition} offset {offset}")?;
            }
            if *late { write!(f, ", late") } else { Ok(()) }
        }
        Kind::Outcome { outcome, .. } => write_outcome(f, outcome),
        _ => Ok(()),
    }
}

fn write_outcome(f: &mut fmt::Formatter<'_>, outcome: &Outcome) -> fmt::Result {
    write!(f, "outcome {}", outcome.label())?;
    if !outcome.reason().is_empty() {
        write!(f, "/{}", outcome.reason())?;
    }
    let state = |p: &Persistence| p.as_str();
    match outcome {
        Outcome::Acked { partition, offset } if *offset >= 0 => {
            write!(f, ", partition {partition} offset {offset}")
        }
        Outcome::DeadLettered { main, .. } => write!(f, ", main {}", state(main)),
        Outcome::Spooled { main, dlq } | Outcome::InDoubt { main, dlq, .. } => {
            write!(f, ", main {}, dlq {}", state(main), state(dlq))
        }
        _ => Ok(()),
    }
}

/// An error as people read it.
struct Cause<'a>(&'a DeliveryError);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeliveryError { code, class, reason, .. } = self.0;
        let class = format!("{class:?}").to_lowercase();
        write!(f, "{class} error {code} ({reason})")
    }
}
