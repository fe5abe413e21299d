//! D7 to D11: what depends on time.

use super::story::*;
use crate::history::{FaultPhase, Src};
use crate::oracle::LawId::{D7, D8, D9, D10, D11, R4};
use crate::oracle::{Judgement, LawId, LawStatus, Verdict};
use crate::scenario::model::LaneName;
use serde_json::json;
use std::time::Duration;

/// An event whose first attempt fails at 20 ms with this error and whose second, at that time,
/// succeeds.
fn retried(code: i32, again_at: u64) -> Story {
    let mut s = Story::new();
    s.at(10).taken(0);
    let attempt = s.attempt(Main, 0);
    s.at(20).failed(attempt, Main, code, Not);
    s.at(again_at).sent(0).at(900).close();
    s
}

#[test]
fn a_retry_inside_the_backoff_keeps_d7() {
    for at in [120, 140, 147] {
        retried(-195, at).holds(D7);
    }
}

#[test]
fn a_retry_that_comes_too_soon_breaks_d7() {
    insta::assert_snapshot!(retried(-195, 60).broken(D7));
}

#[test]
fn a_retry_that_comes_too_late_breaks_d7() {
    retried(-195, 400).breaks(D7, "too_late");
}

#[test]
fn a_permanent_error_that_is_retried_breaks_d7() {
    insta::assert_snapshot!(retried(10, 120).broken(D7));
}

/// An event whose first attempt ended in doubt and whose second succeeds.
fn confirmed_late(settings: serde_json::Value) -> Story {
    let mut s = Story::new().producer(settings);
    s.at(10).taken(0);
    let attempt = s.attempt(Main, 0);
    s.at(20).failed(attempt, Main, -195, Possibly).at(120).sent(0).at(900).close();
    s
}

#[test]
fn a_retry_of_what_may_be_persisted_breaks_d7() {
    insta::assert_snapshot!(confirmed_late(json!({})).broken(D7));
}

#[test]
fn a_retry_of_what_may_be_persisted_keeps_d7_where_a_copy_is_allowed() {
    confirmed_late(json!({ "retry": { "retry_possibly_persisted": true } })).holds(D7);
}

#[test]
fn a_close_that_answers_with_an_error_breaks_d10() {
    let mut s = Story::new();
    s.at(10).taken(0).sent(0);
    let close = s.at(50).call("close", Some(1000));
    s.at(60).returned(close, "close", Some("internal: the books do not balance"));
    insta::assert_snapshot!(s.broken(D10));
}

#[test]
fn only_virtual_time_judges_the_backoff_itself() {
    let mut s = Story::on(LaneName::Wire, "reference");
    s.at(10).taken(0);
    let attempt = s.attempt(Main, 0);
    s.at(20).failed(attempt, Main, -195, Not).at(30).sent(0).at(900).close();
    s.holds(D7);
}

/// An event whose attempts fail with a retryable error, one after the other, and which is then
/// dead-lettered.
fn exhausted(attempts: u64, reason: &str) -> Story {
    let mut s = Story::new();
    s.at(10).taken(0);
    let mut now = 20;
    for n in 1..=attempts {
        let attempt = s.at(now).attempt(Main, 0);
        s.at(now + 5).failed(attempt, Main, -195, Not);
        now += 5 + (100 << (n - 1));
    }
    s.at(now).buried(0, reason, Not).at(2000).close();
    s
}

#[test]
fn attempts_up_to_the_limit_keep_d7() {
    exhausted(3, "retries_exhausted").holds(D7);
}

#[test]
fn one_attempt_too_many_breaks_d7() {
    exhausted(4, "retries_exhausted").breaks(D7, "too_many");
}

#[test]
fn giving_up_early_breaks_d7() {
    insta::assert_snapshot!(exhausted(1, "permanent_error").broken(D7));
}

#[test]
fn close_excuses_giving_up() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let attempt = s.attempt(Main, 0);
    s.at(20).failed(attempt, Main, -195, Not);
    let close = s.at(30).call("close", Some(1000));
    s.at(630).buried(0, "abandoned", Not).closed(close).scrape(true);
    s.holds(D7);
}

