//! M1 to M6.

use super::story::*;
use crate::history::{Kind, Src};
use crate::oracle::LawId::{M1, M2, M3, M4, M5, M6};
use crate::scenario::model::LaneName;
use serde_json::json;

/// One event acked, one dead-lettered after two attempts, closed, scraped by `edit` of the truth.
fn scraped(edit: impl FnOnce(String) -> String) -> Story {
    let mut s = Story::new().producer(json!({ "retry": { "max_attempts": 2 } }));
    s.at(10).taken(0).at(20).sent(0).at(30).taken(1);
    let first = s.at(40).attempt(Main, 1);
    s.at(50).failed(first, Main, -195, Not);
    let second = s.at(150).attempt(Main, 1);
    s.at(160).failed(second, Main, -195, Not).at(161).buried(1, "retries_exhausted", Not);
    let close = s.at(200).call("close", Some(1000));
    s.closed(close);
    let text = edit(s.truthful());
    s.scraped(text, true);
    s
}

#[test]
fn counters_that_equal_the_ledger_keep_m1_m3_and_m5() {
    for law in [M1, M3, M5] {
        scraped(|text| text).holds(law);
    }
}

/// The text is checked against numbers worked out by hand, not against the table.
#[test]
fn the_table_counts_what_a_person_counts() {
    let text = scraped(|text| text).truthful();
    for line in [
        "dashstream_events_total{outcome=\"acked\",reason=\"\"} 1",
        "dashstream_events_total{outcome=\"dead_lettered\",reason=\"retries_exhausted\"} 1",
        "dashstream_events_total{outcome=\"dropped\",reason=\"deadline\"} 0",
        "dashstream_messages_sent_total 1",
        "dashstream_send_failures_total 1",
        "dashstream_send_retries_total 1",
        "dashstream_dlq_sends_total 1",
        "dashstream_dlq_send_failures_total 0",
        "dashstream_dlq_send_retries_total 0",
        "dashstream_dlq_dropped_total 0",
        "dashstream_late_deliveries_total{route=\"main\"} 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
    }
}

#[test]
fn a_counter_off_by_one_breaks_m1() {
    let s = scraped(|text| {
        text.replace(
            "dashstream_events_total{outcome=\"acked\",reason=\"\"} 1",
            "dashstream_events_total{outcome=\"acked\",reason=\"\"} 2",
        )
    });
    insta::assert_snapshot!(s.broken(M1));
}

#[test]
fn a_retry_counter_that_counts_every_attempt_breaks_m1() {
    let s = scraped(|t| t.replace("send_retries_total 1", "send_retries_total 3"));
    s.breaks(M1, "dashstream_send_retries_total");
}

#[test]
fn a_series_or_label_that_means_nothing_breaks_m1() {
    let s = scraped(|text| {
        let text = text.replace("reason=\"queue_full\"", "reason=\"full\"");
        format!("{text}# TYPE dashstream_event_total counter\ndashstream_event_total 7\n")
    });
    insta::assert_snapshot!(s.broken(M1));
}

#[test]
fn a_scrape_that_cannot_be_read_breaks_m1() {
    insta::assert_snapshot!(scraped(|text| text.replace(" 1\n", " one\n")).broken(M1));
}

#[test]
fn foreign_series_are_nobodys_business() {
    scraped(|text| format!("{text}process_cpu_seconds_total 1.5\n")).holds(M1);
}

/// An event with this outcome, in a run with these settings.
fn reasoned(settings: serde_json::Value, outcome: crate::history::Outcome) -> Story {
    let mut s = Story::new().producer(settings);
    s.at(10).offered(0);
    if !matches!(outcome, crate::history::Outcome::Rejected { .. }) {
        s.accepted(0);
    }
    s.at(20).outcome(0, outcome).at(50).close();
    s
}

#[test]
fn reasons_that_the_history_does_not_bear_out_break_m1() {
    let none = || json!({ "dlq": { "enabled": false } });
    for (settings, outcome) in [
        (json!({ "queue": { "when_full": "reject" } }), rejected("queue_full")),
        (none(), rejected("queue_full")),
        (none(), rejected("oversize")),
        (none(), rejected("closed")),
        (none(), rejected("cancelled")),
        (none(), rejected("rate_limited")),
        (none(), dropped("abandoned")),
        (none(), dropped("deadline")),
        (none(), in_doubt("acks_0", Possibly, Not)),
    ] {
        let rule = outcome.reason().to_owned();
        reasoned(settings, outcome).breaks(M1, &rule);
    }
}

#[test]
fn a_reason_outside_the_closed_list_breaks_m1() {
    let s = reasoned(json!({ "dlq": { "enabled": false } }), dropped("bad_luck"));
    insta::assert_snapshot!(s.broken(M1));
}

