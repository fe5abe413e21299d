//! What one lane says of a scenario, as far as it can be compared.

use std::collections::BTreeMap;

use crate::history::{Line, Outcome};
use crate::oracle::index::{At, Event, Index};
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

/// From one time to another, both included, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Window {
    begin: u64,
    end: u64,
}

impl Window {
    fn meets(self, other: Self) -> bool {
        self.begin <= other.end && other.begin <= self.end
    }
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

/// From its offer to its last outcome; without end where it has none.
fn life(index: &Index<'_>, event: &Event) -> Option<Window> {
    let begin = event.offered?.t_us;
    let end = index.disposition(event).map_or(u64::MAX, |(at, _)| at.t_us);
    Some(Window { begin, end: end.max(begin) })
}

/// While a fault was in force. One that nobody lifts lasts for ever. In real time the subject may
/// hear of both ends later than the harness, by as much as the machine stands still.
fn faults(index: &Index<'_>) -> Vec<Window> {
    let stall_us = if index.lane.is_real_time() { index.stall_us } else { 0 };
    let window = |begin: At, end: Option<At>| Window {
        begin: begin.t_us,
        end: end.map_or(u64::MAX, |end| end.t_us.saturating_add(stall_us)),
    };
    index.faults.values().filter_map(|seen| Some(window(seen.begin?, seen.end))).collect()
}

/// Where the application itself cut what was under way: how far it had come is a matter of time.
fn cuts(index: &Index<'_>) -> Vec<Window> {
    let cuts = index.calls.iter().filter(|call| matches!(call.op, "close" | "drop" | "cancel"));
    cuts.map(|call| Window { begin: call.at.t_us, end: call.at.t_us }).collect()
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
