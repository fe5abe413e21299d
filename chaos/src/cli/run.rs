//! `dashproof run`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::absent::{
    self, Absent, LANES, external_is_missing, kafka_is_missing, not_there, sim_is_missing,
};
use super::args::{Format, RunArgs};
use super::failure::{Failure, count};
use super::ui::{self, Tone, Ui};
use super::{agree, files, library_for, pool};
use crate::exit;
use crate::lane::SubjectSpec;
use crate::lane::external::Bootstrap;
use crate::oracle::{LawId, RunCounts, Verdict};
use crate::report::agreement::{Agreement, Board};
use crate::report::cell::{Cell, CellResult};
use crate::report::summary::Summary;
use crate::report::{json, table};
use crate::scenario::model::{LaneName, Scenario};
use crate::scenario::{self, Explanation, select, suggest};

/// Where histories of failed cells go when nothing is said.
const FAILED: &str = "out";
/// Cells up to which each is shown with a line of its own.
const SHOWN: usize = 24;
/// Failed cells of one scenario and lane that are told in full.
const TOLD: u64 = 2;

/// What is to be run, and what is not.
#[derive(Default)]
struct Plan {
    cells: Vec<Cell>,
    /// Lanes that scenarios list and that cannot run.
    absent: BTreeMap<LaneName, Absent>,
    /// What is known of how lanes differ, where that is asked.
    explanations: Option<Vec<Explanation>>,
    /// Lanes that were asked for, or that the scenarios are written for.
    lanes: Vec<LaneName>,
    /// The cluster that the user names.
    bootstrap: Option<Bootstrap>,
}

pub(crate) fn run(ui: Ui, dir: Option<&Path>, args: &RunArgs) -> Result<u8, Failure> {
    let begun = Instant::now();
    let mut plan = plan(dir, args)?;
    if let Some(dir) = &args.out {
        files::writable(dir)?;
    }
    let total = plan.cells.len();
    let each = total <= SHOWN;
    let board = plan.explanations.is_some().then(Board::default);
    let mut summary = Summary::new(args.allow_not_run);
    summary.not_there(plan.absent.values().map(|absent| absent.scenarios as u64).sum());
    let mut reporter =
        Reporter { ui, format: args.format, each, summary, board, ..Reporter::default() };
    let mut failure = None;
    ui.progress(&format!("0/{total} cells"));
    let cells = std::mem::take(&mut plan.cells);
    pool::run(cells, args.jobs.map(usize::from), plan.bootstrap.take(), |result| {
        let kept = keep(args.out.as_deref(), &result);
        let folder = kept.unwrap_or_else(|error| {
            failure.get_or_insert(error);
            None
        });
        reporter.add(result, folder);
        reporter.progress(total);
    })?;
    ui.clear();
    let code = reporter.finish(&plan, begun.elapsed());
    match failure {
        Some(failure) => Err(Failure { code: exit::worst([failure.code, code]), ..failure }),
        None => Ok(code),
    }
}

/// Writes the cell where the user wants it; a cell that is no pass is always written.
fn keep(out: Option<&Path>, result: &CellResult) -> Result<Option<PathBuf>, Failure> {
    let good = matches!(result.verdict, Verdict::Pass | Verdict::NotApplicable);
    match out {
        Some(dir) => files::write(dir, result).map(Some),
        None if good => files::remove_stale(Path::new(FAILED), result).map(|()| None),
        None => files::write(Path::new(FAILED), result).map(Some),
    }
}

fn plan(dir: Option<&Path>, args: &RunArgs) -> Result<Plan, Failure> {
    let asked = &args.at.lane;
    let subject = match &args.driver {
        Some(command) => driver(command)?,
        None => subject(args.saboteur.as_deref())?,
    };
    let wanted = args.which.selection();
    let mut chosen = select(&library_for(dir, &wanted)?, &wanted)?;
    if let Some(saboteur) = args.saboteur.as_deref().and_then(crate::saboteur::find) {
        // where it cannot act, a pass would say nothing about it
        chosen.retain(|scenario| saboteur.fits(scenario));
        if chosen.is_empty() {
            return Err(Failure::usage(format!(
                "nothing to run: the saboteur {} has nothing to be wrong about in what is \
                 selected\nhelp: it is made for {}",
                saboteur.name,
                saboteur.scenarios.join(", ")
            )));
        }
    }
    if let Some(free) = args.free {
        chosen = one_play(&chosen, free)?;
    }
    let lanes = if asked.is_empty() { written_for(&chosen) } else { asked.clone() };
    let mut plan = Plan { lanes, bootstrap: absent::bootstrap(args)?, ..Plan::default() };
    fill(&mut plan, &chosen, args, &subject)?;
    if plan.cells.iter().any(|cell| cell.lane == LaneName::Sim) && !cfg!(tokio_unstable) {
        return Err(sim_is_missing());
    }
    if plan.cells.is_empty() && args.driver.is_some() {
        return Err(Failure::usage(
            "nothing to run: a driver is a process, and runs on lanes in real time only\nhelp: \
             leave --lane out, or name wire or files; the scenarios must be written for it",
        ));
    }
    if plan.cells.is_empty() {
        // there is something to run, and nothing to run it on
        if let Some((lane, absent)) = plan.absent.iter().find(|(_, a)| a.scenarios > 0) {
            return Err(not_there(*lane, &absent.missing));
        }
        return Err(nothing_to_run(&chosen, asked));
    }
    if args.agree {
        let absent = plan.absent.iter().next();
        agree::comparable(asked, &plan.cells).map_err(|error| match absent {
            Some((lane, absent)) => not_there(*lane, &absent.missing),
            None => error,
        })?;
        plan.explanations = Some(agree::explanations(&chosen)?);
    }
    Ok(plan)
}

