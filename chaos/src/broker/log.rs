//! A partition's log and what it remembers of idempotent producers.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::batch::{Batch, advance};
use super::codes;
use super::wrong::Wrong;

/// Batches a broker remembers per producer to recognise duplicates; the reason why an idempotent
/// client may not have more requests than this in flight.
const REMEMBERED: usize = 5;

/// A batch in the log.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Offset of its first record.
    pub(crate) base: i64,
    /// The batch, with base offset and leader epoch filled in.
    pub(crate) bytes: Bytes,
    /// Number of records.
    pub(crate) count: i32,
    /// Largest timestamp, milliseconds.
    pub(crate) max_timestamp: i64,
}

impl Stored {
    /// Offset and timestamp of its first record at or after `timestamp`.
    fn at_time(&self, timestamp: i64) -> Option<(i64, i64)> {
        let (base, batch) = Batch::split(self.bytes.clone()).into_iter().next()?;
        let first = batch.first_timestamp()?;
        let mut records = batch.records()?.iter();
        let found =
            records.find(|record| first.saturating_add(record.timestamp_delta) >= timestamp)?;
        let at = first.saturating_add(found.timestamp_delta);
        Some((base + i64::from(found.offset_delta), at))
    }
}

/// What happened to a batch that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It is new, at this base offset.
    New(i64),
    /// It was appended before, at this base offset.
    Duplicate(i64),
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    first: i32,
    last: i32,
    base: i64,
}

#[derive(Clone, Debug, Default)]
struct Producer {
    epoch: i16,
    seen: VecDeque<Seen>,
}

/// The truth about a partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    batches: Vec<Stored>,
    next: i64,
    producers: BTreeMap<i64, Producer>,
    wrong: Option<Wrong>,
    /// Where a batch goes that belongs in front of the newest one.
    gap: Option<i64>,
}

/// How far behind a broker that misorders puts the first of two batches.
const APART: i64 = 1_000_000;

impl Log {
    /// From now on it is kept by a broker that is wrong.
    pub(crate) fn go_wrong(&mut self, wrong: Wrong) {
        self.wrong = Some(wrong);
    }

    /// The leader's connections were reset, or (`crashed`) it went down: what a wrong broker loses.
    pub(crate) fn harm(&mut self, crashed: bool) {
        match self.wrong {
            Some(Wrong::AcksBeforeAppend) => drop(self.batches.pop()),
            Some(Wrong::ForgetsAfterRestart) if crashed => {
                *self = Self { wrong: self.wrong, ..Self::default() };
            }
            _ => {}
        }
    }

    /// Where the next batch goes.
    fn place(&mut self, count: i32) -> i64 {
        if self.wrong != Some(Wrong::Misorders) {
            let base = self.next;
            self.next += i64::from(count);
            return base;
        }
        if let Some(gap) = self.gap.take() {
            return gap;
        }
        self.gap = Some(self.next);
        let base = self.next + APART;
        self.next = base + i64::from(count);
        base
    }

    /// Offset of the next record.
    pub(crate) fn end(&self) -> i64 {
        self.next
    }

    /// Everything it holds.
    pub(crate) fn batches(&self) -> &[Stored] {
        &self.batches
    }

    /// Whole batches from the one that holds `offset`, at least one and then up to `max_bytes`.
    pub(crate) fn read(&self, offset: i64, max_bytes: usize) -> Bytes {
        let from = self.batches.partition_point(|b| b.base + i64::from(b.count) <= offset);
        let mut out = Vec::new();
        for stored in self.batches.iter().skip(from) {
            if !out.is_empty() && out.len() + stored.bytes.len() > max_bytes {
                break;
            }
            out.extend_from_slice(&stored.bytes);
        }
        Bytes::from(out)
    }

    /// Offset and timestamp of the first record at or after `timestamp`; of its batch where that
    /// cannot be looked into.
    pub(crate) fn at_time(&self, timestamp: i64) -> Option<(i64, i64)> {
        let found = self.batches.iter().find(|b| b.max_timestamp >= timestamp)?;
        Some(found.at_time(timestamp).unwrap_or((found.base, found.max_timestamp)))
    }

    /// Offset and timestamp of the first of the newest records.
    pub(crate) fn newest(&self) -> Option<(i64, i64)> {
        self.at_time(self.batches.iter().map(|b| b.max_timestamp).max()?)
    }

    /// Decides on a batch as a leader does, and appends it when it is new.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_EPOCH` for an older epoch, `OUT_OF_ORDER_SEQUENCE_NUMBER` for a gap.
    pub(crate) fn append(&mut self, batch: &Batch, leader_epoch: i32) -> Result<Appended, i16> {
        if batch.pid >= 0 {
            if let Some(base) = self.duplicate(batch) {
                return Ok(Appended::Duplicate(base));
            }
            self.in_sequence(batch)?;
        }
        let base = self.place(batch.count);
        let stored = Stored {
            base,
            bytes: batch.at(base, leader_epoch),
            count: batch.count,
            max_timestamp: batch.max_timestamp,
        };
        let at = self.batches.partition_point(|b| b.base < base);
        self.batches.insert(at, stored);
        if batch.pid >= 0 {
            self.remember(batch, base);
        }
        Ok(Appended::New(base))
    }

    fn duplicate(&self, batch: &Batch) -> Option<i64> {
        let known = self.producers.get(&batch.pid).filter(|p| p.epoch == batch.epoch)?;
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        known.seen.iter().find(|s| s.first == first && s.last == last).map(|s| s.base)
    }

    /// Kafka's rule: a producer that this partition does not know may begin anywhere (there is no
    /// `UNKNOWN_PRODUCER_ID` since KIP-360), a new epoch begins at 0, and otherwise there is no
    /// gap.
    fn in_sequence(&self, batch: &Batch) -> Result<(), i16> {
        let Some(known) = self.producers.get(&batch.pid) else { return Ok(()) };
        if batch.epoch < known.epoch {
            return Err(codes::INVALID_PRODUCER_EPOCH);
        }
        let expected = match known.seen.back() {
            Some(last) if batch.epoch == known.epoch => advance(last.last, 1),
            _ => 0,
        };
        if batch.base_sequence == expected {
            Ok(())
        } else {
            Err(codes::OUT_OF_ORDER_SEQUENCE_NUMBER)
        }
    }

    fn remember(&mut self, batch: &Batch, base: i64) {
        let known = self.producers.entry(batch.pid).or_default();
        if known.epoch != batch.epoch {
            known.epoch = batch.epoch;
            known.seen.clear();
        }
        known.seen.push_back(Seen {
            first: batch.base_sequence,
            last: batch.last_sequence(),
            base,
        });
        if known.seen.len() > REMEMBERED {
            known.seen.pop_front();
        }
    }
}
