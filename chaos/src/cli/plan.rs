//! What `dashproof run` is to run, and what of the selection it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::absent::{self, Absent, LANES, missing, not_there};
use super::args::RunArgs;
use super::failure::{Failure, count};
use super::{agree, library_for};
use crate::lane::SubjectSpec;
use crate::lane::external::Bootstrap;
use crate::lane::kafka::Missing;
use crate::report::agreement::names;
use crate::report::cell::Cell;
use crate::report::summary::LeftOut;
use crate::saboteur::Saboteur;
use crate::scenario::model::{LaneName, Scenario};
use crate::scenario::{self, Explanation, select};

/// What is to be run, and what is not.
pub(super) struct Plan {
    pub(super) cells: Vec<Cell>,
    /// Lanes that were named or that scenarios list, and that cannot run.
    pub(super) absent: BTreeMap<LaneName, Absent>,
    /// What was selected and has no cell.
    pub(super) left_out: LeftOut,
    /// Ids of scenarios that were named, and not found by a pattern.
    pub(super) named: BTreeSet<String>,
    /// What is known of how lanes differ, where that is asked.
    pub(super) explanations: Option<Vec<Explanation>>,
    /// Lanes that were named, or that the scenarios are written for.
    pub(super) lanes: Vec<LaneName>,
    /// The cluster that the user names.
    pub(super) bootstrap: Option<Bootstrap>,
}

/// Makes the plan.
///
/// # Errors
/// What makes the command senseless as a whole: nothing was run.
pub(super) fn plan(dir: Option<&Path>, args: &RunArgs) -> Result<Plan, Failure> {
    let asked = &args.at.lane;
    let subject = match &args.driver {
        Some(command) => driver(command)?,
        None => subject(args.saboteur.as_deref())?,
    };
    let saboteur = args.saboteur.as_deref().and_then(crate::saboteur::find);
    let wanted = args.which.selection();
    let mut chosen = select(&library_for(dir, &wanted)?, &wanted)?;
    if let Some(saboteur) = saboteur {
        can_be_wrong(saboteur, &chosen)?;
    }
    if let Some(free) = args.free {
        chosen = one_play(&chosen, free)?;
    }
    let lanes = if asked.is_empty() { written_for(&chosen) } else { asked.clone() };
    let named = chosen.iter().filter(|scenario| wanted.names(scenario));
    let mut plan = Plan {
        cells: Vec::new(),
        absent: BTreeMap::new(),
        left_out: LeftOut::default(),
        named: named.map(|scenario| scenario.id.clone()).collect(),
        explanations: None,
        lanes,
        bootstrap: absent::bootstrap(args)?,
    };
    Filler { plan: &mut plan, args, subject, saboteur }.fill(&chosen);
    if let Some(saboteur) = saboteur {
        acts(saboteur, &mut plan)?;
    }
    if let Some(free) = args.free {
        plan.left_out.only.push(format!("1 play, choice {free}"));
    }
    if plan.cells.is_empty() {
        return Err(nothing_to_run(&plan, &chosen, args));
    }
    if args.agree {
        // beside a lane that is not there the others run all the same, and are told as not compared
        if plan.absent.is_empty() {
            agree::comparable(asked, &plan.lanes, &plan.cells)?;
        }
        plan.explanations = Some(agree::explanations(&chosen)?);
    }
    Ok(plan)
}

/// Every lane that one of the scenarios is written for.
fn written_for(chosen: &[Arc<Scenario>]) -> Vec<LaneName> {
    let lanes: BTreeSet<LaneName> = chosen.iter().flat_map(|s| s.lanes.clone()).collect();
    lanes.into_iter().collect()
}

/// Makes cells of scenarios.
struct Filler<'a> {
    plan: &'a mut Plan,
    args: &'a RunArgs,
    subject: SubjectSpec,
    saboteur: Option<&'static Saboteur>,
}

