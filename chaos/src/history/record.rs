//! The lines of a history: what the subject claimed and what the world showed.
//!
//! Every line is `{v, n, t_us, inc, src, kind, …}`. A line with `src = subject` is a claim; every
//! other source is truth. Laws are judged over these lines and nothing else.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::EventId;
use super::error::{DeliveryError, Trouble};
use super::state::{StateAnswered, StateHeap, StateLost, StateOffered, StateReceived};
use super::store::{AtRest, CrashState, CrashTally, DamageSeen, StoreAnswer, StoreCall};

/// Version of the line format, written as `v`.
pub const FORMAT_VERSION: u32 = 1;

/// `what` of the [`Kind::Proc`] line for an action or a load that never came to its turn.
pub const NOT_DONE: &str = "not_done";

/// `what` of the [`Kind::Proc`] line with which a play on a fresh disk begins; its value is the
/// number of bytes that are free. The lines up to the next one are of this play.
pub const FULL_AT: &str = "full_at";

/// `what` of the [`Kind::Proc`] line that says how many such plays there were.
pub const FULL_TRIED: &str = "full_tried";

/// `what` of the proxy's [`Kind::Proc`] line for the first connection of a client to a broker; its
/// value is the broker's id.
pub const CONNECTED: &str = "connected";

/// `what` of the [`Kind::Proc`] line with which a proxy says that it puts connections on record.
pub const WATCHED: &str = "connections_watched";

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Src {
    /// The implementation under test: a claim.
    Subject,
    /// The harness itself.
    Harness,
    /// The model broker, or an independent reader of a real one.
    Broker,
    /// The wire-aware proxy.
    Proxy,
    /// The simulated or real file system.
    Fs,
    /// The operating system: processes, threads, descriptors, memory.
    Os,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`FORMAT_VERSION`].
    pub v: u32,
    /// Position in the history, from 0; total order of the run.
    pub n: u64,
    /// Microseconds of the lane's own time since the run began (t = 0 is stated by
    /// [`Kind::Ready`]).
    pub t_us: u64,
    /// Incarnation of the subject, from 0.
    pub inc: u32,
    /// Who says so.
    pub src: Src,
    /// What happened.
    #[serde(flatten)]
    pub kind: Kind,
}

/// `main` or `dlq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The telemetry topic.
    Main,
    /// The dead-letter topic.
    Dlq,
}

impl Route {
    /// `main` or `dlq`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Dlq => "dlq",
        }
    }
}

/// What a client or subject says about a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Persistence {
    /// Not in the log.
    Not,
    /// Perhaps in the log.
    Possibly,
    /// In the log.
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

/// Terminal state of an event as claimed; `reason` values are the closed list of the reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Refused at the call.
    Rejected {
        /// Why.
        reason: Arc<str>,
    },
    /// Confirmed by the broker.
    Acked {
        /// Partition, -1 unknown.
        partition: i32,
        /// Offset, -1 unknown.
        offset: i64,
    },
    /// Confirmed by the DLQ.
    DeadLettered {
        /// Why main ended.
        reason: Arc<str>,
        /// Claim about main.
        main: Persistence,
    },
    /// On the spool.
    Spooled {
        /// Claim about main.
        main: Persistence,
        /// Claim about the DLQ.
        dlq: Persistence,
    },
    /// Perhaps in main or DLQ.
    InDoubt {
        /// Why main ended.
        reason: Arc<str>,
        /// Claim about main.
        main: Persistence,
        /// Claim about the DLQ.
        dlq: Persistence,
    },
    /// Nowhere.
    Dropped {
        /// Why main ended.
        reason: Arc<str>,
    },
    /// Written by the harness only: unresolved when the subject was killed.
    LostInCrash,
}

impl Outcome {
    /// The `outcome` label.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Rejected { .. } => "rejected",
            Self::Acked { .. } => "acked",
            Self::DeadLettered { .. } => "dead_lettered",
            Self::Spooled { .. } => "spooled",
            Self::InDoubt { .. } => "in_doubt",
            Self::Dropped { .. } => "dropped",
            Self::LostInCrash => "lost_in_crash",
        }
    }

    /// The `reason` label, empty where the outcome has none.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Rejected { reason }
            | Self::DeadLettered { reason, .. }
            | Self::InDoubt { reason, .. }
            | Self::Dropped { reason } => reason,
            Self::Acked { .. } | Self::Spooled { .. } | Self::LostInCrash => "",
        }
    }
}

