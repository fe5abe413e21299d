//! From laws, marks and expectations to a verdict.

use super::story::*;
use crate::history::FaultPhase;
use crate::oracle::LawId::{D1, D2, Expect};
use crate::oracle::{LawStatus, Verdict, judge};
use crate::scenario::model::{Amount, Bound, Cmp, LaneName, Laws, Scenario};
use std::collections::BTreeMap;

pub(super) fn at_most(count: u64) -> Bound {
    Bound { cmp: Cmp::Le, amount: Amount::Count(count) }
}

fn three_acked() -> Story {
    let mut s = Story::new();
    for n in 0..3 {
        s.at(10 + u64::from(n)).taken(n).sent(n);
    }
    s.at(50).close();
    s
}

#[test]
fn a_run_that_keeps_everything_passes() {
    let judgement = three_acked().judge();
    assert_eq!((judgement.verdict, judgement.why), (Verdict::Pass, vec![]));
    assert_eq!(judgement.ledger.offered, 3);
    assert_eq!(judgement.ledger.disposition, BTreeMap::from([("acked".to_owned(), 3)]));
    assert_eq!(judgement.counts.main_attempts, 3);
}

#[test]
fn an_empty_history_is_the_harnesss_fault() {
    assert_eq!(judge(&[], &Scenario::default()).verdict, Verdict::HarnessError);
}

#[test]
fn a_history_without_logs_is_the_harnesss_fault() {
    let s = three_acked();
    let mut lines = s.lines();
    lines.retain(|line| !matches!(line.kind, crate::history::Kind::Log { .. }));
    let judgement = judge(&lines, &s.scenario);
    assert_eq!(judgement.verdict, Verdict::HarnessError);
    insta::assert_snapshot!(judgement.why.join("\n"));
}

#[test]
fn a_demanded_mark_that_was_not_reached_is_inconclusive_never_green() {
    let mut s = three_acked();
    s.scenario.expect.reached = vec!["fault.broker.down".into(), "acked".into()];
    let judgement = s.judge();
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    insta::assert_snapshot!(judgement.why.join("\n"));
    s.fault("broker.down", FaultPhase::Begin);
    assert_eq!(s.judge().verdict, Verdict::Inconclusive, "begun is not met");
    s.fault("broker.down", FaultPhase::Effect);
    assert_eq!(s.judge().verdict, Verdict::Pass);
}

#[test]
fn a_fault_that_nothing_met_is_inconclusive_unless_the_lane_is_excused() {
    use crate::scenario::model::{At, Brokers, Fault, FaultKind};
    let mut s = three_acked();
    let down = FaultKind::BrokerDown { brokers: Brokers::All };
    s.scenario.faults = vec![Fault::new(At::Offered(1), None, down)];
    let never = s.judge();
    s.fault("broker.down", FaultPhase::Begin);
    let unmet = s.judge();
    assert_eq!((never.verdict, unmet.verdict), (Verdict::Inconclusive, Verdict::Inconclusive));
    insta::assert_snapshot!([never.why, unmet.why].concat().join("\n"));
    let mut excused = s.scenario.clone();
    excused.faults[0].unmet_on.insert(LaneName::Sim, "nobody is connected".into());
    assert_eq!(judge(&s.lines(), &excused).verdict, Verdict::Pass);
    s.fault("broker.down", FaultPhase::Effect);
    assert_eq!(s.judge().verdict, Verdict::Pass);
}

#[test]
fn an_action_that_never_came_to_its_turn_is_inconclusive() {
    let mut s = three_acked();
    s.truth(crate::history::Kind::Proc {
        what: crate::history::NOT_DONE.to_owned(),
        value: 0,
        text: "action 1 never began: it waited for 9 events to be offered".to_owned(),
    });
    let judgement = s.judge();
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert_eq!(judgement.why, ["action 1 never began: it waited for 9 events to be offered"]);
}

#[test]
fn every_expectation_that_failed_is_shown() {
    let mut s = three_acked();
    s.scenario.expect.outcomes = vec![
        ("acked".into(), at_most(1)),
        ("dropped".into(), at_most(0)),
        ("acked".into(), at_most(2)),
    ];
    insta::assert_snapshot!(s.broken(Expect));
}

