//! Chaos and conformance harness for telemetry pipelines.

pub mod broker;
pub mod cli;
pub mod disk;
pub mod exit;
pub mod fault;
pub mod heap;
pub mod history;
pub mod lane;
pub mod manual;
pub mod oracle;
pub mod report;
pub mod saboteur;
pub mod scenario;
pub mod subject;

/// Unit tests count as the command does.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;
