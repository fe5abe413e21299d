//! Flushes: each waits until everything accepted before it has an outcome.

use std::collections::BTreeMap;

use super::ledger::Tally;
use super::{Outcome, store::Key};

/// Names a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlushId(u64);

#[derive(Debug)]
struct Flush {
    /// Number of the last event that it waits for.
    up_to: u64,
    tally: Tally,
}

/// All flushes that wait.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    last: u64,
    waiting: BTreeMap<FlushId, Flush>,
}

impl Flushes {
    pub(super) fn begin(&mut self, up_to: u64) -> FlushId {
        self.last += 1;
        let id = FlushId(self.last);
        self.waiting.insert(id, Flush { up_to, tally: Tally::default() });
        id
    }

    /// An event was resolved.
    pub(super) fn resolved(&mut self, key: Key, outcome: &Outcome) {
        for flush in self.waiting.values_mut().filter(|f| key.number <= f.up_to) {
            flush.tally.add(outcome);
        }
    }

    /// Number of the last event that a flush waits for.
    pub(super) fn up_to(&self, id: FlushId) -> Option<u64> {
        self.waiting.get(&id).map(|f| f.up_to)
    }

    /// Forgets a flush and says what became of its events so far.
    pub(super) fn end(&mut self, id: FlushId) -> Tally {
        self.waiting.remove(&id).map_or_else(Tally::default, |f| f.tally)
    }
}
