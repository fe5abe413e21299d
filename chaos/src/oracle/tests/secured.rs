//! S1 and S2.

use std::time::Duration;

use super::story::*;
use crate::oracle::LawId::{S1, S2};
use crate::scenario::model::{LaneName, Listener, Refused, Why};

fn on(listener: Listener) -> Story {
    let mut s = Story::on(LaneName::Kafka, "reference");
    s.scenario.listener = listener;
    s
}

fn must_be_refused(why: Why) -> Story {
    let mut s = on(Listener::SaslTls);
    s.scenario.expect.refused = Some(Refused { why, within: Duration::from_secs(2) });
    s
}

/// An event is offered at 10 ms, and an error told at this time.
fn told(why: Why, at_ms: u64, error: &str) -> Story {
    let mut s = must_be_refused(why);
    s.at(10).taken(0);
    let flush = s.at(20).call("flush", None);
    s.at(at_ms).returned(flush, "flush", Some(error));
    s
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