#[test]
fn the_dlq_path_is_held_to_the_same_rules() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let attempt = s.attempt(Main, 0);
    s.at(20).failed(attempt, Main, 10, Not);
    let letter = s.at(21).attempt(Dlq, 0);
    s.at(30).failed(letter, Dlq, -195, Not).outcome(0, dropped("permanent_error"));
    s.at(900).close();
    s.breaks(D7, "given_up");
}

#[test]
fn an_outcome_within_its_bounds_keeps_d8() {
    retried(-195, 120).holds(D8);
}

#[test]
fn an_event_kept_beyond_its_deadline_breaks_d8() {
    let mut s = Story::new().producer(json!({ "delivery_timeout": "3s" }));
    s.at(10).taken(0);
    let attempt = s.at(9_000).attempt(Main, 0);
    s.at(9_500).failed(attempt, Main, -192, Not);
    s.buried(0, "deadline", Not).at(9_600).close();
    insta::assert_snapshot!(s.broken(D8));
}

#[test]
fn an_attempt_that_outlives_its_time_breaks_d8() {
    let mut s = Story::new().producer(json!({ "delivery_timeout": "3s" }));
    s.at(10).taken(0);
    let attempt = s.attempt(Main, 0);
    s.at(4_100).failed(attempt, Main, -192, Not).buried(0, "deadline", Not).at(5_000).close();
    s.breaks(D8, "main");
}

#[test]
fn a_flush_that_overruns_breaks_d8() {
    let mut s = Story::new();
    s.at(10).taken(0).sent(0);
    let flush = s.at(20).call("flush", Some(100));
    s.at(300).returned(flush, "flush", None).at(400).close();
    insta::assert_snapshot!(s.broken(D8));
}

#[test]
fn real_time_has_two_seconds_of_grace_and_a_stalled_machine_proves_nothing() {
    let late = |stall_us: i64| {
        let mut s = Story::on(LaneName::Wire, "reference");
        s.at(10).taken(0).sent(0);
        let flush = s.at(20).call("flush", Some(100));
        s.at(3_000).returned(flush, "flush", None).close();
        s.proc(Src::Os, "stall", stall_us, "");
        s.judge()
    };
    assert_eq!(late(10_000).verdict, Verdict::Fail);
    assert_eq!(late(400_000).verdict, Verdict::Fail);
    let stalled = late(600_000);
    assert_eq!(stalled.verdict, Verdict::Inconclusive);
    let status = stalled.laws.iter().find(|(law, _)| *law == D8).map(|(_, status)| status);
    assert!(matches!(status, Some(LawStatus::Undecided(why)) if why.contains("600 ms")));
}

fn stood_still(facts: &[(Src, &str, i64, &str)]) -> Judgement {
    let mut s = Story::on(LaneName::Kafka, "reference");
    s.at(10).taken(0).sent(0);
    for (src, what, value, text) in facts {
        s.proc(*src, what, *value, text);
    }
    s.at(100).close();
    s.judge()
}

fn status(judgement: &Judgement, law: LawId) -> Option<&LawStatus> {
    judgement.laws.iter().find(|(l, _)| *l == law).map(|(_, status)| status)
}

#[test]
fn brokers_that_stand_still_excuse_no_runtime_that_does() {
    let facts = [(Src::Os, "stall", 3_000_000, "brokers"), (Src::Subject, "stall", 1_000_000, "")];
    let judged = stood_still(&facts);
    assert!(judged.violations.iter().any(|violation| violation.law == R4), "{:?}", judged.laws);
    assert_eq!(stood_still(&facts[..1]).verdict, Verdict::Pass);
}

#[test]
fn a_runtime_that_waits_for_its_own_pages_decides_nothing() {
    let beat = (Src::Subject, "stall", 1_000_000, "");
    assert_eq!(stood_still(&[beat]).verdict, Verdict::Fail);
    let (before, after) = ((Src::Os, "page_ins", 2, "before"), (Src::Os, "page_ins", 5, "after"));
    let judged = stood_still(&[before, beat, after]);
    let Some(LawStatus::Undecided(why)) = status(&judged, R4) else { panic!("{:?}", judged.laws) };
    assert!(why.contains("waited 3 times"), "{why}");
}

