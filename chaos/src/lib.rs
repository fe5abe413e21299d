//! Chaos and conformance harness for telemetry pipelines.

pub mod history;
pub mod lane;
pub mod saboteur;
pub mod scenario;
pub mod subject;
