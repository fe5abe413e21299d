//! Q1 to Q6.

use super::story::*;
use crate::oracle::LawId::{Q1, Q2, Q3, Q4, Q5, Q6};
use crate::scenario::model::{At, Fault, FaultKind, TopicSel};
use serde_json::json;

/// An event that main refuses for good; what follows is the caller's.
fn refused_by_main() -> Story {
    let mut s = Story::new();
    s.at(10).taken(0);
    let attempt = s.at(20).attempt(Main, 0);
    s.at(25).turned_down(Main, 0, 87);
    s.at(30).failed(attempt, Main, 87, Not);
    s
}

fn dead_lettered_well() -> Story {
    let mut s = refused_by_main();
    s.at(31).buried(0, "permanent_error", Not).at(50).close();
    s
}

#[test]
fn a_dead_lettered_event_that_is_there_keeps_the_dlq_laws() {
    for law in [Q1, Q3, Q4, Q5, Q6] {
        dead_lettered_well().holds(law);
    }
}

#[test]
fn a_dead_lettered_event_that_is_not_there_breaks_q1() {
    let mut s = refused_by_main();
    let letter = s.at(31).attempt(Dlq, 0);
    s.delivered(letter, Dlq, 0).outcome(0, dead_lettered("permanent_error", Not)).at(50).close();
    insta::assert_snapshot!(s.broken(Q1));
}

#[test]
fn a_payload_cut_without_a_word_breaks_q1() {
    let mut s = dead_lettered_well();
    s.defect(Dlq, "payload: holds 16 bytes, says another size, and does not say cut");
    insta::assert_snapshot!(s.broken(Q1));
}

#[test]
fn both_paths_failing_keeps_q2() {
    let mut s = refused_by_main();
    let letter = s.at(31).attempt(Dlq, 0);
    s.at(35).turned_down(Dlq, 0, 87);
    s.at(40).failed(letter, Dlq, 87, Not).outcome(0, dropped("permanent_error")).at(50).close();
    s.holds(Q2);
}

#[test]
fn an_event_that_the_dlq_is_not_offered_breaks_q2() {
    let mut s = refused_by_main();
    s.at(31).outcome(0, dropped("permanent_error")).at(50).close();
    insta::assert_snapshot!(s.broken(Q2));
}

#[test]
fn a_drop_that_is_none_breaks_q2() {
    let mut s = refused_by_main();
    let letter = s.at(31).attempt(Dlq, 0);
    s.at(40).failed(letter, Dlq, -192, Possibly).outcome(0, dropped("permanent_error"));
    s.at(50).close();
    s.breaks(Q2, "certain");
}

/// An event whose one main attempt timed out in doubt, without a DLQ.
fn in_doubt_without_a_dlq(outcome: crate::history::Outcome) -> Story {
    let mut s = Story::new().producer(json!({ "dlq": { "enabled": false } }));
    s.at(10).taken(0);
    let attempt = s.at(20).attempt(Main, 0);
    s.at(1020).failed(attempt, Main, -192, Possibly).outcome(0, outcome).at(1050).close();
    s
}

#[test]
fn doubt_that_is_told_as_doubt_keeps_q2_without_a_dlq() {
    in_doubt_without_a_dlq(in_doubt("unconfirmed", Possibly, Not)).holds(Q2);
}

#[test]
fn doubt_that_is_told_as_loss_breaks_q2_without_a_dlq() {
    let s = in_doubt_without_a_dlq(dropped("unconfirmed"));
    insta::assert_snapshot!(s.broken(Q2));
}

#[test]
fn a_dead_letter_that_says_less_of_main_than_its_attempts_breaks_q2() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let attempt = s.at(20).attempt(Main, 0);
    s.at(1020).failed(attempt, Main, -192, Possibly).buried(0, "unconfirmed", Not);
    s.at(1050).close();
    s.breaks(Q2, "certain");
}

#[test]
fn an_event_that_expires_in_line_is_offered_to_the_dlq_too() {
    let mut s = Story::new().producer(json!({ "delivery_timeout": "2s" }));
    s.at(10).taken(0).taken(1).sent(0);
    s.at(2020).outcome(1, dropped("deadline")).at(2100).close();
    s.breaks(Q2, "skipped");
}

