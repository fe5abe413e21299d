//! `dashproof prove`: every known weakness put back, and the law that catches it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::json;

use super::args::{Format, ProveArgs};
use super::failure::Failure;
use super::ui::{self, Ui};
use super::{absent, agree, interrupt, library, pool};
use crate::exit;
use crate::lane::SubjectSpec;
use crate::lane::kafka::Fleet;
use crate::oracle::Verdict;
use crate::report::agreement::{Absent, Board, names};
use crate::report::cell::{Cell, CellResult};
use crate::report::table::aligned;
use crate::saboteur::{self, AGREE, Saboteur};
use crate::scenario::Library;
use crate::scenario::model::{LaneName, Scenario};

/// What came of one saboteur in one scenario.
#[derive(Clone, Debug)]
struct Trial {
    saboteur: &'static Saboteur,
    scenario: &'static str,
    /// The seed that caught it, and every law that was broken there, with its rule.
    caught: Option<(u64, Vec<(String, &'static str)>)>,
    /// What happened instead.
    instead: String,
    /// The exit code of a run that judged nothing: it was broken off, or proved nothing.
    unjudged: Option<u8>,
}

impl Trial {
    /// Of everything that a saboteur is tried in.
    fn all(saboteur: &'static Saboteur) -> impl Iterator<Item = Self> {
        let trial = move |scenario: &&'static str| Self {
            saboteur,
            scenario,
            caught: None,
            instead: String::new(),
            unjudged: None,
        };
        saboteur.scenarios.iter().map(trial)
    }
}

pub(crate) fn prove(ui: Ui, dir: Option<&Path>, args: &ProveArgs) -> Result<u8, Failure> {
    let begun = Instant::now();
    let prepared = prepare(dir, args);
    let (library, chosen, not_run) =
        prepared.inspect_err(|failure| failure.summarise("prove", args.format))?;
    let trials = chosen.iter().flat_map(|saboteur| Trial::all(saboteur)).collect();
    let prover =
        Prover { library: &library, seeds: args.seed.clone(), references: Mutex::default() };
    let trials = attempt_all(ui, &prover, trials)?;
    interrupt::hold();
    let caught =
        |s: &Saboteur| trials.iter().any(|t| t.saboteur.name == s.name && t.caught.is_some());
    let unjudged = |s: &Saboteur| {
        let mut own = trials.iter().filter(|trial| trial.saboteur.name == s.name);
        own.find_map(|trial| trial.unjudged)
    };
    let (open, survivors): (Vec<&Saboteur>, Vec<&Saboteur>) =
        chosen.iter().filter(|s| !caught(s)).partition(|s| unjudged(s).is_some());
    let of = |saboteurs: &[&'static Saboteur]| -> Vec<&str> {
        saboteurs.iter().map(|saboteur| saboteur.name).collect()
    };
    let codes: Vec<u8> = open.iter().filter_map(|s| unjudged(s)).collect();
    let (open, survivors) = (of(&open), of(&survivors));
    let survived = (!survivors.is_empty()).then_some(exit::VIOLATION);
    let missing = not_run.iter().any(|out| out.asked_for) && !args.allow_not_run;
    let missing = missing.then_some(exit::INCONCLUSIVE);
    let code = exit::worst(survived.into_iter().chain(missing).chain(codes));
    let caught = chosen.len() - survivors.len() - open.len();
    let caught = format!("{caught} of {}", chosen.len());
    let mut line = format!("dashproof prove: {caught} saboteurs caught");
    if !survivors.is_empty() {
        line.push_str(&format!("; SURVIVED: {}", survivors.join(", ")));
    }
    if !open.is_empty() {
        line.push_str(&format!("; NOT JUDGED: {}", open.join(", ")));
    }
    if !not_run.is_empty() {
        line.push_str(&format!(", {} NOT RUN", not_run.len()));
    }
    line.push_str(&format!(", {:.1} s: {}", begun.elapsed().as_secs_f64(), exit::name(code)));
    if code == exit::PROVEN && !not_run.is_empty() {
        line.push_str(", but for what was NOT RUN");
    }
    match args.format {
        Format::Human => ui::print(&format!("{}{}{line}\n", matrix(&trials), told(&not_run))),
        Format::Json => {
            for trial in &trials {
                ui::print(&format!("{}\n", as_json(trial)));
            }
            let not_run: Vec<_> = not_run
                .iter()
                .map(|out| json!({ "saboteur": out.saboteur, "why": out.why }))
                .collect();
            let survived = json!({ "type": "summary", "survived": survivors, "not_judged": open,
                "not_run": not_run, "exit": code, "line": line });
            ui::print(&format!("{survived}\n"));
        }
    }
    Ok(code)
}

/// The scenarios, the saboteurs to be run, and those that are not.
type Prepared = (Library, Vec<&'static Saboteur>, Vec<NotRun>);

/// Everything that can fail before anything is run.
fn prepare(dir: Option<&Path>, args: &ProveArgs) -> Result<Prepared, Failure> {
    interrupt::watch("prove", "saboteurs × scenarios", args.format)?;
    let library = library(dir)?;
    let (chosen, not_run) = chosen(&args.saboteurs, &args.lane)?;
    if !cfg!(tokio_unstable) {
        return Err(absent::sim_is_missing());
    }
    let missing = chosen.iter().flat_map(|s| s.scenarios).find(|id| library.get(id).is_none());
    if let Some(id) = missing {
        return Err(Failure::usage(format!(
            "there is no scenario {id}, which a saboteur needs; nothing was run\nhelp: prove works \
             with the scenarios that come with this program"
        )));
    }
    Ok((library, chosen, not_run))
}

/// A saboteur that is not run.
struct NotRun {
    /// Its name; or a lane that was named and has none.
    saboteur: String,
    why: String,
    /// It was named, or its lane was.
    asked_for: bool,
}

/// In lines of their own, those with one reason together.
fn told(not_run: &[NotRun]) -> String {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for out in not_run {
        by_reason.entry(&out.why).or_default().push(&out.saboteur);
    }
    let line = |(why, who): (&str, Vec<&str>)| format!("NOT RUN: {}: {why}\n", who.join(", "));
    by_reason.into_iter().map(line).collect()
}

/// The saboteurs to be run, and those that are not.
fn chosen(
    asked: &[String],
    lanes: &[LaneName],
) -> Result<(Vec<&'static Saboteur>, Vec<NotRun>), Failure> {
    let own: Vec<_> = asked.iter().map(|name| super::saboteur(name)).collect::<Result<_, _>>()?;
    let all = if asked.is_empty() { saboteur::all().collect() } else { own };
    let mut looked = BTreeMap::new();
    let (mut chosen, mut not_run, mut elsewhere) = (Vec::new(), Vec::new(), 0);
    for saboteur in all {
        let (lane, name) = (saboteur.lane, saboteur.name);
        let out = |why, asked_for| NotRun { saboteur: name.to_owned(), why, asked_for };
        if !lanes.is_empty() && !lanes.contains(&lane) {
            elsewhere += 1;
            if !asked.is_empty() {
                let (lane, others) = (lane.as_str(), names(lanes));
                not_run.push(out(format!("caught on {lane}, not on {others}"), true));
            }
        } else if asked.is_empty() && lanes.is_empty() && lane == LaneName::Kafka {
            let why = "caught on kafka, which needs Docker and was not asked for by --lanes";
            not_run.push(out(why.to_owned(), false));
        } else if let Some(missing) =
            looked.entry(lane).or_insert_with(|| absent::missing(lane, None))
        {
            not_run
                .push(out(format!("lane {} is not there: {}", lane.as_str(), missing.what), true));
        } else {
            chosen.push(saboteur);
        }
    }
    if chosen.is_empty() {
        return Err(match looked.into_iter().find_map(|(lane, missing)| Some((lane, missing?))) {
            Some((lane, missing)) => absent::not_there(lane, &missing),
            None if elsewhere > 0 && !asked.is_empty() => Failure::inconclusive(format!(
                "{}no saboteur that was named is caught on these lanes; nothing was run\nhelp: \
                 leave --lane out",
                told(&not_run)
            )),
            None => Failure::inconclusive(format!(
                "no saboteur is caught on {}; nothing was run\nhelp: leave --lane out, or name {}",
                names(lanes),
                names(&everywhere())
            )),
        });
    }
    let without = lanes.iter().filter(|lane| !everywhere().contains(lane));
    not_run.extend(without.map(|lane| NotRun {
        saboteur: format!("lane {}", lane.as_str()),
        why: "no saboteur is caught there".to_owned(),
        asked_for: true,
    }));
    Ok((chosen, not_run))
}

/// Lanes on which saboteurs are caught.
fn everywhere() -> Vec<LaneName> {
    let lanes: BTreeSet<LaneName> = saboteur::all().map(|saboteur| saboteur.lane).collect();
    lanes.into_iter().collect()
}

/// Finds the seed that catches a saboteur, and makes sure that the reference passes there.
struct Prover<'a> {
    library: &'a Library,
    seeds: std::ops::Range<u64>,
    /// What the reference did, by scenario and seed: several saboteurs share a scenario.
    references: Mutex<BTreeMap<(String, u64), (Verdict, u8)>>,
}

impl Prover<'_> {
    fn cell(&self, trial: &Trial, seed: u64, subject: SubjectSpec) -> Option<Cell> {
        let scenario: Arc<Scenario> = Arc::clone(self.library.get(trial.scenario)?);
        Some(Cell { scenario, lane: trial.saboteur.lane, seed, subject })
    }

