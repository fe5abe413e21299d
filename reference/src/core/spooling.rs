//! What the core gives to a spool and gets back from it.

use std::sync::Arc;

use bytes::Bytes;

use super::{MessageId, PerRoute, Persistence};

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
