//! Judges histories: pure functions from recorded lines to a verdict.
//!
//! No law is proven by a claim alone. What the subject says is held against what brokers, logs and
//! the operating system show, and what could not be judged is counted and shown. The tables of
//! [`laws`], [`lanes`], [`marks`] and [`metrics`] are the manual's.

pub mod agree;
mod api;
mod codec;
mod counts;
mod delivery;
mod dlq;
mod evidence;
mod expect;
mod findings;
mod index;
mod judge;
pub mod lanes;
pub mod laws;
pub mod ledger;
mod load;
pub mod marks;
pub mod metrics;
mod plays;
mod records;
mod resources;
mod security;
mod settings;
mod spool;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod windows;

pub(crate) use evidence::quoted;
pub use findings::Blame;
pub use judge::{Judgement, LawStatus, MarkStatus, RunCounts, Verdict, judge};
pub use laws::LawId;
pub use ledger::Ledger;