impl Filler<'_> {
    /// The cells of the chosen scenarios on the lanes that are there.
    fn fill(&mut self, chosen: &[Arc<Scenario>]) {
        let asked = &self.args.at.lane;
        let mut looked = BTreeMap::new();
        let bootstrap = self.plan.bootstrap.clone();
        let mut look = |lane: LaneName| {
            looked.entry(lane).or_insert_with(|| missing(lane, bootstrap.as_ref())).clone()
        };
        for lane in asked {
            if let Some(missing) = look(*lane) {
                self.plan.absent.insert(*lane, Absent { missing, scenarios: 0 });
                self.plan.left_out.asked_for = true;
            }
        }
        let (mut unfit, mut reasons) = (0, BTreeSet::new());
        for scenario in chosen {
            let named = self.plan.named.contains(&scenario.id);
            let lanes = match self.lanes_of(scenario) {
                Ok(lanes) => lanes,
                Err(why) if named => {
                    self.plan.left_out.named.push((scenario.id.clone(), why.in_full));
                    continue;
                }
                Err(why) => {
                    unfit += 1;
                    reasons.insert(why.in_short);
                    continue;
                }
            };
            let before = self.plan.cells.len();
            for lane in lanes {
                match look(lane) {
                    Some(missing) => {
                        let absent = || Absent { missing, scenarios: 0 };
                        self.plan.absent.entry(lane).or_insert_with(absent).scenarios += 1;
                        self.plan.left_out.not_there += 1;
                    }
                    None => self.cells(scenario, lane),
                }
            }
            // who names a scenario asks for it, whatever lane it needs
            self.plan.left_out.asked_for |= named && self.plan.cells.len() == before;
        }
        self.plan.left_out.asked_for |= !self.plan.left_out.named.is_empty();
        let idle = self.plan.absent.iter().filter(|(_, absent)| absent.scenarios == 0);
        self.plan.left_out.lanes = idle.map(|(lane, _)| lane.as_str().to_owned()).collect();
        self.plan.left_out.idle = self.idle();
        self.plan.left_out.asked_for |= !self.plan.left_out.idle.is_empty();
        let reasons: Vec<String> = reasons.into_iter().collect();
        self.plan.left_out.unfit = unfit;
        self.plan.left_out.selected = chosen.len();
        self.plan.left_out.why_unfit = reasons.join(", or ");
    }

    /// Lanes that were named and are there, and have no cell, each with why.
    fn idle(&self) -> Vec<(String, String)> {
        let Plan { cells, absent, .. } = &*self.plan;
        let has_none = |lane: &&LaneName| {
            !absent.contains_key(lane) && !cells.iter().any(|cell| cell.lane == **lane)
        };
        let why = |lane: LaneName| match self.saboteur {
            _ if self.args.driver.is_some() && !lane.is_real_time() => {
                "a driver is a process, and has no virtual time to run in".to_owned()
            }
            Some(saboteur) if !saboteur.acts_on(lane) && !self.args.agree => {
                format!("{} does nothing wrong there", saboteur.name)
            }
            _ => "nothing of what is selected is written for it".to_owned(),
        };
        let named: BTreeSet<LaneName> = self.args.at.lane.iter().copied().collect();
        let idle: Vec<LaneName> = named.iter().filter(has_none).copied().collect();
        idle.into_iter().map(|lane| (lane.as_str().to_owned(), why(lane))).collect()
    }

    /// The lanes that a scenario is to run on; why there is none.
    fn lanes_of(&self, scenario: &Scenario) -> Result<Vec<LaneName>, Unfit> {
        let asked = &self.args.at.lane;
        let on = |lane: &&LaneName| asked.is_empty() || asked.contains(lane);
        let mut lanes: Vec<LaneName> = scenario.lanes.iter().filter(on).copied().collect();
        // some lanes serve scenarios that do not list them, where they are asked for by name
        let beside = asked.iter().filter(|lane| !scenario.lanes.contains(lane));
        lanes.extend(beside.filter(|lane| scenario.is_for(**lane)));
        if lanes.is_empty() {
            let written = names(&scenario.lanes);
            return Err(Unfit {
                in_full: format!("it is written for {written}, not for {}", names(asked)),
                in_short: format!("not written for {}", names(asked)),
            });
        }
        if self.args.driver.is_some() && !lanes.iter().any(|lane| lane.is_real_time()) {
            // A driver is a process: it has no virtual time to run in.
            let why = "not on a lane in real time, and a driver has no other".to_owned();
            return Err(Unfit {
                in_full: format!("it would run on {}: {why}", names(&lanes)),
                in_short: why,
            });
        }
        if let Some(saboteur) = self.saboteur {
            let name = saboteur.name;
            if !saboteur.fits(scenario) {
                let why = format!("nothing that {name} could be wrong about");
                return Err(Unfit { in_full: format!("there is {why}"), in_short: why });
            }
            if !lanes.iter().any(|lane| saboteur.acts_on(*lane)) {
                let where_ = names(&saboteur.lanes());
                let why = format!("not on {where_}, and {name} is nowhere else");
                return Err(Unfit {
                    in_full: format!("it would run on {}: {why}", names(&lanes)),
                    in_short: why,
                });
            }
        }
        // beside a wrong broker the others are what it is compared with
        let acts = |lane: &LaneName| {
            self.args.agree || self.saboteur.is_none_or(|saboteur| saboteur.acts_on(*lane))
        };
        let fits = |lane: &LaneName| self.args.driver.is_none() || lane.is_real_time();
        Ok(lanes.into_iter().filter(|lane| acts(lane) && fits(lane)).collect())
    }

    fn cells(&mut self, scenario: &Arc<Scenario>, lane: LaneName) {
        let seeds = self.args.at.seeds(lane);
        let one = lane.is_real_time() && !scenario.is_alone();
        let runs = if one { 1 } else { scenario.most_seeds };
        self.plan.cells.extend(seeds.iter().take(runs).map(|seed| Cell {
            scenario: Arc::clone(scenario),
            lane,
            seed: *seed,
            subject: self.subject.clone(),
        }));
    }
}

