//! Thin shells around the core: clients, clocks, metrics.
//!
//! [`Producer`] is the handle applications hold. It runs a [`Core`](crate::core::Core) behind one
//! short mutex that is never held across an await, one driver task, and a client per route made by
//! any [`Connect`](crate::core::Connect).

mod builder;
mod checkpoints;
mod desk;
mod driver;
mod metrics;
mod outcomes;
mod producer;
mod pump;
#[cfg(feature = "kafka")]
pub mod rdkafka;
mod send;
mod shared;
mod std_fs;
#[cfg(test)]
mod tests;

pub use builder::{Builder, OpenError};
pub use checkpoints::{CheckpointMetrics, Checkpoints};
pub use metrics::{METRICS, Metric, MetricKind, MetricLabels, ProducerMetrics, RegistryInUse};
pub use outcomes::Outcomes;
pub use producer::{CloseReport, Counts, FlushError, FlushReport, Producer};
pub use send::{Accepted, SendError};
pub use std_fs::{StdFs, holder};

pub use crate::core::{Cause, ConnectionProblem, ConnectionTrouble, OutcomeRecord};
