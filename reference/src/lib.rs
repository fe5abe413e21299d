//! A telemetry pipeline that may lose an event, but never silently.
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod core;
