//! Spools on disks that a crash could leave: what they gave back, held against what was told before
//! the crash.
//!
//! The harness opens the spool on every such disk and the history has its answers; file operations
//! in the history say what was told before each. D11: what was spooled is given back. D5: what was
//! ended for good is not. D6: sequences go on, and threads come in their order. D3: no claim is
//! weaker than what was known. D4: nothing is made up.

mod crash;
mod model;

use std::collections::{BTreeMap, BTreeSet};

use super::findings::Findings;
use super::index::{At, Index};
use super::laws::LawId::D11;
use super::store::{CHANGES, whole};
use crate::history::{CrashState, EventId, FaultPhase, Kind, Outcome, Route, Src};
use crate::scenario::model::FaultKind;
use model::{Change, Model};

/// An attempt: incarnation and number.
type Attempt = (u32, u64);

/// Where the pass stands.
struct Walk<'a, 'f> {
    index: &'f Index<'a>,
    f: &'f mut Findings,
    /// What was known when this disk began, and what was learnt since, after how many of its
    /// operations.
    start: Model,
    learnt: Vec<(u64, Change<'a>)>,
    ops: u64,
    /// What was known at the crash that was judged last, and how much of `learnt` is in it.
    then: Option<(Model, usize, u64)>,
    attempts: BTreeMap<Attempt, &'a [EventId]>,
    /// Calls of `close`: when each must have returned.
    closes: BTreeMap<u64, u64>,
    /// Faults of the file system that are in force.
    broken: BTreeSet<usize>,
}

pub(super) fn judge(index: &Index<'_>, f: &mut Findings) {
    if index.settings.spool.directory.is_none() {
        return;
    }
    let mut walk = Walk {
        index,
        f,
        start: Model::default(),
        learnt: Vec::new(),
        ops: 0,
        then: None,
        attempts: BTreeMap::new(),
        closes: BTreeMap::new(),
        broken: BTreeSet::new(),
    };
    for (n, line) in index.lines.iter().enumerate() {
        let at = At { line: n, t_us: line.t_us };
        match (&line.kind, line.src) {
            (Kind::Fs { op, .. }, Src::Fs) if CHANGES.contains(&op.as_str()) => walk.ops += 1,
            (Kind::Proc { what, .. }, _) if what == "crash" => walk.another_disk(),
            (Kind::CrashState(state), Src::Fs) => walk.state(state, at),
            (kind, src) => walk.line(kind, src, line.inc, line.t_us),
        }
    }
    whole(index, D11, walk.f);
}

impl<'a> Walk<'a, '_> {
    fn learn(&mut self, change: Change<'a>) {
        self.learnt.push((self.ops, change));
    }

    /// The disk goes on from one of those that it could be.
    fn another_disk(&mut self) {
        for (_, change) in std::mem::take(&mut self.learnt) {
            self.start.apply(change);
        }
        self.ops = 0;
        self.then = None;
    }

    fn line(&mut self, kind: &'a Kind, src: Src, inc: u32, t_us: u64) {
        match kind {
            Kind::Offered { event, .. } => self.learn(Change::Offered(*event)),
            Kind::Accepted { event, sequence } => {
                self.learn(Change::Accepted(*event, *sequence, inc));
            }
            Kind::Attempt { attempt, events, route } => {
                self.attempts.insert((inc, *attempt), events);
                for event in events {
                    self.learn(Change::Attempt { event: *event, inc, route: *route });
                }
            }
            Kind::Refused { attempt, route, error } => {
                let (route, class) = (*route, error.class);
                self.each(inc, *attempt, |event| Change::Refused { event, route, class });
            }
            Kind::Delivery { attempt, route, persistence, error, .. } => {
                let (route, said, error) = (*route, *persistence, error.as_ref());
                self.each(inc, *attempt, |event| Change::Delivery { event, route, said, error });
            }
            Kind::Outcome { event, outcome, .. } if src == Src::Subject => {
                self.learn(Change::Told { event: *event, inc, outcome });
            }
            Kind::Call { id, op, deadline_us, .. } if op == "close" => {
                self.closes.insert(*id, t_us.saturating_add(deadline_us.unwrap_or(0)));
            }
            // one that its deadline cut may have left ends unsynced
            Kind::Return { id, error: None, .. }
                if self.closes.get(id).is_some_and(|until| t_us < *until) =>
            {
                self.learn(Change::Closed(inc, self.broken.is_empty()));
            }
            Kind::Fault { fault, phase, .. } => self.fault(*fault, *phase),
            _ => {}
        }
    }

