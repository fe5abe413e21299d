//! The chain: what a lost message, a checkpoint and a wrong receiver do to it.

use serde_json::{Value, json};

use super::generate::library;
use crate::proto::{DiffOperation, OpType, StateDiff, ValueEncoding};
use crate::state::{
    ApplyError, DiffApplier, DiffConfig, DiffToken, DiffTracker, Diffed, FullReason,
};

fn tracker() -> DiffTracker {
    DiffTracker::new(DiffConfig::default())
}

fn receiver() -> DiffApplier {
    DiffApplier::new(DiffConfig::default())
}

fn step(n: usize) -> Value {
    let mut state = library(20);
    state["cursor"] = json!(n);
    state
}

fn patch(diffed: Diffed) -> (StateDiff, DiffToken) {
    match diffed {
        Diffed::Patch { diff, token } => (diff, token),
        other => panic!("no patch: {other:?}"),
    }
}

fn full(diffed: Diffed, why: FullReason) -> (StateDiff, DiffToken) {
    match diffed {
        Diffed::Full { diff, token, reason } if reason == why => (diff, token),
        other => panic!("no full state for {why:?}: {other:?}"),
    }
}

#[test]
fn after_a_lost_patch_the_next_diff_is_a_full_state_and_then_patches_go_on() {
    let (mut tracker, mut receiver) = (tracker(), receiver());
    receiver.apply(&full(tracker.diff(&step(0)), FullReason::First).0).unwrap();
    let (_, lost) = patch(tracker.diff(&step(1)));
    let (follower, _) = patch(tracker.diff(&step(2)));
    let refused = receiver.apply(&follower).unwrap_err();
    assert!(matches!(refused, ApplyError::WrongBase { .. }), "{refused}");
    tracker.lost(lost);
    receiver.apply(&full(tracker.diff(&step(3)), FullReason::Resync).0).unwrap();
    let (next, _) = patch(tracker.diff(&step(4)));
    assert_eq!(receiver.apply(&next).unwrap(), &step(4));
}

#[test]
fn a_lost_full_state_is_sent_again_even_if_nothing_changed() {
    let (mut tracker, mut receiver) = (tracker(), receiver());
    let (_, lost) = full(tracker.diff(&step(0)), FullReason::First);
    tracker.lost(lost);
    receiver.apply(&full(tracker.diff(&step(0)), FullReason::Resync).0).unwrap();
    assert_eq!(tracker.diff(&step(0)), Diffed::Unchanged);
}

#[test]
fn a_loss_from_before_the_last_full_state_needs_no_other() {
    let (mut tracker, mut receiver) = (tracker(), receiver());
    let (_, first) = full(tracker.diff(&step(0)), FullReason::First);
    let (_, second) = patch(tracker.diff(&step(1)));
    tracker.lost(second);
    let (resync, _) = full(tracker.diff(&step(2)), FullReason::Resync);
    receiver.apply(&resync).unwrap();
    tracker.lost(first);
    tracker.lost(second);
    let (next, _) = patch(tracker.diff(&step(3)));
    assert_eq!(receiver.apply(&next).unwrap(), &step(3));
}

#[test]
fn a_checkpoint_that_the_receiver_reads_is_a_base() {
    let (mut tracker, mut receiver) = (tracker(), receiver());
    tracker.rebase(b"checkpoint 7", &step(0)).unwrap();
    receiver.adopt(b"checkpoint 7", step(0));
    let (diff, token) = patch(tracker.diff(&step(1)));
    assert_eq!(diff.base_checkpoint_id, b"checkpoint 7");
    receiver.apply(&diff).unwrap();
    let (diff, _) = patch(tracker.diff(&step(2)));
    assert_eq!(receiver.apply(&diff).unwrap(), &step(2));
    // A loss from before the next checkpoint no longer matters.
    tracker.rebase(b"checkpoint 8", &step(2)).unwrap();
    tracker.lost(token);
    receiver.adopt(b"checkpoint 8", step(2));
    let (diff, _) = patch(tracker.diff(&step(3)));
    assert_eq!(receiver.apply(&diff).unwrap(), &step(3));
}

