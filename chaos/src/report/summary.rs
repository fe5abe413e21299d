//! What all cells of a run say together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cell::CellResult;
use crate::exit;
use crate::oracle::{LawId, LawStatus, Verdict};
use crate::scenario::model::LaneName;

/// Cells by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Proven.
    pub pass: u64,
    /// A law is broken.
    pub fail: u64,
    /// Something that had to happen did not.
    pub inconclusive: u64,
    /// The lane cannot express the scenario.
    pub not_applicable: u64,
    /// The harness failed.
    pub harness_error: u64,
}

impl Verdicts {
    fn add(&mut self, verdict: Verdict) {
        let slot = match verdict {
            Verdict::Pass => &mut self.pass,
            Verdict::Fail => &mut self.fail,
            Verdict::Inconclusive => &mut self.inconclusive,
            Verdict::NotApplicable => &mut self.not_applicable,
            Verdict::HarnessError => &mut self.harness_error,
        };
        *slot += 1;
    }

    /// All cells.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.pass + self.fail + self.inconclusive + self.not_applicable + self.harness_error
    }
}

/// The cells of one family on one lane, or of all.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Cells by verdict.
    pub verdicts: Verdicts,
    /// Events offered.
    pub offered: u64,
    /// Where they ended, by outcome.
    pub ended: BTreeMap<String, u64>,
    /// Events without an outcome.
    pub unresolved: u64,
    /// Time of the machine, summed over cells.
    pub took: Duration,
}

impl Row {
    fn add(&mut self, result: &CellResult) {
        self.verdicts.add(result.verdict);
        self.took += result.took;
        let Some(judgement) = &result.judgement else { return };
        self.offered += judgement.ledger.offered;
        self.unresolved += judgement.ledger.unresolved;
        for (key, count) in &judgement.ledger.disposition {
            let outcome = key.split('/').next().unwrap_or(key);
            *self.ended.entry(outcome.to_owned()).or_default() += count;
        }
    }

    /// Events that ended in this outcome.
    #[must_use]
    pub fn ended(&self, outcome: &str) -> u64 {
        self.ended.get(outcome).copied().unwrap_or(0)
    }
}

/// What became of a law over all cells, the strongest statement that holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LawSummary {
    /// Not judged anywhere, for this reason.
    NotJudged(String),
    /// Judged, and no run gave it anything to judge.
    NothingToJudge,
    /// Judged in this many cells.
    Judged {
        /// Cells with at least one check.
        cells: u64,
    },
}

/// What was selected and has no cell in the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Scenarios that are written for lanes that are not there, once for each such lane.
    pub not_there: u64,
    /// Lanes that were named, are not there, and that nothing selected is written for.
    pub lanes: Vec<String>,
    /// Lanes that were named, are there, and have nothing to run, each with why.
    pub idle: Vec<(String, String)>,
    /// Scenarios that were named and fit no lane of the run or not its subject, each with why.
    pub named: Vec<(String, String)>,
    /// A lane or scenario that was named is among what was not run: without it nothing is proven.
    pub asked_for: bool,
    /// Scenarios that a pattern found and that do not fit.
    pub unfit: usize,
    /// What the patterns found in all.
    pub selected: usize,
    /// Why those do not fit.
    pub why_unfit: String,
    /// To what the verdict is confined, each in a few words.
    pub only: Vec<String>,
}

impl LeftOut {
    /// What is told in lines of its own, for people.
    #[must_use]
    pub fn lines(&self) -> String {
        let named = self.named.iter().map(|(id, why)| format!("NOT RUN: {id}: {why}\n"));
        let idle = self.idle.iter().map(|(lane, why)| format!("NOT RUN: lane {lane}: {why}\n"));
        let mut out: String = named.chain(idle).collect();
        if self.unfit > 0 {
            let Self { unfit, selected, why_unfit, .. } = self;
            out.push_str(&format!("left out: {unfit} of {selected} selected: {why_unfit}\n"));
        }
        out
    }

    /// What follows a verdict that is about less than was to be thought.
    #[must_use]
    pub fn confined(&self) -> String {
        if self.only.is_empty() { String::new() } else { format!(" ({})", self.only.join("; ")) }
    }

    fn not_run(&self) -> u64 {
        self.not_there + self.named.len() as u64
    }
}

/// Everything that is known after the last cell.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Rows by family and lane.
    pub rows: BTreeMap<(String, LaneName), Row>,
    /// All rows together.
    pub total: Row,
    /// Laws over all cells.
    pub laws: BTreeMap<LawId, LawSummary>,
    /// What single laws did not judge within cells: how often.
    pub unjudged: BTreeMap<(LawId, String), u64>,
    /// Scenarios that were run.
    pub scenarios: BTreeSet<String>,
    /// Checkpoints that were offered to be saved, and states to be diffed.
    pub others: (u64, u64),
    /// Cells that pass although nothing was offered: the subject was refused when it opened, as it
    /// had to be, which is what law S2 judges there.
    pub refused: u64,
    /// Crash states that were tried, and points at which they were sampled.
    pub crashes: (u64, u64),
    /// Byte counts at which a disk was full, each in a play of its own.
    pub full_at: u64,
    /// Crash states that were tried in cells that pass, by variant and operation.
    pub survived: BTreeMap<String, u64>,
    /// Cells that this machine did not let run; they are among those that are not applicable.
    pub not_run: u64,
    /// What has no cell at all.
    pub left_out: LeftOut,
    /// What was not run does not make the run inconclusive.
    allow_not_run: bool,
    codes: BTreeSet<u8>,
}

