//! Lines about state diffs: the states that were offered, what the subject made of them, what a
//! receiver made of that, and the heap that it took. States themselves are not kept, only their
//! hashes and sizes.

use serde::{Deserialize, Serialize};

/// A state was offered to be diffed, together with the event that it belongs to (truth).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateOffered {
    /// Number of the state, unique in the run.
    pub step: u64,
    /// Whose state it is.
    pub thread: String,
    /// Bytes of its canonical JSON; of one with a defect, those of the rest.
    pub bytes: u64,
    /// Objects and arrays inside each other, at most.
    pub depth: u64,
    /// SHA-256 of its canonical JSON, in hex; of one with a defect, of the rest.
    pub sha: String,
    /// What it holds that no JSON can: `unserialisable`, `non_string_key`, `not_a_number`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<String>,
}

/// What the subject made of a state (claim).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateAnswered {
    /// Number of the state.
    pub step: u64,
    /// `patch`, `full`, `unchanged`, `degraded`.
    pub what: String,
    /// degraded: why, as the label that it is counted under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// patch: the base that it names, in hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base: String,
    /// patch, full: the hash that the message says its state has, in hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// patch, full: bytes of the message as encoded, without a header.
    #[serde(default)]
    pub bytes: u64,
    /// degraded: the error's text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// What arrived at the receiver of a thread, which applies what it is sent (truth).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReceived {
    /// Number of the state.
    pub step: u64,
    /// The event that the state belongs to arrived.
    pub event: bool,
    /// The message with the diff: `none` was sent, it was `delivered`, or it was `lost`.
    pub message: String,
    /// delivered: why the receiver could not follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// SHA-256 of the canonical JSON of the state that the receiver has now, in hex; empty when it
    /// has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha: String,
}

/// Heap that a state took on the subject's thread, by the counting allocator (truth). Rounded up to
/// KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHeap {
    /// Number of the state.
    pub step: u64,
    /// Most at a time during the call, over what there was before it.
    pub peak_kib: u64,
    /// What the subject keeps for all threads since the run began, the message being gone.
    pub kept_kib: u64,
}

/// The subject was told that the message of a state was lost (truth).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateLost {
    /// Number of the state.
    pub step: u64,
}
