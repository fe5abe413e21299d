//! S1 and S2.

use std::time::Duration;

use serde_json::json;

use super::story::*;
use crate::history::{
    CONNECTED, DeliveryError, ErrorClass, FaultPhase, Kind, Src, Trouble, WATCHED,
};
use crate::oracle::LawId::{S1, S2, S3};
use crate::scenario::model::{At, Fault, FaultKind, LaneName, Listener, Refused, TopicSel, Why};
use crate::subject::secrets::{LEAKED, SEARCHED};

fn on(listener: Listener) -> Story {
    let mut s = Story::on(LaneName::Kafka, "reference");
    s.scenario.listener = listener;
    s
}

fn must_be_refused(why: Why) -> Story {
    let mut s = on(Listener::SaslTls);
    s.scenario.expect.refused = Some(Refused { why, within: Duration::from_secs(2) });
    came(&mut s);
    s
}

/// A client connects to the broker.
fn came(s: &mut Story) {
    let (what, value) = (CONNECTED.to_owned(), 1);
    s.line(Src::Proxy, Kind::Proc { what, value, text: String::new() });
}

/// The proxy says that it puts connections on record.
fn watched(s: &mut Story) {
    let (what, value) = (WATCHED.to_owned(), 0);
    s.line(Src::Proxy, Kind::Proc { what, value, text: String::new() });
}

/// An event is offered at 10 ms, and an error told at this time.
fn told(why: Why, at_ms: u64, error: &str) -> Story {
    let mut s = must_be_refused(why);
    s.at(10).taken(0);
    let flush = s.at(20).call("flush", None);
    s.at(at_ms).returned(flush, "flush", Some(error));
    s
}

/// An attempt of the event 1 ends with this code, and the subject names a trouble.
fn fails(s: &mut Story, code: i32, why: Option<Trouble>) {
    let attempt = s.attempt(Main, 1);
    let reason = "Message timed out".into();
    let error = Some(DeliveryError { code, class: ErrorClass::Retryable, reason, why });
    let (persistence, partition, offset, late) = (Not, -1, -1, false);
    let route = Main;
    s.claim(Kind::Delivery { attempt, route, persistence, partition, offset, error, late });
}

#[test]
fn an_event_that_arrives_through_a_secured_listener_keeps_s1() {
    let mut s = on(Listener::Tls);
    s.at(10).taken(0).sent(0).at(50).close();
    s.holds(S1);
}

#[test]
fn a_secured_listener_that_lets_nobody_in_breaks_s1() {
    let mut s = on(Listener::Tls);
    s.at(10).taken(0).at(50).close();
    insta::assert_snapshot!(s.broken(S1));
}

#[test]
fn an_error_about_the_reason_in_time_keeps_s2() {
    told(Why::Authentication, 1_900, "SASL authentication failed").holds(S2);
    told(Why::Tls, 1_900, "certificate verify failed").holds(S2);
}

#[test]
fn what_an_error_names_is_what_counts() {
    for (why, named, code) in [
        (Why::Authentication, Some(Trouble::Authentication), -192),
        (Why::ClosedAtOnce, Some(Trouble::ClosedAtOnce), -192),
        (Why::Authorization, None, 29),
    ] {
        let mut s = must_be_refused(why);
        s.at(10).taken(1);
        s.at(500);
        fails(&mut s, code, named);
        s.holds(S2);
    }
}

#[test]
fn an_error_that_names_another_reason_breaks_s2_whatever_its_words() {
    let mut s = must_be_refused(Why::Authentication);
    s.at(10).taken(1);
    s.at(500);
    fails(&mut s, -192, Some(Trouble::AllBrokersDown));
    insta::assert_snapshot!(s.broken(S2));
    let brokers = "sasl_ssl://127.0.0.1:9/1: 1/1 brokers are down; check security.sasl";
    told(Why::Authentication, 100, brokers).broken(S2);
}

#[test]
fn an_outcome_that_names_the_reason_tells_it() {
    let mut s = impatient(Why::Tls);
    s.at(10).taken(1);
    let outcome = dropped("deadline");
    s.at(900).claim(Kind::Outcome { event: id(1), outcome, why: Some(Trouble::Tls) });
    s.holds(S2);
}

/// The same where an event has half a second, and no DLQ.
fn impatient(why: Why) -> Story {
    let settings = json!({ "delivery_timeout": "500ms", "dlq": { "enabled": false } });
    must_be_refused(why).producer(settings)
}

/// Denied at one second; an event at 10 ms and one at two seconds.
fn revoked() -> Story {
    let mut s = must_be_refused(Why::Authorization);
    let kind = FaultKind::AclDenied { topic: TopicSel::Main };
    let at = At::Time(Duration::from_secs(1));
    s.scenario.faults = vec![Fault::new(at.clone(), None, FaultKind::TokenStale)];
    s.scenario.faults.push(Fault::new(at, None, kind));
    s.at(10).taken(0);
    fault(&mut s, 0, "token.stale");
    s
}

fn fault(s: &mut Story, fault: usize, name: &str) {
    let name = name.to_owned();
    s.truth(Kind::Fault { fault, name, phase: FaultPhase::Begin });
}

#[test]
fn the_time_runs_from_the_first_offer_after_the_fault_that_turns_it_away() {
    let mut s = revoked();
    s.at(1_000);
    fault(&mut s, 1, "acl.denied");
    s.at(2_000).taken(1);
    s.at(5_900);
    fails(&mut s, 29, None);
    s.holds(S2);
    let mut s = revoked();
    s.at(1_000);
    fault(&mut s, 1, "acl.denied");
    s.at(2_000).taken(1);
    s.at(6_100);
    fails(&mut s, 29, None);
    assert!(s.broken(S2).contains("said after 4100 ms"));
}

