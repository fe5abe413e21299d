//! Requests that the proxy passed on and no broker answered: the final log tells what became of
//! them.

use super::story::*;
use crate::oracle::LawId::{D2, D3};
use crate::oracle::index::Index;
use crate::scenario::model::LaneName;
use serde_json::json;

/// One event, handed over once.
fn one() -> (Story, u64) {
    let story = Story::on(LaneName::Kafka, "reference");
    let mut s = story.producer(json!({ "dlq": { "enabled": false } }));
    s.at(10).taken(0);
    let attempt = s.at(20).attempt(Main, 0);
    (s, attempt)
}

/// Two hand-overs passed on under one epoch; the first is said not persisted, the second unknown.
fn two(copies: usize) -> Story {
    let (mut s, first) = one();
    s.at(25).unanswered(Main, 0).at(30).failed(first, Main, -192, Not);
    let second = s.at(40).attempt(Main, 0);
    s.at(45).unanswered(Main, 0).at(50).failed(second, Main, -192, Possibly);
    for _ in 0..copies {
        s.planted(Main, vec![id(0)]);
    }
    s.outcome(0, in_doubt("unconfirmed", Possibly, Not)).at(90).close();
    s
}

#[test]
fn a_copy_that_no_other_request_accounts_for_breaks_a_not_persisted() {
    let (mut s, attempt) = one();
    s.at(25).unanswered(Main, 0).planted(Main, vec![id(0)]);
    s.at(30).failed(attempt, Main, -192, Not);
    s.outcome(0, in_doubt("unconfirmed", Possibly, Not)).at(50).close();
    s.breaks(D3, "attempt");
}

#[test]
fn a_log_without_a_copy_leaves_a_not_persisted_whole() {
    let (mut s, attempt) = one();
    s.at(25).unanswered(Main, 0).at(30).failed(attempt, Main, -192, Not);
    s.outcome(0, dropped("retries_exhausted")).at(50).close();
    assert!(s.judge().violations.iter().all(|v| v.law != D3));
}

#[test]
fn a_copy_of_another_epoch_is_another_requests() {
    let (mut s, attempt) = one();
    s.at(25).unanswered(Main, 0).at(30).failed(attempt, Main, -192, Not);
    s.at(35).appended_to(Main, 0, 0, Some(0), 1);
    s.outcome(0, in_doubt("unconfirmed", Possibly, Not)).at(50).close();
    assert!(s.judge().violations.iter().all(|v| v.law != D3));
}

#[test]
fn one_copy_of_two_unknown_requests_blames_neither() {
    assert!(two(1).judge().violations.iter().all(|v| v.law != D3));
}

#[test]
fn as_many_copies_as_unknown_requests_show_that_each_was_appended() {
    let s = two(2);
    let lines = s.lines();
    let index = Index::new(&lines, &s.scenario);
    let sent = &index.events[0].transmissions;
    assert!(sent.len() == 2 && sent.iter().all(|t| t.appended && !t.unknown));
}

#[test]
fn an_ack_may_rest_on_a_request_that_was_passed_on_before() {
    let (mut s, attempt) = one();
    s.at(25).unanswered(Main, 0).planted(Main, vec![id(0)]);
    s.at(30).delivered(attempt, Main, 0).outcome(0, acked(0)).at(50).close();
    assert!(s.judge().violations.iter().all(|v| v.law != D2));
}

#[test]
fn an_ack_before_anything_was_passed_on_breaks_d2() {
    let (mut s, attempt) = one();
    s.at(30).delivered(attempt, Main, 0).outcome(0, acked(0));
    s.at(35).unanswered(Main, 0).planted(Main, vec![id(0)]).at(50).close();
    s.breaks(D2, "before");
}