#[test]
fn a_degraded_step_leaves_the_chain_on_the_state_that_was_sent_last() {
    let config = DiffConfig { max_state_bytes: 100_000, ..DiffConfig::default() };
    let (mut tracker, mut receiver) = (DiffTracker::new(config), receiver());
    receiver.apply(&full(tracker.diff(&step(0)), FullReason::First).0).unwrap();
    for n in 1..4 {
        let huge = json!({"text": "x".repeat(100_000)});
        assert!(matches!(tracker.diff(&huge), Diffed::Degraded(_)));
        assert!(matches!(tracker.diff(&f64::NAN), Diffed::Degraded(_)));
        let (diff, _) = patch(tracker.diff(&step(n)));
        assert_eq!(receiver.apply(&diff).unwrap(), &step(n));
    }
}

#[test]
fn a_loss_while_states_are_degraded_is_not_forgotten() {
    let config = DiffConfig { max_state_bytes: 100_000, ..DiffConfig::default() };
    let mut tracker = DiffTracker::new(config);
    let (_, lost) = full(tracker.diff(&step(0)), FullReason::First);
    assert!(matches!(tracker.diff(&"x".repeat(100_000)), Diffed::Degraded(_)));
    tracker.lost(lost);
    assert!(matches!(tracker.diff(&"x".repeat(100_000)), Diffed::Degraded(_)));
    full(tracker.diff(&step(1)), FullReason::Resync);
}

#[test]
fn a_receiver_that_comes_late_knows_it() {
    let mut tracker = tracker();
    full(tracker.diff(&step(0)), FullReason::First);
    let (diff, _) = patch(tracker.diff(&step(1)));
    let error = receiver().apply(&diff).unwrap_err();
    assert!(matches!(error, ApplyError::NoBase { .. }), "{error}");
}

#[test]
fn a_damaged_diff_is_refused_and_changes_nothing() {
    let (mut tracker, mut receiver) = (tracker(), receiver());
    receiver.apply(&full(tracker.diff(&step(0)), FullReason::First).0).unwrap();
    let (good, _) = patch(tracker.diff(&step(1)));
    let operation = || good.operations[0].clone();
    let with = |operation| StateDiff { operations: vec![operation], ..good.clone() };
    let cases = [
        (with(DiffOperation { value: b"7".to_vec(), ..operation() }), "hash"),
        (with(DiffOperation { value: b"{".to_vec(), ..operation() }), "malformed"),
        (with(DiffOperation { path: "/no/such".into(), ..operation() }), "does not fit"),
        (with(DiffOperation { path: "no pointer".into(), ..operation() }), "malformed"),
        (with(DiffOperation { op: 77, ..operation() }), "malformed"),
        (
            with(DiffOperation { encoding: ValueEncoding::Msgpack.into(), ..operation() }),
            "malformed",
        ),
        (StateDiff { state_hash: vec![1; 32], ..good.clone() }, "hash"),
        (StateDiff { full_state: b"[1".to_vec(), ..good.clone() }, "malformed"),
    ];
    for (diff, word) in cases {
        let error = receiver.apply(&diff).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(receiver.state(), Some(&step(0)));
    }
    assert_eq!(receiver.apply(&good).unwrap(), &step(1));
}

#[test]
fn a_receiver_understands_all_six_operations() {
    let mut receiver = receiver();
    receiver.adopt(b"c", json!({"a": [1], "b": 2}));
    let operation = |op: OpType, path: &str, from: &str, value: &str| DiffOperation {
        op: op.into(),
        path: path.into(),
        from: from.into(),
        value: value.into(),
        ..DiffOperation::default()
    };
    let after = json!({"c": [1, 2], "d": 2});
    let diff = StateDiff {
        base_checkpoint_id: b"c".to_vec(),
        operations: vec![
            operation(OpType::Test, "/b", "", "2"),
            operation(OpType::Move, "/c", "/a", ""),
            operation(OpType::Add, "/c/-", "", "3"),
            operation(OpType::Replace, "/c/1", "", "2"),
            operation(OpType::Copy, "/d", "/b", ""),
            operation(OpType::Remove, "/b", "", ""),
        ],
        state_hash: crate::state::state_hash(&after, &DiffConfig::default()).unwrap().to_vec(),
        ..StateDiff::default()
    };
    assert_eq!(receiver.apply(&diff).unwrap(), &after);
}