/// Phase of a fault line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultPhase {
    /// The fault is armed.
    Begin,
    /// A request, connection or file operation really met it.
    Effect,
    /// It is lifted.
    End,
}

/// What the broker did with the records of one Produce request for one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProduceTruth {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Producer id, -1 without idempotence.
    pub pid: i64,
    /// Producer epoch.
    pub epoch: i16,
    /// First sequence of the batch, -1 without idempotence.
    pub base_sequence: i32,
    /// The events the batch carries, in order; a record that resolves to none is `None`.
    pub events: Vec<Option<EventId>>,
    /// Base offset when the batch was appended by this request (not when recognised as duplicate).
    pub appended: Option<i64>,
    /// Kafka error code that was answered; `None` when the answer was withheld or lost.
    pub answered: Option<i16>,
    /// The proxy passed it on and no broker's answer tells whether it was appended: the final log
    /// does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unknown: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// How a frame was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameFacts {
    /// Protobuf bytes with compression NONE in the headers: what the threshold looks at.
    pub payload: usize,
    /// The body is a zstd frame.
    pub zstd: bool,
}

/// One record of a log, as the end-of-run reader saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Offset.
    pub offset: i64,
    /// The events it holds (an `EventBatch` has several); empty when it cannot be resolved.
    pub events: Vec<EventId>,
    /// Producer id that appended it.
    pub pid: i64,
    /// Producer epoch that appended it.
    pub epoch: i16,
    /// Thread id found inside (main) or in the JSON (DLQ); empty when unknown.
    pub thread: Arc<str>,
    /// Sequence found inside; `None` when it has none.
    pub sequence: Option<u64>,
    /// Bytes of key, value and headers.
    pub size: usize,
    /// DLQ records: everything they say but for the payload, as JSON text; law S3 reads it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub letter: String,
    /// Main records that decode: how the frame was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<FrameFacts>,
    /// What is wrong with it, each `CLASS: text`. Classes, and the law each is judged by: `frame`
    /// and `schema` (undecodable, C2), `crc` (record header or checksum, C4), `compression` (C6),
    /// `payload` (DLQ payload neither equal nor cut with size and hash, Q1), `loop` (a DLQ record
    /// inside a DLQ record, Q3), `context` (DLQ record without its source's context, Q5).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defects: Vec<String>,
}

