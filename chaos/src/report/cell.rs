//! One cell of a run: a scenario on a lane with a seed, and what came of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::exit;
use crate::history::{FORMAT_VERSION, Kind, Line, Src};
use crate::lane::{HarnessError, RunOutput, SubjectSpec};
use crate::oracle::laws::LawId;
use crate::oracle::{Judgement, Verdict, judge};
use crate::scenario::model::{LaneName, Scenario};

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What happens.
    pub scenario: Arc<Scenario>,
    /// Where.
    pub lane: LaneName,
    /// Seed of everything random.
    pub seed: u64,
    /// Who is under test.
    pub subject: SubjectSpec,
}

impl Cell {
    /// `outage/flapping on sim, seed 3`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} on {}, seed {}", self.scenario.id, self.lane.as_str(), self.seed)
    }
}

/// A cell after it was run and judged.
#[derive(Clone, Debug)]
pub struct CellResult {
    /// The cell.
    pub cell: Cell,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is no pass; empty for a pass.
    pub why: Vec<String>,
    /// It was not run because of this machine, and could be elsewhere.
    pub not_run: bool,
    /// The oracle's judgement, where there is a history to judge.
    pub judgement: Option<Judgement>,
    /// What broke the run off before its end.
    pub error: Option<HarnessError>,
    /// Runs it took: more than one when a mark was not reached on a lane in real time.
    pub tries: u32,
    /// In an earlier try the subject's runtime stood still, which the system can be the cause of:
    /// what that try violated.
    pub stood_still: Option<String>,
    /// Time of the machine.
    pub took: Duration,
    /// The history.
    pub lines: Vec<Line>,
}

/// What a history says of a run that the harness itself broke off.
const BROKEN_OFF: &str = "harness_error";

impl CellResult {
    /// Judges what a lane handed over.
    #[must_use]
    pub fn of(cell: Cell, output: RunOutput, took: Duration) -> Self {
        let RunOutput { mut lines, error, not_applicable, not_run } = output;
        if let Some(why) = not_applicable {
            return Self::not_applicable(cell, why);
        }
        if let Some(why) = not_run {
            return Self { not_run: true, ..Self::not_applicable(cell, why) };
        }
        if let Some(error) = &error {
            lines.push(broken_off(&lines, error));
        }
        Self::of_history(cell, lines, took)
    }

    /// Judges a history, recorded just now or long ago: the verdict is the same.
    #[must_use]
    pub fn of_history(cell: Cell, lines: Vec<Line>, took: Duration) -> Self {
        let judgement = judge(&lines, &cell.scenario);
        let error = lines.last().and_then(error_in);
        let (verdict, why) = match &error {
            // it hung, died or broke the protocol: the subject did not do what it must
            Some(error) if error.is_the_subjects() => (Verdict::Fail, vec![error.to_string()]),
            Some(error) => (Verdict::HarnessError, vec![error.to_string()]),
            None => (judgement.verdict, judgement.why.clone()),
        };
        let judgement = Some(judgement);
        Self {
            cell,
            verdict,
            why,
            not_run: false,
            judgement,
            error,
            tries: 1,
            stood_still: None,
            took,
            lines,
        }
    }

    /// A cell that was not run, because its lane cannot express it.
    #[must_use]
    pub fn not_applicable(cell: Cell, why: String) -> Self {
        Self {
            cell,
            verdict: Verdict::NotApplicable,
            why: vec![why],
            not_run: false,
            judgement: None,
            error: None,
            tries: 0,
            stood_still: None,
            took: Duration::ZERO,
            lines: Vec::new(),
        }
    }

    /// True when it passes without an event: the subject was refused when it opened, and had to be.
    #[must_use]
    pub fn is_refused_at_open(&self) -> bool {
        let nothing = self.judgement.as_ref().is_some_and(|j| j.ledger.offered == 0);
        let refused = self.cell.scenario.expect.refused.is_some();
        self.verdict == Verdict::Pass && refused && nothing
    }

    /// True when something that had to happen did not, on a lane where that can be chance.
    #[must_use]
    pub fn is_worth_another_try(&self) -> bool {
        self.verdict == Verdict::Inconclusive && self.cell.lane.is_real_time()
    }

    /// What was violated where the subject's runtime stood still (R4). Once that can be the
    /// system's doing, on which much else goes on; again it is the subject's.
    #[must_use]
    pub fn standstill(&self) -> Option<String> {
        let violations = &self.judgement.as_ref()?.violations;
        let stood = violations.iter().find(|violation| violation.law == LawId::R4)?;
        let others: BTreeSet<&str> = violations.iter().map(|v| v.law.as_str()).collect();
        let others: Vec<&str> = others.into_iter().filter(|law| *law != "R4").collect();
        let also = if others.is_empty() { String::new() } else { others.join(" ") + ", and " };
        let is_real = self.verdict == Verdict::Fail && self.cell.lane.is_real_time();
        is_real.then(|| format!("{also}R4: {}", stood.observed))
    }

    /// The exit code of this cell alone.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.verdict {
            Verdict::Pass | Verdict::NotApplicable => exit::PROVEN,
            Verdict::Fail => exit::VIOLATION,
            Verdict::Inconclusive => exit::INCONCLUSIVE,
            Verdict::HarnessError => match self.error.as_ref().map(|error| error.blame) {
                Some("environment") => exit::ENVIRONMENT,
                _ => exit::INTERNAL,
            },
        }
    }
}

/// The last line of a history that the harness broke off, so that judging it again says the same.
fn broken_off(lines: &[Line], error: &HarnessError) -> Line {
    let last = lines.last();
    Line {
        v: FORMAT_VERSION,
        n: lines.len() as u64,
        t_us: last.map_or(0, |line| line.t_us),
        inc: last.map_or(0, |line| line.inc),
        src: Src::Harness,
        kind: Kind::Proc {
            what: BROKEN_OFF.to_owned(),
            value: 0,
            text: format!("{}: {}", error.blame, error.message),
        },
    }
}

fn error_in(line: &Line) -> Option<HarnessError> {
    let Kind::Proc { what, text, .. } = &line.kind else { return None };
    if line.src != Src::Harness || what != BROKEN_OFF {
        return None;
    }
    let (blame, message) = text.split_once(": ").unwrap_or(("harness", text));
    let known = ["environment", "implementation", "driver protocol"];
    let blame = known.into_iter().find(|known| *known == blame).unwrap_or("harness");
    Some(HarnessError { blame, message: message.to_owned() })
}
