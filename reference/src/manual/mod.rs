//! The manual: what the parts promise, in prose, checked against the code by tests.
#![expect(clippy::doc_markdown, reason = "tables hold the names as the code prints them")]

#[doc = include_str!("codec.md")]
pub mod _01_codec {}

#[doc = include_str!("producer.md")]
pub mod _02_producer {}

#[doc = include_str!("metrics.md")]
pub mod _03_metrics {}

#[doc = include_str!("config.md")]
pub mod _04_config {}

#[doc = include_str!("spool.md")]
pub mod _05_spool {}

#[doc = include_str!("checkpoint.md")]
pub mod _06_checkpoint {}

#[doc = include_str!("state.md")]
pub mod _07_state {}

#[cfg(test)]
mod tests;
