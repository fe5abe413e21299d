//! What the director knows of the application: survives the subject's death.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::history::{EventId, Kind, Line};
use crate::scenario::model::Load;
use crate::subject::protocol::{Answer, Op, OpError};

/// Events that all loads together offer in one instant. Where time is virtual, loads without a rate
/// would offer any number of them, which costs two polls each and looks like a livelock.
pub(super) const CROWD: u64 = 10_000;

/// State of the current incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was opened yet, or the next incarnation is about to be.
    Shut,
    /// A producer is open.
    Open,
    /// It was closed; calls are still legal.
    Closed,
    /// Its last handle was dropped without `close`.
    Dropped,
    /// It was killed.
    Crashed,
}

/// Whether a load may offer through its handle now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Go,
    Wait,
    Never,
}

/// How far one thread of a load is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Thread {
    /// Events of this thread that were offered.
    pub(super) offered: u32,
    pub(super) done: bool,
}

/// A load's progress.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// Lane time at which it began.
    pub(super) began_us: Option<u64>,
    pub(super) threads: Vec<Thread>,
}

/// A send that has not returned.
#[derive(Clone)]
pub(super) struct Sending {
    pub(super) cancel: Arc<Notify>,
    pub(super) event: EventId,
    /// Lane time of the call.
    pub(super) since_us: u64,
    /// Line of the history that has the call.
    pub(super) line: u64,
}

/// Everything behind the director's lock.
pub(super) struct Board {
    pub(super) phase: Phase,
    /// Lane time at which the incarnation ended.
    pub(super) ended_us: u64,
    pub(super) offered: u64,
    pub(super) loads: Vec<Progress>,
    /// Sends that have not returned, by call.
    pub(super) sends: BTreeMap<u64, Sending>,
    /// Other calls that have not returned.
    pub(super) ops: usize,
    inc: u32,
    handles: BTreeSet<u32>,
    next_handle: u32,
    /// `open` and `clone` calls still to come.
    opens_left: usize,
    clones_left: usize,
    /// An instant, and how many events were offered in it.
    instant: (u64, u64),
    /// Counts deaths: what was begun before one is not waited for after it.
    life: u64,
}

impl Board {
    pub(super) fn new(loads: &[Load], opens: usize, clones: usize) -> Self {
        let progress = |load: &Load| Progress {
            began_us: None,
            threads: vec![Thread::default(); load.threads as usize],
        };
        Self {
            phase: Phase::Shut,
            ended_us: 0,
            offered: 0,
            loads: loads.iter().map(progress).collect(),
            sends: BTreeMap::new(),
            ops: 0,
            inc: 0,
            handles: BTreeSet::new(),
            next_handle: 0,
            opens_left: opens,
            clones_left: clones,
            instant: (0, 0),
            life: 0,
        }
    }

    /// May a load offer through this handle?
    pub(super) fn gate(&self, handle: u32) -> Gate {
        let wait_for_open = if self.opens_left > 0 { Gate::Wait } else { Gate::Never };
        match self.phase {
            Phase::Open | Phase::Closed if self.handles.contains(&handle) => Gate::Go,
            Phase::Open if self.clones_left > 0 && handle >= self.next_handle => Gate::Wait,
            _ => wait_for_open,
        }
    }

    /// May one more event be offered in this instant?
    pub(super) fn fits(&mut self, now_us: u64) -> bool {
        if self.instant.0 != now_us {
            self.instant = (now_us, 0);
        }
        self.instant.1 += 1;
        self.instant.1 <= CROWD
    }

    /// Number that the next clone gets.
    pub(super) fn next_handle(&self) -> u32 {
        self.next_handle
    }

    pub(super) fn op_begins(&mut self) -> u64 {
        self.ops += 1;
        self.life
    }

