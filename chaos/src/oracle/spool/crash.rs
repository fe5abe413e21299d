//! What a spool gave back on one disk that a crash could leave.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Known, Model, Stands};
use crate::history::{CrashState, EventId, GivenBack, Persistence, Route, SpoolFound};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, Index};
use crate::oracle::laws::LawId::{D3, D4, D5, D6, D11};

/// A state, with what shows it.
struct Judged<'j, 'a> {
    index: &'j Index<'a>,
    state: &'j CrashState,
    at: At,
}

impl Judged<'_, '_> {
    fn event(&self, event: EventId) -> Evidence {
        let slot = self.index.slot(event);
        slot.map_or_else(Evidence::default, Evidence::event).and(self.at)
    }

    fn here(&self, text: &str) -> String {
        format!("after a crash that leaves {}: {text}", self.state.state)
    }
}

pub(super) fn judge(
    index: &Index<'_>,
    model: &Model,
    state: &CrashState,
    at: At,
    f: &mut Findings,
) {
    let judged = Judged { index, state, at };
    f.checked(D11, 1);
    let Some(found) = &state.spool else {
        f.broken(D11, "crash_open", Evidence::line(at), || {
            let expected = "a spool can be opened on whatever a crash leaves".to_owned();
            let error = state.error.as_deref().unwrap_or("no answer");
            (expected, judged.here(&format!("open failed: {error}")))
        });
        return;
    };
    for law in [D3, D4, D5, D6] {
        f.checked(law, 1);
    }
    epoch(&judged, model, found, f);
    lost(&judged, model, found, f);
    let mut seen = BTreeSet::new();
    for given in &found.events {
        let Some(known) = model.events.get(&given.event) else {
            f.broken(D4, "crash_unknown", judged.event(given.event), || {
                let expected = "a spool gives back what was offered".to_owned();
                (expected, judged.here(&format!("{} was never offered", given.event)))
            });
            continue;
        };
        if !seen.insert(given.event) {
            f.broken(D5, "crash_twice", judged.event(given.event), || {
                let expected = "a spool gives an event back once".to_owned();
                (expected, judged.here(&format!("{} comes back twice", given.event)))
            });
        }
        event(&judged, known, given, f);
    }
    order(&judged, found, f);
}

/// Sequences never restart: the epoch of the next life is above every one that was used.
fn epoch(judged: &Judged<'_, '_>, model: &Model, found: &SpoolFound, f: &mut Findings) {
    if let Some(used) = model.epoch.filter(|used| *used >= found.epoch) {
        f.broken(D6, "crash_epoch", Evidence::line(judged.at), || {
            let expected = format!("an epoch above {used}, of which sequences were given");
            (expected, judged.here(&format!("the spool begins epoch {}", found.epoch)))
        });
    }
}

/// Everything that was told to be spooled is given back.
fn lost(judged: &Judged<'_, '_>, model: &Model, found: &SpoolFound, f: &mut Findings) {
    let given: BTreeSet<EventId> = found.events.iter().map(|given| given.event).collect();
    let kept = model.events.iter().filter(|(_, known)| known.stands == Stands::Kept);
    for (event, _) in kept.filter(|(event, _)| !given.contains(event)) {
        f.broken(D11, "crash_lost", judged.event(*event), || {
            let expected = "what was told to be spooled is on the disk, and is given back";
            (expected.to_owned(), judged.here(&format!("{event} is not given back")))
        });
    }
}

/// One event that comes back: it has not ended, and is what it was.
fn event(judged: &Judged<'_, '_>, known: &Known, given: &GivenBack, f: &mut Findings) {
    let id = given.event;
    if known.stands == Stands::Gone {
        f.broken(D5, "crash_ended", judged.event(id), || {
            let expected = "an event that had its outcome before close returned is not sent again";
            (expected.to_owned(), judged.here(&format!("{id} is given back")))
        });
    }
    if let Some(sequence) = known.sequence.filter(|sequence| *sequence != given.sequence) {
        f.broken(D6, "crash_sequence", judged.event(id), || {
            let expected = format!("{id} keeps its sequence {sequence}");
            (expected, judged.here(&format!("{id} has sequence {}", given.sequence)))
        });
    }
    for (route, says) in [(Route::Main, given.main), (Route::Dlq, given.dlq)] {
        let least = known.least(route);
        if says < least {
            f.broken(D3, "crash_claim", judged.event(id), || {
                let route = route.as_str();
                let (least, says) = (least.as_str(), Persistence::as_str(says));
                let expected = format!("{id} is {least} in the {route} log, as was known");
                (expected, judged.here(&format!("the spool says {says}")))
            });
        }
    }
}

/// Each thread comes in the order in which it was accepted.
fn order(judged: &Judged<'_, '_>, found: &SpoolFound, f: &mut Findings) {
    let mut last: BTreeMap<usize, (u64, EventId)> = BTreeMap::new();
    for given in &found.events {
        let slot = judged.index.slot(given.event);
        let thread = slot.and_then(|slot| judged.index.event(slot)).map(|event| event.thread);
        // the empty thread id promises no order
        let Some(thread) = thread.filter(|thread| *thread != 0) else { continue };
        let before = last.insert(thread, (given.sequence, given.event));
        if let Some((_, earlier)) = before.filter(|(sequence, _)| *sequence > given.sequence) {
            f.broken(D6, "crash_order", judged.event(given.event), || {
                let expected = "each thread comes back in the order of its sequences".to_owned();
                (expected, judged.here(&format!("{} comes after {earlier}", given.event)))
            });
        }
    }
}
