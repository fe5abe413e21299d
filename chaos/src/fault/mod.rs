//! The faults of a scenario, put in force and lifted by index.
//!
//! What a fault does is written in the model broker ([`crate::broker`]), which asks the list of
//! faults in force at every request, answer and connection. This module resolves whom a fault is
//! about, runs the faults that change by themselves (flapping, rolling restart), and says which
//! lane can inject what.

mod lanes;
mod plan;
pub mod proxy;
pub mod spool;
#[cfg(test)]
pub(crate) mod tests;

pub use lanes::can_inject;
pub use plan::{FaultPlan, Target};
