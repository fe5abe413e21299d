//! The closed lists that scenario files draw names from. Laws and marks are the oracle's.

use kafka_protocol::ResponseError;

use super::model::{LaneName, SpoolDamage};
use super::security::{Listener, Why};
use crate::oracle::{self, LawId};

/// Message types a load can offer.
pub(crate) const MESSAGES: &[&str] = &crate::subject::message::MESSAGE_TYPES;

/// Topics.
pub(crate) const TOPICS: &[&str] = &["main", "dlq", "both"];

/// Directions of a partition.
pub(crate) const DIRECTIONS: &[&str] = &["both", "requests", "responses"];

/// What a `decode` must end in.
pub(crate) const WANTS: &[&str] = &["message", "error"];

/// Listeners of brokers.
pub(crate) fn listeners() -> Vec<&'static str> {
    Listener::ALL.iter().map(|(name, _)| *name).collect()
}

/// Reasons to be refused.
pub(crate) fn refusals() -> Vec<&'static str> {
    Why::ALL.iter().map(|(name, ..)| *name).collect()
}

/// Kinds of damage to a spool.
pub(crate) fn damage() -> Vec<&'static str> {
    SpoolDamage::ALL.iter().map(|(name, _)| *name).collect()
}

/// APIs the model broker answers.
pub(crate) const APIS: &[&str] = &[
    "ApiVersions",
    "Metadata",
    "InitProducerId",
    "Produce",
    "Fetch",
    "ListOffsets",
    "FindCoordinator",
    "CreateTopics",
    "JoinGroup",
    "SyncGroup",
    "Heartbeat",
    "LeaveGroup",
    "OffsetCommit",
    "OffsetFetch",
];

/// The rows of the audit, in its order.
pub const ROWS: [&str; 25] = [
    "RES-1", "RES-2", "RES-3", "RES-4", "SEC-1", "SEC-2", "SEC-3", "SEC-4", "SAF-1", "SAF-2",
    "SAF-3", "SAF-4", "INT-1", "INT-2", "INT-3", "INT-4", "INT-5", "OBS-1", "OBS-2", "OBS-3",
    "OBS-4", "PERF-1", "PERF-2", "PERF-3", "PERF-4",
];

pub(crate) fn rows() -> Vec<&'static str> {
    ROWS.to_vec()
}

pub(crate) fn lanes() -> Vec<&'static str> {
    LaneName::ALL.iter().map(|lane| lane.as_str()).collect()
}

/// The lane of that name.
#[must_use]
pub fn lane(name: &str) -> Option<LaneName> {
    LaneName::ALL.into_iter().find(|lane| lane.as_str() == name)
}

pub(crate) fn marks() -> Vec<&'static str> {
    oracle::marks::MARKS.iter().map(|mark| mark.name).collect()
}

pub(crate) fn laws() -> Vec<&'static str> {
    oracle::laws::names().map(LawId::as_str).collect()
}

/// Outcomes that an expectation may bound, each with whether it has reasons and which.
pub(crate) const OUTCOMES: &[&str] =
    &["rejected", "acked", "dead_lettered", "spooled", "in_doubt", "dropped", "lost_in_crash"];

/// [`OUTCOMES`] for those outside.
pub(crate) const fn outcomes() -> &'static [&'static str] {
    OUTCOMES
}

/// Kafka's error codes by their official names.
pub(crate) fn kafka_codes() -> Vec<(String, i16)> {
    const LAST: i16 = 160;
    (-1..=LAST)
        .filter_map(|code| {
            let error = ResponseError::try_from_code(code)?;
            let known = !matches!(error, ResponseError::Unknown(_));
            known.then(|| (screaming(&format!("{error:?}")), code))
        })
        .collect()
}

/// `NotLeaderOrFollower` as `NOT_LEADER_OR_FOLLOWER`.
fn screaming(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len() + 8);
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}
