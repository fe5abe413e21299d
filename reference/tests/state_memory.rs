//! R3: a diff of a large state takes little beside the state.
//!
//! An allocator that counts measures what the tracker keeps between two diffs and what a diff takes
//! at its peak, its message included, for 100 MB states of several shapes with ten changes each. It
//! is one test, since other tests in this process would be counted too.
#![cfg(test)]

#[path = "support/counting.rs"]
mod counting;

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use counting::{NOW, PEAK};
use dashproof_reference::proto::StateDiff;
use dashproof_reference::state::{DiffConfig, DiffTracker, Diffed};
use serde::Serialize;

const STATE: usize = 100_000_000;

#[derive(Serialize)]
struct Message {
    role: &'static str,
    text: String,
    tokens: Vec<u32>,
}

fn message(seed: usize, bytes: usize) -> Message {
    let text = format!("thought {} of {seed}; ", seed * 7919).repeat(bytes / 24);
    Message { role: "assistant", text, tokens: (0..20).map(|n| n * 31).collect() }
}

/// The longest field comes first in memory and last in the text.
#[derive(Serialize)]
struct Conversation {
    messages: Vec<Message>,
    cursor: usize,
    by_name: HashMap<String, Message>,
}

fn conversation(bytes: usize, each: usize) -> Conversation {
    let half = bytes / 2 / each;
    Conversation {
        messages: (0..half).map(|n| message(n, each)).collect(),
        cursor: 0,
        by_name: (0..half).map(|n| (format!("name {n}"), message(n, each))).collect(),
    }
}

/// What a call takes at its peak and what it leaves, in bytes.
fn measured<T>(call: impl FnOnce() -> T) -> (usize, usize, T) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let value = call();
    let left = NOW.load(Ordering::Relaxed).saturating_sub(before);
    (PEAK.load(Ordering::Relaxed) - before, left, value)
}

fn tracker() -> DiffTracker {
    DiffTracker::new(DiffConfig { max_state_bytes: 1 << 30, ..DiffConfig::default() })
}

/// Rebases, changes, diffs; answers the patch, if it became one, and checks what both took.
fn check<S: Serialize>(name: &str, mut state: S, change: impl FnOnce(&mut S)) -> Option<StateDiff> {
    let mut tracker = tracker();
    let (peak, left, ()) = measured(|| tracker.rebase(b"c", &state).unwrap());
    assert!(peak <= STATE / 10, "{name}: {peak} bytes to rebase");
    assert!(left <= 2 << 20, "{name}: {left} bytes kept");
    assert!(left.abs_diff(tracker.retained_bytes()) < 4096, "{name}: {left} bytes kept, not told");
    change(&mut state);
    let (peak, left, diffed) = measured(|| tracker.diff(&state));
    println!("{name}: {peak} bytes at the peak, {left} left");
    assert!(peak <= STATE / 10, "{name}: {peak} bytes for a diff");
    match diffed {
        Diffed::Patch { diff, .. } => Some(diff),
        Diffed::Degraded(_) => None,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_diff_of_100_mb_takes_less_than_a_tenth_of_it() {
    for each in [2000, 20_000] {
        let state = conversation(STATE, each);
        let name = format!("messages of {each} bytes");
        let diff = check(&name, state, |state| {
            let step = state.messages.len() / 5;
            for n in (0..5).map(|n| n * step) {
                state.messages[n].text = "changed".repeat(each / 7);
                state.by_name.get_mut(&format!("name {n}")).unwrap().role = "user";
            }
        });
        assert!(diff.unwrap().operations.len() >= 10);
    }
    // Nothing that could be told apart, in one piece and in very many (fewer than 100 MB, since
    // sorting a hash map in a small window takes time): no patch, and no memory.
    let text = "x".repeat(STATE);
    assert!(check("one string", vec![text], |state| state[0].push('y')).is_none());
    let entries: HashMap<String, String> =
        (0..STATE / 600).map(|n| (format!("{n:016}"), format!("{n:0100}"))).collect();
    let changed = |state: &mut HashMap<String, String>| {
        state.insert("new".to_owned(), String::new());
    };
    assert!(check("very many small entries", entries, changed).is_none());
}
