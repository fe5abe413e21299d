//! The contract between the producer core and whatever carries its records.
//!
//! Nothing here does I/O. [`Transport`] is the one seam: rdkafka implements it for real brokers,
//! the
//! simulator's client implements it for virtual ones, and one contract-test suite runs over both.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::{Cause, ConnectionProblem, ConnectionTrouble, Headers, errors};

/// The 16 bytes that identify an event: protobuf `Header.message_id` and the Kafka header
/// [`MESSAGE_ID_HEADER`] carry the same value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Kafka header with the [`MessageId`] of a record, on main and DLQ records alike.
pub const MESSAGE_ID_HEADER: &str = "dashstream-message-id";
/// Kafka header with the CRC32 of the whole record value, eight lower-case hex digits.
pub const CRC32_HEADER: &str = "dashstream-crc32";

/// One hand-over of a record to a transport. Unique within an incarnation, over both routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// Which of the two transports a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// The telemetry topic.
    Main,
    /// The dead-letter topic.
    Dlq,
}

impl Route {
    /// `main` or `dlq`, as printed in histories and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Dlq => "dlq",
        }
    }
}

/// What the client knows about a record being in the broker's log. Comes from the client's own
/// status of the message, never from an error code. Ordered: the maximum over attempts is the
/// claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Persistence {
    /// It is certainly not in the log.
    Not,
    /// It was, or may have been, transmitted and no answer settled it.
    Possibly,
    /// The broker confirmed it.
    Persisted,
}

impl Persistence {
    /// `not`, `possibly` or `persisted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Not => "not",
            Self::Possibly => "possibly",
            Self::Persisted => "persisted",
        }
    }
}

/// What may be done after a failure. One table maps codes to classes: `core::errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Another attempt may succeed.
    Retryable,
    /// No attempt of this record will succeed.
    Permanent,
    /// The client lost its idempotence guarantee; it must be rebuilt before it can be used again.
    Fatal,
}

/// A failed attempt: the Kafka error code (negative: local to the client, librdkafka's numbering),
/// its class, and a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Kafka protocol code, or librdkafka's negative local code.
    pub code: i32,
    /// What may be done about it.
    pub class: ErrorClass,
    /// Why, in words; never holds a secret.
    pub reason: Arc<str>,
    /// What is wrong with the connection, where that is it.
    pub trouble: Option<ConnectionTrouble>,
}

impl Failure {
    /// A failure whose code alone says whether it is about the connection.
    #[must_use]
    pub fn new(code: i32, class: ErrorClass, reason: impl Into<Arc<str>>) -> Self {
        Self { code, class, reason: reason.into(), trouble: errors::trouble(code) }
    }

    pub(super) fn cause(&self) -> Cause {
        Cause { code: self.code, trouble: self.trouble, text: Arc::clone(&self.reason) }
    }
}

/// The one end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The attempt that ended.
    pub attempt: AttemptId,
    /// What the client knows about the log.
    pub persistence: Persistence,
    /// Partition, or -1 when none was assigned.
    pub partition: i32,
    /// Offset, or -1 when unknown.
    pub offset: i64,
    /// `Ok` when the broker confirmed it as the acks setting demands.
    pub result: Result<(), Failure>,
}

/// A hand-over that was not taken: no delivery will come, and nothing was persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Kafka protocol code, or librdkafka's negative local code.
    pub code: i32,
    /// Retryable leaves the event queued until its deadline; permanent ends its main path.
    pub class: ErrorClass,
    /// Why, in words.
    pub reason: Arc<str>,
    /// What is wrong with the connection or the settings, where that is it.
    pub trouble: Option<ConnectionTrouble>,
}

impl Refused {
    /// A refusal whose code alone says whether it is about the connection.
    #[must_use]
    pub fn new(code: i32, class: ErrorClass, reason: impl Into<Arc<str>>) -> Self {
        Self { code, class, reason: reason.into(), trouble: errors::trouble(code) }
    }

    pub(super) fn cause(&self) -> Cause {
        Cause { code: self.code, trouble: self.trouble, text: Arc::clone(&self.reason) }
    }
}

/// What goes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Names the hand-over; the [`Delivery`] answers with it.
    pub attempt: AttemptId,
    /// Destination topic.
    pub topic: Arc<str>,
    /// Partitioning key; `None` spreads.
    pub key: Option<Bytes>,
    /// The frame (main) or JSON (DLQ).
    pub value: Bytes,
    /// Kafka record headers in order.
    pub headers: Headers,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

impl Record {
    /// Bytes that count against a broker's message limit: key, value and headers.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
        self.key.as_ref().map_or(0, Bytes::len) + self.value.len() + headers
    }
}

/// A boxed future, as object safety asks for.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Carries records to one route. Main and DLQ have an instance each, so that purging one never
/// kills the other.
pub trait Transport: Send + Sync + 'static {
    /// Hands a record over. Never blocks.
    ///
    /// # Errors
    /// [`Refused`]: no delivery will come for this attempt and nothing was persisted.
    fn submit(&self, record: Record) -> Result<(), Refused>;
    /// Exactly one delivery per accepted attempt. One task polls.
    fn poll_delivery(&self, cx: &mut Context<'_>) -> Poll<Delivery>;
    /// Stop lingering: send what is buffered.
    fn flush_hint(&self);
    /// Every open attempt is delivered soon; what was never written to a socket as `Not`.
    fn purge(&self);
    /// Waits until a broker has answered the client, with credentials and all. A transport that
    /// has no way to ask says at once that one has.
    ///
    /// # Errors
    /// What is wrong, when the time is over: of what was seen what says the most, the last of
    /// several. No refusal ends it before, since another broker may serve, and one that is starting
    /// may refuse whom it lets in a moment later.
    fn reach(&self, within: Duration) -> BoxFuture<'_, Result<(), ConnectionProblem>> {
        let _ = within;
        Box::pin(std::future::ready(Ok(())))
    }
    /// Ends the client; threads are joined off the async path, within the given time.
    fn shutdown(&self, within: Duration) -> BoxFuture<'_, ()>;
}

