//! D6.

use super::story::*;
use crate::history::{FaultPhase, Kind};
use crate::oracle::LawId::D6;
use crate::scenario::model::LaneName;
use serde_json::json;

#[test]
fn acceptance_order_in_the_log_keeps_d6() {
    let mut s = Story::new();
    for n in 0..3 {
        s.at(10 * u64::from(n)).taken(n).sent(n);
    }
    s.at(100).close();
    s.holds(D6);
}

/// Two events of a thread that stand in the log the wrong way round.
fn overtaken() -> Story {
    overtaken_on(LaneName::Sim)
}

fn overtaken_on(lane: LaneName) -> Story {
    let mut s = Story::on(lane, "reference");
    s.at(10).taken(0).at(11).taken(1);
    let (first, second) = (s.at(20).attempt(Main, 0), s.attempt(Main, 1));
    s.at(25).appended(Main, 1, Some(0));
    s.at(26).appended(Main, 0, Some(0));
    s.at(30).delivered(second, Main, 0).outcome(1, acked(0));
    s.at(31).delivered(first, Main, 1).outcome(0, acked(1)).at(100).close();
    s
}

#[test]
fn an_event_that_overtakes_its_elder_breaks_d6() {
    insta::assert_snapshot!(overtaken().broken(D6));
}

#[test]
fn the_mock_misorders_what_a_fault_had_resent_which_is_not_judged() {
    let mut s = overtaken_on(LaneName::Mock);
    s.breaks(D6, "order");
    s.fault("broker.down", FaultPhase::Begin).fault("broker.down", FaultPhase::Effect);
    let judgement = s.judge();
    assert!(!judgement.violations.iter().any(|v| v.law == D6));
    assert!(judgement.unjudged.iter().any(|(law, why, _)| *law == D6 && why.contains("resent")));
}

#[test]
fn without_idempotence_order_is_not_promised() {
    let mut s = overtaken();
    s.scenario.producer = json!({ "idempotence": false });
    assert_eq!(s.judge().violations, []);
    s.scenario.producer = json!({ "idempotence": false, "max_in_flight_requests": 1 });
    s.breaks(D6, "order");
}

#[test]
fn a_retried_event_may_be_overtaken_unless_order_is_strict() {
    let mut s = Story::new();
    s.at(10).taken(0).at(11).taken(1);
    let first = s.at(20).attempt(Main, 0);
    s.at(30).failed(first, Main, -192, Not);
    s.at(35).sent(1);
    s.at(140).sent(0).at(200).close();
    s.holds(D6);
    s.scenario.producer = json!({ "order": "strict" });
    s.breaks(D6, "order");
}

#[test]
fn a_gap_in_the_sequences_of_a_thread_breaks_d6() {
    let mut s = Story::new();
    s.at(10).taken(0).sent(0);
    s.at(20).offered(1).claim(Kind::Accepted { event: id(1), sequence: 3 }).sent(1).at(50).close();
    insta::assert_snapshot!(s.broken(D6));
}

#[test]
fn threads_count_apart() {
    let mut s = Story::new();
    s.at(10).offered_by(0, "a", 100).accepted(0).sent(0);
    s.at(20).offered_by(1, "b", 100).accepted(1).sent(1).at(50).close();
    s.holds(D6);
}

#[test]
fn a_later_offer_accepted_first_breaks_d6() {
    let mut s = Story::new();
    s.at(10).offered(0).offered(1);
    s.claim(Kind::Accepted { event: id(1), sequence: 1 });
    s.claim(Kind::Accepted { event: id(0), sequence: 2 });
    s.at(20).sent(1).sent(0).at(50).close();
    s.breaks(D6, "acceptance");
}

#[test]
fn a_thread_in_two_partitions_breaks_d6() {
    let mut s = Story::new();
    s.at(10).taken(0).sent(0).at(20).taken(1);
    let attempt = s.attempt(Main, 1);
    s.appended_to(Main, 1, 1, Some(0), 0);
    s.delivered(attempt, Main, -1);
    let elsewhere = crate::history::Outcome::Acked { partition: 1, offset: 0 };
    s.outcome(1, elsewhere).at(50).close();
    insta::assert_snapshot!(s.broken(D6));
}

#[test]
fn a_record_with_another_sequence_than_was_told_breaks_d6() {
    let mut s = Story::new();
    s.at(10).taken(0).sent(0).at(50).close();
    s.log(Main)[0].sequence = Some(1);
    s.holds(D6);
    s.log(Main)[0].sequence = Some(2);
    s.breaks(D6, "written");
}
