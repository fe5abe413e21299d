//! D10: `close` returns by its deadline and leaks nothing.

use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, Index, ms};
use crate::oracle::laws::LawId::D10;

/// What is counted before a producer is opened and after it was closed.
const COUNTED: [&str; 3] = ["tasks", "threads", "fds"];

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    returns(index, f);
    leaks(index, f);
}

fn returns(index: &Index<'_>, f: &mut Findings) {
    for call in index.calls.iter().filter(|call| call.op == "close") {
        let Some(deadline) = call.deadline_us else { continue };
        // A killed process returns nothing.
        if index.incs.get(call.inc).is_some_and(|inc| inc.crashed.is_some()) {
            continue;
        }
        f.checked(D10, 1);
        if let Some(returned) = call.returned
            && let Some(error) = returned.error
            && let Some(inc) = index.incs.get(call.inc)
        {
            if inc.excuses(error) {
                if inc.ended.is_none() {
                    f.undecided(D10, "close was cancelled, and nothing else ended the incarnation");
                }
                continue;
            }
            f.broken(D10, "failed", Evidence::line(call.at).and(returned.at), || {
                ("close answers with its account".to_owned(), format!("an error: {error}"))
            });
        }
        let returned = call.returned.map(|r| r.at.t_us);
        let until = returned.or_else(|| index.lines.last().map(|line| line.t_us)).unwrap_or(0);
        let took = until.saturating_sub(call.at.t_us);
        if took <= deadline.saturating_add(index.tolerance_us()) {
            if returned.is_none() {
                f.undecided(D10, "the run ended while close was running");
            }
            continue;
        }
        let evidence = Evidence::line(call.at);
        let evidence = call.returned.map_or(evidence.clone(), |r| evidence.and(r.at));
        f.late(index, D10, "returns", evidence, || {
            let said = if returned.is_some() { "returned" } else { "has not returned" };
            let tolerance = ms(index.tolerance_us());
            let expected =
                format!("close returns within {}, give or take {tolerance}", ms(deadline));
            (expected, format!("it {said} after {}", ms(took)))
        });
    }
}

/// More of a kind after the grace than before anything was opened.
fn leaks(index: &Index<'_>, f: &mut Findings) {
    let mut before: [Option<(At, i64)>; COUNTED.len()] = [None; COUNTED.len()];
    for fact in index.procs() {
        let Some(kind) = COUNTED.iter().position(|kind| *kind == fact.what) else { continue };
        let Some(first) = before.get_mut(kind) else { continue };
        match fact.text {
            "before" => *first = Some((fact.at, fact.value)),
            "after" if is_closed(index, fact.at) => {
                let Some((at, value)) = *first else {
                    f.unjudged(D10, format!("{} were not counted before open", fact.what));
                    continue;
                };
                f.checked(D10, 1);
                if fact.value > value {
                    // the grace is a time: a machine that stood still for it gave none
                    f.late(index, D10, fact_rule(kind), Evidence::line(at).and(fact.at), || {
                        let expected = format!("{value} {} after close, as before open", fact.what);
                        (expected, format!("{} are left", fact.value))
                    });
                }
            }
            _ => {}
        }
    }
}

const fn fact_rule(kind: usize) -> &'static str {
    match kind {
        0 => "tasks",
        1 => "threads",
        _ => "fds",
    }
}

/// True for a line of an incarnation that ended by close.
fn is_closed(index: &Index<'_>, at: At) -> bool {
    index.line(at).is_some_and(|line| {
        index.incs.iter().any(|inc| inc.number == line.inc && inc.by_close && inc.is_closed())
    })
}
