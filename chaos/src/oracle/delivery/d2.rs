//! D2: what is said to be in a log is in it, and was there before it was said.

use super::places;
use crate::history::{Outcome, Persistence, Route};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, Event, Index};
use crate::oracle::laws::LawId::D2;
use crate::scenario::model::LaneName;

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    // Only a broker of ours tells what it appended, and when.
    let timed = matches!(index.lane, LaneName::Sim | LaneName::Wire) && !index.requests.is_empty();
    for (slot, event) in index.events.iter().enumerate() {
        for life in index.lives_of(event) {
            for (at, outcome) in &life.outcomes {
                said(index, slot, event, *at, outcome, timed, f);
            }
        }
    }
    claims(index, f);
}

fn said(
    index: &Index<'_>,
    slot: usize,
    event: &Event<'_>,
    at: At,
    outcome: &Outcome,
    timed: bool,
    f: &mut Findings,
) {
    let (route, place) = match outcome {
        Outcome::Acked { partition, offset } => (Route::Main, Some((*partition, *offset))),
        Outcome::DeadLettered { .. } => (Route::Dlq, None),
        _ => return,
    };
    f.checked(D2, 1);
    let name = route.as_str();
    if route == Route::Main && index.settings.acks_none {
        f.broken(D2, "acks_0", Evidence::event(slot), || {
            ("with acks=0 no event is acked".to_owned(), "acked".to_owned())
        });
        return;
    }
    let found = event.places(route);
    if found.is_empty() {
        f.broken(
            D2,
            if route == Route::Main { "main" } else { "dlq" },
            Evidence::event(slot),
            || {
                let expected = format!("the {name} log holds the event");
                (expected, format!("{}, and {}", outcome.label(), places(event, route)))
            },
        );
        return;
    }
    if let Some((partition, offset)) = place
        && partition >= 0
        && offset >= 0
        && !found.iter().any(|p| p.partition == partition && p.offset == offset)
    {
        f.broken(D2, "offset", Evidence::event(slot), || {
            let expected = format!("the event at partition {partition} offset {offset}");
            (expected, places(event, route))
        });
    }
    let before =
        |t: &&crate::oracle::index::Transmission| t.route == route && t.appended && t.at < at;
    if timed && !event.transmissions.iter().any(|t| before(&t)) {
        f.broken(D2, "before", Evidence::event(slot), || {
            let expected = format!("a broker appends the event before it is {}", outcome.label());
            (expected, format!("{} while no broker had appended it", outcome.label()))
        });
    }
}

/// `persisted` is a promise, whoever makes it.
fn claims(index: &Index<'_>, f: &mut Findings) {
    for (slot, event) in index.events.iter().enumerate() {
        for life in index.lives_of(event) {
            let delivered = life.attempts.iter().filter_map(|a| index.attempts.get(*a));
            let delivered = delivered.filter_map(|a| Some((a.route, a.delivery?.persistence)));
            let told = life.outcomes.iter().flat_map(|(_, outcome)| match outcome {
                Outcome::DeadLettered { main, .. } => vec![(Route::Main, *main)],
                Outcome::Spooled { main, dlq } | Outcome::InDoubt { main, dlq, .. } => {
                    vec![(Route::Main, *main), (Route::Dlq, *dlq)]
                }
                _ => Vec::new(),
            });
            for (route, persistence) in delivered.chain(told) {
                if persistence != Persistence::Persisted {
                    continue;
                }
                f.checked(D2, 1);
                if event.places(route).is_empty() {
                    f.broken(D2, "persisted", Evidence::event(slot), || {
                        let expected =
                            format!("what is persisted is in the {} log", route.as_str());
                        (expected, format!("the claim persisted, and {}", places(event, route)))
                    });
                }
            }
        }
    }
}
