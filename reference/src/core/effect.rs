//! What the core asks its shell to do.

use std::sync::Arc;

use bytes::Bytes;

use super::letter::Letter;
use super::spooling::SpoolWrite;
use super::{
    AttemptId, CRC32_HEADER, Cause, HeaderValue, Headers, MESSAGE_ID_HEADER, MessageId, Outcome,
    Persistence, Record, Route,
};

/// The end of one event, as the application observes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRecord {
    /// Which event.
    pub message_id: MessageId,
    /// Its thread id.
    pub thread: Arc<str>,
    /// Its sequence; `None` when it was rejected, for rejected events take none.
    pub sequence: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not reach main, as far as anybody knows: its own last error, or what is wrong
    /// with the connection that it waited for. `None` when it did, and when it was rejected.
    pub cause: Option<Box<Cause>>,
}

/// A record to be given to a transport. Built into a [`Record`] outside the core's lock.
#[derive(Clone, Debug)]
pub struct HandOver {
    /// Names the attempt.
    pub attempt: AttemptId,
    /// Which transport.
    pub route: Route,
    pub(super) topic: Arc<str>,
    pub(super) message_id: MessageId,
    pub(super) timestamp_ms: i64,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Main { key: Option<Bytes>, frame: Bytes, crc32: HeaderValue },
    Dlq(Box<Letter>),
}

impl HandOver {
    /// The record as it goes on the wire. A DLQ record is encoded here.
    #[must_use]
    pub fn into_record(self) -> Record {
        let id = HeaderValue::new(&self.message_id.0);
        let (key, value, crc32) = match self.body {
            Body::Main { key, frame, crc32 } => (key, frame, crc32),
            Body::Dlq(letter) => letter.into_parts(),
        };
        Record {
            attempt: self.attempt,
            topic: self.topic,
            key,
            value,
            headers: Headers::pair((MESSAGE_ID_HEADER, id), (CRC32_HEADER, crc32)),
            timestamp_ms: self.timestamp_ms,
        }
    }
}

/// A DLQ attempt that ended with an error, with the source it was about (law Q5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DlqFailure {
    /// Topic the event was meant for.
    pub topic: Arc<str>,
    /// Partition of the last main attempt, -1 when never assigned.
    pub partition: i32,
    /// Offset of the last main attempt, -1 when never stored.
    pub offset: i64,
    /// Thread id.
    pub thread: Arc<str>,
    /// Message id in hex.
    pub trace_id: MessageId,
    /// DLQ attempt number of the event, from 1.
    pub attempt: u32,
    /// Kafka or local code.
    pub code: i32,
    /// Error text.
    pub reason: Arc<str>,
    /// What is known of the DLQ record.
    pub persistence: Persistence,
    /// True when another DLQ attempt will be made.
    pub will_retry: bool,
}

/// What the shell carries out, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Submit a record, then report with [`submitted`](super::Core::submitted) or
    /// [`handed_back`](super::Core::handed_back).
    HandOver(HandOver),
    /// Tell the application.
    Resolved(OutcomeRecord),
    /// Wake the waiting `send` with this ticket.
    Admit(u64),
    /// Stop lingering on a route.
    FlushHint(Route),
    /// Purge a route's transport.
    Purge(Route),
    /// The client of a route is unusable: purge it and keep polling it until it owes nothing.
    Retire(Route),
    /// Connect a new client for a route, then report with [`rebuilt`](super::Core::rebuilt).
    Rebuild(Route),
    /// Make an entry durable, then report with [`spooled`](super::Core::spooled).
    Spool(SpoolWrite),
    /// Read so many events and protobuf bytes from the spool, then report with
    /// [`recalled`](super::Core::recalled).
    Recall {
        /// Most events.
        events: usize,
        /// Most protobuf bytes over all of them.
        bytes: usize,
    },
    /// Log a failed DLQ attempt with its whole source.
    DlqFailed(Box<DlqFailure>),
}
