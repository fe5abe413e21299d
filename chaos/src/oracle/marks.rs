//! Marks: what must have been observed for a verdict to mean anything.
//!
//! A scenario that injects an outage nobody met, or closes a producer that had nothing in flight,
//! proves nothing. Such a run is inconclusive, never green.

use std::collections::{BTreeMap, BTreeSet};

use super::index::{At, Incarnation, Index, Life};
use crate::history::{
    ErrorClass, FaultPhase, Kind, Line, Outcome, Persistence, Route, StateAnswered,
};
use crate::scenario::model::LaneName;

/// How a mark is looked for.
#[derive(Clone, Copy)]
enum Look {
    /// An effect line of the fault of this kind.
    Fault(&'static str),
    /// A look over the history.
    Seen(fn(&Index<'_>) -> bool),
}

/// A row of the marks table.
pub struct Mark {
    /// Name, as `reached` in a scenario file has it.
    pub name: &'static str,
    /// What in a history shows it.
    pub evidence: &'static str,
    /// Lanes that can show it; elsewhere a demand for it is not judged.
    pub lanes: &'static [LaneName],
    look: Look,
}

impl Mark {
    /// True on a lane whose histories can show it.
    #[must_use]
    pub fn is_judged(&self, lane: LaneName) -> bool {
        self.lanes.contains(&lane)
    }

    pub(crate) fn is_reached(&self, index: &Index<'_>) -> bool {
        match self.look {
            Look::Fault(kind) => {
                index.faults.iter().any(|((_, name), seen)| *name == kind && seen.effect.is_some())
            }
            Look::Seen(look) => look(index),
        }
    }
}

const ALL: &[LaneName] = &LaneName::ALL;
/// Where there are events, and no stores.
const EVENTS: &[LaneName] =
    &[LaneName::Sim, LaneName::Wire, LaneName::Mock, LaneName::Kafka, LaneName::External];
const SIM: &[LaneName] = &[LaneName::Sim];
const DISK: &[LaneName] = &[LaneName::Disk];
const VIRTUAL: &[LaneName] = &[LaneName::Sim, LaneName::Disk];
const FILES: &[LaneName] = &[LaneName::Files];
const STORES: &[LaneName] = &[LaneName::Disk, LaneName::Files];
/// Where stores or spools meet a file system that can be broken.
const FILE_SYSTEMS: &[LaneName] = &[LaneName::Sim, LaneName::Disk, LaneName::Files];
const KAFKA: &[LaneName] = &[LaneName::Kafka];
const OUR_BROKER: &[LaneName] = &[LaneName::Sim, LaneName::Wire];

const EFFECT: &str = "a fault line of this kind with phase effect";

const fn fault(name: &'static str, kind: &'static str) -> Mark {
    Mark { name, evidence: EFFECT, lanes: ALL, look: Look::Fault(kind) }
}

const fn at_kafka(name: &'static str, kind: &'static str) -> Mark {
    Mark { name, evidence: EFFECT, lanes: KAFKA, look: Look::Fault(kind) }
}

const fn of_stores(name: &'static str, kind: &'static str) -> Mark {
    Mark { name, evidence: EFFECT, lanes: STORES, look: Look::Fault(kind) }
}

const fn at(lanes: &'static [LaneName], name: &'static str, kind: &'static str) -> Mark {
    Mark { name, evidence: EFFECT, lanes, look: Look::Fault(kind) }
}

const fn on_disk(name: &'static str, kind: &'static str) -> Mark {
    Mark { name, evidence: EFFECT, lanes: DISK, look: Look::Fault(kind) }
}

const fn seen(
    name: &'static str,
    evidence: &'static str,
    lanes: &'static [LaneName],
    look: fn(&Index<'_>) -> bool,
) -> Mark {
    Mark { name, evidence, lanes, look: Look::Seen(look) }
}

/// Every mark.
pub const MARKS: &[Mark] = &[
    fault("fault.broker.down", "broker.down"),
    fault("fault.broker.flap", "broker.flap"),
    fault("fault.broker.rolling_restart", "broker.rolling_restart"),
    fault("fault.broker.message_max_bytes", "broker.message_max_bytes"),
    fault("fault.broker.throttle", "broker.throttle"),
    fault("fault.net.partition", "net.partition"),
    fault("fault.net.reset", "net.reset"),
    fault("fault.net.cut_frame", "net.cut_frame"),
    fault("fault.net.connect_blackhole", "net.connect_blackhole"),
    fault("fault.net.latency", "net.latency"),
    fault("fault.net.slice", "net.slice"),
    fault("fault.net.bandwidth", "net.bandwidth"),
    fault("fault.net.flip", "net.flip"),
    at_kafka("fault.broker.kill", "broker.kill"),
    at_kafka("fault.broker.stop", "broker.stop"),
    at_kafka("fault.broker.pause", "broker.pause"),
    at_kafka("fault.broker.network", "broker.network"),
    at_kafka("fault.broker.disk_full", "broker.disk_full"),
    fault("fault.topic.leader_moved", "topic.leader_moved"),
    fault("fault.topic.leaderless", "topic.leaderless"),
    fault("fault.topic.not_enough_replicas", "topic.not_enough_replicas"),
    fault("fault.acl.denied", "acl.denied"),
    fault("fault.token.stale", "token.stale"),
    fault("fault.topic.missing", "topic.missing"),
    fault("fault.request.error", "request.error"),
    fault("fault.request.delay", "request.delay"),
    fault("fault.spool.damage", "spool.damage"),
    fault("fault.subject.crash", "subject.crash"),
    at(VIRTUAL, "fault.fs.error", "fs.error"),
    at(FILE_SYSTEMS, "fault.fs.full", "fs.full"),
    of_stores("fault.fs.damage", "fs.damage"),
    of_stores("fault.fs.index", "fs.index"),
    of_stores("fault.fs.leftovers", "fs.leftovers"),
    on_disk("fault.clock.back", "clock.back"),
    on_disk("fault.clock.forward", "clock.forward"),
    on_disk("fault.diff.lost", "diff.lost"),
    seen(
        "crash_states",
        "a store or spool was opened on disks that a crash could leave",
        VIRTUAL,
        crash_states,
    ),
    seen("saves.at_once", "a save called before another one was answered", FILES, saves_at_once),
    seen("state.patch", "an answer patch to a state", DISK, |i| answered(i, "patch", "")),
    seen("state.unchanged", "an answer unchanged to a state", DISK, |i| {
        answered(i, "unchanged", "")
    }),
    seen("state.too_large", "an answer degraded for that reason", DISK, |i| {
        answered(i, "degraded", "too_large")
    }),
    seen("state.diff_too_large", "an answer degraded for that reason", DISK, |i| {
        answered(i, "degraded", "diff_too_large")
    }),
    seen("state.too_deep", "an answer degraded for that reason", DISK, |i| {
        answered(i, "degraded", "too_deep")
    }),
    seen("state.unserialisable", "an answer degraded for that reason", DISK, |i| {
        answered(i, "degraded", "unserialisable")
    }),
    seen("state.non_string_key", "an answer degraded for that reason", DISK, |i| {
        answered(i, "degraded", "non_string_key")
    }),
    seen("state.not_a_number", "an answer degraded for that reason", DISK, |i| {
        answered(i, "degraded", "not_a_number")
    }),
    seen(
        "state.on_from_there",
        "an answer patch after one degraded of the same thread",
        DISK,
        on_from_there,
    ),
    seen(
        "state.too_large_in_outage",
        "an answer degraded as too_large between two lost messages of its thread and one fault",
        DISK,
        too_large_in_outage,
    ),
    seen("state.resync", "an answer full after the subject was told of a loss", DISK, resynced),
    seen("retry", "an event with two main attempts in one incarnation", SIM, |i| {
        i.lives.iter().any(|life| i.attempts_of(life, Route::Main).count() > 1)
    }),
    seen("retransmission", "an event in two Produce requests", OUR_BROKER, |i| {
        i.events.iter().any(|e| e.transmissions.len() > 1)
    }),
    seen("duplicate", "an event twice in the main log", EVENTS, |i| {
        i.events.iter().any(|e| e.main.len() > 1)
    }),
    seen("possibly_persisted", "a delivery with an error that says possibly", EVENTS, |i| {
        i.attempts
            .iter()
            .filter_map(|a| a.delivery)
            .any(|d| d.error.is_some() && d.persistence == Persistence::Possibly)
    }),
    seen("late_delivery", "a delivery after the outcome of its event", EVENTS, late_delivery),
    seen("acked", "an outcome acked", EVENTS, |i| told(i, "acked", "")),
    seen("dead_lettered", "an outcome dead_lettered", EVENTS, |i| told(i, "dead_lettered", "")),
    seen("spooled", "an outcome spooled", EVENTS, |i| told(i, "spooled", "")),
    seen(
        "recovered",
        "an outcome of an event in an incarnation that it was not offered to",
        EVENTS,
        |i| i.lives.iter().any(|life| life.offered.is_none() && !life.outcomes.is_empty()),
    ),
    seen("in_doubt", "an outcome in_doubt", EVENTS, |i| told(i, "in_doubt", "")),
    seen("dropped", "an outcome dropped", EVENTS, |i| told(i, "dropped", "")),
    seen("lost_in_crash", "an outcome lost_in_crash", EVENTS, |i| told(i, "lost_in_crash", "")),
    seen("rejected.queue_full", "an outcome rejected for that reason", EVENTS, |i| {
        told(i, "rejected", "queue_full")
    }),
    seen("rejected.oversize", "an outcome rejected for that reason", EVENTS, |i| {
        told(i, "rejected", "oversize")
    }),
    seen("rejected.rate_limited", "an outcome rejected for that reason", EVENTS, |i| {
        told(i, "rejected", "rate_limited")
    }),
    seen("rejected.closed", "an outcome rejected for that reason", EVENTS, |i| {
        told(i, "rejected", "closed")
    }),
    seen("rejected.unserialisable", "an outcome rejected for that reason", EVENTS, |i| {
        told(i, "rejected", "unserialisable")
    }),
    seen("cancelled", "an outcome rejected for reason cancelled", EVENTS, |i| {
        told(i, "rejected", "cancelled")
    }),
    seen(
        "queue.wait",
        "an event accepted only after another one's outcome made room",
        EVENTS,
        waited,
    ),
    seen("flush.pending", "flush called while an accepted event has no outcome", EVENTS, |i| {
        i.calls.iter().filter(|c| c.op == "flush").any(|c| pending(i, c.inc, c.at).next().is_some())
    }),
    seen("flush.timeout", "flush answered with an error", EVENTS, |i| {
        i.calls
            .iter()
            .filter(|c| c.op == "flush")
            .any(|c| c.returned.is_some_and(|r| r.error.is_some()))
    }),
    seen("close.in_flight", "close called while a main attempt is open", EVENTS, |i| {
        at_end(i, true, |i, life, at| open(i, life, Route::Main, at))
    }),
    seen("close.pending", "close called while an accepted event has no outcome", EVENTS, |i| {
        at_end(i, true, |_, _, _| true)
    }),
    seen("close.backoff", "close called while an event waits for its next attempt", EVENTS, |i| {
        at_end(i, true, backing_off)
    }),
    seen("close.dlq", "close called while a DLQ attempt is open", EVENTS, |i| {
        at_end(i, true, |i, life, at| open(i, life, Route::Dlq, at))
    }),
    seen("close.waiting", "close called while a send waits for room", EVENTS, |i| {
        let closes = i.incs.iter().filter(|inc| inc.by_close);
        closes.filter_map(|inc| Some((inc, inc.end_called?))).any(|(inc, at)| {
            lives(i, inc).any(|life| {
                life.offered.is_some_and(|offered| offered < at)
                    && life.accepted.is_none_or(|(accepted, _)| accepted > at)
                    && life.outcomes.first().is_none_or(|(told, _)| *told > at)
            })
        })
    }),
    seen("close.twice", "a second close in one incarnation", EVENTS, |i| {
        (0..i.incs.len())
            .any(|inc| i.calls.iter().filter(|c| c.op == "close" && c.inc == inc).count() > 1)
    }),
    seen(
        "drop.pending",
        "the last handle dropped while an accepted event has no outcome",
        EVENTS,
        |i| at_end(i, false, |_, _, _| true),
    ),
    seen("drop.in_flight", "the last handle dropped while a main attempt is open", EVENTS, |i| {
        at_end(i, false, |i, life, at| open(i, life, Route::Main, at))
    }),
    seen("callback_panic", "an outcome after panic_callback was called", EVENTS, |i| {
        i.calls.iter().filter(|c| c.op == "panic_callback").any(|c| {
            i.lives.iter().any(|l| l.inc == c.inc && l.outcomes.iter().any(|(at, _)| *at > c.at))
        })
    }),
    seen("rebuild", "an attempt after a fatal error on its route", EVENTS, rebuilt),
    seen("reopened", "a second incarnation that was offered events", EVENTS, |i| {
        i.incs.iter().skip(1).any(|inc| !inc.lives.is_empty())
    }),
    seen("dlq.attempt", "a DLQ attempt", EVENTS, |i| {
        i.attempts.iter().any(|a| a.route == Route::Dlq && !a.refused)
    }),
    seen("dlq.retry", "an event with two DLQ attempts in one incarnation", EVENTS, |i| {
        i.lives.iter().any(|life| i.attempts_of(life, Route::Dlq).count() > 1)
    }),
    seen("dlq.failure", "a DLQ delivery with an error", EVENTS, |i| {
        i.attempts
            .iter()
            .any(|a| a.route == Route::Dlq && a.delivery.is_some_and(|d| d.error.is_some()))
    }),
];

/// Names, for checks and suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    MARKS.iter().map(|mark| mark.name)
}

/// The row of a name.
#[must_use]
pub fn mark(name: &str) -> Option<&'static Mark> {
    MARKS.iter().find(|mark| mark.name == name)
}

fn crash_states(index: &Index<'_>) -> bool {
    index.lines.iter().any(|line| matches!(&line.kind, Kind::CrashTally(t) if t.states > 1))
}

fn answers<'a>(index: &'a Index<'_>) -> impl Iterator<Item = &'a StateAnswered> {
    index.lines.iter().filter_map(|line| match &line.kind {
        Kind::StateAnswered(answer) => Some(answer),
        _ => None,
    })
}

fn answered(index: &Index<'_>, what: &str, reason: &str) -> bool {
    let same = |answer: &StateAnswered| answer.reason.as_deref().unwrap_or_default() == reason;
    answers(index).any(|answer| answer.what == what && same(answer))
}

/// The chain goes on from the state that was sent last.
fn on_from_there(index: &Index<'_>) -> bool {
    let threads: BTreeMap<u64, &str> = index
        .lines
        .iter()
        .filter_map(|line| match &line.kind {
            Kind::StateOffered(offered) => Some((offered.step, offered.thread.as_str())),
            _ => None,
        })
        .collect();
    let mut degraded = BTreeSet::new();
    answers(index).any(|answer| {
        let thread = threads.get(&answer.step).copied().unwrap_or_default();
        if answer.what == "degraded" {
            degraded.insert(thread);
        }
        answer.what == "patch" && degraded.contains(thread)
    })
}

fn resynced(index: &Index<'_>) -> bool {
    let told = |line: &&Line| !matches!(line.kind, Kind::StateLost(_));
    let mut after = index.lines.iter().skip_while(told);
    after.any(|line| matches!(&line.kind, Kind::StateAnswered(answer) if answer.what == "full"))
}

fn saves_at_once(index: &Index<'_>) -> bool {
    let mut called = false;
    index.lines.iter().any(|line| {
        let save = matches!(&line.kind, Kind::StoreCall(call) if call.op == "save");
        let second = called && save;
        called = save || (called && matches!(line.kind, Kind::Fs { .. }));
        second
    })
}

fn too_large_in_outage(index: &Index<'_>) -> bool {
    let mut threads: BTreeMap<u64, &str> = BTreeMap::new();
    // threads that have lost a message; true: and then had a state that was too large
    let mut lost: BTreeMap<&str, bool> = BTreeMap::new();
    for line in index.lines {
        match &line.kind {
            // its effect is told with each message: only its beginning and end matter
            Kind::Fault { name, phase, .. } if name == "diff.lost" => {
                lost.retain(|_, _| *phase == FaultPhase::Effect);
            }
            Kind::StateOffered(offered) => drop(threads.insert(offered.step, &offered.thread)),
            Kind::StateAnswered(answer) if answer.reason.as_deref() == Some("too_large") => {
                let thread = threads.get(&answer.step);
                if let Some(too_large) = thread.and_then(|thread| lost.get_mut(thread)) {
                    *too_large = true;
                }
            }
            Kind::StateReceived(received) if received.message == "lost" => {
                let Some(thread) = threads.get(&received.step) else { continue };
                if *lost.entry(thread).or_default() {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

fn told(index: &Index<'_>, label: &str, reason: &str) -> bool {
    let wanted = |o: &Outcome| o.label() == label && (reason.is_empty() || o.reason() == reason);
    index.lives.iter().any(|life| life.outcomes.iter().any(|(_, o)| wanted(o)))
}

fn lives<'i, 'a>(index: &'i Index<'a>, inc: &'i Incarnation) -> impl Iterator<Item = &'i Life<'a>> {
    inc.lives.iter().filter_map(|slot| index.lives.get(*slot))
}

/// Accepted events of an incarnation without an outcome at that place.
fn pending<'i, 'a>(index: &'i Index<'a>, inc: usize, at: At) -> impl Iterator<Item = &'i Life<'a>> {
    let lives = index.incs.get(inc).map_or(&[][..], |inc| &inc.lives);
    lives.iter().filter_map(|slot| index.lives.get(*slot)).filter(move |life| {
        life.accepted.is_some_and(|(accepted, _)| accepted < at)
            && life.outcomes.first().is_none_or(|(told, _)| *told > at)
    })
}

/// True when some incarnation ended, by close or by drop, with a pending event of this kind.
fn at_end(index: &Index<'_>, by_close: bool, kind: fn(&Index<'_>, &Life<'_>, At) -> bool) -> bool {
    index.incs.iter().enumerate().filter(|(_, inc)| inc.by_close == by_close).any(|(slot, inc)| {
        inc.end_called.is_some_and(|at| pending(index, slot, at).any(|life| kind(index, life, at)))
    })
}

fn open(index: &Index<'_>, life: &Life<'_>, route: Route, at: At) -> bool {
    index
        .attempts_of(life, route)
        .any(|attempt| attempt.at < at && attempt.delivery.is_none_or(|delivery| delivery.at > at))
}

fn backing_off(index: &Index<'_>, life: &Life<'_>, at: At) -> bool {
    let handed = |route| index.attempts_of(life, route).any(|attempt| attempt.at < at);
    handed(Route::Main) && !handed(Route::Dlq) && !open(index, life, Route::Main, at)
}

fn late_delivery(index: &Index<'_>) -> bool {
    index.lives.iter().any(|life| {
        let Some((told, _)) = life.outcomes.first() else { return false };
        let attempts = life.attempts.iter().filter_map(|slot| index.attempts.get(*slot));
        attempts.filter_map(|a| a.delivery).any(|d| d.at > *told)
    })
}

fn rebuilt(index: &Index<'_>) -> bool {
    let fatal = index.attempts.iter().filter_map(|a| {
        let delivery = a.delivery?;
        let fatal = delivery.error.is_some_and(|e| e.class == ErrorClass::Fatal);
        fatal.then_some((a.inc, a.route, delivery.at))
    });
    fatal.into_iter().any(|(inc, route, at)| {
        index.attempts.iter().any(|a| a.inc == inc && a.route == route && a.at > at && !a.refused)
    })
}

/// A send that waited: at its offer the queue was full as far as lines tell, and an outcome stands
/// before its acceptance.
fn waited(index: &Index<'_>) -> bool {
    let room = index.settings.queue.max_events;
    if index.lives.len() <= room {
        return false;
    }
    let mut outcomes: Vec<(usize, usize)> = index
        .lives
        .iter()
        .filter_map(|life| Some((life.inc, life.outcomes.first()?.0.line)))
        .collect();
    outcomes.sort_unstable();
    index.lives.iter().any(|life| {
        let (Some(offered), Some((accepted, _))) = (life.offered, life.accepted) else {
            return false;
        };
        let next = outcomes.partition_point(|o| *o < (life.inc, offered.line));
        let made_room =
            outcomes.get(next).is_some_and(|(inc, line)| *inc == life.inc && *line < accepted.line);
        made_room && pending(index, life.inc, offered).count() >= room
    })
}
