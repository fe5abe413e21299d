//! D3: what is said not to be in a log is not in it.

use super::{CLIENT_LIBRARY, hidden_by_client, places};
use crate::history::{Outcome, Persistence, Route};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{Attempt, Event, Index, ms};
use crate::oracle::laws::LawId::D3;
use crate::oracle::ledger;

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    for (slot, event) in index.events.iter().enumerate() {
        disposition(index, slot, event, f);
        attempts(index, slot, event, f);
    }
}

/// Routes that a disposition says hold no record of the event.
fn denied(outcome: &Outcome) -> [Option<Route>; 2] {
    let not = |p: Persistence, route| (p == Persistence::Not).then_some(route);
    match outcome {
        Outcome::Rejected { .. } | Outcome::Dropped { .. } => [Some(Route::Main), Some(Route::Dlq)],
        Outcome::DeadLettered { main, .. } => [not(*main, Route::Main), None],
        Outcome::Spooled { main, dlq } | Outcome::InDoubt { main, dlq, .. } => {
            [not(*main, Route::Main), not(*dlq, Route::Dlq)]
        }
        Outcome::Acked { .. } | Outcome::LostInCrash => [None, None],
    }
}

fn disposition(index: &Index<'_>, slot: usize, event: &Event, f: &mut Findings) {
    let Some((_, outcome)) = index.disposition(event) else { return };
    for route in denied(outcome).into_iter().flatten() {
        f.checked(D3, 1);
        if event.places(route).is_empty() {
            continue;
        }
        if hidden_by_client(index, event, route) {
            f.unjudged(D3, CLIENT_LIBRARY);
            continue;
        }
        f.broken(D3, "disposition", Evidence::event(slot), || {
            let expected = format!("no record of the event in the {} log", route.as_str());
            let said = ledger::key(outcome);
            (expected, format!("{said}, which says not persisted, and {}", places(event, route)))
        });
    }
}

/// An attempt's *not*, where nothing else can have put the record there meanwhile.
fn attempts(index: &Index<'_>, slot: usize, event: &Event, f: &mut Findings) {
    if event.transmissions.iter().all(|t| !t.appended) {
        return;
    }
    let denies = |slot: &usize| {
        let delivery = index.attempts.get(*slot).and_then(|attempt| attempt.delivery);
        delivery.is_some_and(|d| d.persistence == Persistence::Not)
    };
    if !index.lives_of(event).any(|life| life.attempts.iter().any(denies)) {
        return;
    }
    for route in [Route::Main, Route::Dlq] {
        let all: Vec<&Attempt<'_>> =
            index.lives_of(event).flat_map(|life| index.attempts_of(life, route)).collect();
        for (n, attempt) in all.iter().enumerate() {
            let Some(delivery) = attempt.delivery else { continue };
            if delivery.persistence != Persistence::Not || delivery.error.is_none() {
                continue;
            }
            let others = all.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, other)| *other);
            if others.into_iter().any(|other| may_have_appended(attempt, other)) {
                continue;
            }
            f.checked(D3, 1);
            let appended = event.transmissions.iter().find(|t| {
                t.route == route && t.appended && attempt.at < t.at && t.at < delivery.at
            });
            let Some(appended) = appended else { continue };
            if hidden_by_client(index, event, route) {
                f.unjudged(D3, CLIENT_LIBRARY);
                continue;
            }
            f.broken(D3, "attempt", Evidence::event(slot).and(appended.at), || {
                let expected = format!(
                    "nothing is appended between attempt {} and its delivery as not persisted",
                    attempt.number
                );
                let observed = format!(
                    "appended {} after the hand-over, {} before the delivery said not",
                    ms(appended.at.t_us.saturating_sub(attempt.at.t_us)),
                    ms(delivery.at.t_us.saturating_sub(appended.at.t_us))
                );
                (expected, observed)
            });
        }
    }
}

/// True when a request of the other attempt may have been appended while this one was open: it
/// succeeded, it was open at the same time, or it ended earlier without knowing.
fn may_have_appended(attempt: &Attempt<'_>, other: &Attempt<'_>) -> bool {
    let Some(end) = other.delivery else { return true };
    let knew = end.persistence == Persistence::Not && end.error.is_some();
    let this_end = attempt.delivery.map(|d| d.at);
    let apart = end.at < attempt.at || this_end.is_some_and(|this| this < other.at);
    !(knew && apart)
}
