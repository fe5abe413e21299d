//! Arbitrary states, and changes to them.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const HARD: &[&str] =
    &["", "/", "~", "~1", "a/b", "\"", "\\", "\u{1}", "é", "𝄞", "\u{7f}", "0", "-", "a\\"];

/// Keys that JSON Pointer, JSON strings and sorting trip over, and plain ones.
pub(super) fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => prop::sample::select(HARD).prop_map(str::to_owned),
        3 => "[a-h]{1,2}",
        1 => "\\PC{0,6}",
        1 => "k{60,90}",
    ]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        prop::sample::select(&[0.0, -0.0, 1e300, 5e-324, 0.1, 1e15, 1e16, -1.0][..])
            .prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-z\"\\\\\u{1}]{0,300}".prop_map(Value::from),
    ]
}

/// Any JSON value; a map's entries come in any order.
pub(super) fn state() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(6, 160, 24, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..24).prop_map(Value::from),
            vec((key(), inner), 0..16)
                .prop_map(|entries| Value::from(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A change somewhere in a state.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Which way to go at each level.
    way: Vec<prop::sample::Index>,
    kind: u8,
    key: String,
    value: Value,
}

pub(super) fn change() -> impl Strategy<Value = Change> {
    (vec(any::<prop::sample::Index>(), 0..6), any::<u8>(), key(), state())
        .prop_map(|(way, kind, key, value)| Change { way, kind, key, value })
}

/// Applies a change.
pub(super) fn apply(state: &mut Value, change: &Change) {
    let mut at = state;
    for step in &change.way {
        let children = match at {
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        };
        if children == 0 {
            break;
        }
        at = match at {
            Value::Array(items) => &mut items[step.index(children)],
            Value::Object(map) => map.values_mut().nth(step.index(children)).unwrap(),
            _ => break,
        };
    }
    let value = change.value.clone();
    match (at, change.kind % 6) {
        (Value::Array(items), 0) => items.insert(0, value),
        (Value::Array(items), 1) => items.push(value),
        (Value::Array(items), 2) => drop(items.drain(..items.len() / 2)),
        (Value::Array(items), 3) => items.truncate(items.len() / 2),
        (Value::Array(items), 4) => items.reverse(),
        (Value::Object(map), 0 | 1) => drop(map.insert(change.key.clone(), value)),
        (Value::Object(map), 2 | 3) => {
            if let Some(key) = map.keys().next().cloned() {
                map.shift_remove(&key);
            }
        }
        (other, _) => *other = value,
    }
}

/// A state of so many documents in a map and in an array, some 1100 bytes each.
pub(super) fn library(documents: usize) -> Value {
    let document = |n: usize| {
        let text = format!("the answer to question {n} is {} ", n * 7919).repeat(30);
        json!({"title": format!("document {n}"), "text": text, "tags": [n, n + 1], "read": false})
    };
    let shelf: Map<_, _> = (0..documents).rev().map(|n| (format!("d{n}"), document(n))).collect();
    json!({
        "queue": (0..documents).map(document).collect::<Vec<_>>(),
        "shelf": shelf,
        "numbers": (0..documents * 10).collect::<Vec<_>>(),
        "cursor": 0,
    })
}
