//! The model broker: a Kafka cluster in memory that speaks the wire protocol over any byte stream.
//!
//! Its log is the truth that the oracle reads, and every request that reached it whole stands in
//! the history with what was appended and answered. Faults act inside it ([`crate::fault`]), so
//! that they are the same in every lane that uses it.

pub(crate) mod api;
pub mod batch;
pub mod client;
mod cluster;
pub mod codes;
pub(crate) mod conn;
mod group;
mod identity;
mod inspect;
mod letter;
pub(crate) mod links;
mod listen;
mod log;
pub mod outgoing;
pub mod reader;
pub(crate) mod requests;
pub(crate) mod script;
pub(crate) mod shape;
mod state;
mod truth;
mod wrong;

#[cfg(test)]
pub(crate) mod tests;

pub use api::{SERVED, name as api_name};
pub use cluster::{Cluster, ClusterConfig};
pub use conn::{MAX_REQUEST, serve};
pub use identity::Identity;
pub(crate) use listen::listen;
pub use listen::{HeldPort, Listen, accept_loop, bind_loopback};
pub use wrong::Wrong;
