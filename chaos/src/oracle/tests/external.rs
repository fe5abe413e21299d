//! What a cluster that the user names is held to: laws as anywhere, counts where no fault met them.

use super::story::*;
use super::verdict::at_most;
use crate::history::{FaultPhase, Kind};
use crate::oracle::LawId::{D1, Expect};
use crate::scenario::model::{Amount, Bound, Cmp, LaneName};

fn at_least(count: u64) -> Bound {
    Bound { cmp: Cmp::Ge, amount: Amount::Count(count) }
}

fn all() -> Bound {
    Bound { cmp: Cmp::Eq, amount: Amount::ShareOfOffered(1.0) }
}

/// Two quiet events that are acked, two in a fault, and one that the cluster made wait behind them:
/// of these the last two are dropped.
fn slow(lane: LaneName, name: &str, bound: Bound) -> Story {
    let mut s = Story::on(lane, "reference");
    s.scenario.expect.outcomes = vec![(name.to_owned(), bound)];
    s.at(10).taken(0).sent(0).at(20).taken(1).sent(1);
    s.at(30).fault("broker.down", FaultPhase::Begin);
    s.fault("broker.down", FaultPhase::Effect);
    s.at(40).taken(2).taken(3);
    s.at(50).fault("broker.down", FaultPhase::End);
    s.at(60).taken(4).at(70).sent(2);
    s.at(80).outcome(4, dropped("deadline")).at(90).outcome(3, dropped("deadline"));
    s.at(200).close();
    s
}

#[test]
fn a_count_that_a_slow_cluster_explains_is_told_and_breaks_nothing() {
    for (name, bound) in [("acked", at_least(5)), ("acked", all()), ("dropped", at_most(1))] {
        let judgement = slow(LaneName::External, name, bound).judge();
        let broken = judgement.violations.iter().find(|violation| violation.law == Expect);
        assert_eq!(broken, None, "{name} {bound:?}");
        assert_eq!(judgement.notes.len(), 1, "{name} {bound:?}");
        assert!(judgement.unjudged.iter().any(|(law, _, n)| (*law, *n) == (Expect, 1)));
    }
    let told = slow(LaneName::External, "acked", at_least(5)).judge().notes.join("\n");
    let text = "acked is 3, and the file expects acked >= 5; a fault or the end of the run met 3 \
                events, and when a cluster of yours answers those is its own affair: told, not \
                judged";
    assert_eq!(told, text);
}

#[test]
fn the_same_count_is_a_violation_on_clusters_of_ours() {
    for lane in [LaneName::Kafka, LaneName::Wire, LaneName::Sim] {
        slow(lane, "acked", at_least(5)).breaks(Expect, "outcomes");
    }
}

#[test]
fn a_count_that_no_time_explains_is_a_violation_on_any_cluster() {
    for (name, bound) in [("acked", at_least(6)), ("acked", at_most(1)), ("rejected", at_least(4))]
    {
        slow(LaneName::External, name, bound).breaks(Expect, "outcomes");
    }
}

#[test]
fn events_that_no_fault_met_bind_on_any_cluster() {
    let mut s = Story::on(LaneName::External, "reference");
    s.scenario.expect.outcomes = vec![("acked".to_owned(), all())];
    s.at(10).taken(0).sent(0).at(20).taken(1).at(30).outcome(1, dropped("deadline"));
    s.at(40).fault("broker.down", FaultPhase::Begin);
    s.fault("broker.down", FaultPhase::Effect).at(50).fault("broker.down", FaultPhase::End);
    s.at(60).taken(2).sent(2).at(100).close();
    s.breaks(Expect, "outcomes");
}

#[test]
fn what_close_cuts_is_told_too() {
    let mut s = Story::on(LaneName::External, "reference");
    s.scenario.expect.outcomes = vec![("acked".to_owned(), all())];
    s.at(10).taken(0).sent(0).at(20).taken(1).at(30).taken(2);
    let close = s.at(40).call("close", Some(1_000));
    s.at(50).outcome(1, dropped("abandoned")).outcome(2, dropped("abandoned"));
    s.at(60).returned(close, "close", None);
    assert_eq!(s.judge().notes.len(), 1, "{:?}", s.judge().violations);
}

#[test]
fn laws_bind_there_as_anywhere() {
    let mut s = Story::on(LaneName::External, "reference");
    s.at(10).taken(0).sent(0).at(30).fault("broker.down", FaultPhase::Begin);
    s.at(40).taken(1).at(100).close();
    s.breaks(D1, "none");
}

#[test]
fn the_reproducing_line_names_the_cluster() {
    let line = |lane| {
        let mut s = Story::on(lane, "reference");
        s.at(10).taken(0).at(50).close();
        let mut lines = s.lines();
        if let Kind::Run { environment, .. } = &mut lines[0].kind {
            environment.push(("bootstrap".to_owned(), "b-1.example:9092,b-2:9093".to_owned()));
        }
        let judgement = crate::oracle::judge(&lines, &s.scenario);
        judgement.violations.first().unwrap().reproduce.clone()
    };
    let told = "dashproof run outage/made-by-hand --lane external --seed 7 --bootstrap \
                b-1.example:9092,b-2:9093";
    assert_eq!(line(LaneName::External), told);
    assert!(!line(LaneName::Kafka).contains("--bootstrap"));
}

#[test]
fn an_outcome_that_asks_no_broker_is_explained_by_no_cluster() {
    let story = |name: &str, bound| {
        let mut s = slow(LaneName::External, name, bound);
        s.at(45).offered(9).outcome(9, rejected("oversize"));
        s
    };
    // the faults met four events, and none of them could have ended like that
    story("rejected/oversize", at_least(2)).breaks(Expect, "outcomes");
    story("rejected/oversize", at_most(0)).breaks(Expect, "outcomes");
    // those that it met may be rejected for other reasons
    assert_eq!(story("rejected", at_least(2)).judge().notes.len(), 1);
    story("rejected", at_most(0)).breaks(Expect, "outcomes");
}
