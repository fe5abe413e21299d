//! What the scenario itself pins, and the driver protocol.

use super::findings::{Blame, Evidence, Findings};
use super::index::Index;
use super::laws::LawId::{Expect, Protocol};
use super::ledger::{self, Ledger};
use super::windows;
use crate::scenario::model::{Amount, Bound, Cmp, LaneName};

/// Why a count that is off is no violation.
const TOLD: &str = "counts of events that a fault or the end of the run met, on a cluster of yours";

/// Judges the counts that the scenario pins.
pub(super) fn judge(index: &Index<'_>, ledger: &Ledger, f: &mut Findings) {
    let expect = &index.scenario.expect;
    let lost = ledger.count("lost_in_crash");
    let bounds = expect.outcomes_on(index.lane).into_iter();
    let crash = expect.lost_in_crash.map(|bound| ("lost_in_crash", bound));
    pinned(index, bounds.chain(crash), ledger, f);
    match expect.lost_in_crash {
        None if lost > 0 => f.broken(Expect, "lost", Evidence::default(), || {
            let expected = "the scenario bounds lost_in_crash, or no event is lost in a crash";
            (
                expected.to_owned(),
                format!("{lost} events are lost_in_crash, and no bound is stated"),
            )
        }),
        _ => {}
    }
}

/// Where an event ends is a matter of time too: on a machine that stood still, a count that is off
/// proves nothing.
fn pinned<'e>(
    index: &Index<'_>,
    bounds: impl Iterator<Item = (&'e str, Bound)>,
    ledger: &Ledger,
    f: &mut Findings,
) {
    let (mut expected, mut observed) = (Vec::new(), Vec::new());
    let foreign = (index.lane == LaneName::External).then(|| Unsure::of(index));
    for (name, bound) in bounds {
        let count = ledger.count(name);
        let held = holds(bound, count, ledger.offered);
        let unsure = foreign.as_ref().filter(|_| !held);
        if let Some(unsure) = unsure.filter(|u| u.explains(name, bound, ledger.offered)) {
            f.unjudged(Expect, TOLD);
            f.note(format!(
                "{name} is {count}, and the file expects {name} {}; a fault or the end of the run \
                 met {} events, and when a cluster of yours answers those is its own affair: told, \
                 not judged",
                wanted(bound, ledger.offered),
                unsure.touched
            ));
            continue;
        }
        f.checked(Expect, 1);
        if !held {
            expected.push(format!("{name} {}", wanted(bound, ledger.offered)));
            observed.push(format!("{name} is {count}"));
        }
    }
    if !expected.is_empty() {
        f.late(index, Expect, "outcomes", Evidence::default(), || {
            let ledger = ledger::list(&ledger.disposition);
            (expected.join("; "), format!("{}; the ledger: {ledger}", observed.join(", ")))
        });
    }
}

/// Reasons that no cluster's pace gives an event or takes from it: what the subject knows before it
/// asks anybody.
const TIMELESS: [&str; 3] = ["oversize", "unserialisable", "rate_limited"];

/// What time decides about on a cluster whose pace nobody here knows.
struct Unsure {
    /// Events that a fault or a cut touched, or that stood behind such.
    touched: u64,
    /// Where the others ended: that binds anywhere.
    quiet: Ledger,
}

impl Unsure {
    fn of(index: &Index<'_>) -> Self {
        let timeless = |slot: &usize| {
            let ended = index.events.get(*slot).and_then(|event| index.disposition(event));
            ended.is_some_and(|(_, outcome)| TIMELESS.contains(&outcome.reason()))
        };
        let mut touched = windows::touched(index);
        touched.retain(|slot| !timeless(slot));
        let quiet = Ledger::without(index, &touched);
        Self { touched: touched.len() as u64, quiet }
    }

    /// True where the count could hold if the touched events had ended otherwise.
    fn explains(&self, name: &str, bound: Bound, offered: u64) -> bool {
        if name.split('/').next_back().is_some_and(|reason| TIMELESS.contains(&reason)) {
            return false;
        }
        let least = self.quiet.count(name);
        let mut possible = least..=least.saturating_add(self.touched);
        possible.any(|count| holds(bound, count, offered))
    }
}

fn holds(bound: Bound, count: u64, offered: u64) -> bool {
    let amount = match bound.amount {
        Amount::Count(amount) => amount as f64,
        // A share of the offered events means whole events.
        Amount::ShareOfOffered(share) => match bound.cmp {
            Cmp::Eq => (share * offered as f64).round(),
            _ => share * offered as f64,
        },
    };
    let count = count as f64;
    match bound.cmp {
        Cmp::Eq => count.to_bits() == amount.to_bits(),
        Cmp::Le => count <= amount,
        Cmp::Ge => count >= amount,
        Cmp::Lt => count < amount,
        Cmp::Gt => count > amount,
    }
}

fn wanted(bound: Bound, offered: u64) -> String {
    let cmp = match bound.cmp {
        Cmp::Eq => "==",
        Cmp::Le => "<=",
        Cmp::Ge => ">=",
        Cmp::Lt => "<",
        Cmp::Gt => ">",
    };
    match bound.amount {
        Amount::Count(count) => format!("{cmp} {count}"),
        Amount::ShareOfOffered(share) if share.to_bits() == 1.0_f64.to_bits() => {
            format!("{cmp} offered, which is {offered}")
        }
        Amount::ShareOfOffered(share) => format!("{cmp} {share} of offered, which is {offered}"),
    }
}

/// Judges the form of the subject's claims.
pub(super) fn judge_protocol(index: &Index<'_>, f: &mut Findings) {
    f.checked(Protocol, 1);
    for anomaly in &index.anomalies {
        let evidence = Evidence { event: anomaly.event, lines: vec![anomaly.at] };
        f.blamed(Protocol, anomaly.rule, Blame::DriverProtocol, evidence, || {
            (anomaly.expected.to_owned(), anomaly.observed.clone())
        });
    }
    for life in index.lives.iter().filter(|life| life.offered.is_none()) {
        let known = index.event(life.event).is_some_and(|event| event.offered.is_some());
        let claimed = life.accepted.is_some() || !life.outcomes.is_empty();
        if !known && (claimed || !life.attempts.is_empty()) {
            f.blamed(
                Protocol,
                "stranger",
                Blame::DriverProtocol,
                Evidence::event(life.event),
                || {
                    let expected = "claims are about events that the harness offered".to_owned();
                    (expected, "a claim about an event that was never offered".to_owned())
                },
            );
        }
    }
}
