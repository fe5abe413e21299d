//! Tests of state diffs.

mod canonical;
mod chain;
mod generate;
mod laws;
mod patches;
mod reasons;
