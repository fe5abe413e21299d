//! The same seed gives the same history in another process, byte for byte.
//!
//! Two processes differ in what leaks into a program without being asked for: addresses, hash seeds,
//! the clock, the time each step takes. Each child plays the same cells and prints a digest of every
//! history; the parent compares. A second run in the same process is compared as well: statics that
//! remember are leaks too.
#![cfg(test)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use dashproof::history::EventId;
use dashproof::lane::{self, RunInput, SubjectSpec};
use dashproof::scenario::model::LaneName;
use dashproof::subject::message;
use dashproof::subject::protocol::EventSpec;
use dashproof::{oracle, scenario};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

/// What a child is told by: its parent sets it.
const CHILD: &str = "DASHPROOF_DETERMINISM_CHILD";

/// Scenarios that between them use loads with and without rate, every kind of ending, crash and
/// restart, schedules of faults, randomness of the network, the dead-letter queue, stores and state
/// diffs.
const SCENARIOS: [&str; 10] = [
    "outage/all-brokers-3s",
    "outage/flapping",
    "outage/latency-long-tail",
    "outage/rolling-restart",
    "dlq/both-failing",
    "shutdown/cancelled-sends",
    "shutdown/crash-loop",
    "shutdown/drop-in-outage",
    "checkpoint/crash-and-restart",
    "state/messages-lost",
];

/// What a state takes is part of its history: to be compared it must be counted.
#[global_allocator]
static ALLOCATOR: dashproof::heap::Counting = dashproof::heap::Counting;

const SEEDS: [u64; 2] = [1, 0xdead_beef];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An event has two attributes: a map in hash order would be encoded differently by every process.
fn two_key_map() -> String {
    let spec = EventSpec {
        event: EventId { load: 0, n: 1 },
        message_id: "00".repeat(16),
        thread: "t0".to_owned(),
        message: "event".to_owned(),
        fill: "filler".to_owned(),
    };
    let message = message::build(&spec).unwrap();
    hex(&Sha256::digest(message.encode_to_vec()))
}

fn digest(id: &str, seed: u64) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../scenarios/{id}.toml"));
    let text = std::fs::read_to_string(&path).unwrap();
    let scenario = Arc::new(scenario::parse(&text, &path.display().to_string()).unwrap());
    let input = RunInput { scenario, seed, subject: SubjectSpec::Reference };
    let on_disk = input.scenario.lanes.contains(&LaneName::Disk);
    let output = if on_disk { lane::disk::run(&input) } else { lane::sim::run(&input) };
    assert_eq!(output.error, None, "{id} with seed {seed}");
    assert!(output.lines.len() > 100, "{id} with seed {seed}: nothing happened");
    let mut digest = Sha256::new();
    for line in &output.lines {
        digest.update(serde_json::to_vec(line).unwrap());
    }
    let verdict = oracle::judge(&output.lines, &input.scenario).verdict;
    format!("{} {verdict:?} {} lines", hex(&digest.finalize()), output.lines.len())
}

/// What a process sees: one line per cell.
fn digests() -> Vec<String> {
    let cells = SCENARIOS.iter().flat_map(|id| SEEDS.map(|seed| (*id, seed)));
    let mut lines: Vec<String> =
        cells.map(|(id, seed)| format!("digest {id} {seed} {}", digest(id, seed))).collect();
    lines.push(format!("digest two-key-map {}", two_key_map()));
    lines
}

fn child() -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_prints_what_it_sees", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter(|line| line.starts_with("digest ")).map(str::to_owned).collect()
}

#[test]
fn two_processes_see_the_same_histories() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let (first, second) = (child(), child());
    assert_eq!(first.len(), SCENARIOS.len() * SEEDS.len() + 1, "{first:#?}");
    assert_eq!(first, second);
    let mut histories: Vec<&str> = first.iter().filter_map(|line| line.split(' ').nth(3)).collect();
    histories.sort_unstable();
    histories.dedup();
    assert_eq!(histories.len(), SCENARIOS.len() * SEEDS.len(), "every cell has its own history");
}

#[test]
fn the_child_prints_what_it_sees() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let lines = digests();
    // libtest may have begun the line.
    println!();
    for line in &lines {
        println!("{line}");
    }
}

#[test]
fn a_second_run_in_the_same_process_sees_the_same_history() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let id = "shutdown/crash-and-restart";
    assert_eq!(digest(id, 3), digest(id, 3));
    assert_ne!(digest(id, 3), digest(id, 4));
}
