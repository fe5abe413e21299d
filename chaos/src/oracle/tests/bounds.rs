//! R1, R2, R4, and what D10 counts.

use super::story::*;
use crate::history::Src;
use crate::oracle::LawId::{self, R1, R2, R4};
use crate::oracle::LawStatus;
use crate::scenario::model::LaneName;
use serde_json::json;

/// Two events that are open at the same time.
fn two_open(settings: serde_json::Value) -> Story {
    let mut s = Story::new().producer(settings);
    s.at(10).taken(0).taken(1);
    let attempts = [s.attempt(Main, 0), s.attempt(Main, 1)];
    for (n, attempt) in (0..).zip(attempts) {
        let offset = s.at(20).appended(Main, n, Some(0));
        s.at(30).delivered(attempt, Main, offset).outcome(n, acked(offset));
    }
    s.at(50).close();
    s
}

#[test]
fn open_attempts_within_the_cap_keep_r1() {
    two_open(json!({ "max_in_flight": 2 })).holds(R1);
}

#[test]
fn one_open_attempt_too_many_breaks_r1() {
    insta::assert_snapshot!(two_open(json!({ "max_in_flight": 1 })).broken(R1));
}

#[test]
fn a_queue_within_its_caps_keeps_r2() {
    two_open(json!({ "queue": { "max_events": 2, "max_bytes": 1_048_700 } })).holds(R2);
}

#[test]
fn one_event_too_many_in_the_queue_breaks_r2() {
    insta::assert_snapshot!(two_open(json!({ "queue": { "max_events": 1 } })).broken(R2));
}

#[test]
fn too_many_bytes_in_the_queue_break_r2() {
    let mut s = Story::new().producer(json!({
        "max_message_bytes": 4096,
        "queue": { "max_bytes": 8192 },
    }));
    for n in 0..3 {
        s.at(10).offered_by(n, "t0", 4000).accepted(n);
    }
    for n in 0..3 {
        s.at(20).sent(n);
    }
    s.at(50).close();
    s.breaks(R2, "bytes");
}

#[test]
fn elsewhere_the_highest_gauge_is_judged() {
    let mut s = Story::on(LaneName::Wire, "reference").producer(json!({ "max_in_flight": 1 }));
    s.at(10).taken(0).sent(0);
    let close = s.at(50).call("close", Some(1000));
    s.closed(close);
    let gauge = "dashstream_open_attempts_max ";
    let text = s.truthful().replace(&format!("{gauge}0"), &format!("{gauge}7"));
    s.scraped(text, true);
    s.breaks(R1, "dashstream_open_attempts_max");
}

#[test]
fn a_runtime_that_stands_still_breaks_r4() {
    let stalled = |subject_us: i64, machine_us: i64| {
        let mut s = Story::on(LaneName::Wire, "reference");
        s.at(10).taken(0).sent(0).at(50).close();
        s.proc(Src::Subject, "stall", subject_us, "").proc(Src::Os, "stall", machine_us, "");
        s
    };
    stalled(20_000, 0).holds(R4);
    stalled(500_000, 400_000).holds(R4);
    insta::assert_snapshot!(stalled(900_000, 10_000).broken(R4));
}

#[test]
fn threads_that_are_left_prove_a_leak_unless_the_machine_stood_still() {
    let left = |stall_ms: i64| {
        let mut s = Story::on(LaneName::Wire, "reference");
        s.proc(Src::Os, "threads", 3, "before").at(10).taken(0).sent(0);
        s.at(20).close().proc(Src::Os, "threads", 10, "after");
        s.proc(Src::Os, "stall", stall_ms * 1000, "");
        s.judge().laws.into_iter().find(|(law, _)| *law == LawId::D10).unwrap().1
    };
    assert_eq!(left(400), LawStatus::Broken { count: 1 });
    assert!(matches!(left(900), LawStatus::Undecided(_)), "{:?}", left(900));
}
