//! That patches are patches: small where the change is small.

use serde_json::{Map, Value, json};

use super::generate::library;
use crate::proto::{OpType, StateDiff};
use crate::state::{DiffApplier, DiffConfig, DiffTracker, Diffed, FullReason};
use prost::Message as _;

/// A tracker and a receiver that both have the state.
fn pair(state: &Value, config: DiffConfig) -> (DiffTracker, DiffApplier) {
    let (mut tracker, mut receiver) = (DiffTracker::new(config), DiffApplier::new(config));
    let Diffed::Full { diff, .. } = tracker.diff(state) else { panic!("the first is full") };
    receiver.apply(&diff).unwrap();
    (tracker, receiver)
}

/// The patch to the next state, which has been applied.
fn patch(before: &Value, after: &Value) -> StateDiff {
    let (mut tracker, mut receiver) = pair(before, DiffConfig::default());
    let Diffed::Patch { diff, .. } = tracker.diff(after) else { panic!("no patch") };
    assert_eq!(receiver.apply(&diff).unwrap(), after);
    diff
}

fn paths(diff: &StateDiff) -> Vec<(OpType, &str)> {
    diff.operations.iter().map(|op| (op.op(), op.path.as_str())).collect()
}

fn array(state: &mut Value) -> &mut Vec<Value> {
    state["queue"].as_array_mut().unwrap()
}

#[test]
fn a_changed_field_is_one_operation() {
    let before = library(40);
    let mut after = before.clone();
    after["shelf"]["d7"]["text"] = json!("another text ".repeat(20));
    assert_eq!(paths(&patch(&before, &after)), [(OpType::Replace, "/shelf/d7/text")]);
}

#[test]
fn added_and_removed_keys_are_told_by_their_pointers() {
    let before = library(40);
    let mut after = before.clone();
    let shelf = after["shelf"].as_object_mut().unwrap();
    shelf.shift_remove("d3");
    shelf.insert("a/~b".to_owned(), json!("text of a new one ".repeat(20)));
    assert_eq!(
        paths(&patch(&before, &after)),
        [(OpType::Add, "/shelf/a~1~0b"), (OpType::Remove, "/shelf/d3")]
    );
}

#[test]
fn insertions_at_the_front_and_in_the_middle_leave_the_rest_alone() {
    let before = library(50);
    for at in [0, 1, 25, 50] {
        let mut after = before.clone();
        array(&mut after).insert(at, json!("a document ".repeat(30)));
        let diff = patch(&before, &after);
        assert_eq!(paths(&diff), [(OpType::Add, format!("/queue/{at}").as_str())]);
    }
}

#[test]
fn shrinking_and_growing_arrays_cost_what_they_lose_and_get() {
    let before = library(100);
    for range in [0..10, 50..60, 90..100] {
        let mut after = before.clone();
        array(&mut after).drain(range.clone());
        let gone = format!("/queue/{}", range.start);
        assert_eq!(paths(&patch(&before, &after)), vec![(OpType::Remove, gone.as_str()); 10]);
        let diff = patch(&after, &before);
        let back: Vec<_> = range.map(|at| format!("/queue/{at}")).collect();
        let back: Vec<_> = back.iter().map(|path| (OpType::Add, path.as_str())).collect();
        assert_eq!(paths(&diff), back);
    }
}

#[test]
fn an_insertion_into_small_elements_touches_their_group_and_no_other() {
    let before = library(2000);
    let mut after = before.clone();
    after["numbers"].as_array_mut().unwrap().insert(0, json!(-1));
    let diff = patch(&before, &after);
    assert!(diff.operations.len() < 2000, "{} operations", diff.operations.len());
}

#[test]
fn ten_scattered_changes_cost_a_small_part_of_the_state() {
    let before = library(2000);
    let mut after = before.clone();
    for n in (0..2000).step_by(200) {
        after["queue"][n]["read"] = json!(true);
    }
    let diff = patch(&before, &after);
    let (ours, whole) = (diff.encoded_len(), before.to_string().len());
    assert!(ours * 20 < whole, "{ours} of {whole} bytes: {:?}", paths(&diff));
}

#[test]
fn another_kind_of_container_is_replaced_whole() {
    let long = "text ".repeat(40);
    let before = json!({"a": [long, long], "b": [[long], long, long, long, long]});
    let mut after = before.clone();
    after["a"] = json!({"0": long, "1": long});
    assert_eq!(paths(&patch(&before, &after)), [(OpType::Replace, "/a")]);
}

#[test]
fn hard_keys_survive_as_pointers() {
    let long = Value::from("text ".repeat(40));
    let keys = ["", "/", "~", "~1", "a/b", "\"", "\\", "\u{1}", "é", "𝄞", "0"];
    let before: Map<_, _> = keys.iter().map(|key| ((*key).to_owned(), long.clone())).collect();
    for key in keys {
        let mut after = before.clone();
        after[key] = json!("other");
        let diff = patch(&Value::Object(before.clone()), &Value::Object(after));
        assert_eq!(diff.operations.len(), 1, "{key:?}");
    }
}

#[test]
fn growing_each_step_stays_with_patches_but_for_rare_changes_of_the_grain() {
    let mut state = json!({"log": []});
    let (mut tracker, mut receiver) = pair(&state, DiffConfig::default());
    let mut fulls = 0;
    for n in 0..600 {
        let line = json!({"n": n, "text": format!("step {n} ").repeat(80)});
        state["log"].as_array_mut().unwrap().push(line);
        match tracker.diff(&state) {
            Diffed::Patch { diff, .. } => {
                assert!(diff.encoded_len() < 20_000, "step {n}: {:?}", paths(&diff));
                receiver.apply(&diff).unwrap();
            }
            Diffed::Full { diff, reason, .. } => {
                assert_eq!(reason, FullReason::NotSmaller);
                fulls += 1;
                receiver.apply(&diff).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(fulls <= 8, "{fulls} full states");
}

#[test]
fn without_a_budget_every_diff_is_a_full_state_and_an_equal_state_is_still_known() {
    let config = DiffConfig { digest_budget_bytes: 0, ..DiffConfig::default() };
    let mut state = library(20);
    let (mut tracker, _) = pair(&state, config);
    assert_eq!(tracker.diff(&state), Diffed::Unchanged);
    state["cursor"] = json!(1);
    let diffed = tracker.diff(&state);
    assert!(matches!(diffed, Diffed::Full { reason: FullReason::NotSmaller, .. }), "{diffed:?}");
    assert!(tracker.retained_bytes() < 100);
}

#[test]
fn budget_and_tenth_of_the_state_bound_what_is_kept() {
    for (documents, budget) in [(4000, 2 << 20), (4000, 20_000), (400, 3000)] {
        let config = DiffConfig { digest_budget_bytes: budget, ..DiffConfig::default() };
        let state = library(documents);
        let (tracker, _) = pair(&state, config);
        let (kept, len) = (tracker.retained_bytes(), state.to_string().len());
        assert!(kept as u64 <= budget + 512, "{kept} bytes for a budget of {budget}");
        assert!(kept <= (len / 10).max(64 << 10) + 512, "{kept} bytes for a state of {len}");
        assert!(kept > 300, "{kept} bytes: nothing is kept");
    }
}
