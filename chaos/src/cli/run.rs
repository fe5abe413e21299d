//! `dashproof run`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::absent::Absent;
use super::args::{Format, RunArgs};
use super::failure::{Failure, count};
use super::plan::{Plan, plan};
use super::ui::{self, Tone, Ui};
use super::{files, interrupt, pool};
use crate::exit;
use crate::oracle::{LawId, RunCounts, Verdict};
use crate::report::agreement::{Agreement, Board};
use crate::report::cell::CellResult;
use crate::report::summary::Summary;
use crate::report::{json, table};
use crate::scenario::model::LaneName;

/// Where histories of failed cells go when nothing is said.
const FAILED: &str = "out";
/// Cells up to which each is shown with a line of its own.
const SHOWN: usize = 24;
/// Failed cells of one scenario and lane that are told in full.
const TOLD: u64 = 2;

pub(crate) fn run(ui: Ui, dir: Option<&Path>, args: &RunArgs) -> Result<u8, Failure> {
    let begun = Instant::now();
    let mut plan =
        prepare(dir, args).inspect_err(|failure| failure.summarise("run", args.format))?;
    let total = plan.cells.len();
    let each = total <= SHOWN;
    let board = plan.explanations.is_some().then(Board::default);
    let summary = Summary::new(args.allow_not_run, plan.left_out.clone());
    let mut reporter =
        Reporter { ui, format: args.format, each, summary, board, ..Reporter::default() };
    let mut failure = None;
    ui.progress(&format!("0/{total} cells"));
    let cells = std::mem::take(&mut plan.cells);
    interrupt::of(total);
    pool::run(cells, args.jobs.map(usize::from), plan.bootstrap.take(), |result| {
        let good = matches!(result.verdict, Verdict::Pass | Verdict::NotApplicable);
        interrupt::done(good);
        let kept = keep(args, &result);
        let folder = kept.unwrap_or_else(|error| {
            failure.get_or_insert(error);
            None
        });
        reporter.add(result, folder);
        reporter.progress(total);
    })?;
    interrupt::hold();
    ui.clear();
    let code = reporter.finish(&plan, begun.elapsed());
    match failure {
        Some(failure) => Err(Failure { code: exit::worst([failure.code, code]), ..failure }),
        None => Ok(code),
    }
}

/// Everything that can fail before anything is run.
fn prepare(dir: Option<&Path>, args: &RunArgs) -> Result<Plan, Failure> {
    interrupt::watch("run", "cells", args.format)?;
    let plan = plan(dir, args)?;
    if let Some(dir) = args.out.as_ref().or(args.failures.as_ref()) {
        files::writable(dir)?;
    }
    Ok(plan)
}

/// Writes the cell where the user wants it; a cell that is no pass is always written.
fn keep(args: &RunArgs, result: &CellResult) -> Result<Option<PathBuf>, Failure> {
    let good = matches!(result.verdict, Verdict::Pass | Verdict::NotApplicable);
    let failed = args.failures.as_deref().unwrap_or(Path::new(FAILED));
    match &args.out {
        Some(dir) => files::write(dir, result).map(Some),
        None if good => files::remove_stale(failed, result).map(|()| None),
        None => files::write(failed, result).map(Some),
    }
}

/// A result without its history, and the folder that holds it.
type Kept = (CellResult, Option<PathBuf>);

/// Collects results and prints them.
#[derive(Default)]
struct Reporter {
    ui: Ui,
    format: Format,
    each: bool,
    summary: Summary,
    told: Vec<Kept>,
    counts: BTreeMap<(String, LaneName), u64>,
    /// Cells that this machine does not let run.
    not_run: Vec<String>,
    /// Where lanes are compared.
    board: Option<Board>,
}

impl Reporter {
    fn add(&mut self, mut result: CellResult, folder: Option<PathBuf>) {
        self.summary.add(&result);
        if let Some(board) = &mut self.board {
            board.add(&result);
        }
        result.lines = Vec::new();
        if self.format == Format::Json {
            ui::print(&format!("{}\n", json::cell(&result)));
            return;
        }
        let bad = !matches!(result.verdict, Verdict::Pass | Verdict::NotApplicable);
        if bad {
            let key = (result.cell.scenario.id.clone(), result.cell.lane);
            let count = self.counts.entry(key).or_default();
            *count += 1;
            if *count > TOLD {
                return;
            }
        }
        if result.not_run {
            let why = result.why.join("; ");
            self.not_run.push(format!("NOT RUN: {}: {why}\n", result.cell.name()));
        }
        if bad || self.each || result.stood_still.is_some() {
            self.told.push((result, folder));
        }
    }

