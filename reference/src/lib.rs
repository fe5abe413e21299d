//! A telemetry pipeline that may lose an event, but never silently.
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod codec;
pub mod config;
pub mod core;
pub mod manual;
pub mod proto;
pub mod runtime;
