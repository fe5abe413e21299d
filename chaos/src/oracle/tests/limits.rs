//! What the oracle works out for itself: the rate limit, rebuilt clients, late deliveries.

use super::story::*;
use crate::history::{DeliveryError, ErrorClass, Kind};
use crate::oracle::LawId::{M1, Protocol};
use crate::scenario::model::LaneName;
use serde_json::json;

/// Two at once, ten per second.
fn limit() -> serde_json::Value {
    json!({ "rate_limit": { "rate": 10.0, "burst": 2 } })
}

/// Events offered at these times; `true` passed the limiter.
fn limited(offers: &[(u64, bool)]) -> Story {
    let mut s = Story::new().producer(limit());
    for (n, (at, passes)) in (0..).zip(offers) {
        s.at(*at).offered(n);
        if *passes {
            s.accepted(n).sent(n);
        } else {
            s.outcome(n, rejected("rate_limited"));
        }
    }
    s
}

/// Closed at the end, and scraped by `edit` of the truth.
fn closed(mut s: Story, edit: impl FnOnce(String) -> String) -> Story {
    let close = s.at(60_000).call("close", Some(1000));
    s.closed(close);
    let text = edit(s.truthful());
    s.scraped(text, true);
    s
}

fn limited_well() -> Story {
    limited(&[(10, true), (10, true), (10, false), (110, true), (150, false), (210, true)])
}

#[test]
fn a_bucket_that_gives_what_it_holds_keeps_m1() {
    closed(limited_well(), |text| text).holds(M1);
}

#[test]
fn refusing_an_event_while_tokens_are_left_breaks_m1() {
    let s = closed(limited(&[(10, true), (20, false)]), |text| text);
    s.breaks(M1, "rate_limited");
    insta::assert_snapshot!(s.broken(M1));
}

#[test]
fn passing_an_event_without_a_token_breaks_m1() {
    let s = closed(limited(&[(10, true), (10, true), (100, true)]), |text| text);
    s.breaks(M1, "rate_exceeded");
    insta::assert_snapshot!(s.broken(M1));
}

#[test]
fn a_bucket_never_holds_more_than_its_burst() {
    let after = |last| closed(limited(&[(5000, true), (5000, true), (5000, last)]), |text| text);
    after(false).holds(M1);
    after(true).breaks(M1, "rate_exceeded");
}

#[test]
fn every_incarnation_begins_with_a_full_bucket() {
    let mut s = limited(&[(10, true), (10, true), (10, false)]);
    s.at(20).close().reopen();
    s.at(30).taken(3).sent(3).taken(4).sent(4).offered(5).outcome(5, rejected("rate_limited"));
    closed(s, |text| text).holds(M1);
}

/// On sockets, three at once, of which the third is heard of after so many milliseconds.
fn on_its_way(ms: u64) -> Story {
    let mut s = Story::on(LaneName::Wire, "reference").producer(limit());
    s.at(10).taken(0).sent(0).taken(1).sent(1).offered(2);
    s.at(10 + ms).accepted(2).sent(2);
    closed(s, |text| text)
}

#[test]
fn in_real_time_what_was_on_its_way_for_long_may_have_met_a_later_bucket() {
    on_its_way(150).holds(M1);
    on_its_way(20).breaks(M1, "rate_exceeded");
}

#[test]
fn the_counter_of_what_the_limit_allowed_is_bound_on_both_sides() {
    let name = "dashstream_rate_limit_allowed_total";
    for wrong in [3, 5] {
        let edit = |text: String| {
            let line = format!("{name}{{tenant_id=\"default\"}} ");
            assert!(text.contains(&format!("{line}4")), "{text}");
            text.replace(&format!("{line}4"), &format!("{line}{wrong}"))
        };
        closed(limited_well(), edit).breaks(M1, name);
    }
}

#[test]
fn what_is_rejected_after_close_has_asked_no_limiter() {
    let run = |allowed: u32| {
        let mut s = limited_well();
        let close = s.at(60_000).call("close", Some(1000));
        s.closed(close).at(60_010).offered(6).outcome(6, rejected("closed"));
        let line = "allowed_total{tenant_id=\"default\"} ";
        let text = s.truthful().replace(&format!("{line}4"), &format!("{line}{allowed}"));
        s.scraped(text, true);
        s
    };
    run(4).holds(M1);
    run(5).breaks(M1, "dashstream_rate_limit_allowed_total");
}

