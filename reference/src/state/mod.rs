//! State diffs: what changed between two states of a thread, without keeping the first.
//!
//! A [`DiffTracker`] keeps a tree of digests instead of the state it sent last. The next state is
//! walked, digested and compared; what differs is fetched out of it and becomes RFC 6902
//! operations, or the whole state is sent, whichever is smaller. A state that cannot have a diff
//! is a typed, counted outcome that harms neither the event that goes with it nor the diffs after
//! it. A [`DiffApplier`] is the other end.
//!
//! ```text
//!   S: Serialize ──▶ walk ──▶ stream: canonical text, in order, in a bounded window
//!                                │
//!                                ├──▶ SHA-256 of the whole: the state hash
//!                                └──▶ builder: the digest tree ──▶ compare with the base's
//!                                                                         │
//!   S: Serialize ──▶ walk ──▶ collect: the values that changed ◀──────────┘
//! ```
//!
//! Nothing here does I/O, reads a clock or draws a random number. What is promised is in the
//! [manual](crate::manual::_07_state).

mod apply;
mod builder;
mod canonical;
mod collect;
mod compare;
mod config;
mod error;
mod keys;
mod metrics;
mod probe;
mod scan;
mod stream;
mod text;
mod tracker;
mod tree;
mod walk;

pub use apply::{ApplyError, DiffApplier};
pub use canonical::{StateHash, canonical_json, state_hash};
pub use config::DiffConfig;
pub use error::{DegradeReason, StateError, StateErrorKind};
pub use metrics::{DiffCounters, DiffMetrics, DiffMetricsInUse};
pub use tracker::{DiffToken, DiffTracker, Diffed, FullReason};

#[cfg(test)]
mod tests;
