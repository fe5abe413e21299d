//! What a member says when it joins, and what it is told.

use bytes::Bytes;

/// What a client says when it joins.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) client: String,
    /// Empty for a member that has no id yet.
    pub(crate) member: String,
    pub(crate) session_ms: i32,
    pub(crate) rebalance_ms: i32,
    pub(crate) protocol_type: String,
    /// Protocols with what the member says about itself in each, preferred first.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// It can be told its id before it is a member.
    pub(crate) id_first: bool,
}

/// A generation as one member is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    /// Every member and what it said; for the leader only.
    pub(crate) members: Vec<(String, Bytes)>,
}

/// A join that was taken: who it is, and which of its joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) member: String,
    pub(super) number: u64,
}

/// Why a join was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotTaken {
    pub(crate) code: i16,
    /// The id to come back with, where the code says so.
    pub(crate) member: String,
}

impl From<i16> for NotTaken {
    fn from(code: i16) -> Self {
        Self { code, member: String::new() }
    }
}