    fn fault(&mut self, fault: usize, phase: FaultPhase) {
        let kind = self.index.scenario.faults.get(fault).map(|fault| &fault.kind);
        match (kind, phase) {
            (Some(FaultKind::SpoolDamage(what)), FaultPhase::Effect) if what.costs() > 0 => {
                self.learn(Change::Damaged);
            }
            (Some(FaultKind::Fs(what)), FaultPhase::Effect) if what.is_lasting() => {
                self.broken.insert(fault);
            }
            (Some(FaultKind::Fs(_)), FaultPhase::End) => drop(self.broken.remove(&fault)),
            _ => {}
        }
    }

    fn each(&mut self, inc: u32, attempt: u64, change: impl Fn(EventId) -> Change<'a>) {
        for event in self.attempts.get(&(inc, attempt)).copied().unwrap_or_default() {
            self.learn(change(*event));
        }
    }

    fn state(&mut self, state: &CrashState, at: At) {
        let usable = self.then.take().filter(|(_, _, ops)| *ops <= state.ops);
        let (mut model, from, _) = usable.unwrap_or_else(|| (self.start.clone(), 0, 0));
        let to = self.learnt.partition_point(|(ops, _)| *ops <= state.ops);
        for (_, change) in self.learnt.get(from..to).unwrap_or_default() {
            model.apply(*change);
        }
        crash::judge(self.index, &model, state, at, self.f);
        self.then = Some((model, to, state.ops));
    }
}

/// Crash states that were tried, as `spool/operation`: by what the subject was doing at the change
/// of the disk that was the last before the crash.
pub(super) fn tried(index: &Index<'_>) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    let (mut op, mut opening, mut closing) = ("none", None, None);
    let mut changes = vec!["none"];
    for line in index.lines {
        match &line.kind {
            Kind::Call { id, op: called, .. } if called == "open" => opening = Some(*id),
            Kind::Call { id, op: called, .. } if called == "close" => closing = Some(*id),
            Kind::Return { id, .. } if opening == Some(*id) => opening = None,
            Kind::Return { id, .. } if closing == Some(*id) => closing = None,
            Kind::Attempt { events, route: Route::Main, .. } => {
                let life = |id: &EventId| {
                    let event = index.event(index.slot(*id)?)?;
                    index.lives_of(event).find(|life| inc(index, life.inc) == Some(line.inc))
                };
                let new = |id: &EventId| life(id).is_some_and(|life| life.offered.is_some());
                op = if events.iter().all(new) { "append" } else { "drain" };
            }
            Kind::Outcome { outcome: Outcome::Spooled { .. }, .. } => op = "append",
            Kind::Fs { op: change, .. } if CHANGES.contains(&change.as_str()) => {
                let ending = closing.map(|_| "close");
                changes.push(opening.map(|_| "open").or(ending).unwrap_or(op));
            }
            Kind::Proc { what, .. } if what == "crash" => changes.truncate(1),
            Kind::CrashState(state) => {
                let last = usize::try_from(state.ops).ok().and_then(|ops| changes.get(ops));
                let last = last.unwrap_or(&"none");
                *out.entry(format!("spool/{last}")).or_default() += 1;
            }
            _ => {}
        }
    }
    out
}

/// Number of an incarnation.
fn inc(index: &Index<'_>, slot: usize) -> Option<u32> {
    index.incs.get(slot).map(|inc| inc.number)
}