/// Why a scenario has no lane to run on.
struct Unfit {
    /// A sentence about the one scenario.
    in_full: String,
    /// What several have in common.
    in_short: String,
}

/// Refuses a saboteur that has nothing to be wrong about in anything that is selected.
fn can_be_wrong(saboteur: &Saboteur, chosen: &[Arc<Scenario>]) -> Result<(), Failure> {
    if chosen.iter().any(|scenario| saboteur.fits(scenario)) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "nothing to run: the saboteur {} has nothing to be wrong about in what is selected\nhelp: \
         it is made for {}",
        saboteur.name,
        saboteur.scenarios.join(", ")
    )))
}

/// Refuses a saboteur that would be on no lane of the run, for then nothing would be said about it;
/// where it is on some of them, the summary says on which.
fn acts(saboteur: &Saboteur, plan: &mut Plan) -> Result<(), Failure> {
    let on: BTreeSet<LaneName> = plan.cells.iter().map(|cell| cell.lane).collect();
    let (wrong, sound): (Vec<LaneName>, Vec<LaneName>) =
        on.into_iter().partition(|lane| saboteur.acts_on(*lane));
    let there = plan.absent.keys().any(|lane| saboteur.acts_on(*lane));
    if wrong.is_empty() && !there {
        return Err(Failure::usage(format!(
            "the saboteur {} acts on {} only, and nothing of what is selected would run there; \
             nothing was run\nhelp: --lanes sim,{} --agree holds it against sound brokers",
            saboteur.name,
            names(&saboteur.lanes()),
            names(&saboteur.lanes())
        )));
    }
    if !sound.is_empty() && !wrong.is_empty() {
        plan.left_out.only.push(format!("{} on {} only", saboteur.name, names(&wrong)));
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

/// Why there is no cell at all.
fn nothing_to_run(plan: &Plan, chosen: &[Arc<Scenario>], args: &RunArgs) -> Failure {
    // there is something to run, and nothing to run it on
    let wanted = plan.absent.iter().find(|(_, absent)| absent.scenarios > 0);
    if wanted.is_none() && args.driver.is_some() {
        return Failure::usage(
            "nothing to run: a driver is a process, and runs on lanes in real time only\nhelp: \
             leave --lane out, or name wire or files; the scenarios must be written for it",
        );
    }
    if let Some((lane, absent)) = wanted.or_else(|| plan.absent.iter().next()) {
        let mut failure = not_there(*lane, &absent.missing);
        let others = plan.absent.iter().filter(|(other, _)| *other != lane);
        for (lane, Absent { missing, .. }) in others {
            let (lane, Missing { what, remedy }) = (lane.as_str(), missing);
            failure.message.push_str(&format!("\nNOT RUN: lane {lane}: {what}; {remedy}"));
        }
        return failure;
    }
    let asked = &args.at.lane;
    let asked = if asked.is_empty() { names(&LANES) } else { names(asked) };
    Failure::inconclusive(format!(
        "nothing to run: {} selected, none of them is written for {asked}\nhelp: they are written \
         for {}",
        count(chosen.len(), "scenario"),
        names(&written_for(chosen))
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
    match saboteur {
        None => Ok(SubjectSpec::Reference),
        Some(name) => Ok(SubjectSpec::Saboteur(super::saboteur(name)?.name.to_owned())),
    }
}
