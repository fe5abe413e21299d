//! The store over a file system in memory that can fail, crash and be damaged.

mod basics;
mod crash;
mod damage;
mod faults;
mod faulty;
mod variants;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::name::FileName;
use super::{Clock, Draft, Info, MemoryFs, Options, SeededEntropy, Store, Timestamp};
use crate::fs::Fs;

/// A clock that goes backwards.
#[derive(Debug)]
struct Backwards(AtomicI64);

impl Clock for Backwards {
    fn now(&self) -> Timestamp {
        Timestamp { secs: self.0.fetch_sub(86_400, Ordering::Relaxed), nanos: 0 }
    }
}

fn options(seed: u64) -> Options {
    let clock = Backwards(AtomicI64::new(1_700_000_000));
    Options::new().entropy(SeededEntropy::new(seed)).clock(clock)
}

fn open_on(fs: impl Fs, options: Options) -> Store<String> {
    Store::open(Arc::new(fs), "/c", options).unwrap()
}

fn open(fs: &MemoryFs) -> Store<String> {
    open_on(fs.clone(), options(7))
}

fn save(store: &Store<String>, thread: &str, state: &str) -> Info {
    store.save(&Draft::new(thread, state.to_owned())).unwrap()
}

fn latest(store: &Store<String>, thread: &str) -> Option<String> {
    store.latest(thread).unwrap().map(|c| c.state)
}

fn ids(store: &Store<String>, thread: &str) -> Vec<String> {
    store.list(thread).into_iter().map(|i| i.id).collect()
}

fn keep(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new("/c").join(name)
}

fn names(fs: &MemoryFs) -> Vec<String> {
    let mut names: Vec<String> =
        fs.list(Path::new("/c")).unwrap().into_iter().map(|e| e.name).collect();
    names.sort();
    names
}

/// The checkpoint files, oldest first.
fn files(fs: &MemoryFs) -> Vec<String> {
    names(fs).into_iter().filter(|n| FileName::parse(n).is_some()).collect()
}

fn bytes(fs: &MemoryFs, name: &str) -> Vec<u8> {
    fs.read(&path(name), u64::MAX).unwrap()
}

fn put(fs: &MemoryFs, name: &str, bytes: &[u8]) {
    let _ = fs.remove(&path(name));
    fs.create_new(&path(name)).unwrap().write_all(bytes).unwrap();
}
