//! What the checkpointers cost over the same system calls by hand: save, latest, open.
//!
//! By hand is the least that keeps a promise: the very bytes of the file written under a temporary
//! name, synced, renamed, and the directory synced; or one read of a file; or the listing and one
//! read per header. A read is one of the system's cache, unless the file is said to be evicted from
//! it before each call. The sides run in interleaved rounds of one process; a ratio is the median of
//! the rounds' ratios (below 1: faster than by hand).
//!
//! `cargo bench -p dashproof-benches --no-default-features --bench checkpoint`; the directory is
//! made under `CHECKPOINT_BENCH_DIR`, by default the target directory, and removed.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and fails loudly")]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{IoSliceMut, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashproof_reference::checkpoint::{Draft, MemoryFs, Options, SeededEntropy, Store};
use dashproof_reference::fs::Fs as _;
use dashproof_reference::runtime::StdFs;

const FILES: usize = 100_000;

/// The time of a call without that of dropping what it gives.
fn timed<T>(call: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let value = black_box(call());
    let took = start.elapsed();
    drop(value);
    took
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Interleaves two sides and prints the ratio of the first to the second.
fn ratio<A, B>(name: &str, rounds: usize, ours: impl FnMut() -> A, by_hand: impl FnMut() -> B) {
    ratio_after(name, rounds, || {}, ours, by_hand);
}

/// As [`ratio`], with something to do before each call that does not count.
fn ratio_after<A, B>(
    name: &str,
    rounds: usize,
    before: impl Fn(),
    mut ours: impl FnMut() -> A,
    mut by_hand: impl FnMut() -> B,
) {
    ours();
    by_hand();
    let mut pairs = Vec::new();
    for round in 0..rounds {
        let mut ours = || {
            before();
            timed(&mut ours)
        };
        let mut by_hand = || {
            before();
            timed(&mut by_hand)
        };
        // who goes first alternates
        let (ours, hand) = if round % 2 == 0 {
            let ours = ours();
            (ours, by_hand())
        } else {
            let hand = by_hand();
            (ours(), hand)
        };
        pairs.push((ours.as_secs_f64(), hand.as_secs_f64()));
    }
    let of = |pick: fn(&(f64, f64)) -> f64| median(pairs.iter().map(pick).collect());
    let (ours, hand, ratio) = (of(|p| p.0), of(|p| p.1), of(|p| p.0 / p.1));
    println!("{name:<34} {:>11.1} {:>11.1} {ratio:>8.3}", ours * 1e6, hand * 1e6);
}

fn open(dir: &Path) -> Store<String> {
    Store::open(Arc::new(StdFs), dir, Options::new()).unwrap()
}

fn checkpoint_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.filter(|p| p.file_name().is_some_and(|n| n.len() == 95)).collect()
}

fn by_hand(dir: &Path, bytes: &[u8], n: usize) {
    let (temp, to) = (dir.join(format!("hand-{n}.tmp")), dir.join(format!("hand-{n}")));
    let mut file = File::options().write(true).create_new(true).open(&temp).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    drop(file);
    fs::rename(temp, to).unwrap();
    File::open(dir).unwrap().sync_all().unwrap();
}

/// Has the system forget a file's content.
fn evict(path: &Path) {
    let file = File::open(path).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let (mut byte, flags) = ([0], rustix::io::ReadWriteFlags::NOWAIT);
    let read = rustix::io::preadv2(&file, &mut [IoSliceMut::new(&mut byte)], 0, flags);
    assert_eq!(read, Err(rustix::io::Errno::AGAIN), "the file is still in the system's cache");
}

fn save(root: &Path, name: &str, size: usize, rounds: usize) {
    let dir = root.join(format!("save-{size}"));
    let hand = root.join(format!("hand-{size}"));
    fs::create_dir_all(&hand).unwrap();
    let store = open(&dir);
    let draft = Draft::new("thread", "x".repeat(size));
    store.save(&draft).unwrap();
    let bytes = fs::read(checkpoint_files(&dir).first().unwrap()).unwrap();
    let mut n = 0;
    let ours = || store.save(&draft).unwrap();
    ratio(&format!("save {name}"), rounds, ours, || {
        n += 1;
        by_hand(&hand, &bytes, n);
    });
    let newest = checkpoint_files(&dir).into_iter().max().unwrap();
    let ours = || store.latest("thread").unwrap();
    ratio(&format!("latest {name}"), rounds * 3, ours, || fs::read(&newest).unwrap());
    let cold = || evict(&newest);
    let ours = || store.latest("thread").unwrap();
    ratio_after(&format!("latest {name}, evicted"), rounds, cold, ours, || {
        fs::read(&newest).unwrap()
    });
    // what no checked read of this type can save: the checksum, and making the state
    let ours = || store.latest("thread").unwrap();
    ratio(&format!("latest {name}, checked by hand"), rounds * 3, ours, || {
        let file = fs::read(&newest).unwrap();
        let payload = file.get(file.len() - size..).unwrap();
        black_box(crc32fast::hash(payload));
        std::str::from_utf8(payload).unwrap().to_owned()
    });
    fs::remove_dir_all(dir).unwrap();
    fs::remove_dir_all(hand).unwrap();
}

/// 100 000 checkpoints of 1000 threads, made in memory and copied.
fn many(root: &Path) -> PathBuf {
    let memory = MemoryFs::new();
    let options = Options::new().entropy(SeededEntropy::new(1));
    let store = Store::<String>::open(Arc::new(memory.clone()), "/m", options).unwrap();
    for n in 0..FILES {
        let draft = Draft::new(format!("thread-{}", n % 1000), "x".repeat(300)).node("planner");
        store.save(&draft).unwrap();
    }
    store.close();
    let dir = root.join("many");
    fs::create_dir_all(&dir).unwrap();
    for entry in memory.list(Path::new("/m")).unwrap().into_iter().filter(|e| e.is_file) {
        let bytes = memory.read(&Path::new("/m").join(&entry.name), u64::MAX).unwrap();
        fs::write(dir.join(entry.name), bytes).unwrap();
    }
    dir
}

fn headers(dir: &Path) {
    for path in checkpoint_files(dir) {
        let mut header = [0; 512];
        let read = File::open(path).unwrap().read(&mut header).unwrap();
        black_box((header, read));
    }
}

fn main() {
    // `cargo test` runs benches with `--test`: then there is nothing to measure.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let root = std::env::var_os("CHECKPOINT_BENCH_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let root = root.join(format!("checkpoint-bench-{}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    println!("{:<34} {:>11} {:>11} {:>8}", "us per call", "ours", "by hand", "ratio");
    save(&root, "1 KB", 1 << 10, 201);
    save(&root, "100 KB", 100 << 10, 101);
    save(&root, "10 MB", 10 << 20, 21);
    let dir = many(&root);
    let index = dir.join("index.dck");
    let kept = fs::read(&index).unwrap();
    ratio(
        "open 100 000, no index",
        5,
        || {
            fs::remove_file(&index).unwrap();
            open(&dir)
        },
        || headers(&dir),
    );
    fs::write(&index, kept).unwrap();
    ratio("open 100 000, with the index", 5, || open(&dir), || headers(&dir));
    fs::remove_dir_all(root).unwrap();
}
