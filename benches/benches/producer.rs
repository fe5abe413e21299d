//! What the reference producer costs over bare librdkafka: events per second ÷ events per second.
//!
//! The bare side is what a user of rdkafka writes who wants no ledger: the same messages through the
//! same codec call, the same bytes, key and headers, a `FutureProducer` with the same settings, every
//! delivery awaited. Both sides talk to the same model broker, in a process of its own, and run in
//! interleaved rounds, so that a busy machine slows both; the ratio printed is the median of the
//! rounds' ratios (above 1: faster than bare).
//!
//! `cargo bench -p dashproof-benches --bench producer`; `-- memory` sends a million events instead
//! and prints the peak memory of the producer's process.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench prints, and fails loudly"
)]

mod cluster;
mod pipeline;

use std::process::Command;
use std::time::{Duration, Instant};

use cluster::{Broker, TOPIC, runtime, serve};
use dashproof::subject::process::facts::Facts;
use dashproof_reference::config::ProducerConfig;
use dashproof_reference::runtime::Producer;
use pipeline::events;

const ROUNDS: usize = 7;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    match args.next().as_deref() {
        Some("broker") => serve(&args.collect::<Vec<_>>()),
        Some("memory") => memory(),
        Some("million") => million(&args.next().unwrap()),
        // `cargo test --benches` only looks whether it starts
        Some("--test") => {}
        _ => compare(),
    }
}

fn compare() {
    for size in [("200 B", 40_000, 100), ("1 KB", 40_000, 900)] {
        // Each side has a broker of its own, fresh: what it keeps must not slow the other.
        pipeline::compare("producer", ROUNDS, size, || {
            let broker = Broker::start(3, None);
            (broker.bootstrap(), TOPIC.to_owned(), broker)
        });
    }
}

/// Sends a million events from a fresh process and prints its peak memory.
fn memory() {
    let broker = Broker::start(3, None);
    let this = std::env::current_exe().unwrap();
    let status = Command::new(this).args(["million", &broker.bootstrap()]).status().unwrap();
    assert!(status.success());
}

fn million(bootstrap: &str) {
    const COUNT: u32 = 1_000_000;
    let before = Facts::of(std::process::id()).memory.unwrap_or_default();
    let took = runtime().block_on(async {
        let config = ProducerConfig::default().bootstrap(bootstrap);
        let producer = Producer::builder(config).seed(1).open().await.unwrap();
        let begin = Instant::now();
        for event in events(COUNT, 100) {
            producer.send(event).await.unwrap();
        }
        let report = producer.close(Duration::from_secs(60)).await;
        assert_eq!(report.counts[&("acked", "")], u64::from(COUNT), "{report:?}");
        begin.elapsed()
    });
    let peak = Facts::of(std::process::id()).memory.unwrap_or_default();
    println!(
        "producer 1 M events of 200 B: peak memory {} MiB ({} MiB before open), {:.0} events/s",
        peak >> 20,
        before >> 20,
        f64::from(COUNT) / took.as_secs_f64()
    );
}