#[test]
fn a_flush_after_every_outcome_keeps_d9() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let flush = s.at(20).call("flush", Some(1000));
    s.at(30).sent(0).at(40).returned(flush, "flush", None).at(50).close();
    s.holds(D9);
}

#[test]
fn a_flush_that_says_ok_too_soon_breaks_d9() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let flush = s.at(20).call("flush", Some(1000));
    s.at(25).returned(flush, "flush", None).at(30).sent(0).at(50).close();
    insta::assert_snapshot!(s.broken(D9));
}

#[test]
fn a_flush_that_times_out_and_what_is_accepted_after_it_keep_d9() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let flush = s.at(20).call("flush", Some(10));
    s.at(30).returned(flush, "flush", Some("pending: 1 events are pending"));
    s.at(31).sent(0);
    let flush = s.at(40).call("flush", Some(10));
    s.at(41).taken(1).returned(flush, "flush", None).at(45).sent(1).at(50).close();
    s.holds(D9);
}

#[test]
fn a_close_in_time_keeps_d10() {
    retried(-195, 120).holds(D10);
}

#[test]
fn a_close_that_overruns_breaks_d10() {
    let mut s = Story::new();
    s.at(10).taken(0).sent(0);
    let close = s.at(20).call("close", Some(100));
    s.at(200).closed(close).scrape(true);
    insta::assert_snapshot!(s.broken(D10));
}

#[test]
fn a_close_that_never_returns_breaks_d10() {
    let mut s = Story::new();
    s.at(10).taken(0).sent(0);
    s.at(20).call("close", Some(100));
    s.at(20_000).scrape(true);
    s.breaks(D10, "returns");
}

#[test]
fn a_task_left_behind_breaks_d10() {
    let left = |tasks| {
        let mut s = Story::new();
        s.proc(Src::Os, "tasks", 2, "before");
        s.at(10).taken(0).sent(0).at(20).close().at(520).proc(Src::Os, "tasks", tasks, "after");
        s
    };
    left(2).holds(D10);
    insta::assert_snapshot!(left(3).broken(D10));
}

/// A fault that ends at 1000 ms; the older event ends at `older`, a newer one at `newer`.
fn healed(older: u64, newer: Option<u64>) -> Story {
    let mut s = Story::new();
    s.scenario.expect.recovery = Some(Duration::from_secs(2));
    s.fault("broker.down", FaultPhase::Begin);
    s.at(10).taken(0).fault("broker.down", FaultPhase::Effect);
    s.at(1000).fault("broker.down", FaultPhase::End);
    s.at(older).sent(0);
    if let Some(newer) = newer {
        s.at(older.max(1500)).taken(1).at(newer).sent(1);
    }
    s.at(9000).close();
    s
}

#[test]
fn converging_within_the_bound_keeps_d11() {
    healed(1200, Some(3000)).holds(D11);
    assert_eq!(healed(1200, Some(3000)).judge().counts.recovery_us, Some(2_000_000));
}

#[test]
fn converging_late_breaks_d11() {
    insta::assert_snapshot!(healed(4500, Some(4600)).broken(D11));
}

#[test]
fn without_a_newer_event_convergence_is_undecided() {
    let judgement = healed(1200, None).judge();
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert_eq!(judgement.why, ["D11 is undecided: nothing was offered after the last fault ended"]);
}

#[test]
fn a_scenario_without_a_bound_does_not_judge_d11() {
    let mut s = healed(4500, Some(4600));
    s.scenario.expect.recovery = None;
    let judgement = s.judge();
    assert_eq!(judgement.verdict, Verdict::Pass);
    let of = |law: LawId| judgement.unjudged.iter().filter(|(l, ..)| *l == law).count();
    assert_eq!(of(D11), 1);
}