impl Summary {
    /// Of no cell yet. `allow_not_run`: what was not run is told and counted, and does not make the
    /// run inconclusive.
    #[must_use]
    pub fn new(allow_not_run: bool, left_out: LeftOut) -> Self {
        Self { left_out, allow_not_run, ..Self::default() }
    }

    /// Adds a cell.
    pub fn add(&mut self, result: &CellResult) {
        let scenario = &result.cell.scenario;
        let key = (scenario.family().to_owned(), result.cell.lane);
        self.rows.entry(key).or_default().add(result);
        self.total.add(result);
        self.refused += u64::from(result.is_refused_at_open());
        self.scenarios.insert(scenario.id.clone());
        self.codes.insert(result.exit_code());
        self.not_run += u64::from(result.not_run);
        let Some(judgement) = &result.judgement else { return };
        self.others.0 += judgement.counts.saves;
        self.others.1 += judgement.counts.states.values().sum::<u64>();
        self.full_at += judgement.counts.full_at;
        self.crashes.0 += judgement.counts.crash_states;
        self.crashes.1 += judgement.counts.crash_sampled;
        if result.verdict == Verdict::Pass {
            for (what, count) in &judgement.counts.crashes {
                *self.survived.entry(what.clone()).or_default() += count;
            }
        }
        for (law, status) in &judgement.laws {
            let now = match status {
                LawStatus::Held { checks: 0 } => LawSummary::NothingToJudge,
                LawStatus::Held { .. } | LawStatus::Broken { .. } | LawStatus::Undecided(_) => {
                    LawSummary::Judged { cells: 1 }
                }
                LawStatus::NotJudged(reason) | LawStatus::LeftOut(reason) => {
                    LawSummary::NotJudged(reason.clone())
                }
            };
            let known = self.laws.entry(*law).or_insert_with(|| now.clone());
            match (&mut *known, now) {
                (LawSummary::Judged { cells }, LawSummary::Judged { .. }) => *cells += 1,
                (known, now) if now > *known => *known = now,
                _ => {}
            }
        }
        for (law, why, count) in &judgement.unjudged {
            *self.unjudged.entry((*law, why.clone())).or_default() += count;
        }
    }

    /// Cells and scenarios that were not run.
    #[must_use]
    pub fn not_run(&self) -> u64 {
        self.not_run + self.left_out.not_run()
    }

