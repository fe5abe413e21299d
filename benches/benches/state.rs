//! What a state diff costs over serialising the state once: time ÷ one `serde_json` serialisation,
//! and memory.
//!
//! The sides run in interleaved rounds of one process, so that a busy machine slows all; a ratio is
//! the median of the rounds' ratios. The serialisation goes into a buffer that is large enough
//! already. The base is a checkpoint, so that the diff is a patch at every size; ten values change.
//! Memory is what a counting allocator sees at the peak of a diff, and what is kept after it.
//!
//! `cargo bench -p dashproof-benches --no-default-features --bench state` (no librdkafka needed).
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and fails loudly")]

#[path = "../../reference/tests/support/counting.rs"]
mod counting;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::time::Instant;

use counting::{NOW, PEAK};
use dashproof_reference::state::{DiffConfig, DiffTracker, Diffed};
use serde::Serialize;

#[derive(Serialize)]
struct Message {
    role: &'static str,
    text: String,
    tokens: Vec<u32>,
    score: f64,
}

/// A conversation's state: an array and a map of messages, in an order that is not the canonical.
#[derive(Serialize)]
struct State {
    messages: Vec<Message>,
    cursor: usize,
    by_name: HashMap<String, Message>,
}

fn message(seed: usize) -> Message {
    Message {
        role: "assistant",
        text: format!("thought {} of {seed}; ", seed * 7919).repeat(70),
        tokens: (0..40).map(|n| n * 31).collect(),
        score: 1.0 / (seed + 3) as f64,
    }
}

fn state(bytes: usize) -> State {
    let each = (bytes / 2 / 1900).max(5);
    State {
        messages: (0..each).map(message).collect(),
        cursor: 0,
        by_name: (0..each).map(|n| (format!("name {n}"), message(n))).collect(),
    }
}

/// Changes ten values.
fn change(state: &mut State, round: usize) {
    state.cursor = round;
    let step = state.messages.len() / 5;
    for at in (0..5).map(|n| n * step) {
        if let Some(message) = state.messages.get_mut(at) {
            message.score = round as f64;
        }
        if at > 0
            && let Some(message) = state.by_name.get_mut(&format!("name {at}"))
        {
            message.score = round as f64;
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn measure(name: &str, bytes: usize, rounds: usize) {
    let mut state = state(bytes);
    let config = DiffConfig { max_state_bytes: 1 << 30, ..DiffConfig::default() };
    let mut tracker = DiffTracker::new(config);
    tracker.rebase(b"c", &state).unwrap();
    let mut buffer = serde_json::to_vec(&state).unwrap();
    let len = buffer.len();
    buffer.reserve(len / 10);
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    let (mut peak, mut patch) = (0, 0);
    for round in 0..rounds {
        change(&mut state, round + 1);
        let start = Instant::now();
        buffer.clear();
        serde_json::to_writer(&mut buffer, black_box(&state)).unwrap();
        plain.push(start.elapsed().as_secs_f64());
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let start = Instant::now();
        let diffed = tracker.diff(black_box(&state));
        ours.push(start.elapsed().as_secs_f64());
        peak = peak.max(PEAK.load(Ordering::Relaxed) - before);
        let Diffed::Patch { diff, .. } = diffed else { continue };
        patch = diff.operations.iter().map(|op| op.value.len() + op.path.len()).sum();
    }
    let ratio = median(plain.iter().zip(&ours).map(|(plain, ours)| ours / plain).collect());
    let percent = |part: usize| part as f64 / len as f64 * 100.0;
    println!(
        "{name:<8} {len:>10} B {:>9.3} {:>9.3} {ratio:>8.2} {patch:>9} B {peak:>10} B {:>6.1} % {:>9} B {:>6.1} %",
        median(plain) * 1e3,
        median(ours) * 1e3,
        percent(peak),
        tracker.retained_bytes(),
        percent(tracker.retained_bytes()),
    );
}

fn main() {
    // `cargo test` runs benches with `--test`: then there is nothing to measure.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    println!("a diff of ten changes, ms ÷ one serialisation, ms; memory at the peak and kept");
    println!(
        "{:<8} {:>12} {:>9} {:>9} {:>8} {:>11} {:>21} {:>20}",
        "", "state", "serialise", "diff", "ratio", "patch", "peak", "kept"
    );
    measure("20 KB", 20_000, 501);
    measure("1 MB", 1_000_000, 51);
    measure("10 MB", 10_000_000, 15);
    measure("100 MB", 100_000_000, 5);
}