    fn wrong(&self, trial: &Trial, seed: u64) -> Option<Cell> {
        self.cell(trial, seed, SubjectSpec::Saboteur(trial.saboteur.name.to_owned()))
    }

    /// One seed in virtual time.
    fn simulate(&self, trial: &mut Trial, seed: u64) {
        let Some(cell) = self.wrong(trial, seed) else { return unknown(trial) };
        let Some(broken) = caught(trial, &pool::simulate(cell)) else { return };
        let key = (trial.scenario.to_owned(), seed);
        let lock = || self.references.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&key).copied();
        let reference = known.unwrap_or_else(|| {
            let cell = self.cell(trial, seed, SubjectSpec::Reference);
            let result = cell.map(pool::simulate);
            let verdict = result.map_or((Verdict::HarnessError, exit::INTERNAL), |result| {
                (result.verdict, result.exit_code())
            });
            lock().insert(key, verdict);
            verdict
        });
        compared(trial, seed, broken, reference);
    }

    /// One seed of a wrong broker on `wire`, held against `sim`, where it is sound; with sound
    /// brokers both must agree.
    fn disagree(
        &self,
        trial: &mut Trial,
        seed: u64,
        runtime: &tokio::runtime::Runtime,
        fleet: &Fleet,
    ) {
        let right = self.cell(trial, seed, SubjectSpec::Reference);
        let Some((wrong, right)) = self.wrong(trial, seed).zip(right) else {
            return unknown(trial);
        };
        let explanations = match agree::explanations([&right.scenario]) {
            Ok(explanations) => explanations,
            Err(failure) => return trial.instead = failure.message,
        };
        let sound = pool::simulate(Cell { lane: LaneName::Sim, ..right.clone() });
        let both = async { tokio::join!(pool::attend(wrong, fleet), pool::attend(right, fleet)) };
        let (wrong, right) = runtime.block_on(both);
        let against = |other: &CellResult| {
            let mut board = Board::default();
            board.add(&sound);
            board.add(other);
            board.close(&[], Absent::new(), &explanations)
        };
        let (wrongly, rightly) = (against(&wrong), against(&right));
        let all = [&sound, &wrong, &right];
        trial.unjudged = all.into_iter().find_map(|r| unjudged(r.verdict, r.exit_code()));
        let sound = [sound.verdict, right.verdict].iter().all(|v| *v == Verdict::Pass);
        if !sound || rightly.exit_code() != exit::PROVEN {
            trial.instead =
                format!("with sound brokers the lanes differ: {}", rightly.unexplained());
        } else if wrongly.differs_in(trial.saboteur.rule) {
            let violations = wrong.judgement.map(|j| j.violations).unwrap_or_default();
            let broken = violations.iter().map(|v| (v.law.as_str().to_owned(), v.rule));
            (trial.caught, trial.unjudged) = (Some((seed, broken.collect())), None);
        } else {
            trial.instead = format!("the lanes differ in other things: {}", wrongly.unexplained());
        }
    }

    /// One seed in real time: the reference beside the saboteur, since both do little but wait.
    async fn attend(&self, trial: &mut Trial, seed: u64, fleet: &Fleet) {
        let wrong = self.wrong(trial, seed);
        let Some((wrong, right)) = wrong.zip(self.cell(trial, seed, SubjectSpec::Reference)) else {
            return unknown(trial);
        };
        let (wrong, right) = tokio::join!(pool::attend(wrong, fleet), pool::attend(right, fleet));
        if let Some(broken) = caught(trial, &wrong) {
            compared(trial, seed, broken, (right.verdict, right.exit_code()));
        }
    }
}