#[test]
fn reasons_that_the_history_bears_out_keep_m1() {
    let queue = json!({ "queue": { "when_full": "reject", "max_events": 1 } });
    let mut full = Story::new().producer(queue);
    full.at(10).taken(0).offered(1).outcome(1, rejected("queue_full")).at(20).sent(0);
    full.at(50).close();
    full.holds(M1);
    let mut large = Story::new().producer(json!({ "max_message_bytes": 2000 }));
    large.at(10).offered_by(0, "t0", 2001).outcome(0, rejected("oversize")).at(50).close();
    large.holds(M1);
    let mut limited = Story::new().producer(json!({ "rate_limit": { "rate": 1.0, "burst": 1 } }));
    limited.at(10).taken(0).sent(0).offered(1).outcome(1, rejected("rate_limited")).at(50).close();
    limited.holds(M1);
}

#[test]
fn an_oversize_event_that_is_accepted_breaks_m1() {
    let mut s = Story::new().producer(json!({ "max_message_bytes": 2000 }));
    s.at(10).offered_by(0, "t0", 3000).accepted(0).sent(0).at(50).close();
    s.breaks(M1, "oversize_accepted");
}

/// A scrape right after open, by `edit` of the truth.
fn fresh(edit: impl FnOnce(String) -> String) -> Story {
    let mut s = Story::new();
    let text = edit(s.truthful());
    s.scraped(text, false).at(10).taken(0).sent(0).at(50).close();
    s
}

#[test]
fn every_series_at_zero_from_the_start_keeps_m2_and_m4() {
    fresh(|text| text).holds(M2);
    fresh(|text| text).holds(M4);
}

#[test]
fn a_series_that_comes_later_breaks_m2() {
    let s = fresh(|text| {
        let kept = text.lines().filter(|l| !l.starts_with("dashstream_dlq_dropped_total"));
        kept.map(|l| format!("{l}\n")).collect()
    });
    insta::assert_snapshot!(s.broken(M2));
}

#[test]
fn a_gauge_that_does_not_return_breaks_m3() {
    let s =
        scraped(|t| t.replace("\ndashstream_queue_events 0\n", "\ndashstream_queue_events 2\n"));
    insta::assert_snapshot!(s.broken(M3));
}

#[test]
fn a_counter_that_goes_back_breaks_m4() {
    let s = fresh(|t| t.replace("messages_sent_total 0", "messages_sent_total 5"));
    insta::assert_snapshot!(s.broken(M4));
}

#[test]
fn a_counter_that_vanishes_breaks_m4() {
    let s = fresh(|t| format!("{t}# TYPE x_total counter\nx_total 1\n"));
    s.breaks(M4, "vanished");
}

#[test]
fn a_close_report_that_differs_from_the_ledger_breaks_m5() {
    let mut s = Story::new();
    s.at(10).taken(0).sent(0);
    let id = s.at(50).call("close", Some(1000));
    let answer = json!({ "counts": { "acked": 2 } });
    s.truth(Kind::Return { id, op: "close".into(), error: None, why: None, answer }).scrape(true);
    insta::assert_snapshot!(s.broken(M5));
}

#[test]
fn outcomes_that_are_counted_and_not_told_break_m5() {
    let s = scraped(|t| t.replace("reason=\"oversize\"} 0", "reason=\"oversize\"} 4"));
    insta::assert_snapshot!(s.broken(M5));
}

#[test]
fn a_line_on_stderr_breaks_m6() {
    let printed = |line: Option<&str>| {
        let mut s = Story::on(LaneName::Wire, "reference");
        s.at(10).taken(0).sent(0);
        if let Some(line) = line {
            s.at(20).proc(Src::Os, "stderr", 0, line);
        }
        s.at(50).close();
        s
    };
    printed(None).holds(M6);
    insta::assert_snapshot!(printed(Some("[rdkafka] broker is down")).broken(M6));
}

#[test]
fn an_armed_callback_panics_once() {
    let panics = |count: u32| {
        let mut s = Story::new();
        let arm = s.at(5).call("panic_callback", None);
        s.returned(arm, "panic_callback", None);
        s.at(10).taken(0).sent(0).at(20).taken(1).sent(1);
        let close = s.at(50).call("close", Some(1000));
        s.closed(close);
        let line = "dashstream_callback_panics_total ";
        let text = s.truthful().replace(&format!("{line}1"), &format!("{line}{count}"));
        s.scraped(text, true);
        s
    };
    panics(1).holds(M1);
    panics(0).breaks(M1, "dashstream_callback_panics_total");
    panics(2).breaks(M1, "dashstream_callback_panics_total");
}
