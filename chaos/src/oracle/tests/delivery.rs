//! D1 to D5.

use super::story::*;
use crate::history::{FaultPhase, Kind};
use crate::oracle::LawId::{D1, D2, D3, D4, D5};
use crate::scenario::model::LaneName;
use serde_json::json;

/// Two events that end well, closed and scraped.
fn quiet() -> Story {
    let mut s = Story::new();
    s.at(10).taken(0).at(20).sent(0).at(30).taken(1).at(40).sent(1).at(50).close();
    s
}

/// An event whose only attempt ends possibly persisted; the caller says whether it was appended.
fn doubtful(appended: bool) -> Story {
    let mut s = Story::new().producer(json!({ "dlq": { "enabled": false } }));
    s.at(10).taken(0);
    let attempt = s.at(20).attempt(Main, 0);
    if appended {
        s.at(25).appended(Main, 0, None);
    }
    s.at(30).failed(attempt, Main, -192, Possibly);
    s.outcome(0, in_doubt("unconfirmed", Possibly, Not)).at(50).close();
    s
}

#[test]
fn a_quiet_run_keeps_every_delivery_law() {
    for law in [D1, D2, D4, D5] {
        quiet().holds(law);
    }
}

#[test]
fn what_was_sent_to_the_leader_alone_and_is_acked_breaks_d2() {
    let mut s = Story::new();
    s.at(10).taken(0).at(20).sent(0);
    s.asks_for(1).at(50).close();
    assert!(s.broken(D2).contains("sent with acks=1 only"));
    // a second transmission that asked for all makes up for it
    let mut s = Story::new().producer(json!({ "idempotence": false }));
    s.at(10).taken(0).at(20).appended(Main, 0, None);
    s.asks_for(1);
    s.at(30).sent(0).at(50).close();
    s.holds(D2);
}

#[test]
fn an_event_without_outcome_after_close_breaks_d1() {
    let mut s = Story::new();
    s.at(10).taken(0).at(20).sent(0).at(30).taken(1).offered(2).accepted(2);
    s.at(50).close();
    insta::assert_snapshot!(s.broken(D1));
}

#[test]
fn a_second_outcome_breaks_d1() {
    let mut s = Story::new();
    s.at(10).taken(0).at(20).sent(0).at(30).outcome(0, dropped("deadline")).at(50).close();
    insta::assert_snapshot!(s.broken(D1));
}

#[test]
fn an_outcome_told_after_close_returned_breaks_d1() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let attempt = s.attempt(Main, 0);
    let offset = s.at(20).appended(Main, 0, Some(0));
    let close = s.at(30).call("close", Some(1000));
    s.at(40).closed(close).at(60).delivered(attempt, Main, offset).outcome(0, acked(offset));
    s.at(70).scrape(true);
    insta::assert_snapshot!(s.broken(D1));
}

#[test]
fn an_outcome_while_an_attempt_is_open_breaks_d1() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let attempt = s.attempt(Main, 0);
    s.at(20).outcome(0, in_doubt("deadline", Possibly, Not));
    s.at(30).failed(attempt, Main, -192, Possibly).at(50).close();
    s.breaks(D1, "open_attempt");
}

#[test]
fn close_may_resolve_what_is_open() {
    let mut s = Story::new().producer(json!({ "dlq": { "enabled": false } }));
    s.at(10).taken(0);
    s.attempt(Main, 0);
    s.at(15).appended(Main, 0, None);
    let close = s.at(20).call("close", Some(1000));
    s.at(1020).outcome(0, in_doubt("abandoned", Possibly, Not)).closed(close).scrape(true);
    s.holds(D1);
}

#[test]
fn an_outcome_that_its_deliveries_contradict_breaks_d1() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let attempt = s.attempt(Main, 0);
    let offset = s.appended(Main, 0, Some(0));
    s.delivered(attempt, Main, offset).outcome(0, dropped("deadline")).at(50).close();
    s.breaks(D1, "first_line");
}

