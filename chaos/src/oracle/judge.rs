//! From a history to a verdict.

use std::collections::BTreeMap;

use super::evidence;
use super::findings::{Blame, Findings};
use super::index::Index;
use super::lanes::{Judging, judging};
use super::laws::{self, LawId};
use super::ledger::Ledger;
use super::marks::{self, MARKS};
use super::{
    api, codec, counts, delivery, dlq, expect, metrics, plays, resources, security, spool, state,
    store,
};
use crate::history::{Line, NOT_DONE, Src};
use crate::report::violation::Violation;
use crate::scenario::model::{Laws, Scenario};

pub use counts::RunCounts;

/// What a run proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Every selected law holds and every mark was reached.
    Pass,
    /// A law is broken.
    Fail,
    /// Nothing is broken, but something that had to happen did not.
    Inconclusive,
    /// The scenario names a law that this lane cannot judge.
    NotApplicable,
    /// The harness failed: its history proves nothing.
    HarnessError,
}

impl Verdict {
    /// As printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::NotApplicable => "not_applicable",
            Self::HarnessError => "harness_error",
        }
    }
}

/// What became of a law in this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LawStatus {
    /// It held in this many checks; none means that the run gave it nothing to judge.
    Held {
        /// Checks made.
        checks: u64,
    },
    /// It was broken this often.
    Broken {
        /// Times.
        count: u64,
    },
    /// It could not be decided.
    Undecided(String),
    /// The lane does not judge it.
    NotJudged(String),
    /// The scenario leaves it out, with its reason.
    LeftOut(String),
}

/// A mark in this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkStatus {
    /// Name.
    pub name: &'static str,
    /// The scenario demands it on this lane.
    pub demanded: bool,
    /// It was observed.
    pub reached: bool,
}

/// The verdict on a history, with everything it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is no pass; empty for a pass.
    pub why: Vec<String>,
    /// What was broken, in the order of the laws.
    pub violations: Vec<Violation>,
    /// Every law, in order.
    pub laws: Vec<(LawId, LawStatus)>,
    /// What single laws did not judge within a run that judged them otherwise: why, how often.
    pub unjudged: Vec<(LawId, String, u64)>,
    /// Every mark that was demanded or reached.
    pub marks: Vec<MarkStatus>,
    /// Where the events ended.
    pub ledger: Ledger,
    /// Exact numbers of the run.
    pub counts: RunCounts,
    /// Things to show that break nothing.
    pub notes: Vec<String>,
}

