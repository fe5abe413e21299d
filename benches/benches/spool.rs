//! Spool: append and sync against the same bytes written and synced by hand, in one run.
//!
//! `cargo bench -p dashproof-benches --no-default-features --bench spool`. Prints ratios; asserts
//! nothing.
#![expect(clippy::print_stdout, reason = "a bench prints")]

use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashproof_reference::core::{MessageId, PerRoute, Persistence};
use dashproof_reference::fs::Fs;
use dashproof_reference::runtime::StdFs;
use dashproof_reference::spool::{Spool, SpoolEntry, SpoolOptions, SpoolRecord};

const ROUNDS: u32 = 200;

fn record(n: u32, size: usize) -> SpoolEntry {
    SpoolEntry::Record(Box::new(SpoolRecord {
        message_id: MessageId(u128::from(n).to_be_bytes()),
        thread: Arc::from("a-thread"),
        sequence: u64::from(n),
        accepted_us: 0,
        bytes: size,
        from_dlq: false,
        claims: PerRoute { main: Persistence::Not, dlq: Persistence::Not },
        frame: vec![0x5a; size].into(),
    }))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Medians of one group through the spool and of the same bytes by hand, in turns.
fn compare(dir: &Path, group: u32, size: usize) -> Result<(Duration, Duration), Box<dyn Error>> {
    let fs: Arc<dyn Fs> = Arc::new(StdFs);
    let mut options = SpoolOptions::new(dir.join(format!("spool-{group}-{size}")));
    options.max_bytes = 4 << 30;
    options.segment_bytes = 4 << 30;
    let mut spool = Spool::open(fs, options, "a bench")?;
    let mut file = File::create(dir.join(format!("by-hand-{group}-{size}")))?;
    let entries: Vec<SpoolEntry> = (0..group).map(|n| record(n, size)).collect();
    let bytes = vec![0x5a; (size + 68) * group as usize];
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        assert!(black_box(spool.write(&entries)).iter().all(Result::is_ok));
        ours.push(begin.elapsed());
        let begin = Instant::now();
        file.write_all(black_box(&bytes))?;
        file.sync_all()?;
        by_hand.push(begin.elapsed());
    }
    Ok((median(ours), median(by_hand)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("dashproof-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    println!("events/sync  bytes/event      spool    by hand  ratio  per event");
    for (group, size) in [(1, 300), (1, 10_000), (10, 300), (100, 300), (1000, 300)] {
        let (ours, by_hand) = compare(&dir, group, size)?;
        let ratio = ours.as_secs_f64() / by_hand.as_secs_f64();
        let (ours, by_hand) = (ours.as_micros(), by_hand.as_micros());
        let each = ours as f64 / f64::from(group);
        println!(
            "{group:>11}  {size:>11}  {ours:>6} µs  {by_hand:>6} µs  {ratio:>5.2}  {each:.1} µs"
        );
    }
    fs::remove_dir_all(&dir)?;
    Ok(())
}