    /// A call other than `send` returned, or was given up.
    pub(super) fn op_ended(
        &mut self,
        life: u64,
        op: &Op,
        answer: Option<&Result<Answer, OpError>>,
        now_us: u64,
    ) {
        if life != self.life {
            return;
        }
        self.ops = self.ops.saturating_sub(1);
        let ok = matches!(answer, Some(Ok(_)));
        match op {
            Op::Open { .. } => {
                self.opens_left = self.opens_left.saturating_sub(1);
                if ok {
                    self.phase = Phase::Open;
                    self.handles = BTreeSet::from([0]);
                    self.next_handle = 1;
                }
            }
            Op::Clone { handle } => {
                self.clones_left = self.clones_left.saturating_sub(1);
                if ok {
                    self.handles.insert(*handle);
                    self.next_handle = self.next_handle.max(handle + 1);
                }
            }
            Op::Drop { handle } => {
                self.handles.remove(handle);
                if self.handles.is_empty() {
                    self.end(Phase::Dropped, now_us);
                }
            }
            // One that failed has ended nothing; one that never answers is not waited for.
            Op::Close { .. } if ok || answer.is_none() => self.end(Phase::Closed, now_us),
            _ => {}
        }
    }

    fn end(&mut self, phase: Phase, now_us: u64) {
        if self.phase == Phase::Open {
            self.phase = phase;
            self.ended_us = now_us;
        }
    }

    /// True when the last handle went without `close`.
    pub(super) fn is_dropped(&self) -> bool {
        self.phase == Phase::Dropped
    }

    /// The subject was killed; returns the incarnation that died.
    pub(super) fn crashed(&mut self) -> u32 {
        self.phase = Phase::Crashed;
        self.life += 1;
        self.ops = 0;
        self.sends.clear();
        self.inc
    }

    /// Nothing is offered until the next incarnation is open. `ended_us` stays.
    pub(super) fn pause(&mut self) {
        self.phase = Phase::Shut;
    }

    pub(super) fn next_incarnation(&mut self) -> u32 {
        self.inc += 1;
        self.inc
    }

    /// Loads that began and have threads that are not done.
    pub(super) fn unfinished(&self) -> Vec<usize> {
        let unfinished = |p: &Progress| p.began_us.is_some() && p.threads.iter().any(|t| !t.done);
        (0..).zip(&self.loads).filter(|(_, p)| unfinished(p)).map(|(i, _)| i).collect()
    }

    /// Nothing is under way and no load has anything left that it could still offer.
    pub(super) fn is_idle(&self) -> bool {
        let dead = self.phase == Phase::Crashed && self.opens_left == 0;
        self.ops == 0 && self.sends.is_empty() && (dead || self.unfinished().is_empty())
    }

    /// The send that has waited longest for its answer.
    pub(super) fn oldest_send(&self) -> Option<Sending> {
        self.sends.values().min_by_key(|sending| sending.line).cloned()
    }

    /// For the error of a run that did not end.
    pub(super) fn describe(&self) -> String {
        let phase = match self.phase {
            Phase::Shut => "no producer is open",
            Phase::Open => "a producer is open",
            Phase::Closed => "the producer was closed",
            Phase::Dropped => "the producer was dropped",
            Phase::Crashed => "the subject was killed",
        };
        let loads = self.unfinished();
        let loads = match loads.as_slice() {
            [] => "every load is through".to_owned(),
            loads => {
                let loads: Vec<String> = loads.iter().map(|load| (load + 1).to_string()).collect();
                format!("not through: load {}", loads.join(", "))
            }
        };
        format!(
            "state: {phase}, incarnation {}; events offered: {}; sends without an answer: {}; \
             other calls: {}; {loads}",
            self.inc,
            self.offered,
            self.sends.len(),
            self.ops
        )
    }
}

/// Events of an incarnation that were offered to it, or that its spool gave it, and have no
/// outcome, in order.
pub(super) fn unresolved(lines: &[Line], inc: u32) -> Vec<EventId> {
    let (mut open, mut told) = (BTreeSet::new(), BTreeSet::new());
    for line in lines.iter().filter(|line| line.inc == inc) {
        match &line.kind {
            Kind::Offered { event, .. } | Kind::Accepted { event, .. } => {
                open.insert(*event);
            }
            Kind::Attempt { events, .. } => {
                open.extend(events.iter().filter(|event| !told.contains(*event)));
            }
            Kind::Outcome { event, .. } => {
                open.remove(event);
                told.insert(*event);
            }
            _ => {}
        }
    }
    open.into_iter().collect()
}
