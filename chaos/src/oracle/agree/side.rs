//! What one lane says of a scenario, as far as it can be compared.

use std::collections::BTreeMap;

use crate::history::{Line, Outcome};
use crate::oracle::index::Index;
use crate::oracle::windows::{Window, cuts, faults, life};
use crate::oracle::{Judgement, LawId, LawStatus, judge};
use crate::scenario::model::{LaneName, Scenario};

/// Events of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// No fault touched them.
    pub(super) quiet: u64,
    /// Offered while a fault was in force, or open when one began or ended.
    pub(super) touched: u64,
}

/// A load as it ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ran {
    /// Nothing was in force between its first offer and its last outcome, and nothing cut it.
    pub(super) is_exact: bool,
    /// Its events by class.
    pub(super) classes: BTreeMap<String, u64>,
}

/// One lane's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The lane.
    pub lane: LaneName,
    /// The seed.
    pub seed: u64,
    /// Laws that were judged and decided, and whether they hold.
    pub(super) laws: BTreeMap<LawId, bool>,
    /// Events by class.
    pub(super) classes: BTreeMap<String, Split>,
    /// Loads by their place in the file.
    pub(super) loads: BTreeMap<u16, Ran>,
}

impl Side {
    /// Judges a history and takes its side.
    #[must_use]
    pub fn of(lines: &[Line], scenario: &Scenario) -> Self {
        Self::judged(lines, scenario, &judge(lines, scenario))
    }

    /// As [`Side::of`], of a history that was judged already.
    #[must_use]
    pub fn judged(lines: &[Line], scenario: &Scenario, judgement: &Judgement) -> Self {
        let index = Index::new(lines, scenario);
        let laws = judgement.laws.iter().filter_map(|(law, status)| match status {
            LawStatus::Held { .. } => Some((*law, true)),
            LawStatus::Broken { .. } => Some((*law, false)),
            LawStatus::Undecided(_) | LawStatus::NotJudged(_) | LawStatus::LeftOut(_) => None,
        });
        let faults = faults(&index);
        let mut side = Self {
            lane: index.lane,
            seed: index.seed,
            laws: laws.collect(),
            classes: BTreeMap::new(),
            loads: BTreeMap::new(),
        };
        let mut spans: BTreeMap<u16, Window> = BTreeMap::new();
        for event in &index.events {
            let Some(life) = life(&index, event) else { continue };
            let class = class(index.disposition(event).map(|(_, outcome)| outcome));
            let split = side.classes.entry(class.clone()).or_default();
            if faults.iter().any(|fault| fault.meets(life)) {
                split.touched += 1;
            } else {
                split.quiet += 1;
            }
            let load = event.id.load;
            *side.loads.entry(load).or_default().classes.entry(class).or_default() += 1;
            let span = spans.entry(load).or_insert(life);
            span.begin = span.begin.min(life.begin);
            span.end = span.end.max(life.end);
        }
        let cuts = cuts(&index);
        for (load, ran) in &mut side.loads {
            let meets = |window: &Window| spans.get(load).is_some_and(|span| span.meets(*window));
            ran.is_exact = !faults.iter().chain(&cuts).any(meets);
        }
        side
    }
}

/// Outcome, reason and what it says of the logs: `acked`, `dropped/deadline`,
/// `dead_lettered/deadline/possibly`, `in_doubt/unconfirmed/possibly/not`.
fn class(outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else { return super::field::UNRESOLVED.to_owned() };
    let label = outcome.label();
    match outcome {
        Outcome::Acked { .. } | Outcome::LostInCrash => label.to_owned(),
        Outcome::Rejected { reason } | Outcome::Dropped { reason } => format!("{label}/{reason}"),
        Outcome::DeadLettered { reason, main } => format!("{label}/{reason}/{}", main.as_str()),
        Outcome::Spooled { main, dlq } => format!("{label}/{}/{}", main.as_str(), dlq.as_str()),
        Outcome::InDoubt { reason, main, dlq } => {
            format!("{label}/{reason}/{}/{}", main.as_str(), dlq.as_str())
        }
    }
}
