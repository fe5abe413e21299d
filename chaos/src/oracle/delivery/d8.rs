//! D8: deadlines bind.

use crate::history::{Outcome, Route};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{Index, Life, ms};
use crate::oracle::laws::LawId::D8;

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    for life in &index.lives {
        event(index, life, f);
    }
    flush(index, f);
}

/// How far beyond its bound something came, if it did.
fn beyond(index: &Index<'_>, from_us: u64, to_us: u64, bound_us: u64) -> Option<u64> {
    let took = to_us.saturating_sub(from_us);
    (took > bound_us.saturating_add(index.tolerance_us())).then_some(took)
}

fn event(index: &Index<'_>, life: &Life<'_>, f: &mut Findings) {
    let Some((accepted, _)) = life.accepted else { return };
    let settings = &index.settings;
    let evidence = || Evidence::event(life.event);
    let resolved = life.outcomes.first().map(|(at, _)| *at);
    for attempt in index.attempts_of(life, Route::Main) {
        f.checked(D8, 1);
        let bound = settings.delivery_timeout_us();
        if let Some(took) = beyond(index, accepted.t_us, attempt.at.t_us, bound) {
            f.late(index, D8, "hand_over", evidence(), || {
                let expected = format!("no main attempt later than {} after acceptance", ms(bound));
                (expected, format!("attempt {} after {}", attempt.number, ms(took)))
            });
        }
        let bound = settings.main_bound_us();
        let Some(delivery) = attempt.delivery else { continue };
        // What comes after the outcome decides nothing any more.
        if resolved.is_some_and(|at| at < delivery.at) {
            continue;
        }
        if let Some(took) = beyond(index, accepted.t_us, delivery.at.t_us, bound) {
            f.late(index, D8, "main", evidence(), || {
                let expected = format!("main is decided {} after acceptance", ms(bound));
                (expected, format!("attempt {} ended after {}", attempt.number, ms(took)))
            });
        }
    }
    let bound = settings.outcome_bound_us();
    let told = life.outcomes.first().filter(|(_, o)| !matches!(o, Outcome::LostInCrash));
    let Some((at, outcome)) = told else { return };
    f.checked(D8, 1);
    if let Some(took) = beyond(index, accepted.t_us, at.t_us, bound) {
        f.late(index, D8, "outcome", evidence(), || {
            let main = ms(settings.main_bound_us());
            let dlq = ms(bound.saturating_sub(settings.main_bound_us()));
            let expected = format!("an outcome within {main} for main and {dlq} for the DLQ");
            (expected, format!("{} after {}", outcome.label(), ms(took)))
        });
    }
}

fn flush(index: &Index<'_>, f: &mut Findings) {
    for call in index.calls.iter().filter(|call| call.op == "flush") {
        let Some(deadline) = call.deadline_us else { continue };
        // A killed process answers nothing.
        if index.incs.get(call.inc).is_some_and(|inc| inc.crashed.is_some()) {
            continue;
        }
        f.checked(D8, 1);
        // A call that never returned is as late as the history is long.
        let returned = call.returned.map(|r| r.at.t_us);
        let until = returned.or_else(|| index.lines.last().map(|line| line.t_us)).unwrap_or(0);
        if let Some(took) = beyond(index, call.at.t_us, until, deadline) {
            let evidence = Evidence::line(call.at);
            let evidence = call.returned.map_or(evidence.clone(), |r| evidence.and(r.at));
            f.late(index, D8, "flush", evidence, || {
                let said = if returned.is_some() { "returned" } else { "has not returned" };
                let expected = format!("flush returns within {}", ms(deadline));
                (expected, format!("it {said} after {}", ms(took)))
            });
        }
    }
}
