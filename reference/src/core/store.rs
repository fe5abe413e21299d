//! Accepted and unresolved events: a slab, threaded by a list in acceptance order.
//!
//! Acceptance order is deadline order (every event gets the same delivery timeout), so the list
//! also serves as the deadline queue and as the watermark of `flush`, without any second index.

use std::time::Duration;

use bytes::Bytes;

use super::{AttemptId, Cause, HeaderValue, MessageId, PerRoute, Persistence, Reason, SpoolId};

const NONE: u32 = u32::MAX;

/// Names an event in the store; stale once the event is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Acceptance number, from 1: unique in an incarnation, and first so that keys sort by it.
    pub(super) number: u64,
    pub(super) index: u32,
}

/// Where an event is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Accepted; its encoded payload has not come yet.
    Unsupplied,
    /// Waits for its hand-over.
    Queued,
    /// Waits until the record before it in its thread has ended (`order = "strict"`).
    Parked,
    /// Handed over to main.
    MainOpen { attempt: AttemptId, confirmed: bool },
    /// Waits until this time for its next main attempt.
    MainBackOff(Duration),
    /// Main has ended; waits for a DLQ permit.
    DlqWaiting,
    /// Has a permit; waits for its hand-over.
    DlqQueued,
    /// Handed over to the DLQ.
    DlqOpen { attempt: AttemptId, confirmed: bool },
    /// Waits until this time for its next DLQ attempt.
    DlqBackOff(Duration),
    /// Both routes are over; its spool entry is being made durable. A DLQ attempt that `close` did
    /// not wait for may still be delivered.
    Spooling { dlq_open: Option<AttemptId> },
}

/// What an event from the spool has beside its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct FromSpool {
    pub(super) id: SpoolId,
    /// What earlier incarnations knew.
    pub(super) claims: PerRoute<Persistence>,
    /// Wall time of its acceptance there.
    pub(super) accepted_us: i64,
}

/// What an event needs on its way to the DLQ.
#[derive(Clone, Debug)]
pub(super) struct DeadLetter {
    pub(super) deadline: Duration,
    pub(super) attempts: u32,
    pub(super) persistence: Persistence,
    pub(super) delivered: bool,
    /// When main ended.
    pub(super) ended: Duration,
    /// What was known of main when `close` stopped waiting for it.
    pub(super) main_before_cut: Persistence,
    /// A main attempt that `close` did not wait for and that may still be delivered.
    pub(super) main_left_open: Option<AttemptId>,
    /// That attempt succeeded after all.
    pub(super) acked: Option<(i32, i64)>,
}

/// The last failure of main: what the DLQ record tells about the source.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) cause: Cause,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// One event.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) message_id: MessageId,
    pub(super) thread: u32,
    pub(super) sequence: u64,
    /// Protobuf bytes, as the queue's cap counts them.
    pub(super) bytes: usize,
    pub(super) accepted: Duration,
    pub(super) deadline: Duration,
    pub(super) frame: Bytes,
    pub(super) crc32: HeaderValue,
    pub(super) from_dlq: bool,
    pub(super) stage: Stage,
    pub(super) attempts: u32,
    pub(super) main: Persistence,
    /// Fixed when main ends.
    pub(super) reason: Option<Reason>,
    pub(super) failed: Option<Box<Failed>>,
    pub(super) dlq: Option<Box<DeadLetter>>,
    pub(super) from_spool: Option<Box<FromSpool>>,
}

impl Entry {
    /// What is known of both routes over all incarnations.
    pub(super) fn claims(&self) -> PerRoute<Persistence> {
        let dlq = self.dlq.as_ref().map_or(Persistence::Not, |l| l.persistence);
        match &self.from_spool {
            None => PerRoute { main: self.main, dlq },
            Some(earlier) => PerRoute {
                main: self.main.max(earlier.claims.main),
                dlq: dlq.max(earlier.claims.dlq),
            },
        }
    }
}

#[derive(Debug)]
struct Node {
    number: u64,
    previous: u32,
    next: u32,
    entry: Option<Entry>,
}

/// The slab.
#[derive(Debug)]
pub(super) struct Store {
    nodes: Vec<Node>,
    free: Vec<u32>,
    head: u32,
    tail: u32,
    /// Next event whose deadline has not been looked at.
    cursor: u32,
    last_number: u64,
    len: usize,
    bytes: usize,
}

impl Store {
    pub(super) const fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            head: NONE,
            tail: NONE,
            cursor: NONE,
            last_number: 0,
            len: 0,
            bytes: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of the event accepted last.
    pub(super) const fn last_number(&self) -> u64 {
        self.last_number
    }

    fn node(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    fn node_mut(&mut self, index: u32) -> Option<&mut Node> {
        self.nodes.get_mut(index as usize)
    }

    pub(super) fn insert(&mut self, entry: Entry) -> Key {
        self.last_number += 1;
        self.len += 1;
        self.bytes += entry.bytes;
        let number = self.last_number;
        let node = Node { number, previous: self.tail, next: NONE, entry: Some(entry) };
        let index = if let Some(index) = self.free.pop() {
            if let Some(place) = self.node_mut(index) {
                *place = node;
            }
            index
        } else {
            // settings keep the queue well below 2^32 events
            let index = u32::try_from(self.nodes.len()).unwrap_or(NONE);
            self.nodes.push(node);
            index
        };
        let tail = self.tail;
        match self.node_mut(tail) {
            Some(tail) => tail.next = index,
            None => self.head = index,
        }
        self.tail = index;
        if self.cursor == NONE {
            self.cursor = index;
        }
        Key { number, index }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Entry> {
        self.node(key.index).filter(|n| n.number == key.number)?.entry.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.node_mut(key.index).filter(|n| n.number == key.number)?.entry.as_mut()
    }

    /// Key of the event at a place.
    pub(super) fn key_at(&self, index: u32) -> Option<Key> {
        let node = self.node(index).filter(|n| n.entry.is_some())?;
        Some(Key { number: node.number, index })
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Entry> {
        let node = self.node_mut(key.index).filter(|n| n.number == key.number)?;
        let entry = node.entry.take()?;
        let (previous, next) = (node.previous, node.next);
        match self.node_mut(previous) {
            Some(node) => node.next = next,
            None => self.head = next,
        }
        match self.node_mut(next) {
            Some(node) => node.previous = previous,
            None => self.tail = previous,
        }
        if self.cursor == key.index {
            self.cursor = next;
        }
        self.free.push(key.index);
        self.len -= 1;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// The oldest unresolved event.
    pub(super) fn oldest(&self) -> Option<Key> {
        self.key_at(self.head)
    }

    /// All unresolved events in acceptance order.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        std::iter::successors(self.key_at(self.head), |key| {
            self.key_at(self.node(key.index).map_or(NONE, |n| n.next))
        })
    }

    /// The next event whose deadline has come; each is returned once.
    pub(super) fn overdue(&mut self, now: Duration) -> Option<Key> {
        let key = self.key_at(self.cursor)?;
        let due = self.get(key).is_some_and(|e| e.deadline <= now);
        if !due {
            return None;
        }
        self.cursor = self.node(key.index).map_or(NONE, |n| n.next);
        Some(key)
    }

    /// When [`Store::overdue`] will have something.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.key_at(self.cursor).and_then(|key| self.get(key)).map(|e| e.deadline)
    }
}