#[test]
fn a_crash_leaves_the_harness_to_say_what_is_lost() {
    let lost = |told: bool| {
        let mut s = Story::new();
        s.scenario.expect.lost_in_crash = Some(super::verdict::at_most(1));
        s.at(10).taken(0).at(20).proc(crate::history::Src::Os, "crash", 0, "");
        if told {
            s.truth(Kind::Outcome {
                event: id(0),
                outcome: crate::history::Outcome::LostInCrash,
                why: None,
            });
        }
        s.reopen().at(30).taken(1).at(40).sent(1).at(50).close();
        s
    };
    lost(true).holds(D1);
    lost(false).breaks(D1, "crash");
}

#[test]
fn an_ack_without_a_record_breaks_d2() {
    let mut s = Story::new();
    s.at(10).taken(0).at(20).sent(0).at(30).taken(1);
    let attempt = s.attempt(Main, 1);
    s.at(40).delivered(attempt, Main, 1).outcome(1, acked(1)).at(50).close();
    insta::assert_snapshot!(s.broken(D2));
}

#[test]
fn an_ack_at_another_offset_breaks_d2() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let attempt = s.attempt(Main, 0);
    let offset = s.appended(Main, 0, Some(0));
    s.delivered(attempt, Main, offset).outcome(0, acked(offset + 5)).at(50).close();
    s.breaks(D2, "offset");
}

#[test]
fn an_ack_before_the_append_breaks_d2_though_the_record_comes() {
    let mut s = Story::new();
    s.at(10).taken(0);
    let attempt = s.attempt(Main, 0);
    s.delivered(attempt, Main, 0).outcome(0, acked(0)).at(30).appended(Main, 0, Some(0));
    s.at(50).close();
    insta::assert_snapshot!(s.broken(D2));
}

#[test]
fn an_ack_with_acks_0_breaks_d2() {
    let mut s = quiet();
    s.scenario.producer = json!({ "acks": "0", "idempotence": false });
    s.breaks(D2, "acks_0");
}

#[test]
fn a_claim_of_persisted_without_a_record_breaks_d2() {
    let mut s = Story::new();
    s.at(10).taken(0).at(20).outcome(0, in_doubt("deadline", Persisted, Not)).at(50).close();
    s.breaks(D2, "persisted");
}

#[test]
fn a_doubt_is_kept_whatever_the_log_says() {
    for appended in [true, false] {
        assert_eq!(doubtful(appended).judge().violations, []);
    }
    doubtful(true).holds(D4);
}

#[test]
fn a_dropped_event_in_the_log_breaks_d3() {
    let mut s = Story::new().producer(json!({ "dlq": { "enabled": false } }));
    s.at(10).taken(0);
    let attempt = s.at(20).attempt(Main, 0);
    s.at(25).appended(Main, 0, None);
    s.at(30).failed(attempt, Main, -192, Possibly).outcome(0, dropped("retries_exhausted"));
    s.at(50).close();
    insta::assert_snapshot!(s.broken(D3));
}

#[test]
fn an_attempt_said_not_persisted_and_appended_meanwhile_breaks_d3() {
    let mut s = Story::new().producer(json!({ "dlq": { "enabled": false } }));
    s.at(10).taken(0);
    let attempt = s.at(20).attempt(Main, 0);
    s.at(25).appended(Main, 0, None);
    s.at(30).failed(attempt, Main, -192, Not);
    s.outcome(0, in_doubt("unconfirmed", Possibly, Not)).at(50).close();
    insta::assert_snapshot!(s.broken(D3));
}

#[test]
fn a_rejected_event_that_is_nowhere_keeps_d3() {
    let mut s = Story::new();
    s.at(10).offered(0).outcome(0, rejected("closed"));
    s.scenario.expect.laws = crate::scenario::model::Laws::These(vec!["D3".into()]);
    s.at(50).close();
    s.holds(D3);
}

#[test]
fn what_librdkafka_cannot_know_is_not_judged() {
    let hidden = |lane| {
        let mut s = Story::on(lane, "reference").producer(json!({ "dlq": { "enabled": false } }));
        s.at(10).taken(0);
        let attempt = s.at(20).attempt(Main, 0);
        s.at(25).appended(Main, 0, Some(6));
        s.at(30).failed(attempt, Main, -192, Not).outcome(0, dropped("deadline"));
        s.at(50).close();
        s.scenario.producer = json!({ "dlq": { "enabled": false }, "delivery_timeout": "10ms" });
        s.judge()
    };
    let judged = |j: &crate::oracle::Judgement| j.violations.iter().any(|v| v.law == D3);
    assert!(judged(&hidden(LaneName::Sim)));
    let wire = hidden(LaneName::Wire);
    assert!(!judged(&wire));
    let unjudged: Vec<_> = wire.unjudged.iter().filter(|(law, ..)| *law == D3).collect();
    assert!(matches!(&unjudged[..], [(_, why, 2)] if why.starts_with("client_library")));
}