/// What happened. Names are the `kind` values of the file format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// First line: everything that is needed to judge the rest.
    Run {
        /// Scenario id.
        scenario: String,
        /// The scenario file as run.
        text: String,
        /// Lane name.
        lane: String,
        /// Seed.
        seed: u64,
        /// Subject: `reference`, `saboteur:NAME` or `driver:PROGRAM ARGUMENTS`
        /// ([`SubjectSpec::name`](crate::lane::SubjectSpec::name)).
        subject: String,
        /// First 10 bytes of the run's digest, in hex; part of every message id.
        run: String,
        /// Versions and settings that determinism relies on.
        environment: Vec<(String, String)>,
    },
    /// t = 0 of the scenario: `open` returned and the producer is warm.
    Ready,
    /// The harness called the subject.
    Call {
        /// Number of the call, unique in the run.
        id: u64,
        /// Operation: open, send, flush, close, drop, clone, cancel, metrics, ….
        op: String,
        /// Deadline in microseconds, where the operation has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline_us: Option<u64>,
        /// Event, for send and cancel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<EventId>,
    },
    /// The call returned.
    Return {
        /// Number of the call.
        id: u64,
        /// Operation.
        op: String,
        /// `Ok` or the error's text.
        error: Option<String>,
        /// What is wrong with the connection, where that is it and the subject tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<Trouble>,
        /// Whatever it answered (a close report, a flush's pending count), as JSON.
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        answer: serde_json::Value,
    },
    /// The harness offered an event (truth).
    Offered {
        /// Who it is.
        event: EventId,
        /// Its thread id.
        thread: Arc<str>,
        /// Size of the protobuf message as the harness encodes it, bytes.
        bytes: usize,
    },
    /// The subject accepted it (claim).
    Accepted {
        /// Who.
        event: EventId,
        /// Sequence it was given.
        sequence: u64,
    },
    /// The subject handed a record to its transport (claim).
    Attempt {
        /// Attempt number, unique in the incarnation.
        attempt: u64,
        /// The events in the record.
        events: Vec<EventId>,
        /// Where to.
        route: Route,
    },
    /// The transport did not take it (claim); the attempt does not count.
    Refused {
        /// Attempt number.
        attempt: u64,
        /// Where to.
        route: Route,
        /// Error.
        error: DeliveryError,
    },
    /// An attempt ended (claim).
    Delivery {
        /// Attempt number.
        attempt: u64,
        /// Where to.
        route: Route,
        /// Client's status.
        persistence: Persistence,
        /// Partition, -1 unknown.
        partition: i32,
        /// Offset, -1 unknown.
        offset: i64,
        /// `None` on success.
        error: Option<DeliveryError>,
        /// It came after its event was resolved by close or drop.
        #[serde(default)]
        late: bool,
    },
    /// An event ended (claim; `lost_in_crash` is the harness's).
    Outcome {
        /// Who.
        event: EventId,
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// As at [`Kind::Return`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<Trouble>,
    },
    /// A fault began, had an effect, or ended.
    Fault {
        /// Index of the fault in the scenario file.
        fault: usize,
        /// Its kind, as `broker.down`.
        name: String,
        /// Which.
        phase: FaultPhase,
    },
    /// A request that reached a broker whole. Recorded before its answer is written, so that no
    /// claim that rests on the answer can stand in front of it.
    Request {
        /// Broker id.
        broker: i32,
        /// API name, as `Produce`.
        api: String,
        /// Connection number, unique in the run.
        conn: u64,
        /// Correlation id.
        correlation: i32,
        /// Produce only: per partition what was appended and answered.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        produce: Vec<ProduceTruth>,
        /// Error code at the top of the answer, 0 if none; `None` when withheld.
        answered: Option<i16>,
        /// acks of a Produce.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acks: Option<i16>,
    },
    /// A partition's log, read whole at the end of the run.
    Log {
        /// Topic.
        topic: Arc<str>,
        /// Which route's topic it is; `None` for any other.
        route: Option<Route>,
        /// Partition.
        partition: i32,
        /// Its records in offset order.
        records: Vec<LogRecord>,
    },
    /// The subject's metrics as scraped (Prometheus text).
    Scrape {
        /// The text.
        text: String,
        /// True for the judging scrape, after close returned and deliveries were served.
        last: bool,
    },
    /// A process fact.
    Proc {
        /// start, ready, crash, drop (the last handle went without `close`), exit, stdout, stderr
        /// (a line printed outside the protocol), `not_done` (an action or load that never came to
        /// its turn), log (a line the subject logged, asked for where the scenario hands out a
        /// secret), debug (its settings and errors as it prints them for debugging), secrets (so
        /// many keys and tokens of the run were looked for), leaked (one was found there), panic,
        /// tasks, threads, fds, memory, `page_ins` (waits for a page to be read from a disk),
        /// stall.
        what: String,
        /// exit: code, or minus the signal. tasks, threads, fds, `page_ins`: how many. memory:
        /// bytes. stall: microseconds (source `os`: of the machine, or with the text `brokers` of
        /// these; source `subject`: of its runtime).
        #[serde(default)]
        value: i64,
        /// The printed line, the panic's text; tasks, threads, fds: `before` (no producer is open
        /// yet) or `after` (closed, and the stated grace is over).
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
    },
    /// A file-system fact.
    Fs {
        /// Operation.
        op: String,
        /// Path.
        path: String,
        /// Error, if it failed.
        error: Option<String>,
    },
    /// The harness called a store.
    StoreCall(StoreCall),
    /// What the store answered (claim).
    StoreAnswer(StoreAnswer),
    /// A checkpoint lay in the directory before the run.
    AtRest(AtRest),
    /// A checkpoint file was damaged.
    DamageSeen(DamageSeen),
    /// What a store or spool that was opened on a disk that a crash could leave answered there.
    CrashState(CrashState),
    /// How many such disks there were.
    CrashTally(CrashTally),
    /// A state was offered to be diffed.
    StateOffered(StateOffered),
    /// What the subject made of it (claim).
    StateAnswered(StateAnswered),
    /// What arrived at the receiver.
    StateReceived(StateReceived),
    /// Heap that the state took.
    StateHeap(StateHeap),
    /// The subject was told that the message of a state was lost.
    StateLost(StateLost),
}
