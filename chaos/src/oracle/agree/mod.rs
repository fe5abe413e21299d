//! Do two lanes say the same of one scenario?
//!
//! A pure function of two histories. Compared exactly: the verdict of each law that both lanes
//! judge; which classes of outcomes there are, but for those that only events met which a fault
//! touched; and the counts of loads that no fault touches. What a fault touched is a matter of
//! microseconds: it is compared within the bounds that the scenario gives (`expect.agree`), and
//! listed where it gives none. Attempts, transmissions and times are never compared.

pub mod field;
mod side;

use std::collections::{BTreeMap, BTreeSet};

use crate::history::Line;
use crate::scenario::model::{Scenario, Within};

pub use side::Side;

/// Something that two lanes say differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about, as an `agreement.toml` names it: `law/D5`, `class/dropped/deadline`,
    /// `load/1/acked`, `count/acked`.
    pub field: String,
    /// What each lane says.
    pub says: [String; 2],
}

/// A count that is shown and proves nothing, because a fault decides about each event of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The class of outcomes.
    pub class: String,
    /// How many events a fault touched on each lane.
    pub counts: [u64; 2],
}

/// What came of comparing two lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Things that were compared.
    pub checks: u64,
    /// Those that differ, in the order of their fields.
    pub differences: Vec<Difference>,
    /// What was not compared.
    pub listed: Vec<Listed>,
}

/// Compares two histories of one scenario.
#[must_use]
pub fn agree(a: &[Line], b: &[Line], scenario: &Scenario) -> Comparison {
    compare(&Side::of(a, scenario), &Side::of(b, scenario), &scenario.expect.agree)
}

/// Compares what two lanes say, `within` bounds by outcome or `outcome/reason`.
#[must_use]
pub fn compare(a: &Side, b: &Side, within: &[(String, Within)]) -> Comparison {
    let mut comparison = Comparison::default();
    laws(a, b, &mut comparison);
    classes(a, b, &mut comparison);
    loads(a, b, within, &mut comparison);
    counts(a, b, within, &mut comparison);
    comparison.differences.sort_by(|x, y| x.field.cmp(&y.field));
    comparison
}

impl Comparison {
    fn check(&mut self, same: bool, field: impl FnOnce() -> String, says: [String; 2]) {
        self.checks += 1;
        if !same {
            self.differences.push(Difference { field: field(), says });
        }
    }
}

fn laws(a: &Side, b: &Side, comparison: &mut Comparison) {
    let word = |holds: bool| if holds { "holds" } else { "is broken" }.to_owned();
    for (law, here) in &a.laws {
        let Some(there) = b.laws.get(law) else { continue };
        comparison.check(here == there, || format!("law/{law}"), [word(*here), word(*there)]);
    }
}

/// Keys of both maps.
fn keys<'k, K: Ord, V>(a: &'k BTreeMap<K, V>, b: &'k BTreeMap<K, V>) -> BTreeSet<&'k K> {
    a.keys().chain(b.keys()).collect()
}

fn events(count: u64) -> String {
    match count {
        0 => "no event".to_owned(),
        1 => "1 event".to_owned(),
        n => format!("{n} events"),
    }
}

/// A class must be there on both lanes or on neither, unless a fault touched each of its events on
/// both.
fn classes(a: &Side, b: &Side, comparison: &mut Comparison) {
    for class in keys(&a.classes, &b.classes) {
        let [here, there] = [a, b].map(|side| side.classes.get(class).copied().unwrap_or_default());
        if here.quiet + there.quiet == 0 {
            continue;
        }
        let [here, there] = [here, there].map(|split| split.quiet + split.touched);
        let same = (here == 0) == (there == 0);
        comparison.check(same, || format!("class/{class}"), [events(here), events(there)]);
    }
}

/// Every count of a load that is over before the faults, or begins after them, on both lanes: the
/// same, or within the bound of its class. A clock can decide about such a load too, as it does
/// where a rate is limited.
fn loads(a: &Side, b: &Side, within: &[(String, Within)], comparison: &mut Comparison) {
    for (load, here) in &a.loads {
        let Some(there) = b.loads.get(load) else { continue };
        if !here.is_exact || !there.is_exact {
            continue;
        }
        for class in keys(&here.classes, &there.classes) {
            let count = |of: &BTreeMap<String, u64>| of.get(class).copied().unwrap_or(0);
            let (here, there) = (count(&here.classes), count(&there.classes));
            let field = || format!("load/{}/{class}", load + 1);
            let bound = within.iter().find(|(outcome, _)| is_of(class, outcome));
            let same = bound.map_or(here == there, |(_, bound)| bound.holds(here, there));
            comparison.check(same, field, [events(here), events(there)]);
        }
    }
}

/// True where the class is of this outcome, or of this outcome with this reason.
fn is_of(class: &str, outcome: &str) -> bool {
    class.strip_prefix(outcome).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a fault touched: within the bounds that are given, or listed.
fn counts(a: &Side, b: &Side, within: &[(String, Within)], comparison: &mut Comparison) {
    for (outcome, bound) in within {
        let [here, there] = [a, b].map(|side| {
            let same = side.classes.iter().filter(|(class, _)| is_of(class, outcome));
            same.map(|(_, split)| split.touched).sum::<u64>()
        });
        let says = |count: u64| format!("{}, which must agree within {bound}", events(count));
        let same = bound.holds(here, there);
        comparison.check(same, || format!("count/{outcome}"), [says(here), says(there)]);
    }
    for class in keys(&a.classes, &b.classes) {
        let counts = [a, b].map(|side| side.classes.get(class).map_or(0, |split| split.touched));
        let is_bounded = within.iter().any(|(outcome, _)| is_of(class, outcome));
        if !is_bounded && counts != [0, 0] {
            comparison.listed.push(Listed { class: class.clone(), counts });
        }
    }
}