type Judge = fn(&Index<'_>, &mut Findings);

/// What is judged of stores.
const STORES: &[LawId] = &[
    LawId::K1,
    LawId::K2,
    LawId::K3,
    LawId::K4,
    LawId::K5,
    LawId::K6,
    LawId::K7,
    LawId::K8,
    LawId::K9,
    LawId::K10,
    LawId::K11,
];

/// What is judged of spools on the disks that a crash could leave.
const SPOOLS: &[LawId] = &[LawId::D3, LawId::D4, LawId::D5, LawId::D6, LawId::D11];

/// Who judges what. A function may judge several laws.
const JUDGES: &[(&[LawId], Judge)] = &[
    (&[LawId::D1], delivery::d1::judge),
    (&[LawId::D2], delivery::d2::judge),
    (&[LawId::D3], delivery::d3::judge),
    (&[LawId::D4], delivery::d4::judge),
    (&[LawId::D5], delivery::d5::judge),
    (&[LawId::D6], delivery::d6::judge),
    (&[LawId::D7], delivery::d7::judge),
    (&[LawId::D8], delivery::d8::judge),
    (&[LawId::D9], delivery::d9::judge),
    (&[LawId::D10], delivery::d10::judge),
    (&[LawId::D11], delivery::d11::judge),
    (SPOOLS, spool::judge),
    (&[LawId::M1, LawId::M2, LawId::M3, LawId::M4], metrics::judge_scrapes),
    (&[LawId::M1], metrics::judge_reasons),
    (&[LawId::M1], metrics::judge_limit),
    (&[LawId::M5], metrics::judge_observed),
    (&[LawId::M6], metrics::judge_prints),
    (&[LawId::Q1], dlq::judge_payload),
    (&[LawId::Q2], dlq::judge_balance),
    (&[LawId::Q3], dlq::judge_loops),
    (&[LawId::Q3, LawId::Q5], dlq::judge_defects),
    (&[LawId::Q4], dlq::judge_bounds),
    (&[LawId::Q6], dlq::judge_size),
    (&[LawId::C2, LawId::C4, LawId::C6], codec::judge),
    (STORES, store::judge),
    (&[LawId::M1, LawId::K2, LawId::K3], store::metrics::judge),
    (&[LawId::R3, LawId::R5], state::judge),
    (&[LawId::M1], state::judge_metrics),
    (&[LawId::R1, LawId::R2], resources::judge_caps),
    (&[LawId::R4], resources::judge_blocking),
    (&[LawId::S1], security::judge_let_in),
    (&[LawId::S2], security::judge_refused),
    (&[LawId::S3], security::judge),
    (&[LawId::A1], api::judge),
    (&[LawId::Protocol], expect::judge_protocol),
];

/// True when some function of [`JUDGES`] judges the law, or it is what the scenario pins.
#[cfg(test)]
pub(crate) fn has_judge(law: LawId) -> bool {
    law == LawId::Expect || JUDGES.iter().any(|(laws, _)| laws.contains(&law))
}

/// Which laws are to be judged, and what becomes of the others.
struct Selection {
    judged: Vec<LawId>,
    others: BTreeMap<LawId, LawStatus>,
    /// A law that the scenario names and the lane cannot judge.
    impossible: Option<String>,
}

fn select(scenario: &Scenario, index: &Index<'_>) -> Selection {
    let mut selection = Selection { judged: Vec::new(), others: BTreeMap::new(), impossible: None };
    for law in laws::LAWS.iter().map(|law| law.id) {
        let pseudo = law.family() == laws::Family::Scenario;
        let left_out = match &scenario.expect.laws {
            _ if pseudo => None,
            Laws::All => None,
            Laws::AllBut(without) => without.get(law.as_str()).cloned(),
            Laws::These(names) => (!names.iter().any(|name| name == law.as_str()))
                .then(|| "the scenario names other laws".to_owned()),
        };
        match (left_out, judging(law, index.lane)) {
            (Some(reason), _) => {
                selection.others.insert(law, LawStatus::LeftOut(reason));
            }
            (None, Judging::NotJudged(reason)) => {
                if matches!(scenario.expect.laws, Laws::These(_)) {
                    let lane = index.lane.as_str();
                    let text = format!("{law} is not judged on lane {lane}: {reason}");
                    selection.impossible.get_or_insert(text);
                }
                selection.others.insert(law, LawStatus::NotJudged(reason.to_owned()));
            }
            (None, Judging::Exact | Judging::Bounded(_)) => selection.judged.push(law),
        }
    }
    selection
}

/// Judges a history against its scenario. Pure, total and deterministic: the same lines give the
/// same judgement on any machine, and no line makes it panic.
#[must_use]
pub fn judge(lines: &[Line], scenario: &Scenario) -> Judgement {
    let index = Index::new(lines, scenario);
    let ledger = Ledger::of(&index);
    let selection = select(scenario, &index);
    let mut findings = plays::judge(&index, |index, findings| {
        for (laws, judge) in JUDGES {
            if laws.iter().any(|law| selection.judged.contains(law)) {
                judge(index, findings);
            }
        }
    });
    expect::judge(&index, &ledger, &mut findings);
    findings.broken.retain(|broken| selection.judged.contains(&broken.law));
    findings.broken.sort_by_key(|broken| broken.law);
    findings.undecided.retain(|law, _| selection.judged.contains(law));
    findings.unjudged.retain(|(law, _), _| selection.judged.contains(law));
    let marks = mark_statuses(&index);
    let (verdict, why) = verdict(&index, &ledger, &selection, &findings, &marks);
    let violations = findings.broken.iter().map(|b| evidence::violation(&index, b)).collect();
    let laws = statuses(&selection, &findings);
    let unjudged =
        findings.unjudged.into_iter().map(|((law, why), count)| (law, why, count)).collect();
    let counts = RunCounts::of(&index);
    let notes = findings.notes;
    Judgement { verdict, why, violations, laws, unjudged, marks, ledger, counts, notes }
}

fn mark_statuses(index: &Index<'_>) -> Vec<MarkStatus> {
    let demanded = |name: &str| index.scenario.expect.reached.iter().any(|mark| mark == name);
    MARKS
        .iter()
        .map(|mark| MarkStatus {
            name: mark.name,
            demanded: demanded(mark.name) && mark.is_judged(index.lane),
            reached: mark.is_reached(index),
        })
        .filter(|status| status.demanded || status.reached)
        .collect()
}

/// What the scenario wants to happen and did not: then the run is not the one that was asked for.
fn not_done(index: &Index<'_>) -> Vec<String> {
    let mut why = Vec::new();
    for (n, fault) in index.scenario.faults.iter().enumerate() {
        let seen = index.faults.range((n, "")..(n + 1, "")).next();
        let met = seen.is_some_and(|(_, seen)| seen.effect.is_some());
        if met || fault.may_be_unmet_on(index.lane) {
            continue;
        }
        let kind = fault.kind.name();
        let what = if seen.is_none() { "never began" } else { "was met by nothing" };
        why.push(format!("fault {} ({kind}) {what}", n + 1));
    }
    let left = index.procs().filter(|proc| proc.src == Src::Harness && proc.what == NOT_DONE);
    why.extend(left.map(|proc| proc.text.to_owned()));
    why
}

/// What is missing in a history, the first of it.
fn told_missing(findings: &Findings) -> Option<String> {
    let first = findings.missing.first()?;
    let more = match findings.missing.len() {
        1 => String::new(),
        n => format!(", and {} more like this", n - 1),
    };
    Some(format!("the history lacks what a run records: {first}{more}"))
}

fn statuses(selection: &Selection, findings: &Findings) -> Vec<(LawId, LawStatus)> {
    let status = |law: LawId| {
        if let Some(status) = selection.others.get(&law) {
            return status.clone();
        }
        let count: u64 =
            findings.broken.iter().filter(|b| b.law == law).map(|broken| broken.count).sum();
        if count > 0 {
            return LawStatus::Broken { count };
        }
        match findings.undecided.get(&law) {
            Some(reason) => LawStatus::Undecided(reason.clone()),
            None => LawStatus::Held { checks: findings.checked.get(&law).copied().unwrap_or(0) },
        }
    };
    laws::LAWS.iter().map(|law| (law.id, status(law.id))).collect()
}

fn verdict(
    index: &Index<'_>,
    ledger: &Ledger,
    selection: &Selection,
    findings: &Findings,
    marks: &[MarkStatus],
) -> (Verdict, Vec<String>) {
    if !index.has_run {
        let why = "the history has no run line, so nobody knows what was run where";
        return (Verdict::HarnessError, vec![why.to_owned()]);
    }
    if index.logs.is_empty() && ledger.offered > 0 && !index.lane.is_of_stores() {
        let why = "the history holds no log of a topic, so nothing can be held against the truth";
        return (Verdict::HarnessError, vec![why.to_owned()]);
    }
    if let Some(impossible) = &selection.impossible {
        return (Verdict::NotApplicable, vec![impossible.clone()]);
    }
    let broken: Vec<String> =
        findings.broken.iter().map(|b| format!("{} is broken ({})", b.law, b.rule)).collect();
    if findings.broken.iter().any(|broken| broken.blame != Blame::Harness) {
        return (Verdict::Fail, broken);
    }
    if !broken.is_empty() {
        return (Verdict::HarnessError, broken);
    }
    let mut why: Vec<String> = marks
        .iter()
        .filter(|mark| mark.demanded && !mark.reached)
        .map(|mark| {
            let evidence = marks::mark(mark.name).map_or("", |m| m.evidence);
            format!("mark {} was not reached: it needs {evidence}", mark.name)
        })
        .collect();
    why.extend(not_done(index));
    why.extend(told_missing(findings));
    if let Laws::These(named) = &index.scenario.expect.laws {
        let idle = |law: &&LawId| findings.checked.get(law).copied().unwrap_or(0) == 0;
        let named = named.iter().filter_map(|name| LawId::from_name(name));
        let judged = selection.judged.iter().filter(|law| named.clone().any(|l| l == **law));
        why.extend(
            judged.filter(idle).map(|law| format!("{law} is named, and had nothing to judge")),
        );
    }
    let about_the_subject = |law: &LawId| !matches!(law, LawId::Protocol | LawId::Expect);
    let mut checked = findings.checked.iter().filter(|(law, n)| about_the_subject(law) && **n > 0);
    if !checked.any(|(law, _)| selection.judged.contains(law)) {
        why.push("no law had anything to judge, so nothing is proven".to_owned());
    }
    for name in &index.scenario.expect.reached {
        if marks::mark(name).is_none() {
            why.push(format!("mark {name} does not exist"));
        }
    }
    // who is refused when it opens has nothing to offer; it is S2 that says so
    let refused = index.scenario.expect.refused.is_some();
    let refused_at_open = refused && selection.judged.contains(&LawId::S2);
    if index.scenario.state.is_some() {
        if state::answers(index).is_empty() {
            why.push("no state was diffed, so nothing is proven".to_owned());
        }
    } else if index.lane.is_of_stores() {
        if !store::has_saved(index) {
            why.push("nothing was saved, so nothing is proven".to_owned());
        }
    } else if ledger.offered == 0 && !refused_at_open {
        why.push("nothing was offered, so nothing is proven".to_owned());
    }
    why.extend(findings.undecided.iter().map(|(law, why)| format!("{law} is undecided: {why}")));
    if why.is_empty() { (Verdict::Pass, why) } else { (Verdict::Inconclusive, why) }
}
