//! The ledger: every offered event and where it ended.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::index::Index;
use crate::history::Outcome;

/// Counts by `outcome` or `outcome/reason`, as expectations name them.
pub type Counts = BTreeMap<String, u64>;

/// Where the events of a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Events offered by the harness.
    pub offered: u64,
    /// Events by their last outcome over all incarnations.
    pub disposition: Counts,
    /// Offered events without any outcome.
    pub unresolved: u64,
    /// One entry per incarnation, in order.
    pub incarnations: Vec<Entry>,
}

/// The ledger of one incarnation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Number.
    pub inc: u32,
    /// How it ended: `close`, `drop`, `crash` or `open`.
    pub end: String,
    /// Events offered to it.
    pub offered: u64,
    /// Events resent from the spool of an earlier one.
    pub recovered: u64,
    /// Outcome lines.
    pub outcomes: Counts,
}

/// `acked`, or `dropped/deadline`.
#[must_use]
pub fn key(outcome: &Outcome) -> String {
    match outcome.reason() {
        "" => outcome.label().to_owned(),
        reason => format!("{}/{reason}", outcome.label()),
    }
}

/// Counts as a list for people.
pub(crate) fn list(counts: &Counts) -> String {
    if counts.is_empty() {
        return "nothing".to_owned();
    }
    counts.iter().map(|(key, n)| format!("{key} {n}")).collect::<Vec<_>>().join(", ")
}

/// Counts without making a text per event.
#[derive(Default)]
struct Tally<'a>(BTreeMap<(&'static str, &'a str), u64>);

impl<'a> Tally<'a> {
    fn add(&mut self, outcome: &'a Outcome) {
        *self.0.entry((outcome.label(), outcome.reason())).or_default() += 1;
    }

    fn counts(self) -> Counts {
        let text = |(label, reason): (&str, &str)| match reason {
            "" => label.to_owned(),
            reason => format!("{label}/{reason}"),
        };
        self.0.into_iter().map(|(key, count)| (text(key), count)).collect()
    }
}

impl Ledger {
    pub(crate) fn of(index: &Index<'_>) -> Self {
        let mut disposition = Tally::default();
        let (mut offered, mut unresolved) = (0, 0);
        for event in &index.events {
            let last = index.disposition(event);
            if event.offered.is_some() {
                offered += 1;
                unresolved += u64::from(last.is_none());
            }
            if let Some((_, outcome)) = last {
                disposition.add(outcome);
            }
        }
        let incarnations = (0..index.incs.len()).filter_map(|inc| Entry::of(index, inc)).collect();
        Self { offered, disposition: disposition.counts(), unresolved, incarnations }
    }

    /// Where the events ended that are not among these slots; nothing of incarnations.
    pub(crate) fn without(index: &Index<'_>, slots: &[usize]) -> Self {
        let slots: BTreeSet<usize> = slots.iter().copied().collect();
        let mut left = Self::default();
        let mut disposition = Tally::default();
        let others = index.events.iter().enumerate().filter(|(slot, _)| !slots.contains(slot));
        for (_, event) in others {
            left.offered += u64::from(event.offered.is_some());
            if let Some((_, outcome)) = index.disposition(event) {
                disposition.add(outcome);
            }
        }
        Self { disposition: disposition.counts(), ..left }
    }

    /// Events whose disposition is this outcome, or this outcome with this reason.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        let wanted = |key: &str| {
            key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
        };
        self.disposition.iter().filter(|(key, _)| wanted(key)).map(|(_, count)| count).sum()
    }
}

impl Entry {
    fn of(index: &Index<'_>, slot: usize) -> Option<Self> {
        let inc = index.incs.get(slot)?;
        let mut outcomes = Tally::default();
        let (mut offered, mut recovered) = (0, 0);
        for life in inc.lives.iter().filter_map(|life| index.lives.get(*life)) {
            match life.offered {
                Some(_) => offered += 1,
                None if !life.attempts.is_empty() || !life.outcomes.is_empty() => recovered += 1,
                None => {}
            }
            life.outcomes.iter().for_each(|(_, outcome)| outcomes.add(outcome));
        }
        let end = match (inc.crashed, inc.ended, inc.by_close) {
            (Some(_), ..) => "crash",
            (None, Some(_), true) => "close",
            (None, Some(_), false) => "drop",
            (None, None, _) => "open",
        };
        let (inc, end) = (inc.number, end.to_owned());
        Some(Self { inc, end, offered, recovered, outcomes: outcomes.counts() })
    }
}