/// The acceptance of a cancelled send is told with its outcome: its age counts from its offer.
#[test]
fn an_event_that_expired_in_line_and_then_waited_for_the_dlq_in_vain_keeps_q2() {
    let cancelled = |at| {
        let mut s = Story::new().producer(json!({ "delivery_timeout": "2s" }));
        s.at(10).taken(0).sent(0).offered(1);
        s.at(at).accepted(1).outcome(1, dropped("deadline")).at(at + 50).close();
        s
    };
    cancelled(7_020).holds(Q2);
    cancelled(4_020).breaks(Q2, "skipped");
}

#[test]
fn a_dlq_that_is_switched_off_is_not_used() {
    let mut s = dead_lettered_well();
    s.scenario.producer = json!({ "dlq": { "enabled": false } });
    s.breaks(Q2, "disabled");
}

#[test]
fn going_back_to_main_breaks_q3() {
    let mut s = refused_by_main();
    let letter = s.at(31).attempt(Dlq, 0);
    s.at(40).failed(letter, Dlq, -195, Not).at(200).sent(0).at(300).close();
    insta::assert_snapshot!(s.broken(Q3));
}

#[test]
fn a_letter_inside_a_letter_breaks_q3() {
    let mut s = dead_lettered_well();
    s.defect(Dlq, "loop: a dead-letter record inside a dead-letter record");
    s.breaks(Q3, "loop");
}

/// Two events at a time on their way to a DLQ with one permit; the counter says this.
fn crowded(permits: u32, counted: u32) -> Story {
    let mut s = Story::new().producer(json!({ "dlq": { "max_concurrent": permits } }));
    for n in 0..2 {
        s.at(10).taken(n);
        let attempt = s.at(20).attempt(Main, n);
        s.at(30).failed(attempt, Main, 87, Not);
    }
    let first = s.at(31).attempt(Dlq, 0);
    s.appended(Dlq, 0, Some(0));
    if permits == 1 {
        s.at(60).delivered(first, Dlq, 0).outcome(0, dead_lettered("permanent_error", Not));
        s.buried(1, "permanent_error", Not);
    } else {
        s.buried(1, "permanent_error", Not);
        s.at(60).delivered(first, Dlq, 0).outcome(0, dead_lettered("permanent_error", Not));
    }
    let close = s.at(100).call("close", Some(1000));
    s.closed(close);
    let line = "dashstream_dlq_over_limit_total ";
    let text = s.truthful().replace(&format!("{line}0"), &format!("{line}{counted}"));
    s.scraped(text, true);
    s
}

#[test]
fn waiting_for_a_permit_and_counting_it_keeps_q4() {
    crowded(1, 1).holds(Q4);
    crowded(2, 0).holds(Q4);
}

#[test]
fn waiting_for_a_permit_without_counting_it_breaks_q4() {
    insta::assert_snapshot!(crowded(1, 0).broken(Q4));
}

#[test]
fn counting_a_wait_that_nobody_had_breaks_q4() {
    let mut s = crowded(2, 1);
    s.scenario.producer = json!({ "dlq": { "max_concurrent": 3 } });
    s.breaks(Q4, "counted");
}

#[test]
fn more_dlq_attempts_than_permits_break_q4() {
    let mut s = crowded(2, 0);
    s.scenario.producer = json!({ "dlq": { "max_concurrent": 1 } });
    s.breaks(Q4, "bounded");
}

#[test]
fn a_letter_without_its_source_breaks_q5() {
    let mut s = dead_lettered_well();
    s.defect(Dlq, "context: `trace_id` is missing or empty");
    insta::assert_snapshot!(s.broken(Q5));
}

/// The broker finds the DLQ record too large.
fn too_large() -> Story {
    let mut s = refused_by_main();
    let letter = s.at(31).attempt(Dlq, 0);
    s.at(35).turned_down(Dlq, 0, 10);
    s.at(40).failed(letter, Dlq, 10, Not).outcome(0, dropped("permanent_error")).at(50).close();
    s
}

#[test]
fn a_letter_over_the_brokers_limit_breaks_q6() {
    insta::assert_snapshot!(too_large().broken(Q6));
}

#[test]
fn a_limit_that_the_scenario_lowers_is_not_the_producers_fault() {
    let mut s = too_large();
    let kind = FaultKind::MessageMaxBytes { topic: TopicSel::Dlq, bytes: 100 };
    s.scenario.faults = vec![Fault::new(At::Time(std::time::Duration::ZERO), None, kind)];
    s.holds(Q2);
}
