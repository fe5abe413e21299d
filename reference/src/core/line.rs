//! The line of `send` calls that wait for room, first come first served.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::MessageId;

/// A `send` that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) message_id: MessageId,
    pub(super) thread: Arc<str>,
    /// Protobuf bytes, as far as known before its sequence is assigned.
    pub(super) bytes: usize,
    called: bool,
}

/// Waiting calls by ticket.
#[derive(Debug, Default)]
pub(super) struct Line {
    last: u64,
    waiters: BTreeMap<u64, Waiter>,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn join(&mut self, message_id: MessageId, thread: &str, bytes: usize) -> u64 {
        self.last += 1;
        let waiter = Waiter { message_id, thread: Arc::from(thread), bytes, called: false };
        self.waiters.insert(self.last, waiter);
        self.last
    }

    pub(super) fn contains(&self, ticket: u64) -> bool {
        self.waiters.contains_key(&ticket)
    }

    pub(super) fn is_head(&self, ticket: u64) -> bool {
        self.waiters.first_key_value().is_some_and(|(first, _)| *first == ticket)
    }

    pub(super) fn leave(&mut self, ticket: u64) -> Option<Waiter> {
        self.waiters.remove(&ticket)
    }

    /// The head's ticket, if it fits and was not called yet.
    pub(super) fn call(&mut self, fits: impl FnOnce(usize) -> bool) -> Option<u64> {
        let mut head = self.waiters.first_entry()?;
        if head.get().called || !fits(head.get().bytes) {
            return None;
        }
        head.get_mut().called = true;
        Some(*head.key())
    }

    /// The head found no room after all: it may be called again.
    pub(super) fn uncall(&mut self, ticket: u64) {
        if let Some(waiter) = self.waiters.get_mut(&ticket) {
            waiter.called = false;
        }
    }

    /// Everybody leaves.
    pub(super) fn empty(&mut self) -> impl Iterator<Item = (u64, Waiter)> + use<> {
        std::mem::take(&mut self.waiters).into_iter()
    }
}
