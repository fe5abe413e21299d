//! What the core gives to a spool and gets back from it.

use std::sync::Arc;

use bytes::Bytes;

use super::{Key, MessageId, PerRoute, Persistence};

/// Names a record in a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpoolId {
    /// Generation of its segment.
    pub segment: u64,
    /// Its number among the segment's entries.
    pub ordinal: u32,
}

/// An event as a spool keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolRecord {
    /// Who it is.
    pub message_id: MessageId,
    /// Its thread id.
    pub thread: Arc<str>,
    /// Its sequence, which it keeps.
    pub sequence: u64,
    /// Wall time of its acceptance, microseconds since the Unix epoch.
    pub accepted_us: i64,
    /// Protobuf bytes, as the queue's cap counts them.
    pub bytes: usize,
    /// It was read from a dead-letter queue and is never dead-lettered again.
    pub from_dlq: bool,
    /// What is known of main and DLQ.
    pub claims: PerRoute<Persistence>,
    /// The frame.
    pub frame: Bytes,
}

/// Why an entry is not on the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpoolFault {
    /// There is no room under the settings.
    Full,
    /// The file system refused, or the spool is closed. The entry has no effect.
    Failed,
    /// The file system refused, and could not be made to forget: the next open may find the entry.
    Unsure,
}

/// What an entry is for: the shell gives it back with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolTicket {
    /// Keeps an event that waits for the answer.
    Keep(Key),
    /// Tells more about an event that is on the spool and waits for the answer.
    Update(Key),
    /// Ends a record; nobody waits but `close`.
    End,
}

/// An entry that a shell is asked to make durable; it answers with
/// [`spooled`](super::Core::spooled).
#[derive(Clone, Debug)]
pub struct SpoolWrite {
    /// To be given back.
    pub ticket: SpoolTicket,
    /// The entry.
    pub entry: SpoolEntry,
}

/// What a spool gave back when it was asked with [`Effect::Recall`](super::Effect::Recall).
#[derive(Clone, Debug, Default)]
pub struct Recalled {
    /// The events, in order.
    pub events: Vec<Recovered>,
    /// Records that are left to be asked for.
    pub left: usize,
    /// Protobuf bytes of the next of them.
    pub next_bytes: usize,
    /// It could not give any back; it is asked again after a while.
    pub failed: bool,
}

/// One thing to be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolEntry {
    /// Keep an event.
    Record(Box<SpoolRecord>),
    /// What is known of a record has changed.
    Claims(SpoolId, PerRoute<Persistence>),
    /// The record's event has another outcome: it is not to be sent again.
    Resolved(SpoolId),
}

/// An event that a spool gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Names its record.
    pub id: SpoolId,
    /// The event, with what the spool knew of it before it gave it back.
    pub record: SpoolRecord,
}