    fn progress(&self, total: usize) {
        let v = &self.summary.total.verdicts;
        let bad = v.fail + v.inconclusive + v.harness_error;
        let bad = if bad == 0 { String::new() } else { format!(", {bad} not proven") };
        self.ui.progress(&format!("{}/{total} cells{bad}", v.total()));
    }

    /// Prints what came of it; the exit code of it all.
    fn finish(&mut self, plan: &Plan, elapsed: Duration) -> u8 {
        let absent = plan.absent.iter().map(|(lane, a)| (*lane, a.missing.what.clone())).collect();
        let explanations = plan.explanations.as_deref().unwrap_or_default();
        let agreement =
            self.board.take().map(|board| board.close(&plan.lanes, absent, explanations));
        let compared = agreement.as_ref().map(Agreement::exit_code);
        // who names a scenario and compares asks for a comparison of it
        let some = agreement.as_ref().is_none_or(|a| a.not_compared(&plan.named).is_empty());
        let none = (!some).then_some(exit::INCONCLUSIVE);
        let code = exit::worst([self.summary.exit_code()].into_iter().chain(compared).chain(none));
        if self.format == Format::Json {
            self.finish_json(plan, agreement.as_ref(), code, elapsed);
        } else {
            self.finish_human(plan, agreement.as_ref(), code, elapsed);
        }
        code
    }

    fn finish_json(&self, plan: &Plan, agreement: Option<&Agreement>, code: u8, elapsed: Duration) {
        let mut summary = json::summary(&self.summary, elapsed);
        if let (false, serde_json::Value::Object(map)) = (plan.absent.is_empty(), &mut summary) {
            let lanes = plan.absent.iter().map(|(lane, absent)| {
                let Absent { missing, scenarios } = absent;
                let told = serde_json::json!({ "why": missing.what, "scenarios": scenarios });
                (lane.as_str().to_owned(), told)
            });
            map.insert("lanes_not_run".to_owned(), lanes.collect());
        }
        if let (Some(agreement), serde_json::Value::Object(map)) = (agreement, &mut summary) {
            for pair in agreement.pairs() {
                ui::print(&format!("{pair}\n"));
            }
            let uncompared = agreement.not_compared(&plan.named);
            let line = format!("{}{}", agreement.line(code), self.summary.left_out.confined());
            map.insert("agreement".to_owned(), agreement.summary());
            let told = |(id, why)| serde_json::json!({ "scenario": id, "why": why });
            let uncompared: Vec<_> = uncompared.into_iter().map(told).collect();
            map.insert("not_compared".to_owned(), uncompared.into());
            map.insert("exit".to_owned(), code.into());
            map.insert("line".to_owned(), line.into());
        }
        ui::print(&format!("{summary}\n"));
    }

    fn finish_human(
        &mut self,
        plan: &Plan,
        agreement: Option<&Agreement>,
        code: u8,
        elapsed: Duration,
    ) {
        self.told.sort_by(|(a, _), (b, _)| {
            let key = |r: &CellResult| (r.cell.scenario.id.clone(), r.cell.lane, r.cell.seed);
            key(a).cmp(&key(b))
        });
        let mut out = String::new();
        for (result, folder) in &self.told {
            out.push_str(&told(self.ui, result));
            if let Some(folder) = folder.as_ref().filter(|_| result.verdict != Verdict::Pass) {
                out.push_str(&format!("  history    {}\n\n", folder.display()));
            }
        }
        for ((id, lane), count) in self.counts.iter().filter(|(_, count)| **count > TOLD) {
            let more = count - TOLD;
            out.push_str(&format!("{id} on {} has {more} more such cells\n", lane.as_str()));
        }
        if let Some(agreement) = agreement {
            out.push_str(&agreement.differences(self.each));
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&table::summary(&self.summary, self.each));
        if let Some(agreement) = agreement {
            out.push_str(&format!("\n{}\n", agreement.table()));
        }
        for (lane, Absent { missing, scenarios }) in &plan.absent {
            let listed = count(*scenarios, "scenario");
            let (lane, why) = (lane.as_str(), &missing.what);
            out.push_str(&format!("NOT RUN: lane {lane}: {why}; {listed} would run there\n"));
        }
        self.not_run.sort();
        out.extend(self.not_run.iter().map(String::as_str));
        out.push_str(&self.summary.left_out.lines());
        if let Some(agreement) = agreement {
            for (id, why) in agreement.not_compared(&plan.named) {
                out.push_str(&format!("NOT COMPARED: {id}: {why}\n"));
            }
        }
        out.push_str(&format!("{}\n", self.summary.line(elapsed)));
        if let Some(agreement) = agreement {
            let confined = self.summary.left_out.confined();
            out.push_str(&format!("{}{confined}\n", agreement.line(code)));
        }
        ui::print(&out);
    }
}