    /// The exit code of the run. A run in which nothing could be proven is inconclusive, and so is
    /// one with a part that was asked for and could not run, unless that is allowed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let nothing = self.total.verdicts.total() == self.total.verdicts.not_applicable;
        let missing = self.not_run > 0 || self.left_out.asked_for;
        let left_out = missing && !self.allow_not_run;
        let none = (nothing || left_out).then_some(exit::INCONCLUSIVE);
        exit::worst(self.codes.iter().copied().chain(none))
    }

    /// The one line that says it all.
    #[must_use]
    pub fn line(&self, elapsed: Duration) -> String {
        let verdicts = &self.total.verdicts;
        let mut parts = vec![format!("{} cells", verdicts.total())];
        let named = [
            (verdicts.pass, "pass"),
            (verdicts.fail, "FAIL"),
            (verdicts.inconclusive, "inconclusive"),
            (verdicts.not_applicable.saturating_sub(self.not_run), "not applicable"),
            (self.not_run(), "NOT RUN"),
            (verdicts.harness_error, "harness error"),
        ];
        for (n, name) in named {
            if n > 0 || name == "pass" {
                parts.push(format!("{n} {name}"));
            }
        }
        let idle = self.left_out.idle.iter().map(|(lane, _)| lane);
        let lanes = self.left_out.lanes.iter().chain(idle);
        parts.extend(lanes.map(|lane| format!("lane {lane} NOT RUN")));
        let mut work = vec![format!("{} scenarios", self.scenarios.len())];
        let counted = [
            (self.total.offered, "events offered"),
            (self.others.0, "saves"),
            (self.others.1, "states"),
            (self.full_at, "byte counts of full disks"),
            (self.crashes.0, "crash states"),
            (self.refused, "refused when they opened, with nothing to offer"),
        ];
        let told = counted.iter().filter(|(n, _)| *n > 0);
        work.extend(told.map(|(n, what)| format!("{n} {what}")));
        if let (1.., sampled @ 1..) = self.crashes
            && let Some(last) = work.last_mut()
        {
            last.push_str(&format!(" ({sampled} points sampled)"));
        }
        let missing = self.not_run() > 0 || self.left_out.asked_for;
        let left_out = match self.exit_code() {
            exit::PROVEN if missing => ", but for what was NOT RUN",
            _ => "",
        };
        format!(
            "dashproof run: {}; {}, {:.1} s: {}{}{left_out}",
            parts.join(", "),
            work.join(", "),
            elapsed.as_secs_f64(),
            exit::name(self.exit_code()),
            self.left_out.confined()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::lane::SubjectSpec;
    use crate::report::cell::Cell;
    use crate::scenario::model::Scenario;

    fn result(verdict: Verdict, not_run: bool) -> CellResult {
        let scenario = Scenario { id: "checkpoint/x".to_owned(), ..Scenario::default() };
        let subject = SubjectSpec::Reference;
        let cell = Cell { scenario: Arc::new(scenario), lane: LaneName::Files, seed: 0, subject };
        let nothing = CellResult::not_applicable(cell, "no tmpfs".to_owned());
        CellResult { verdict, not_run, ..nothing }
    }

    fn told(allow_not_run: bool, cells: &[CellResult], left_out: LeftOut) -> (u8, String) {
        let mut summary = Summary::new(allow_not_run, left_out);
        for cell in cells {
            summary.add(cell);
        }
        (summary.exit_code(), summary.line(Duration::ZERO))
    }

    fn of(allow_not_run: bool, cells: &[CellResult]) -> (u8, String) {
        told(allow_not_run, cells, LeftOut::default())
    }

    #[test]
    fn a_cell_that_could_not_run_is_counted_and_makes_the_run_inconclusive() {
        let cells = [result(Verdict::Pass, false), result(Verdict::NotApplicable, true)];
        let (code, line) = of(false, &cells);
        assert_eq!(code, exit::INCONCLUSIVE);
        assert!(line.contains("1 NOT RUN") && line.ends_with(": inconclusive"), "{line}");
        assert!(!line.contains("not applicable"), "it is counted once: {line}");
    }

    #[test]
    fn where_it_is_allowed_the_last_line_still_says_so() {
        let cells = [result(Verdict::Pass, false), result(Verdict::NotApplicable, true)];
        let (code, line) = of(true, &cells);
        assert_eq!(code, exit::PROVEN);
        assert!(line.contains("1 NOT RUN"), "{line}");
        assert!(line.ends_with(": proven, but for what was NOT RUN"), "{line}");
        let (code, _) = of(true, &cells[1..]);
        assert_eq!(code, exit::INCONCLUSIVE, "nothing at all was run");
    }

    #[test]
    fn a_lane_that_is_not_there_and_that_nobody_named_is_counted_and_decides_nothing() {
        let left_out = LeftOut { not_there: 2, ..LeftOut::default() };
        let (code, line) = told(false, &[result(Verdict::Pass, false)], left_out);
        assert_eq!(code, exit::PROVEN);
        assert!(line.contains("1 cells, 1 pass, 2 NOT RUN"), "{line}");
        assert!(line.ends_with(": proven, but for what was NOT RUN"), "{line}");
    }

    #[test]
    fn a_named_scenario_without_a_lane_is_counted_and_decides_unless_that_is_allowed() {
        let named = vec![("codec/x".to_owned(), "it is written for disk".to_owned())];
        let left_out = LeftOut { named, asked_for: true, ..LeftOut::default() };
        assert_eq!(left_out.lines(), "NOT RUN: codec/x: it is written for disk\n");
        let cells = [result(Verdict::Pass, false)];
        let (code, line) = told(false, &cells, left_out.clone());
        assert_eq!(code, exit::INCONCLUSIVE);
        assert!(line.contains("1 NOT RUN") && line.ends_with(": inconclusive"), "{line}");
        let (code, line) = told(true, &cells, left_out);
        assert_eq!(code, exit::PROVEN);
        assert!(line.ends_with(": proven, but for what was NOT RUN"), "{line}");
    }

    #[test]
    fn what_a_pattern_found_and_does_not_fit_is_said_and_decides_nothing() {
        let why_unfit = "not written for sim".to_owned();
        let left_out = LeftOut { unfit: 2, selected: 3, why_unfit, ..LeftOut::default() };
        assert_eq!(left_out.lines(), "left out: 2 of 3 selected: not written for sim\n");
        let (code, line) = told(false, &[result(Verdict::Pass, false)], left_out);
        assert_eq!(code, exit::PROVEN);
        assert!(line.ends_with(": proven"), "{line}");
    }

    #[test]
    fn a_verdict_about_a_part_says_about_which() {
        let left_out = LeftOut { only: vec!["1 play, choice 7".to_owned()], ..LeftOut::default() };
        let (_, line) = told(false, &[result(Verdict::Pass, false)], left_out);
        assert!(line.ends_with(": proven (1 play, choice 7)"), "{line}");
    }
}