#[test]
fn a_record_that_was_never_offered_breaks_d4() {
    let mut s = quiet();
    s.planted(Main, vec![id(99)]);
    insta::assert_snapshot!(s.broken(D4));
}

#[test]
fn a_record_that_resolves_to_nothing_is_listed_and_not_judged() {
    let mut s = quiet();
    s.planted(Main, vec![]);
    let judgement = s.judge();
    assert_eq!(judgement.violations, []);
    assert_eq!(judgement.notes, ["records that resolve to no event: dashstream-events/0@2"]);
    assert!(judgement.unjudged.iter().any(|(law, _, count)| (*law, *count) == (D4, 1)));
}

/// One event, handed over once, twice in the log.
fn copied(lane: LaneName, epochs: [i16; 2]) -> Story {
    let mut s = Story::on(lane, "saboteur:duplicates");
    s.at(10).taken(0);
    let attempt = s.at(20).attempt(Main, 0);
    let offset = s.at(25).appended_to(Main, 0, 0, None, epochs[0]);
    s.at(28).appended_to(Main, 0, 0, Some(0), epochs[1]);
    s.at(30).delivered(attempt, Main, offset).outcome(0, acked(offset)).at(50).close();
    s
}

#[test]
fn the_line_of_the_only_hand_over_may_come_after_the_first_request() {
    let mut s = Story::on(LaneName::Wire, "reference");
    s.at(10).taken(0);
    let offset = s.at(25).appended_to(Main, 0, 0, None, 0);
    let attempt = s.at(26).attempt(Main, 0);
    s.at(28).appended_to(Main, 0, 0, Some(0), 1);
    s.at(30).delivered(attempt, Main, offset).outcome(0, acked(offset)).at(50).close();
    let judgement = s.judge();
    assert!(judgement.violations.iter().all(|v| v.law != D5), "{:?}", judgement.violations);
    assert!(judgement.unjudged.iter().any(|(law, ..)| *law == D5), "{:?}", judgement.unjudged);
}

#[test]
fn an_event_twice_in_the_log_breaks_d5() {
    insta::assert_snapshot!(copied(LaneName::Sim, [0, 1]).broken(D5));
}

#[test]
fn without_idempotence_a_copy_keeps_d5() {
    let mut s = copied(LaneName::Sim, [0, 0]);
    s.scenario.producer = json!({ "idempotence": false });
    s.holds(D5);
}

#[test]
fn the_setting_excuses_a_copy_after_a_doubt_but_none_out_of_nothing() {
    let allowed = json!({ "retry": { "retry_possibly_persisted": true } });
    let mut s = copied(LaneName::Sim, [0, 0]);
    s.scenario.producer = allowed.clone();
    s.breaks(D5, "twice");

    let mut s = Story::on(LaneName::Sim, "reference");
    s.scenario.producer = allowed;
    s.at(10).taken(0);
    let first = s.at(20).attempt(Main, 0);
    s.at(25).appended_to(Main, 0, 0, None, 0);
    s.at(30).failed(first, Main, -192, Possibly);
    s.at(150).sent(0).at(900).close();
    s.holds(D5);
}

#[test]
fn a_copy_under_a_second_epoch_is_librdkafkas_own_but_not_one_under_the_same() {
    let twice = |epochs| {
        let judgement = copied(LaneName::Wire, epochs).judge();
        let unjudged = judgement.unjudged.iter().any(|(law, ..)| *law == D5);
        (judgement.violations.iter().any(|v| v.law == D5), unjudged)
    };
    assert_eq!(twice([0, 1]), (false, true));
    assert_eq!(twice([1, 1]), (true, false));
}