#[test]
fn without_a_limit_nothing_is_allowed_by_one() {
    let name = "dashstream_rate_limit_allowed_total";
    let run = |allowed: u32| {
        let mut s = Story::new();
        s.at(10).taken(0).sent(0);
        closed(s, |text| {
            text.replace("allowed_total{tenant_id=\"default\"} 0", &{
                format!("allowed_total{{tenant_id=\"default\"}} {allowed}")
            })
        })
    };
    run(0).holds(M1);
    run(1).breaks(M1, name);
}

/// A fatal error, and an event that went well afterwards; `rebuilds` counted.
fn fatal(traffic: bool, rebuilds: u64) -> Story {
    let mut s = Story::new();
    s.at(10).taken(0);
    let attempt = s.at(20).attempt(Main, 0);
    s.at(30).failed(attempt, Main, 47, Not).buried(0, "permanent_error", Not);
    if traffic {
        s.at(400).taken(1).sent(1);
    }
    closed(s, |text| {
        let line = "dashstream_client_rebuilds_total{route=\"main\"} ";
        let truthful = format!("{line}{}", u64::from(traffic));
        assert!(text.contains(&truthful), "{text}");
        text.replace(&truthful, &format!("{line}{rebuilds}"))
    })
}

#[test]
fn traffic_after_a_fatal_error_went_to_a_client_that_is_counted() {
    let name = "dashstream_client_rebuilds_total";
    fatal(true, 1).holds(M1);
    fatal(true, 0).breaks(M1, name);
    fatal(true, 2).breaks(M1, name);
    // Whether a client was made that nobody used the history does not show.
    fatal(false, 0).holds(M1);
    fatal(false, 1).holds(M1);
    fatal(false, 2).breaks(M1, name);
}

/// Two events that close gives up and whose deliveries come after their outcomes, called late or
/// not.
fn late(called: [bool; 2]) -> Story {
    let mut s = Story::new();
    s.at(10).taken(0).taken(1);
    let attempts = [s.at(20).attempt(Main, 0), s.attempt(Main, 1)];
    let close = s.at(30).call("close", Some(10));
    for n in 0..2 {
        s.at(40).outcome(n, in_doubt("abandoned", Possibly, Not));
    }
    s.closed(close);
    for (attempt, late) in attempts.into_iter().zip(called) {
        s.at(50).delivery(attempt, late);
    }
    s
}

impl Story {
    /// A failed delivery that the subject calls late or not.
    fn delivery(&mut self, attempt: u64, late: bool) -> &mut Self {
        let reason = "timed out".into();
        let error =
            Some(DeliveryError { code: -192, class: ErrorClass::Retryable, reason, why: None });
        let (route, persistence, partition, offset) = (Main, Possibly, -1, -1);
        self.claim(Kind::Delivery { attempt, route, persistence, partition, offset, error, late })
    }
}

#[test]
fn lateness_is_counted_by_the_order_of_lines_whatever_the_subject_calls_it() {
    for called in [[true, true], [false, false]] {
        let mut s = late(called);
        assert!(s.truthful().contains("late_deliveries_total{route=\"main\"} 2"));
        s.scrape(true).holds(M1);
    }
    let mut s = late([true, true]);
    let text = s.truthful().replace("total{route=\"main\"} 2", "total{route=\"main\"} 0");
    s.scraped(text, true).breaks(M1, "dashstream_late_deliveries_total");
}

#[test]
fn a_subject_that_calls_one_late_delivery_late_and_another_not_breaks_the_protocol() {
    let mut s = late([true, false]);
    s.scrape(true).breaks(Protocol, "late");
}

#[test]
fn a_delivery_that_is_called_late_before_its_outcome_breaks_the_protocol() {
    let mut s = Story::new().producer(json!({ "dlq": { "enabled": false } }));
    s.at(10).taken(0);
    let attempt = s.at(20).attempt(Main, 0);
    s.at(30).delivery(attempt, true).outcome(0, in_doubt("unconfirmed", Possibly, Not));
    s.at(50).close();
    insta::assert_snapshot!(s.broken(Protocol));
}
