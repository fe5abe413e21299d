//! D1: every offered event has exactly one outcome when `close` or drop has returned.

use crate::history::{Outcome, Route};
use crate::oracle::findings::{Blame, Evidence, Findings};
use crate::oracle::index::{Incarnation, Index, Life, ms};
use crate::oracle::laws::LawId::D1;
use crate::oracle::ledger;

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    for life in &index.lives {
        let Some(inc) = index.inc_of(life) else { continue };
        f.checked(D1, 1);
        count(life, inc, f);
        if let [(at, outcome)] = life.outcomes.as_slice()
            && !matches!(outcome, Outcome::LostInCrash)
        {
            let outcome = *outcome;
            if !matches!(outcome, Outcome::Rejected { .. })
                && let Some(ended) = inc.ended
                && *at > ended
                && inc.is_closed()
            {
                f.broken(D1, "after_end", Evidence::event(life.event).and(ended), || {
                    let expected = "every outcome is told before close or drop returns".to_owned();
                    let late = at.t_us.saturating_sub(ended.t_us);
                    (expected, format!("{} told {} later", ledger::key(outcome), ms(late)))
                });
            }
            follows(index, life, inc, outcome, f);
        }
    }
}

/// One outcome, no more and no less.
fn count(life: &Life<'_>, inc: &Incarnation, f: &mut Findings) {
    let evidence = || Evidence::event(life.event);
    let expected = || "exactly one outcome".to_owned();
    match life.outcomes.as_slice() {
        [_] => {}
        // in the spool's hands, and not in this incarnation's
        [] if life.offered.is_none() && life.accepted.is_none() && life.attempts.is_empty() => {}
        [] if inc.crashed.is_some() => {
            f.blamed(D1, "crash", Blame::Harness, evidence(), || {
                let wanted = "the harness writes lost_in_crash for every unresolved event";
                (wanted.to_owned(), "an event of a crashed incarnation has no outcome".to_owned())
            });
        }
        [] if inc.is_closed() => {
            let end = if inc.by_close { "close" } else { "drop" };
            f.broken(D1, "none", evidence(), || {
                (expected(), format!("none, although {end} has returned"))
            });
        }
        // Nothing ended this incarnation: D10 and the verdict speak about that.
        [] => f.unjudged(D1, "the incarnation ended neither by close nor by drop"),
        many => f.broken(D1, "twice", evidence(), || {
            let list: Vec<String> = many.iter().map(|(_, o)| ledger::key(o)).collect();
            (expected(), format!("{} outcomes: {}", many.len(), list.join(", ")))
        }),
    }
}

/// The outcome is the one that the deliveries before it call for, and no attempt was left open,
/// except by close or drop.
fn follows(
    index: &Index<'_>,
    life: &Life<'_>,
    inc: &Incarnation,
    outcome: &Outcome,
    f: &mut Findings,
) {
    let Some((told, _)) = life.outcomes.first() else { return };
    if life.attempts.is_empty() {
        return;
    }
    let mut success = [false, false];
    let mut open = None;
    for attempt in life.attempts.iter().filter_map(|slot| index.attempts.get(*slot)) {
        match attempt.delivery {
            Some(d) if d.at < *told => {
                if let Some(slot) = success.get_mut(usize::from(attempt.route == Route::Dlq)) {
                    *slot |= d.error.is_none();
                }
            }
            _ => open = open.or(Some(attempt)),
        }
    }
    let ending = inc.end_called.is_some_and(|called| called < *told);
    if let Some(attempt) = open
        && !ending
    {
        f.broken(D1, "open_attempt", Evidence::event(life.event), || {
            let expected = "no outcome while an attempt is open".to_owned();
            (expected, format!("{} while attempt {} is open", outcome.label(), attempt.number))
        });
        return;
    }
    let wanted = match success {
        // acks=0 is confirmed by nobody, whatever the client calls it.
        [true, _] if index.settings.acks_none() => return,
        [true, _] => "acked",
        [false, true] => "dead_lettered",
        [false, false] => match outcome {
            Outcome::Acked { .. } | Outcome::DeadLettered { .. } => "in_doubt or dropped",
            _ => return,
        },
    };
    if outcome.label() != wanted {
        f.broken(D1, "first_line", Evidence::event(life.event), || {
            let expected = format!("{wanted}, as its deliveries call for");
            (expected, outcome.label().to_owned())
        });
    }
}
