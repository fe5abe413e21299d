//! The driver protocol: what the harness asks of a subject, and what the subject tells.
//!
//! One JSON object per line. The harness writes [`Request`]s; the subject writes [`Message`]s. The
//! in-process reference is driven through the same types, so that every subject comes in by one
//! door.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::store::Given;
use crate::history::{EventId, Kind, Trouble};

/// Version of the protocol.
pub const PROTOCOL_VERSION: u32 = 1;

/// A request of the harness; answered by [`Message::Reply`] with the same id. Several may be
/// outstanding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the harness, unique in the process.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub op: Op,
}

/// An event to offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventSpec {
    /// Identity, echoed in every claim about it.
    pub event: EventId,
    /// 32 hex digits: becomes `Header.message_id` and the Kafka header.
    pub message_id: String,
    /// Thread id: the Kafka key.
    pub thread: String,
    /// Message type: `event`, `token_chunk`, ….
    #[serde(default = "event_type")]
    pub message: String,
    /// Filler text that brings the event to its size.
    #[serde(default)]
    pub fill: String,
}

fn event_type() -> String {
    "event".to_owned()
}

/// Operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// First request: versions and capabilities.
    Hello {
        /// [`PROTOCOL_VERSION`] of the harness.
        version: u32,
    },
    /// Opens a producer (handle 0) with the settings of the scenario.
    Open {
        /// Bootstrap servers, `host:port,…`.
        bootstrap: String,
        /// Producer settings, as in the scenario file.
        config: serde_json::Value,
        /// Seed of whatever the subject draws.
        seed: u64,
        /// Incarnation.
        inc: u32,
    },
    /// Offers an event through a handle. Answered when it is accepted or rejected.
    Send {
        /// Handle.
        handle: u32,
        /// What.
        spec: EventSpec,
    },
    /// Drops the future of a pending `send`, named by its request id.
    Cancel {
        /// Request id of the send.
        request: u64,
    },
    /// Makes a handle from handle 0, or any that lives.
    Clone {
        /// Number of the new handle.
        handle: u32,
    },
    /// Drops a handle.
    Drop {
        /// Which.
        handle: u32,
    },
    /// The next outcome callback panics.
    PanicCallback,
    /// `flush(d)`.
    Flush {
        /// d in microseconds.
        deadline_us: u64,
    },
    /// Prometheus text of the registry.
    Metrics,
    /// `close(d)`.
    Close {
        /// d in microseconds.
        deadline_us: u64,
    },
    /// Encodes an event; answers the frame in base64.
    #[serde(rename = "codec.encode")]
    CodecEncode {
        /// What.
        spec: EventSpec,
    },
    /// Decodes a frame (base64); answers the sha256 of the message or an error kind and offset.
    #[serde(rename = "codec.decode")]
    CodecDecode {
        /// The frame.
        frame: String,
    },
    /// Opens a store of checkpoints on a directory, made if missing.
    #[serde(rename = "checkpoint.open")]
    CheckpointOpen {
        /// Number of the store, the harness's choice.
        store: u32,
        /// The directory.
        dir: String,
        /// `file`, `compressed` or `versioned`.
        variant: String,
        /// Schema version of new states; those of 1 are migrated under 2.
        schema: u32,
        /// Retention per thread.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<usize>,
        /// Seed of whatever the store draws.
        seed: u64,
    },
    /// Saves a state; answers the checkpoint's id.
    #[serde(rename = "checkpoint.save")]
    CheckpointSave {
        /// The store.
        store: u32,
        /// Whose.
        thread: String,
        /// The caller's own id for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<String>,
        /// What.
        state: String,
    },
    /// Answers the checkpoint of an id.
    #[serde(rename = "checkpoint.load")]
    CheckpointLoad {
        /// The store.
        store: u32,
        /// Its id.
        checkpoint: String,
    },
    /// Answers a thread's newest valid checkpoint, or none.
    #[serde(rename = "checkpoint.latest")]
    CheckpointLatest {
        /// The store.
        store: u32,
        /// Whose.
        thread: String,
    },
    /// Answers the ids of a thread, newest first.
    #[serde(rename = "checkpoint.list")]
    CheckpointList {
        /// The store.
        store: u32,
        /// Whose.
        thread: String,
    },
    /// Answers every thread that has a checkpoint.
    #[serde(rename = "checkpoint.threads")]
    CheckpointThreads {
        /// The store.
        store: u32,
    },
    /// Answers the names of files that are not healthy.
    #[serde(rename = "checkpoint.verify")]
    CheckpointVerify {
        /// The store.
        store: u32,
    },
    /// Deletes a checkpoint; answers how many went.
    #[serde(rename = "checkpoint.delete")]
    CheckpointDelete {
        /// The store.
        store: u32,
        /// Its id.
        checkpoint: String,
    },
    /// Deletes a thread; answers how many checkpoints went.
    #[serde(rename = "checkpoint.delete_thread")]
    CheckpointDeleteThread {
        /// The store.
        store: u32,
        /// Which.
        thread: String,
    },
    /// Removes all but the newest of each thread; answers how many went.
    #[serde(rename = "checkpoint.retain")]
    CheckpointRetain {
        /// The store.
        store: u32,
        /// How many stay.
        keep: usize,
    },
    /// Prometheus text of the store's own registry.
    #[serde(rename = "checkpoint.metrics")]
    CheckpointMetrics {
        /// The store.
        store: u32,
    },
    /// Closes a store and gives its directory free.
    #[serde(rename = "checkpoint.close")]
    CheckpointClose {
        /// The store.
        store: u32,
    },
    /// Ends the process.
    Bye,
    /// Anything this version does not know.
    #[serde(other)]
    Unknown,
}

/// An error as a driver tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpError {
    /// `unsupported`, `rejected`, `pending`, `config`, `connect`, `cancelled`, `internal`, ….
    pub code: String,
    /// Reason of a rejection, from the closed list; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// True when the operation certainly had no effect.
    pub definite: bool,
    /// What is wrong with the connection to the brokers, where that is it and the driver can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Trouble>,
}

impl OpError {
    /// An error without a reason of the closed list.
    #[must_use]
    pub fn new(code: &str, message: String, definite: bool) -> Self {
        Self { code: code.to_owned(), reason: String::new(), message, definite, why: None }
    }
}

/// What a subject writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// Answer to a request.
    Reply {
        /// Request id.
        id: u64,
        /// Operation's answer on success.
        #[serde(default)]
        ok: Option<Answer>,
        /// Error otherwise.
        #[serde(default)]
        error: Option<OpError>,
    },
    /// A claim: accepted, attempt, refused, delivery, outcome, proc.
    Claim {
        /// The line's body; the harness stamps number, time, incarnation and source.
        claim: Kind,
    },
}

/// Answers by operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// hello: who.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// hello: protocol version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// hello: declared capabilities, the names of operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// send: sequence given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// flush: outcomes counted by `outcome` or `outcome/reason`; close: the report.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// flush that timed out: events still pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
    /// metrics: the text; codec: base64 or sha256.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// checkpoint.save: the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// checkpoint.load, checkpoint.latest: what was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Given>,
    /// checkpoint.list, .threads, .verify: ids, threads, files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// checkpoint.delete, .`delete_thread`, .retain: how many went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}
