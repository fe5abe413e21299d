//! D7: retryable errors are retried with backoff inside its bounds, permanent ones never.

use crate::history::{ErrorClass, Outcome, Persistence, Route};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{Attempt, Delivered, Index, Life, NO_ATTEMPTS, micros, ms};
use crate::oracle::laws::LawId::D7;
use crate::scenario::model::LaneName;
use dashproof_reference::config::Order;

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    if !index.tells_attempts {
        f.unjudged(D7, NO_ATTEMPTS);
        return;
    }
    for life in &index.lives {
        let crowded = index.peaks(life.inc).main.count >= index.settings.max_in_flight as u64;
        for route in [Route::Main, Route::Dlq] {
            let attempts: Vec<&Attempt<'_>> = index.attempts_of(life, route).collect();
            if attempts.is_empty() {
                continue;
            }
            count(index, life, route, &attempts, f);
            let mut most = Persistence::Not;
            for (n, pair) in attempts.windows(2).enumerate() {
                let [before, after] = pair else { continue };
                most = most.max(before.delivery.map_or(most, |d| d.persistence));
                unconfirmed(index, life, most, after, f);
                let Some(delivery) = before.delivery else { continue };
                let held = crowded || index.settings.order == Order::Strict;
                again(index, life, route, n + 1, (before, &delivery, after), held, f);
            }
            given_up(index, life, route, &attempts, f);
        }
    }
}

fn count(
    index: &Index<'_>,
    life: &Life<'_>,
    route: Route,
    attempts: &[&Attempt<'_>],
    f: &mut Findings,
) {
    f.checked(D7, 1);
    let most = index.settings.max_attempts(route);
    if attempts.len() as u64 > most {
        f.broken(D7, "too_many", Evidence::event(life.event), || {
            let expected = format!("at most {most} {} attempts", route.as_str());
            (expected, format!("{} attempts", attempts.len()))
        });
    }
}

/// A record that may be in the log already is handed over again only where a copy is allowed.
fn unconfirmed(
    index: &Index<'_>,
    life: &Life<'_>,
    most: Persistence,
    after: &Attempt<'_>,
    f: &mut Findings,
) {
    if most == Persistence::Not || index.settings.resends_possibly() {
        return;
    }
    f.broken(D7, "unconfirmed", Evidence::event(life.event), || {
        let expected = "no further attempt once one has ended as possibly persisted".to_owned();
        let route = after.route.as_str();
        (expected, format!("attempt {} was handed over to {route} after that", after.number))
    });
}

/// A hand-over that follows a delivery. `held`: it may have waited for a free place as well.
fn again(
    index: &Index<'_>,
    life: &Life<'_>,
    route: Route,
    so_far: usize,
    (before, delivery, after): (&Attempt<'_>, &Delivered<'_>, &Attempt<'_>),
    held: bool,
    f: &mut Findings,
) {
    f.checked(D7, 1);
    let evidence = || Evidence::event(life.event);
    let Some(error) = delivery.error else {
        f.broken(D7, "after_success", evidence(), || {
            let expected = "no attempt follows a successful one".to_owned();
            (expected, format!("attempt {} after attempt {}", after.number, before.number))
        });
        return;
    };
    let class = index.settings.class(error.code);
    if error.class != ErrorClass::Retryable || class != ErrorClass::Retryable {
        f.broken(D7, "permanent", evidence(), || {
            let expected = format!("error {} is never retried", error.code);
            let (first, next) = (before.number, after.number);
            (expected, format!("attempt {next} was made after attempt {first} had ended with it"))
        });
        return;
    }
    if index.lane != LaneName::Sim {
        return;
    }
    let waited = after.at.t_us.saturating_sub(delivery.at.t_us);
    let back_off = index.settings.back_off(route, so_far);
    let tick = index.tolerance_us();
    // Timers of the lane are whole milliseconds; they never fire early by more than that.
    if waited + 1_000 < back_off.least_us {
        f.broken(D7, "too_soon", evidence(), || {
            let expected = format!("at least {} of backoff", ms(back_off.least_us));
            (expected, format!("handed over again after {}", ms(waited)))
        });
    }
    let refused = life.refusals.iter().any(|(at, ..)| *at > delivery.at && *at < after.at);
    if !held && !refused && waited > back_off.most_us.saturating_add(tick) {
        f.broken(D7, "too_late", evidence(), || {
            let most = ms(back_off.most_us);
            let expected = format!("at most {most} of backoff and a tick of {}", ms(tick));
            (expected, format!("handed over again after {}", ms(waited)))
        });
    }
}

/// The route ended although another attempt was due.
fn given_up(
    index: &Index<'_>,
    life: &Life<'_>,
    route: Route,
    attempts: &[&Attempt<'_>],
    f: &mut Findings,
) {
    let settings = &index.settings;
    let Some((told, outcome)) = life.outcomes.first().copied() else { return };
    let Some(last) = attempts.last().and_then(|attempt| attempt.delivery) else { return };
    let Some(error) = last.error.filter(|_| last.at < told) else { return };
    let ended = index.inc_of(life).and_then(|inc| inc.end_called).is_some_and(|at| at < told);
    let unsure =
        attempts.iter().filter_map(|a| a.delivery).any(|d| d.persistence != Persistence::Not);
    let used_up = attempts.len() as u64 >= settings.max_attempts(route);
    let refused = life.refusals.iter().any(|(_, of, _)| *of == route);
    // An outcome acked by a delivery that came while the DLQ was on its way ends that path.
    let over = matches!(outcome, Outcome::Acked { .. }) || route == Route::Dlq && ended;
    if error.class != ErrorClass::Retryable
        || index.settings.class(error.code) != ErrorClass::Retryable
        || ended
        || used_up
        || refused
        || over
        || (unsure && !settings.resends_possibly())
        || (route == Route::Main && settings.acks_none())
    {
        return;
    }
    f.checked(D7, 1);
    let next = last.at.t_us.saturating_add(settings.back_off(route, attempts.len()).most_us);
    let Some(deadline) = deadline(index, life, route) else { return };
    let slack = if index.lane == LaneName::Sim { index.tolerance_us() } else { 1_000_000 };
    if next.saturating_add(slack) >= deadline {
        return;
    }
    // The event may have waited for a place until it was too late.
    if route == Route::Main && told.t_us.saturating_add(slack) >= deadline {
        return;
    }
    f.broken(D7, "given_up", Evidence::event(life.event), || {
        let expected = format!(
            "a retryable error is retried: {} of {} attempts made, and {} left",
            attempts.len(),
            settings.max_attempts(route),
            ms(deadline.saturating_sub(last.at.t_us))
        );
        let observed = format!("{} was given up after error {}", route.as_str(), error.code);
        (expected, format!("{observed}: {}", crate::oracle::ledger::key(outcome)))
    });
}

/// The earliest time at which a route's deadline can be.
fn deadline(index: &Index<'_>, life: &Life<'_>, route: Route) -> Option<u64> {
    let (accepted, _) = life.accepted?;
    // The claim may trail the acceptance, but never the offer.
    let offered = life.offered.map_or(accepted.t_us, |at| at.t_us);
    let main = offered.saturating_add(index.settings.delivery_timeout_us());
    match route {
        Route::Main => Some(main),
        Route::Dlq => {
            let last = index.attempts_of(life, Route::Main).filter_map(|a| a.delivery).last()?;
            let dlq = micros(index.settings.dlq.timeout);
            Some(last.at.t_us.saturating_add(dlq))
        }
    }
}