/// Makes a transport, and makes it anew after a fatal error.
pub trait Connect: Send + Sync + 'static {
    /// Creates a client for a route, off the async path where that may block (certificates are read
    /// from disk, threads are started). Does not wait for any broker.
    ///
    /// # Errors
    /// A text that names the setting at fault and the remedy.
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<Arc<dyn Transport>, Refused>>;
    /// What the client of a route last reported about its connections; `None` while nothing is
    /// wrong, or where nobody can tell. Never holds a secret.
    fn problem(&self, route: Route) -> Option<ConnectionProblem> {
        let _ = route;
        None
    }
}

/// Why an event was refused, dropped or is in doubt: a closed list, extended here only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The bounded queue had no room (events or bytes).
    QueueFull,
    /// Larger than the configured message limit.
    Oversize,
    /// The tenant's token bucket was empty.
    RateLimited,
    /// Offered after `close` began, or still waiting for room when it did.
    Closed,
    /// The `send` future was dropped while it waited for room.
    Cancelled,
    /// The event could not be encoded.
    Unserialisable,
    /// The broker or client answered with an error that no retry can mend.
    PermanentError,
    /// Sent with acks=0: nobody will ever know.
    Acks0,
    /// `close` ran out of time, or the last handle was dropped.
    Abandoned,
    /// The event's delivery timeout left no time for another attempt.
    Deadline,
    /// Possibly persisted, and the configuration forbids a second copy.
    Unconfirmed,
    /// Every permitted attempt failed.
    RetriesExhausted,
}

impl Reason {
    /// Every reason, in the order of the closed list.
    pub const ALL: [Self; 12] = [
        Self::QueueFull,
        Self::Oversize,
        Self::RateLimited,
        Self::Closed,
        Self::Cancelled,
        Self::Unserialisable,
        Self::PermanentError,
        Self::Acks0,
        Self::Abandoned,
        Self::Deadline,
        Self::Unconfirmed,
        Self::RetriesExhausted,
    ];

    /// The label value in metrics and histories.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Oversize => "oversize",
            Self::RateLimited => "rate_limited",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
            Self::Unserialisable => "unserialisable",
            Self::PermanentError => "permanent_error",
            Self::Acks0 => "acks_0",
            Self::Abandoned => "abandoned",
            Self::Deadline => "deadline",
            Self::Unconfirmed => "unconfirmed",
            Self::RetriesExhausted => "retries_exhausted",
        }
    }

    /// When it is given, in a few words.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::QueueFull => "the queue had no room, and the settings say not to wait",
            Self::Oversize => "larger than `max_message_bytes`",
            Self::RateLimited => "the tenant's token bucket was empty",
            Self::Closed => "offered after `close` began, or waiting for room when it did",
            Self::Cancelled => "the `send` was dropped while it waited for room",
            Self::Unserialisable => "no strict decoder would take it",
            Self::PermanentError => "an error that no retry can mend",
            Self::Acks0 => "sent with `acks = \"0\"`: nobody will ever know",
            Self::Abandoned => "`close` or drop cut it",
            Self::Deadline => "the event's time is over, or would be after the back-off",
            Self::Unconfirmed => "possibly persisted, and no second copy is allowed",
            Self::RetriesExhausted => "every permitted attempt failed",
        }
    }

    /// True for the reasons given at the call, before acceptance.
    #[must_use]
    pub const fn is_rejection(self) -> bool {
        matches!(
            self,
            Self::QueueFull
                | Self::Oversize
                | Self::RateLimited
                | Self::Closed
                | Self::Cancelled
                | Self::Unserialisable
        )
    }
}

/// The terminal state of an event: exactly one per offered event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Refused at the call; it took no sequence and no attempt was made.
    Rejected {
        /// Why.
        reason: Reason,
    },
    /// The broker confirmed the main record.
    Acked {
        /// Partition of the main topic.
        partition: i32,
        /// Offset in that partition, -1 if the client did not tell.
        offset: i64,
    },
    /// The main path ended without success and the DLQ confirmed a record.
    DeadLettered {
        /// Why main ended.
        cause: Reason,
        /// What is known of main.
        main: Persistence,
    },
    /// Neither took it; its spool record is synced and is resent after the next open.
    Spooled {
        /// What is known of main.
        main: Persistence,
        /// What is known of the DLQ.
        dlq: Persistence,
    },
    /// Main or DLQ possibly holds it; nobody confirmed.
    InDoubt {
        /// Why main ended.
        reason: Reason,
        /// What is known of main.
        main: Persistence,
        /// What is known of the DLQ.
        dlq: Persistence,
    },
    /// Certainly nowhere.
    Dropped {
        /// Why main ended.
        reason: Reason,
    },
}

impl Outcome {
    /// The `outcome` label of `dashstream_events_total`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Rejected { .. } => "rejected",
            Self::Acked { .. } => "acked",
            Self::DeadLettered { .. } => "dead_lettered",
            Self::Spooled { .. } => "spooled",
            Self::InDoubt { .. } => "in_doubt",
            Self::Dropped { .. } => "dropped",
        }
    }

    /// The reason or cause; `None` for acked and spooled, whose `reason` label is empty.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match *self {
            Self::Rejected { reason } | Self::Dropped { reason } | Self::InDoubt { reason, .. } => {
                Some(reason)
            }
            Self::DeadLettered { cause, .. } => Some(cause),
            Self::Acked { .. } | Self::Spooled { .. } => None,
        }
    }
}
