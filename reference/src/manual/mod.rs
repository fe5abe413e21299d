//! The manual: what the parts promise, in prose, checked against the code by tests.

#[doc = include_str!("codec.md")]
pub mod _01_codec {}