#[test]
fn a_mark_that_the_lane_cannot_show_is_not_demanded() {
    let with_retry = |lane| {
        let mut s = Story::on(lane, "reference");
        s.scenario.expect.reached = vec!["retry".into()];
        s.at(10).taken(0).sent(0).at(50).close();
        s.judge().verdict
    };
    assert_eq!(with_retry(LaneName::Sim), Verdict::Inconclusive);
    assert_eq!(with_retry(LaneName::Wire), Verdict::Pass);
}

#[test]
fn a_named_law_that_the_lane_cannot_judge_makes_the_cell_not_applicable() {
    let mut s = three_acked();
    s.scenario.expect.laws = Laws::These(vec!["D1".into(), "R4".into()]);
    let judgement = s.judge();
    assert_eq!(judgement.verdict, Verdict::NotApplicable);
    insta::assert_snapshot!(judgement.why.join("\n"));
}

#[test]
fn a_law_that_is_left_out_is_shown_with_its_reason_and_not_judged() {
    let mut s = Story::new();
    s.at(10).taken(0).at(50).close();
    assert_eq!(s.judge().verdict, Verdict::Fail);
    let why = "told below".to_owned();
    s.scenario.expect.laws = Laws::AllBut(BTreeMap::from([("D1".to_owned(), why.clone())]));
    let judgement = s.judge();
    assert_eq!(judgement.verdict, Verdict::Pass);
    let status = |law| judgement.laws.iter().find(|(id, _)| *id == law).map(|(_, s)| s.clone());
    assert_eq!(status(D1), Some(LawStatus::LeftOut(why)));
    assert_eq!(status(D2), Some(LawStatus::Held { checks: 0 }));
}

#[test]
fn counts_that_the_scenario_pins_are_judged_by_disposition() {
    let pinned = |name: &str, cmp, amount| {
        let mut s = three_acked();
        s.scenario.expect.outcomes = vec![(name.to_owned(), Bound { cmp, amount })];
        s
    };
    pinned("acked", Cmp::Eq, Amount::ShareOfOffered(1.0)).holds(Expect);
    pinned("acked", Cmp::Gt, Amount::ShareOfOffered(0.9)).holds(Expect);
    pinned("dropped/deadline", Cmp::Eq, Amount::Count(0)).holds(Expect);
    pinned("acked", Cmp::Ge, Amount::Count(4)).breaks(Expect, "outcomes");
    let s = pinned("dropped", Cmp::Ge, Amount::ShareOfOffered(1.0));
    insta::assert_snapshot!(s.broken(Expect));
}

#[test]
fn events_lost_in_a_crash_need_a_bound() {
    use crate::history::{Kind, Outcome, Src};
    let lost = |bound: Option<Bound>| {
        let mut s = Story::new();
        s.scenario.expect.lost_in_crash = bound;
        s.at(10).taken(0).at(20).proc(Src::Os, "crash", 0, "");
        s.truth(Kind::Outcome { event: id(0), outcome: Outcome::LostInCrash, why: None });
        s.reopen().at(30).taken(1).sent(1).at(50).close();
        s
    };
    lost(Some(at_most(1))).holds(Expect);
    lost(Some(at_most(0))).breaks(Expect, "outcomes");
    insta::assert_snapshot!(lost(None).broken(Expect));
}

#[test]
fn a_scenario_whose_load_never_ran_is_inconclusive() {
    let mut s = Story::new();
    s.scenario.loads = vec![super::tables::load(5)];
    s.at(50).close();
    assert_eq!(s.judge().verdict, Verdict::Inconclusive);
}

#[test]
fn the_reproducing_line_names_saboteurs_and_drivers() {
    let line = |subject: &str| {
        let mut s = Story::on(LaneName::Sim, subject);
        s.at(10).taken(0).at(50).close();
        s.judge().violations.first().unwrap().reproduce.clone()
    };
    insta::assert_snapshot!(
        [line("reference"), line("saboteur:flush-early"), line("driver:python3 d.py")].join("\n")
    );
}

#[test]
fn the_same_lines_give_the_same_judgement() {
    assert_eq!(three_acked().judge(), three_acked().judge());
}
