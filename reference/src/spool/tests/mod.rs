//! The spool over a file system in memory.

mod damage;
mod entries;
mod failing;
pub(crate) mod mem;
mod storing;

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::core::{MessageId, PerRoute, Persistence};
use mem::MemFs;

const NOT: PerRoute<Persistence> = PerRoute { main: Persistence::Not, dlq: Persistence::Not };

fn record(n: u64, thread: &str) -> SpoolRecord {
    SpoolRecord {
        message_id: MessageId(u128::from(n).to_be_bytes()),
        thread: Arc::from(thread),
        sequence: n,
        accepted_us: 1_735_689_600_000_000,
        bytes: 100,
        from_dlq: false,
        claims: NOT,
        frame: Bytes::from(format!("frame of {n}")),
    }
}

fn keep(n: u64, thread: &str) -> SpoolEntry {
    SpoolEntry::Record(Box::new(record(n, thread)))
}

fn open(fs: &MemFs) -> Spool {
    Spool::open(Arc::new(fs.clone()), SpoolOptions::new("/spool"), "a test").unwrap()
}

/// Sequences of everything that is given back.
fn drain(spool: &mut Spool) -> Vec<u64> {
    let taken = spool.take(usize::MAX, usize::MAX).unwrap();
    taken.into_iter().map(|r| r.record.sequence).collect()
}

/// Writes entries, each of which must be taken.
fn write(spool: &mut Spool, entries: &[SpoolEntry]) -> Vec<SpoolId> {
    spool.write(entries).into_iter().map(Result::unwrap).collect()
}

/// Names of the segments on a disk.
fn segments(fs: &MemFs) -> Vec<String> {
    let names = fs.names().into_iter();
    names.filter(|name| crate::spool::segment::generation(name).is_some()).collect()
}
