//! Tables from numbers to slots: dense where numbers are small, as every honest history's are.

use std::collections::BTreeMap;

use crate::history::EventId;

/// Numbers above the limit go to an ordered map, so that a mangled history cannot ask for memory.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    dense: Vec<u32>,
    sparse: BTreeMap<u64, u32>,
    limit: usize,
}

/// Marks an empty place in the dense part.
const NONE: u32 = u32::MAX;

impl Numbers {
    /// Dense for numbers below `limit`.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    fn dense(&self, number: u64) -> Option<usize> {
        usize::try_from(number).ok().filter(|n| *n < self.limit)
    }

    pub(super) fn get(&self, number: u64) -> Option<usize> {
        let slot = match self.dense(number) {
            Some(n) => self.dense.get(n).copied().filter(|slot| *slot != NONE),
            None => self.sparse.get(&number).copied(),
        };
        slot.map(|slot| slot as usize)
    }

    pub(super) fn set(&mut self, number: u64, slot: usize) {
        // Slots count lines and records held in memory; they do not reach 2^32.
        let Ok(slot) = u32::try_from(slot) else { return };
        match self.dense(number) {
            Some(n) => {
                if self.dense.len() <= n {
                    self.dense.resize(n + 1, NONE);
                }
                if let Some(place) = self.dense.get_mut(n) {
                    *place = slot;
                }
            }
            None => {
                self.sparse.insert(number, slot);
            }
        }
    }
}

/// Slots of events.
#[derive(Debug)]
pub(super) struct Ids {
    loads: Vec<Numbers>,
    limit: usize,
}

/// Loads beyond this number share one ordered map.
const LOADS: usize = 64;

impl Ids {
    pub(super) fn new(limit: usize) -> Self {
        Self { loads: Vec::new(), limit }
    }

    /// The table of a load and the number in it.
    fn place(id: EventId) -> (usize, u64) {
        let load = usize::from(id.load);
        if load < LOADS {
            (load, u64::from(id.n))
        } else {
            // No number of an honest load reaches here, and 2^48 keeps the two kinds apart.
            (LOADS, 1 << 48 | u64::from(id.load) << 32 | u64::from(id.n))
        }
    }

    pub(super) fn get(&self, id: EventId) -> Option<usize> {
        let (load, n) = Self::place(id);
        self.loads.get(load)?.get(n)
    }

    pub(super) fn set(&mut self, id: EventId, slot: usize) {
        let (load, n) = Self::place(id);
        while self.loads.len() <= load {
            self.loads.push(Numbers::new(self.limit));
        }
        if let Some(table) = self.loads.get_mut(load) {
            table.set(n, slot);
        }
    }
}
