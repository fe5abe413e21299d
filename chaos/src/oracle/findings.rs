//! What the laws find: checks made, violations grouped by rule, and what could not be judged.

use std::collections::{BTreeMap, BTreeSet};

use super::index::{At, Index, ms};
use super::laws::LawId;
use crate::scenario::model::LaneName;

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blame {
    /// The implementation under test.
    Implementation,
    /// The driver, which told something the protocol does not allow.
    DriverProtocol,
    /// The harness.
    Harness,
    /// The machine or its surroundings.
    Environment,
}

impl Blame {
    /// As printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Implementation => "implementation",
            Self::DriverProtocol => "driver protocol",
            Self::Harness => "harness",
            Self::Environment => "environment",
        }
    }
}

/// A rule of a law that was broken, by one event or by many.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) law: LawId,
    pub(crate) rule: &'static str,
    pub(crate) expected: String,
    pub(crate) observed: String,
    /// Slot of the first event.
    pub(crate) event: Option<usize>,
    /// Slots of the next few.
    pub(crate) others: Vec<usize>,
    /// How often the rule was broken.
    pub(crate) count: u64,
    /// Lines that show it, beside those of the event.
    pub(crate) lines: Vec<At>,
    pub(crate) blame: Blame,
}

/// What shows a violation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) event: Option<usize>,
    pub(crate) lines: Vec<At>,
}

impl Evidence {
    /// An event with its whole history.
    pub(crate) fn event(slot: usize) -> Self {
        Self { event: Some(slot), lines: Vec::new() }
    }

    /// A line.
    pub(crate) fn line(at: At) -> Self {
        Self { event: None, lines: vec![at] }
    }

    /// One more line.
    pub(crate) fn and(mut self, at: At) -> Self {
        self.lines.push(at);
        self
    }
}

/// Others that are named beside the first event.
const NAMED: usize = 5;

/// Above this, the machine's own stalls make timing worthless on real-time lanes.
pub(crate) const STALL_LIMIT_US: u64 = 500_000;

/// Collects.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) broken: Vec<Broken>,
    pub(crate) checked: BTreeMap<LawId, u64>,
    /// Why something was not judged, and how often.
    pub(crate) unjudged: BTreeMap<(LawId, String), u64>,
    /// Laws that could not be decided, with the reason.
    pub(crate) undecided: BTreeMap<LawId, String>,
    /// What had to be in the history and is not: the verdict is not a pass.
    pub(crate) missing: BTreeSet<String>,
    /// Things to show that are no violation.
    pub(crate) notes: Vec<String>,
}

impl Findings {
    /// Counts checks of a law.
    pub(crate) fn checked(&mut self, law: LawId, count: u64) {
        *self.checked.entry(law).or_default() += count;
    }

    /// A violation by the implementation. `text` gives what was expected and what was observed;
    /// it is asked only for the first violation of the rule.
    pub(crate) fn broken(
        &mut self,
        law: LawId,
        rule: &'static str,
        evidence: Evidence,
        text: impl FnOnce() -> (String, String),
    ) {
        self.blamed(law, rule, Blame::Implementation, evidence, text);
    }

    /// A violation by somebody.
    pub(crate) fn blamed(
        &mut self,
        law: LawId,
        rule: &'static str,
        blame: Blame,
        evidence: Evidence,
        text: impl FnOnce() -> (String, String),
    ) {
        if let Some(same) = self.broken.iter_mut().find(|b| b.law == law && b.rule == rule) {
            same.count += 1;
            if let Some(event) = evidence.event
                && same.others.len() < NAMED
                && same.event != Some(event)
                && !same.others.contains(&event)
            {
                same.others.push(event);
            }
            return;
        }
        let (expected, observed) = text();
        let Evidence { event, lines } = evidence;
        self.broken.push(Broken {
            law,
            rule,
            expected,
            observed,
            event,
            others: Vec::new(),
            count: 1,
            lines,
            blame,
        });
    }

    /// Takes over what was found in a part of the history that begins so many lines later; `what`
    /// says which part it is.
    pub(crate) fn absorb(&mut self, part: Self, lines: usize, what: &str) {
        for mut broken in part.broken {
            let same = |b: &&mut Broken| b.law == broken.law && b.rule == broken.rule;
            if let Some(same) = self.broken.iter_mut().find(same) {
                same.count += broken.count;
                continue;
            }
            broken.lines.iter_mut().for_each(|at| at.line += lines);
            broken.observed.insert_str(0, what);
            self.broken.push(broken);
        }
        for (law, checks) in part.checked {
            self.checked(law, checks);
        }
        for (key, count) in part.unjudged {
            *self.unjudged.entry(key).or_default() += count;
        }
        for (law, why) in part.undecided {
            self.undecided(law, format!("{what}{why}"));
        }
        self.missing.extend(part.missing.into_iter().map(|text| format!("{what}{text}")));
        self.notes.extend(part.notes);
    }

    /// A violation of a bound in time. Where the machine itself stood still for too long it proves
    /// nothing.
    pub(crate) fn late(
        &mut self,
        index: &Index<'_>,
        law: LawId,
        rule: &'static str,
        evidence: Evidence,
        text: impl FnOnce() -> (String, String),
    ) {
        let standstill_us = index.standstill_us();
        if index.lane != LaneName::Sim && standstill_us > STALL_LIMIT_US {
            let reason = format!(
                "the machine or its brokers stood still for {}: timing proves nothing here",
                ms(standstill_us)
            );
            self.undecided.entry(law).or_insert(reason);
        } else {
            self.broken(law, rule, evidence, text);
        }
    }

    /// Something that this law does not judge, with the reason.
    pub(crate) fn unjudged(&mut self, law: LawId, reason: impl Into<String>) {
        *self.unjudged.entry((law, reason.into())).or_default() += 1;
    }

    /// The law cannot be decided in this run: the verdict is not a pass.
    pub(crate) fn undecided(&mut self, law: LawId, reason: impl Into<String>) {
        self.undecided.entry(law).or_insert_with(|| reason.into());
    }

    /// Something to show.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}