fn unknown(trial: &mut Trial) {
    trial.instead = format!("there is no scenario {}", trial.scenario);
}

/// The laws and rules that were broken, if the saboteur's own is among them.
fn caught(trial: &mut Trial, result: &CellResult) -> Option<Vec<(String, &'static str)>> {
    let violations = result.judgement.as_ref().map(|j| j.violations.as_slice()).unwrap_or_default();
    let broken: Vec<(String, &str)> =
        violations.iter().map(|v| (v.law.as_str().to_owned(), v.rule)).collect();
    let Saboteur { law, rule, .. } = trial.saboteur;
    let own = |(broken, by): &(String, &str)| broken == law && by == rule;
    if result.verdict == Verdict::Fail && broken.iter().any(own) {
        return Some(broken);
    }
    // one seed that judged nothing leaves it open whether it would have been caught there
    let now = unjudged(result.verdict, result.exit_code());
    let codes: Vec<u8> = trial.unjudged.into_iter().chain(now).collect();
    trial.unjudged = (!codes.is_empty()).then(|| exit::worst(codes));
    let names: Vec<String> = broken.iter().map(|(law, rule)| format!("{law} {rule}")).collect();
    let reason = if names.is_empty() { result.why.join("; ") } else { names.join(", ") };
    trial.instead = match reason.as_str() {
        "" => result.verdict.as_str().to_owned(),
        reason => format!("{}: {reason}", result.verdict.as_str()),
    };
    None
}

