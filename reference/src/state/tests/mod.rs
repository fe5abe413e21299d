//! Tests of state diffs.

mod canonical;
mod chain;
mod generate;
mod laws;
mod manual;
mod patches;
mod reasons;