/// Every lane that one of the scenarios is written for.
fn written_for(chosen: &[Arc<Scenario>]) -> Vec<LaneName> {
    let lanes: BTreeSet<LaneName> = chosen.iter().flat_map(|s| s.lanes.clone()).collect();
    lanes.into_iter().collect()
}

/// The cells of the chosen scenarios on the lanes that are there.
fn fill(
    plan: &mut Plan,
    chosen: &[Arc<Scenario>],
    args: &RunArgs,
    subject: &SubjectSpec,
) -> Result<(), Failure> {
    let asked = &args.at.lane;
    let saboteur = args.saboteur.as_deref().and_then(crate::saboteur::find);
    // beside a wrong broker the others are what it is compared with
    let acts = |lane| args.agree || saboteur.is_none_or(|saboteur| saboteur.acts_on(lane));
    let (mut kafka, mut outside) = (None, None);
    for scenario in chosen {
        let beside = asked.iter().filter(|lane| !scenario.lanes.contains(lane));
        let beside = beside.filter(|lane| scenario.is_for(**lane));
        for lane in scenario.lanes.iter().chain(beside) {
            // A driver is a process: it has no virtual time to run in.
            let fits = args.driver.is_none() || lane.is_real_time();
            if !fits || !acts(*lane) || (!asked.is_empty() && !asked.contains(lane)) {
                continue;
            }
            let missing = match lane {
                LaneName::Kafka => kafka.get_or_insert_with(kafka_is_missing).as_ref(),
                LaneName::External => outside
                    .get_or_insert_with(|| external_is_missing(plan.bootstrap.as_ref()))
                    .as_ref(),
                _ => None,
            };
            if let Some(missing) = missing {
                if asked.contains(lane) && !args.agree {
                    return Err(not_there(*lane, missing));
                }
                let absent = || Absent { missing: missing.clone(), scenarios: 0 };
                plan.absent.entry(*lane).or_insert_with(absent).scenarios += 1;
                continue;
            }
            let seeds = args.at.seeds(*lane);
            let one = lane.is_real_time() && !scenario.is_alone();
            let runs = if one { 1 } else { scenario.most_seeds };
            plan.cells.extend(seeds.iter().take(runs).map(|seed| Cell {
                scenario: Arc::clone(scenario),
                lane: *lane,
                seed: *seed,
                subject: subject.clone(),
            }));
        }
    }
    Ok(())
}

/// Of each scenario whose disk is full at every byte the play with so many bytes free.
fn one_play(chosen: &[Arc<Scenario>], free: u64) -> Result<Vec<Arc<Scenario>>, Failure> {
    let played = chosen.iter().map(|scenario| scenario::with_free(scenario, free).map(Arc::new));
    played.collect::<Option<Vec<_>>>().ok_or_else(|| {
        Failure::usage(
            "--free is for scenarios with a fault of kind fs.full and free = \"every\"\nhelp: \
             name one, or leave it out",
        )
    })
}

fn nothing_to_run(chosen: &[Arc<Scenario>], asked: &[LaneName]) -> Failure {
    let names =
        |lanes: &[LaneName]| lanes.iter().map(|lane| lane.as_str()).collect::<Vec<_>>().join(", ");
    let lanes = written_for(chosen);
    let asked = if asked.is_empty() { names(&LANES) } else { names(asked) };
    Failure::inconclusive(format!(
        "nothing to run: {} selected, none of them is written for {asked}\nhelp: they are written \
         for {}",
        count(chosen.len(), "scenario"),
        names(&lanes)
    ))
}

fn driver(command: &str) -> Result<SubjectSpec, Failure> {
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        let text = "the driver's command is empty: name a program and its arguments";
        return Err(Failure::usage(text));
    }
    Ok(SubjectSpec::Driver(words))
}

fn subject(saboteur: Option<&str>) -> Result<SubjectSpec, Failure> {
    let Some(name) = saboteur else { return Ok(SubjectSpec::Reference) };
    if crate::saboteur::find(name).is_some() {
        return Ok(SubjectSpec::Saboteur(name.to_owned()));
    }
    let help = suggest(name, crate::saboteur::all().map(|saboteur| saboteur.name));
    Err(Failure::usage(format!("unknown saboteur `{name}`: {}", help.unwrap_or_default())))
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
        if bad || self.each {
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
        let code = exit::worst([self.summary.exit_code()].into_iter().chain(compared));
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
            map.insert("agreement".to_owned(), agreement.summary());
            map.insert("exit".to_owned(), code.into());
            map.insert("line".to_owned(), agreement.line(code).into());
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
        out.push_str(&format!("{}\n", self.summary.line(elapsed)));
        if let Some(agreement) = agreement {
            out.push_str(&format!("{}\n", agreement.line(code)));
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
    if result.tries > 1 {
        out.push_str(&format!("  it took {} tries to reach every mark\n", result.tries));
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
