//! Sequences per thread id, and the order inside a thread.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::store::Key;

/// Bits of a sequence that count within one epoch.
const EPOCH_SHIFT: u32 = 40;

/// One thread id.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) name: Arc<str>,
    /// Kafka key; none for the empty thread id, whose events spread over the partitions.
    pub(super) key: Option<Bytes>,
    last: u64,
    /// The event whose main has begun and not ended (`order = "strict"`).
    pub(super) busy: Option<Key>,
    /// Events that wait for it.
    pub(super) parked: VecDeque<Key>,
}

/// All thread ids that ever had an event accepted. They stay: forgetting one would restart its
/// sequence.
#[derive(Debug)]
pub(super) struct Threads {
    base: u64,
    index: BTreeMap<Arc<str>, u32>,
    known: Vec<Thread>,
}

impl Threads {
    /// Sequences start at `epoch · 2^40 + 1`.
    pub(super) fn new(epoch: u32) -> Self {
        Self { base: u64::from(epoch) << EPOCH_SHIFT, index: BTreeMap::new(), known: Vec::new() }
    }

    /// The thread with this id, if it is known, and the sequence its next event will get.
    pub(super) fn next(&self, name: &str) -> (Option<u32>, u64) {
        let known = self.index.get(name).copied();
        let last = known.and_then(|t| self.get(t)).map_or(self.base, |t| t.last);
        (known, last + 1)
    }

    /// Assigns the next sequence. Called in the step that accepts, and only there.
    pub(super) fn assign(&mut self, known: Option<u32>, name: &str) -> (u32, u64) {
        let index = known.unwrap_or_else(|| self.learn(name));
        let sequence = self.get_mut(index).map_or(0, |thread| {
            thread.last += 1;
            thread.last
        });
        (index, sequence)
    }

    /// The thread with this id, known from now on.
    pub(super) fn index(&mut self, name: &str) -> u32 {
        self.index.get(name).copied().unwrap_or_else(|| self.learn(name))
    }

    fn learn(&mut self, name: &str) -> u32 {
        let name: Arc<str> = Arc::from(name);
        // one event at least came with each, and sequences of 2^32 threads do not fit any memory
        let index = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        self.index.insert(name.clone(), index);
        self.known.push(Thread {
            key: (!name.is_empty()).then(|| Bytes::copy_from_slice(name.as_bytes())),
            name,
            last: self.base,
            busy: None,
            parked: VecDeque::new(),
        });
        index
    }

    pub(super) fn get(&self, index: u32) -> Option<&Thread> {
        self.known.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Thread> {
        self.known.get_mut(index as usize)
    }

    /// Its name, shared.
    pub(super) fn name(&self, index: u32) -> Arc<str> {
        self.get(index).map_or_else(|| Arc::from(""), |t| t.name.clone())
    }
}