/// How much was saved, and how thoroughly crashes were tried.
fn tried(counts: &RunCounts) -> String {
    let saves = count(usize::try_from(counts.saves).unwrap_or(usize::MAX), "save");
    let crashes = match (counts.crash_states, counts.crash_sampled) {
        (0, _) => "no crash states".to_owned(),
        (states, 0) => format!("{states} crash states, every one"),
        (states, sampled) => format!("{states} crash states, sampled at {sampled} operations"),
    };
    let full = match counts.full_at {
        0 => String::new(),
        plays => format!(", a full disk tried {plays} times ({})", counts.full_which),
    };
    if counts.saves == 0 { crashes } else { format!("{saves}, {crashes}{full}") }
}

/// What became of the states.
fn diffed(counts: &RunCounts) -> String {
    let all: u64 = counts.states.values().sum();
    let each: Vec<String> = counts.states.iter().map(|(what, n)| format!("{what} {n}")).collect();
    format!("{all} states: {}", each.join(", "))
}

/// One cell for people: a line, and everything that is wrong with it.
pub(crate) fn told(ui: Ui, result: &CellResult) -> String {
    let (tone, word) = match result.verdict {
        Verdict::Pass => (Tone::Good, "pass"),
        Verdict::Fail => (Tone::Bad, "FAIL"),
        Verdict::Inconclusive => (Tone::Unsure, "inconclusive"),
        Verdict::NotApplicable => (Tone::Faint, "not applicable"),
        Verdict::HarnessError => (Tone::Bad, "HARNESS ERROR"),
    };
    let mut out = format!("{}  {}", ui.paint(tone, word), result.cell.name());
    if let Some(judgement) = &result.judgement {
        let ended: Vec<String> =
            judgement.ledger.disposition.iter().map(|(key, n)| format!("{key} {n}")).collect();
        if result.cell.lane == LaneName::Files {
            out.push_str("  on the real file system");
        } else if result.cell.scenario.checkpoint.is_some() {
            out.push_str(&format!("  {}", tried(&judgement.counts)));
        } else if result.cell.scenario.state.is_some() {
            out.push_str(&format!("  {}", diffed(&judgement.counts)));
        } else {
            let offered = judgement.ledger.offered;
            out.push_str(&format!("  {offered} offered: {}", ended.join(", ")));
            if judgement.counts.crash_states > 0 {
                out.push_str(&format!("; {}", tried(&judgement.counts)));
            }
        }
    }
    out.push('\n');
    if let Some(violated) = &result.stood_still {
        let again = if result.verdict == Verdict::Fail { "" } else { ", and did not again" };
        out.push_str(&format!("  the subject stood still in an earlier try{again}: {violated}\n"));
    } else if result.tries > 1 {
        out.push_str(&format!("  it took {} tries to reach every mark\n", result.tries));
    }
    for note in result.judgement.iter().flat_map(|judgement| &judgement.notes) {
        out.push_str(&format!("  note: {note}\n"));
    }
    let violations = result.judgement.as_ref().map(|j| j.violations.as_slice()).unwrap_or_default();
    let is_told = result.verdict == Verdict::Fail && result.error.is_none();
    if !is_told || violations.is_empty() {
        for why in &result.why {
            out.push_str(&format!("  {why}\n"));
        }
    }
    // of a run that was broken off, what is missing at its end is nobody's fault but the breaker's
    let shown = violations.iter().filter(|violation| match &result.error {
        None => true,
        Some(error) => error.is_the_subjects() && violation.law != LawId::Expect,
    });
    for violation in shown {
        for line in violation.to_string().lines() {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out
}
