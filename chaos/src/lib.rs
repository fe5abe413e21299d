//! Chaos and conformance harness for telemetry pipelines.

pub mod history;
pub mod scenario;
pub mod subject;
