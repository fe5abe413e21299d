//! Limits at their edges, reasons and their counters.

use prometheus::{Registry, TextEncoder};
use prost::Message as _;
use serde_json::{Value, json};

use super::generate::library;
use crate::state::{
    DegradeReason, DiffConfig, DiffMetrics, DiffTracker, Diffed, StateError, StateErrorKind,
};

fn degraded(diffed: Diffed) -> StateError {
    match diffed {
        Diffed::Degraded(error) => error,
        other => panic!("not degraded: {other:?}"),
    }
}

fn length(state: &Value) -> u64 {
    state.to_string().len() as u64
}

#[test]
fn a_state_exactly_at_the_limit_is_let_in_and_one_byte_more_is_not() {
    let state = library(30);
    for window_bytes in [4 << 20, 2000] {
        let limit = length(&state);
        let config = DiffConfig { max_state_bytes: limit, window_bytes, ..DiffConfig::default() };
        assert!(matches!(DiffTracker::new(config).diff(&state), Diffed::Full { .. }));
        let config = DiffConfig { max_state_bytes: limit - 1, ..config };
        let error = degraded(DiffTracker::new(config).diff(&state));
        let StateErrorKind::TooLarge { limit, at_least } = error.kind else { panic!("{error}") };
        assert!(at_least > limit && at_least <= length(&state));
    }
}

#[test]
fn a_message_exactly_at_the_limit_is_made_and_one_byte_more_is_not() {
    let state = library(30);
    let Diffed::Full { diff, .. } = DiffTracker::new(DiffConfig::default()).diff(&state) else {
        panic!("the first is full");
    };
    let size = diff.encoded_len() as u64;
    let config = DiffConfig { max_diff_bytes: size, ..DiffConfig::default() };
    assert!(matches!(DiffTracker::new(config).diff(&state), Diffed::Full { .. }));
    let config = DiffConfig { max_diff_bytes: size - 1, ..DiffConfig::default() };
    let mut tracker = DiffTracker::new(config);
    let error = degraded(tracker.diff(&state));
    assert_eq!(error.kind, StateErrorKind::DiffTooLarge { limit: size - 1, full: size });
    // With a checkpoint as base a state over the limit still has patches.
    tracker.rebase(b"c", &library(29)).unwrap();
    let diffed = tracker.diff(&state);
    assert!(matches!(diffed, Diffed::Patch { .. }), "{diffed:?}");
}

#[test]
fn two_megabytes_have_a_diff_by_default() {
    let state = json!({"text": "x".repeat(2 << 20)});
    assert!(matches!(DiffTracker::new(DiffConfig::default()).diff(&state), Diffed::Full { .. }));
}

#[test]
fn small_and_huge_in_turn_costs_the_huge_ones_their_diff_and_nothing_else() {
    let mut tracker = DiffTracker::new(DiffConfig::default());
    let huge = Value::from("x".repeat(10 << 20));
    for n in 0..5 {
        let diffed = tracker.diff(&json!({"n": n}));
        assert!(matches!(diffed, Diffed::Full { .. } | Diffed::Patch { .. }), "{diffed:?}");
        assert_eq!(degraded(tracker.diff(&huge)).reason(), DegradeReason::TooLarge);
    }
    assert_eq!(tracker.counters().degraded(DegradeReason::TooLarge), 5);
    assert_eq!(tracker.counters().fulls() + tracker.counters().patches(), 5);
}

#[test]
fn a_failed_rebase_keeps_the_base_and_counts_nothing() {
    let mut tracker = DiffTracker::new(DiffConfig::default());
    tracker.rebase(b"c", &json!({"n": 1})).unwrap();
    assert_eq!(tracker.rebase(b"d", &f64::NAN).unwrap_err().reason(), DegradeReason::NotANumber);
    assert_eq!(tracker.diff(&json!({"n": 1})), Diffed::Unchanged);
    assert_eq!(tracker.counters().degraded(DegradeReason::NotANumber), 0);
}

#[test]
fn every_error_says_what_to_do() {
    let kinds = [
        StateErrorKind::Unserialisable("the state's own words".to_owned()),
        StateErrorKind::NonStringKey("a float"),
        StateErrorKind::NotANumber("NaN"),
        StateErrorKind::TooDeep { limit: 100 },
        StateErrorKind::TooLarge { limit: 10, at_least: 12 },
        StateErrorKind::DiffTooLarge { limit: 10, full: 12 },
    ];
    let errors = kinds.map(|kind| StateError { kind, path: "/a/0".to_owned() });
    assert_eq!(errors.each_ref().map(StateError::reason), DegradeReason::ALL);
    insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"));
}

#[test]
fn every_label_is_exported_at_zero_and_trackers_count_together() {
    let registry = Registry::new();
    let metrics = DiffMetrics::register(&registry).unwrap();
    let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    insta::assert_snapshot!(text());
    for _ in 0..2 {
        let mut tracker = DiffTracker::with_counters(DiffConfig::default(), metrics.counters());
        for _ in 0..2 {
            drop(tracker.diff(&json!([1])));
        }
        drop(tracker.diff(&[f64::NAN]));
    }
    let text = text();
    for line in [
        "dashstream_state_diff_degraded_total{reason=\"not_a_number\"} 2",
        "dashstream_state_diffs_total{kind=\"full\"} 2",
        "dashstream_state_diffs_total{kind=\"unchanged\"} 2",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let taken = DiffMetrics::register(&registry).unwrap_err().to_string();
    assert!(taken.contains("register once"), "{taken}");
}
