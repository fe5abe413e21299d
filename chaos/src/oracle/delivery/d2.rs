//! D2: what is said to be in a log is in it, and was there before it was said.

use super::places;
use crate::history::{Outcome, Persistence, Route};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, Event, Index};
use crate::oracle::laws::LawId::D2;
use crate::scenario::model::LaneName;

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    let timed = is_timed(index);
    for (slot, event) in index.events.iter().enumerate() {
        for life in index.lives_of(event) {
            for (at, outcome) in &life.outcomes {
                said(index, slot, event, *at, outcome, timed, f);
            }
        }
    }
    claims(index, f);
    spooled(index, f);
}

/// What is said to be on the spool is on it, as its files show at the end.
fn spooled(index: &Index<'_>, f: &mut Findings) {
    let Some(held) = &index.spool else { return };
    let mut costs = index.damaged_entries();
    for (slot, event) in index.events.iter().enumerate() {
        let Some((_, Outcome::Spooled { .. })) = index.disposition(event) else { continue };
        f.checked(D2, 1);
        if held.contains(&event.id) {
            continue;
        }
        if costs > 0 {
            costs -= 1;
            continue;
        }
        f.broken(D2, "spool", Evidence::event(slot), || {
            let expected = "a spooled event has a record in the files of the spool".to_owned();
            (expected, "no record that no later entry ended".to_owned())
        });
    }
}

fn said(
    index: &Index<'_>,
    slot: usize,
    event: &Event,
    at: At,
    outcome: &Outcome,
    timed: bool,
    f: &mut Findings,
) {
    let Outcome::Acked { partition, offset } = *outcome else { return };
    f.checked(D2, 1);
    if index.settings.acks_none() {
        f.broken(D2, "acks_0", Evidence::event(slot), || {
            ("with acks=0 no event is acked".to_owned(), "acked".to_owned())
        });
        return;
    }
    if event.main.is_empty() {
        f.broken(D2, "main", Evidence::event(slot), || {
            let expected = "the main log holds every acked event".to_owned();
            (expected, format!("acked, and {}", places(event, Route::Main)))
        });
        return;
    }
    if partition >= 0
        && offset >= 0
        && !event.main.iter().any(|p| p.partition == partition && p.offset == offset)
    {
        f.broken(D2, "offset", Evidence::event(slot), || {
            let expected = format!("the event at partition {partition} offset {offset}");
            (expected, places(event, Route::Main))
        });
    }
    asked_for_all(index, slot, event, f);
    if timed && !appended_before(event, Route::Main, at) {
        f.broken(D2, "before", Evidence::event(slot), || {
            let expected = "a broker appends the event before it is acked".to_owned();
            (expected, "acked while no broker had appended it".to_owned())
        });
    }
}

/// Whoever says that all replicas confirmed must have asked them: an answer that the leader alone
/// gives is gone with the leader.
fn asked_for_all(index: &Index<'_>, slot: usize, event: &Event, f: &mut Findings) {
    const ALL: i16 = -1;
    let mut asked = event.transmissions.iter().filter(|t| t.route == Route::Main);
    let mut seen = asked.clone().filter_map(|t| t.acks);
    let Some(first) = seen.next().filter(|_| index.settings.acks_all()) else { return };
    f.checked(D2, 1);
    if asked.all(|t| t.acks.is_some_and(|acks| acks != ALL)) {
        f.broken(D2, "acks", Evidence::event(slot), || {
            let expected = "what is acked with acks=all was sent with it".to_owned();
            (expected, format!("acked, and sent with acks={first} only"))
        });
    }
}

/// True when the record of requests shows the event appended before that place, or leaves it open.
pub(in crate::oracle) fn appended_before(event: &Event, route: Route, at: At) -> bool {
    event.transmissions.iter().any(|t| t.route == route && t.may_be_appended() && t.at < at)
}

/// True when it is told what was appended, and when: by our brokers, or by the proxy before others.
pub(in crate::oracle) fn is_timed(index: &Index<'_>) -> bool {
    index.lane != LaneName::Mock && !index.requests.is_empty()
}

/// `persisted` is a promise, whoever makes it.
fn claims(index: &Index<'_>, f: &mut Findings) {
    for (slot, event) in index.events.iter().enumerate() {
        for life in index.lives_of(event) {
            let delivered = life.attempts.iter().filter_map(|a| index.attempts.get(*a));
            let delivered = delivered.filter_map(|a| Some((a.route, a.delivery?.persistence)));
            let told = life.outcomes.iter().flat_map(|(_, outcome)| match outcome {
                Outcome::DeadLettered { main, .. } => {
                    [(Route::Main, *main), (Route::Dlq, Persistence::Not)]
                }
                Outcome::Spooled { main, dlq } | Outcome::InDoubt { main, dlq, .. } => {
                    [(Route::Main, *main), (Route::Dlq, *dlq)]
                }
                _ => [(Route::Main, Persistence::Not); 2],
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