#[test]
fn an_error_before_the_fault_is_about_something_else() {
    let mut s = revoked();
    fails(&mut s, 29, None);
    s.at(1_000);
    fault(&mut s, 1, "acl.denied");
    s.at(2_000).taken(1);
    assert!(s.broken(S2).contains("it was never said"));
}

#[test]
fn a_token_lets_in_until_it_has_expired_and_nobody_after() {
    let story = |offered_ms| {
        let mut s = impatient(Why::Token);
        let at = At::Time(Duration::from_secs(1));
        s.scenario.faults = vec![Fault::new(at, None, FaultKind::TokenStale)];
        s.at(1_000);
        fault(&mut s, 0, "token.stale");
        if offered_ms < 5_000 {
            s.at(offered_ms).taken(1).sent(1);
        }
        let name = "token.stale".to_owned();
        s.at(5_000).truth(Kind::Fault { fault: 0, name, phase: FaultPhase::Effect });
        if offered_ms > 5_000 {
            s.at(offered_ms).taken(1).sent(1);
        }
        s.at(6_000).taken(2);
        s.at(7_000).claim(Kind::Outcome {
            event: id(2),
            outcome: dropped("deadline"),
            why: Some(Trouble::Token),
        });
        s
    };
    story(4_900).holds(S2);
    assert!(story(5_100).broken(S2).contains("no event gets through"));
}

#[test]
fn what_the_lane_found_of_its_own_secrets_breaks_s3() {
    let searched = |s: &mut Story| {
        let what = SEARCHED.to_owned();
        s.at(10).truth(Kind::Proc { what, value: 7, text: String::new() });
    };
    let mut s = on(Listener::Plaintext);
    searched(&mut s);
    s.holds(S3);
    let text = "line 3 of the history, a logged or printed line, holds a key".to_owned();
    s.truth(Kind::Proc { what: LEAKED.to_owned(), value: 0, text });
    insta::assert_snapshot!(s.broken(S3));
}

#[test]
fn an_error_about_something_else_breaks_s2() {
    insta::assert_snapshot!(told(Why::Tls, 1_900, "timed out").broken(S2));
}

#[test]
fn an_error_that_comes_too_late_breaks_s2() {
    // two seconds, and two that real time is given
    told(Why::Authentication, 4_000, "authentication failed").holds(S2);
    insta::assert_snapshot!(told(Why::Authentication, 4_100, "authentication failed").broken(S2));
}

#[test]
fn who_gets_through_though_refused_breaks_s2() {
    let mut s = told(Why::Authentication, 100, "authentication failed");
    s.at(200).taken(1).sent(1);
    insta::assert_snapshot!(s.broken(S2));
}

#[test]
fn what_is_refused_when_it_opens_is_measured_from_there() {
    let mut s = must_be_refused(Why::Tls);
    let open = s.at(10).call("open", None);
    s.at(30).returned(open, "open", Some("ssl.key.location failed"));
    s.holds(S2);
}

/// The subject opens, connects or not, and is refused for this reason.
fn at_open(why: Why, error: &str, connects: bool, settings: serde_json::Value) -> Story {
    let mut s = on(Listener::SaslTls).producer(settings);
    s.scenario.expect.refused = Some(Refused { why, within: Duration::from_secs(2) });
    watched(&mut s);
    let open = s.at(10).call("open", None);
    if connects {
        came(s.at(20));
    }
    s.at(30).returned(open, "open", Some(error));
    s
}

#[test]
fn who_says_that_it_was_refused_without_having_connected_breaks_s2() {
    const SAID: &str = "SASL authentication failed";
    at_open(Why::Authentication, SAID, true, json!({})).holds(S2);
    insta::assert_snapshot!(at_open(Why::Authentication, SAID, false, json!({})).broken(S2));
    let untrusted = at_open(Why::Tls, "certificate verify failed", false, json!({}));
    assert!(untrusted.broken(S2).contains("without having connected"));
}

#[test]
fn a_history_that_puts_no_connections_on_record_is_not_judged_by_them() {
    let mut s = on(Listener::SaslTls);
    let within = Duration::from_secs(2);
    s.scenario.expect.refused = Some(Refused { why: Why::Authentication, within });
    let open = s.at(10).call("open", None);
    s.at(30).returned(open, "open", Some("SASL authentication failed"));
    let judgement = s.judge();
    assert_eq!(judgement.violations, []);
    let mut unjudged = judgement.unjudged.iter().filter(|(law, ..)| *law == S2);
    assert!(unjudged.any(|(_, why, _)| why.contains("no connections on record")));
}

#[test]
fn who_connects_only_after_it_has_said_so_breaks_s2() {
    let mut s = at_open(Why::Authentication, "SASL authentication failed", false, json!({}));
    came(s.at(40));
    assert!(s.broken(S2).contains("without having connected"));
}

#[test]
fn a_key_that_does_not_open_is_refused_without_a_connection() {
    let ssl = json!({ "key_location": "k", "key_password": "other" });
    let settings = json!({ "security": { "ssl": ssl } });
    at_open(Why::Tls, "ssl.key.location failed", false, settings).holds(S2);
}

#[test]
fn a_refusal_that_nobody_judges_proves_nothing() {
    let verdict = |lane| {
        let mut s = Story::on(lane, "reference");
        let within = Duration::from_secs(2);
        s.scenario.expect.refused = Some(Refused { why: Why::Tls, within });
        let open = s.at(10).call("open", None);
        s.at(30).returned(open, "open", Some("ssl.ca.location failed"));
        s.judge().why
    };
    let nothing = "nothing was offered, so nothing is proven".to_owned();
    assert!(verdict(LaneName::Wire).contains(&nothing));
    assert!(!verdict(LaneName::Kafka).contains(&nothing));
}
