//! Subjects that tell no attempts: what needs them is not judged, and everything else is.

use super::story::*;
use crate::history::FaultPhase;
use crate::oracle::LawId::{D5, D6, D7, M1, Q2, Q4};
use crate::oracle::{Judgement, LawId};
use crate::scenario::model::LaneName;
use serde_json::json;

fn driver() -> Story {
    Story::on(LaneName::Wire, "driver:foreign")
}

fn unjudged(judgement: &Judgement, law: LawId) -> bool {
    let why = "the subject tells no attempts";
    judgement.unjudged.iter().any(|(of, reason, count)| *of == law && reason == why && *count > 0)
}

/// One event acked, one dead-lettered, with counters of attempts that nothing bears out.
fn silent() -> Story {
    let mut s = driver();
    s.at(10).taken(0);
    let offset = s.at(20).appended(Main, 0, Some(0));
    s.at(30).outcome(0, acked(offset)).at(40).taken(1);
    s.at(50).turned_down(Main, 1, 87).at(60).appended(Dlq, 1, Some(0));
    s.at(70).outcome(1, dead_lettered("permanent_error", Not));
    let close = s.at(80).call("close", Some(1000));
    s.closed(close);
    let text = s.truthful().replace("send_retries_total 0", "send_retries_total 3");
    s.scraped(text, true);
    s
}

#[test]
fn a_subject_that_tells_no_attempts_is_not_judged_by_what_needs_them() {
    let judgement = silent().judge();
    assert_eq!(judgement.violations, []);
    for law in [M1, D7, Q4] {
        assert!(unjudged(&judgement, law), "{law}: {:?}", judgement.unjudged);
    }
}

#[test]
fn its_ledger_is_judged_like_everybodys() {
    let mut s = driver();
    s.at(10).taken(0);
    let offset = s.at(20).appended(Main, 0, Some(0));
    s.at(30).outcome(0, acked(offset));
    let close = s.at(80).call("close", Some(1000));
    s.closed(close);
    let text = s.truthful().replace("messages_sent_total 1", "messages_sent_total 2");
    s.scraped(text, true).breaks(M1, "dashstream_messages_sent_total");
}

/// In main and in the DLQ, in doubt.
fn in_both(tells: bool) -> Story {
    let mut s = driver();
    s.at(10).taken(0);
    let attempt = tells.then(|| s.at(20).attempt(Main, 0));
    s.at(25).appended(Main, 0, None);
    if let Some(attempt) = attempt {
        s.at(30).failed(attempt, Main, -192, Not);
    }
    let letter = tells.then(|| s.at(40).attempt(Dlq, 0));
    s.appended(Dlq, 0, Some(0));
    if let Some(letter) = letter {
        s.at(45).failed(letter, Dlq, -192, Possibly);
    }
    s.at(50).outcome(0, in_doubt("unconfirmed", Possibly, Possibly)).at(60).close();
    s
}

#[test]
fn an_event_in_both_logs_is_judged_only_where_attempts_are_told() {
    let silent = in_both(false).judge();
    assert_eq!(silent.violations, []);
    assert!(unjudged(&silent, D5), "{:?}", silent.unjudged);
    in_both(true).breaks(D5, "both");
}

/// One event twice in the log, by one producer id under these epochs.
fn copied(epochs: [i16; 2]) -> Story {
    let mut s = driver();
    s.at(10).taken(0);
    let offset = s.at(25).appended_to(Main, 0, 0, None, epochs[0]);
    s.at(28).appended_to(Main, 0, 0, Some(0), epochs[1]);
    s.at(30).outcome(0, acked(offset)).at(50).close();
    s
}

#[test]
fn a_copy_that_its_client_may_have_made_is_not_judged_and_any_other_is() {
    assert!(unjudged(&copied([0, 1]).judge(), D5));
    copied([1, 1]).breaks(D5, "twice");
}

/// Two events that stand in the log the wrong way round, without a word about attempts.
fn overtaken(settings: serde_json::Value, trouble: bool) -> Story {
    let mut s = driver().producer(settings);
    s.at(10).taken(0).at(11).taken(1);
    if trouble {
        s.at(12).fault("broker.down", FaultPhase::Begin);
    }
    s.at(25).appended(Main, 1, Some(0));
    s.at(26).appended(Main, 0, Some(0));
    s.at(30).outcome(1, acked(0)).at(31).outcome(0, acked(1)).at(100).close();
    s
}

#[test]
fn order_is_judged_where_nothing_can_have_been_tried_twice() {
    let defaults = || json!({});
    overtaken(defaults(), false).breaks(D6, "order");
    let judgement = overtaken(defaults(), true).judge();
    assert!(judgement.violations.iter().all(|v| v.law != D6));
    assert!(unjudged(&judgement, D6), "{:?}", judgement.unjudged);
    overtaken(json!({ "order": "strict" }), true).breaks(D6, "order");
    overtaken(json!({ "retry": { "max_attempts": 1 } }), true).breaks(D6, "order");
}

#[test]
fn a_deadline_that_nobody_could_meet_again_is_believed() {
    let gave_up = |at| {
        let mut s = driver().producer(json!({
            "delivery_timeout": "30s",
            "retry": { "base": "1s", "cap": "20s", "max_attempts": 8, "jitter": 0.0 },
            "dlq": { "enabled": false },
        }));
        s.at(10).taken(0).at(at).outcome(0, dropped("deadline")).at(31_000).close();
        s
    };
    gave_up(15_000).holds(M1);
    gave_up(2_000).breaks(M1, "deadline");
}

#[test]
fn one_that_tells_any_attempt_tells_all() {
    let mut s = Story::new().producer(json!({ "delivery_timeout": "2s" }));
    s.at(10).taken(0).taken(1).sent(0);
    s.at(2020).outcome(1, dropped("deadline")).at(2100).close();
    s.breaks(Q2, "skipped");
}
