//! Brokers that are wrong on purpose: what the agreement of lanes must catch.
//!
//! Only the harness can make a broker wrong ([`Cluster::go_wrong`](super::Cluster::go_wrong)). No
//! client can tell such a broker from a sound one; the lanes that differ can.

/// What a broker does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It acknowledges a batch before it is in the log: the newest one of each partition gets there
    /// with the next, and a reset or crash loses it.
    AcksBeforeAppend,
    /// It comes back after a crash without the logs of the partitions that it led.
    ForgetsAfterRestart,
    /// Of two batches the first goes behind the second.
    Misorders,
}
