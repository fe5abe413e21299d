//! Lines about stores: what was asked of them, what they answered, and what they answered where
//! the machine had crashed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EventId, Persistence};

/// A call of a store (truth). The file operations between it and its answer are the call's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCall {
    /// Number of the call, unique in the run.
    pub call: u64,
    /// `open`, `second_open`, `save`, `load`, `latest`, `list`, `threads`, `verify`, `delete`,
    /// `delete_thread`, `retain`, `close`.
    pub op: String,
    /// Thread id, where the operation has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Checkpoint id: the caller's own, or the one that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// save: first 16 hex digits of the state's SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha: Option<String>,
    /// retain, and open with retention: how many stay per thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
    /// open: the variant that new files are written in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl StoreCall {
    /// A call of this operation, without arguments and without a number yet.
    #[must_use]
    pub fn of(op: &str) -> Self {
        Self { op: op.to_owned(), ..Self::default() }
    }
}

/// The answer to a call of a store (claim).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreAnswer {
    /// Number of the call.
    pub call: u64,
    /// Operation.
    pub op: String,
    /// Kind of the error, as `storage_full`; `None` for success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// save, load, latest: the checkpoint's id. latest: `None` for a thread without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// load, latest: the thread that the checkpoint says it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// load, latest: first 16 hex digits of the SHA-256 of the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha: Option<String>,
    /// list: ids, newest first. threads: thread ids. verify: names of files that are not healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// `delete`, `delete_thread`, `retain`: how many went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The error's text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// What a store gave for a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The latest checkpoint's id; `None` where the store has none, or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Digest of its state, as in [`StoreAnswer::sha`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha: Option<String>,
    /// Kind of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Listed checkpoints, newest first, each with the digest of the state that its load gave, or
    /// with `error:` and the kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<(String, String)>,
}

/// An event that a spool gave back, to be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// Who it is.
    pub event: EventId,
    /// Its sequence.
    pub sequence: u64,
    /// What the spool says of main.
    pub main: Persistence,
    /// What it says of the DLQ.
    pub dlq: Persistence,
}

/// What a spool gave back where it was opened on a disk that a crash could leave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolFound {
    /// The epoch that it began.
    pub epoch: u64,
    /// Everything that it gave back, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<GivenBack>,
}

/// A disk that a crash could leave, and what a store or spool that was opened on it answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashState {
    /// Its name, as `op17.v3`; stable, so that it can be made again.
    pub state: String,
    /// The crash came after so many operations of this disk that change it.
    pub ops: u64,
    /// Of a store: by thread.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latest: BTreeMap<String, Found>,
    /// Of a spool: what it gave back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolFound>,
    /// It could not be opened: the kind of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Temporary files that were still there after the open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// How thoroughly the crash states of a disk were tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashTally {
    /// Points at which a crash was tried: before the first operation and after each.
    pub points: u64,
    /// Different disks that a store or spool was opened on.
    pub states: u64,
    /// Disks that were equal to one of them at the same point.
    pub duplicates: u64,
    /// Points with so many possible disks that they were sampled.
    pub sampled: u64,
}

/// A checkpoint that lay in the directory before the run: its save was not watched (truth).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtRest {
    /// Whose it is.
    pub thread: String,
    /// Its id.
    pub id: String,
    /// First 16 hex digits of the SHA-256 of its state.
    pub sha: String,
    /// Its file.
    pub path: String,
    /// Who wrote it: `earlier`, the subject itself; `v1-file` and so on, version 1.
    pub by: String,
}

/// A checkpoint file at rest was damaged by a fault (truth).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageSeen {
    /// Index of the fault in the scenario file.
    pub fault: usize,
    /// How: `bit`, `cut`, `empty`, `zeros`, `trailing`, `deleted`, `newer_version`.
    pub how: String,
    /// The file.
    pub path: String,
    /// The checkpoint that it held.
    pub id: String,
    /// Whose it was.
    pub thread: String,
}