/// What D5 says of this story on a lane with librdkafka: violated, not judged.
fn said_of_copies(s: &Story) -> (bool, bool) {
    let judgement = s.judge();
    let unjudged = judgement.unjudged.iter().any(|(law, ..)| *law == D5);
    (judgement.violations.iter().any(|v| v.law == D5), unjudged)
}

#[test]
fn a_copy_that_comes_after_its_hand_over_is_over_is_not_librdkafkas_own() {
    let late = |at| {
        let mut s = Story::on(LaneName::Wire, "saboteur:duplicates");
        s.at(10).taken(0);
        let attempt = s.at(20).attempt(Main, 0);
        let offset = s.at(25).appended_to(Main, 0, 0, Some(0), 0);
        s.at(30).delivered(attempt, Main, offset).outcome(0, acked(offset));
        s.at(at).appended_to(Main, 0, 0, Some(0), 1);
        s.at(900).close();
        said_of_copies(&s)
    };
    assert_eq!(late(60), (false, true));
    assert_eq!(late(400), (true, false));
}

#[test]
fn one_doubt_explains_one_copy_and_not_the_next_though_librdkafka_may_add_its_own() {
    let copies = |epochs: &[i16]| {
        let mut s = Story::on(LaneName::Wire, "reference");
        s.scenario.producer = json!({ "retry": { "retry_possibly_persisted": true } });
        s.at(10).taken(0);
        let first = s.at(20).attempt(Main, 0);
        s.at(25).appended_to(Main, 0, 0, None, 0);
        s.at(30).failed(first, Main, -192, Possibly);
        let second = s.at(150).attempt(Main, 0);
        let mut offset = 0;
        for epoch in epochs {
            offset = s.at(160).appended_to(Main, 0, 0, Some(0), *epoch);
        }
        s.at(170).delivered(second, Main, offset).outcome(0, acked(offset)).at(900).close();
        said_of_copies(&s)
    };
    assert_eq!(copies(&[1]), (false, false));
    assert_eq!(copies(&[1, 2]), (false, true));
    assert_eq!(copies(&[1, 1]), (true, false));
}

#[test]
fn the_mock_keeps_a_resent_copy_which_is_not_judged_but_a_second_hand_over_is() {
    copied(LaneName::Mock, [0, 0]).breaks(D5, "twice");
    let mut again = copied(LaneName::Mock, [0, 0]);
    // only what was broken makes a client send a request once more
    again.at(24).fault("broker.down", FaultPhase::Begin).fault("broker.down", FaultPhase::Effect);
    let judgement = again.judge();
    assert!(!judgement.violations.iter().any(|v| v.law == D5));
    assert!(judgement.unjudged.iter().any(|(law, why, _)| *law == D5 && why.contains("resent")));
    again.at(22).attempt(Main, 0);
    again.breaks(D5, "twice");
}

#[test]
fn an_event_in_main_and_dlq_needs_a_doubt_about_main() {
    let both = |persistence| {
        let mut s = Story::new();
        s.at(10).taken(0);
        let attempt = s.at(20).attempt(Main, 0);
        let offset = s.at(25).appended(Main, 0, None);
        s.at(30).failed(attempt, Main, -192, persistence);
        let letter = s.at(40).attempt(Dlq, 0);
        s.appended(Dlq, 0, Some(0));
        s.at(45).delivered(letter, Dlq, 0).outcome(0, acked(offset)).at(50).close();
        s.judge().violations.iter().any(|v| v.law == D5)
    };
    assert!(both(Not));
    assert!(!both(Possibly));
}

#[test]
fn copies_that_only_attempts_could_explain_are_not_judged_where_none_are_told() {
    let copies = |again: bool| {
        let settings = json!({ "retry": { "retry_possibly_persisted": again } });
        let mut s = Story::on(LaneName::Wire, "driver").producer(settings);
        s.at(10).taken(0);
        for _ in 0..2 {
            s.at(20).appended(Main, 0, None);
        }
        let offset = s.at(30).appended(Main, 0, None);
        s.outcome(0, acked(offset)).at(50).close();
        s.judge()
    };
    let untold = copies(true);
    assert!(untold.unjudged.iter().any(|(law, _, count)| (*law, *count) == (D5, 1)));
    assert!(untold.violations.iter().all(|violation| violation.law != D5));
    assert!(copies(false).violations.iter().any(|violation| violation.law == D5));
}