/// The code of a run that was broken off, or proved nothing.
fn unjudged(verdict: Verdict, code: u8) -> Option<u8> {
    match verdict {
        Verdict::HarnessError | Verdict::Inconclusive => Some(code),
        Verdict::Pass | Verdict::Fail | Verdict::NotApplicable => None,
    }
}

fn compared(
    trial: &mut Trial,
    seed: u64,
    broken: Vec<(String, &'static str)>,
    (reference, code): (Verdict, u8),
) {
    trial.unjudged = unjudged(reference, code);
    if reference == Verdict::Pass {
        trial.caught = Some((seed, broken));
    } else {
        trial.instead = format!("the reference does not pass there: {}", reference.as_str());
    }
}

fn attempt_all(ui: Ui, prover: &Prover<'_>, trials: Vec<Trial>) -> Result<Vec<Trial>, Failure> {
    let total = trials.len();
    interrupt::of(total);
    let finished = Mutex::new(Vec::new());
    let finish = |trial: Trial| {
        interrupt::done(trial.caught.is_some());
        let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.push(trial);
        ui.progress(&format!("{}/{total} saboteurs × scenarios", finished.len()));
    };
    let (virtual_time, real_time): (Vec<Trial>, Vec<Trial>) =
        trials.into_iter().partition(|trial| !trial.saboteur.lane.is_real_time());
    let mixed = !real_time.is_empty() && !virtual_time.is_empty();
    let simulate = |stands_back| simulate_all(prover, virtual_time, stands_back, &finish);
    pool::beside(mixed, simulate, || attend_all(prover, real_time, &finish))?;
    let mut finished = finished.into_inner().unwrap_or_else(PoisonError::into_inner);
    let place = |trial: &Trial| saboteur::all().position(|s| s.name == trial.saboteur.name);
    finished.sort_by_key(|trial| (place(trial), trial.scenario));
    ui.clear();
    Ok(finished)
}

fn simulate_all(
    prover: &Prover<'_>,
    trials: Vec<Trial>,
    stands_back: bool,
    finish: &(dyn Fn(Trial) + Sync),
) {
    pool::each(trials, pool::threads(), stands_back, &|mut trial| {
        for seed in prover.seeds.clone() {
            interrupt::hold();
            prover.simulate(&mut trial, seed);
            if trial.caught.is_some() {
                break;
            }
        }
        finish(trial);
        true
    });
}

fn attend_all(
    prover: &Prover<'_>,
    trials: Vec<Trial>,
    finish: &(dyn Fn(Trial) + Sync),
) -> Result<(), Failure> {
    if trials.is_empty() {
        return Ok(());
    }
    // Real time is expensive: a saboteur that is not caught at once is not caught.
    let seed = prover.seeds.start;
    let runtime = pool::runtime()?;
    let fleet = Fleet::default();
    std::thread::scope(|scope| {
        for mut trial in trials {
            let (runtime, fleet) = (&runtime, &fleet);
            scope.spawn(move || {
                if trial.saboteur.law == AGREE {
                    prover.disagree(&mut trial, seed, runtime, fleet);
                } else {
                    runtime.block_on(prover.attend(&mut trial, seed, fleet));
                }
                finish(trial);
            });
        }
    });
    runtime.block_on(fleet.end());
    Ok(())
}

fn matrix(trials: &[Trial]) -> String {
    let mut lines = vec![
        [
            "saboteur",
            "row",
            "law and rule",
            "lane",
            "scenario",
            "caught",
            "also breaks",
            "what it does",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for trial in trials {
        let saboteur = trial.saboteur;
        let (how, also) = match &trial.caught {
            Some((seed, broken)) => {
                let laws = broken.iter().map(|(law, _)| law.as_str());
                let others: BTreeSet<&str> = laws.filter(|law| *law != saboteur.law).collect();
                let others: Vec<&str> = others.into_iter().collect();
                (format!("seed {seed}"), others.join(" "))
            }
            None if trial.unjudged.is_some() => ("unknown".to_owned(), trial.instead.clone()),
            None => ("NO".to_owned(), trial.instead.clone()),
        };
        let row = if saboteur.row.is_empty() { "·" } else { saboteur.row };
        lines.push(vec![
            saboteur.name.to_owned(),
            row.to_owned(),
            format!("{} {}", saboteur.law, saboteur.rule),
            saboteur.lane.as_str().to_owned(),
            trial.scenario.to_owned(),
            how,
            if also.is_empty() { "·".to_owned() } else { also },
            saboteur.about.to_owned(),
        ]);
    }
    aligned(&lines, usize::MAX)
}

fn as_json(trial: &Trial) -> serde_json::Value {
    json!({
        "type": "trial",
        "saboteur": trial.saboteur.name,
        "about": trial.saboteur.about,
        "row": trial.saboteur.row,
        "law": trial.saboteur.law,
        "rule": trial.saboteur.rule,
        "lane": trial.saboteur.lane.as_str(),
        "scenario": trial.scenario,
        "caught": trial.caught.is_some(),
        "seed": trial.caught.as_ref().map(|(seed, _)| seed),
        "broken": trial.caught.as_ref().map(|(_, broken)| {
            broken.iter().map(|(law, rule)| json!({ "law": law, "rule": rule })).collect::<Vec<_>>()
        }),
        "instead": trial.instead,
    })
}
