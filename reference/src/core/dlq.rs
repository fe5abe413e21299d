//! Events on their way to the dead-letter queue: permits, order, deadlines.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::store::{Key, Stage};

/// The DLQ's own queues. Everything is keyed by time or first come first served, so that no step
/// looks at all events.
#[derive(Debug)]
pub(super) struct DeadLetters {
    max_concurrent: usize,
    /// Permits in use: events that are queued, open or in back-off for the DLQ.
    in_use: usize,
    /// Without a permit.
    waiting: VecDeque<Key>,
    /// With a permit, to be handed over.
    pub(super) ready: VecDeque<Key>,
    back_offs: BTreeSet<(Duration, Key)>,
    deadlines: BTreeSet<(Duration, Key)>,
}

impl DeadLetters {
    pub(super) const fn new(max_concurrent: usize) -> Self {
        Self {
            max_concurrent,
            in_use: 0,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            back_offs: BTreeSet::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// An event comes in. True when it got a permit at once.
    pub(super) fn enter(&mut self, key: Key, deadline: Duration) -> bool {
        self.deadlines.insert((deadline, key));
        if self.in_use < self.max_concurrent && self.waiting.is_empty() {
            self.in_use += 1;
            self.ready.push_back(key);
            return true;
        }
        self.waiting.push_back(key);
        false
    }

    /// A permit is free again; the next event that `lives` takes it.
    pub(super) fn release(&mut self, lives: impl Fn(Key) -> bool) -> Option<Key> {
        self.in_use = self.in_use.saturating_sub(1);
        while let Some(key) = self.waiting.pop_front() {
            if lives(key) {
                self.in_use += 1;
                self.ready.push_back(key);
                return Some(key);
            }
        }
        None
    }

    /// Events that were resolved while they waited leave the heads of both queues, or a DLQ that is
    /// down would fill them.
    pub(super) fn drop_heads(&mut self, is_in: impl Fn(Key, Stage) -> bool) {
        while self.ready.front().is_some_and(|key| !is_in(*key, Stage::DlqQueued)) {
            self.ready.pop_front();
        }
        while self.waiting.front().is_some_and(|key| !is_in(*key, Stage::DlqWaiting)) {
            self.waiting.pop_front();
        }
    }

    /// The event is resolved or open: its deadline no longer matters.
    pub(super) fn forget_deadline(&mut self, key: Key, deadline: Duration) {
        self.deadlines.remove(&(deadline, key));
    }

    /// The event waits again: its deadline matters.
    pub(super) fn watch_deadline(&mut self, key: Key, deadline: Duration) {
        self.deadlines.insert((deadline, key));
    }

    pub(super) fn back_off(&mut self, key: Key, until: Duration) {
        self.back_offs.insert((until, key));
    }

    /// The next event whose back-off is over; it is ready.
    pub(super) fn back_off_over(&mut self, now: Duration) -> Option<Key> {
        let (at, key) = *self.back_offs.first()?;
        if at > now {
            return None;
        }
        self.back_offs.pop_first();
        self.ready.push_back(key);
        Some(key)
    }

    /// The next event whose DLQ time is over.
    pub(super) fn overdue(&mut self, now: Duration) -> Option<Key> {
        let (at, key) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.deadlines.pop_first();
        Some(key)
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        let first = |set: &BTreeSet<(Duration, Key)>| set.first().map(|(at, _)| *at);
        [first(&self.back_offs), first(&self.deadlines)].into_iter().flatten().min()
    }
}
