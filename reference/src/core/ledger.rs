//! The ledger: counts of outcomes by reason, and the counters and gauges beside it.

use super::{Outcome, Reason, Route};

/// Labels of the outcomes, in the order of the tally's rows.
pub const OUTCOMES: [&str; 6] =
    ["rejected", "acked", "dead_lettered", "spooled", "in_doubt", "dropped"];
/// One column per reason and one for outcomes without any.
const COLUMNS: usize = Reason::ALL.len() + 1;

/// Counts of outcomes by (outcome, reason).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    cells: [[u64; COLUMNS]; OUTCOMES.len()],
}

const fn row(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Rejected { .. } => 0,
        Outcome::Acked { .. } => 1,
        Outcome::DeadLettered { .. } => 2,
        Outcome::Spooled { .. } => 3,
        Outcome::InDoubt { .. } => 4,
        Outcome::Dropped { .. } => 5,
    }
}

/// Column of a reason: its place in the closed list, or the last column for none.
const fn column(reason: Option<Reason>) -> usize {
    match reason {
        Some(reason) => reason as usize,
        None => COLUMNS - 1,
    }
}

/// True for the combinations that can occur; each of them is a series of
/// `dashstream_events_total`.
#[must_use]
pub fn is_legal(outcome: &str, reason: Option<Reason>) -> bool {
    match (outcome, reason) {
        ("rejected", Some(r)) => r.is_rejection(),
        ("acked" | "spooled", None) => true,
        // acks=0 has no failure that a second record could mend
        ("dead_lettered", Some(r)) => !r.is_rejection() && r != Reason::Acks0,
        ("in_doubt", Some(r)) => !r.is_rejection(),
        // possibly persisted is never dropped
        ("dropped", Some(r)) => !r.is_rejection() && r != Reason::Unconfirmed,
        _ => false,
    }
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, outcome: &Outcome) {
        let cell =
            self.cells.get_mut(row(outcome)).and_then(|r| r.get_mut(column(outcome.reason())));
        if let Some(cell) = cell {
            *cell += 1;
        }
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: &Self) {
        for (row, more) in self.cells.iter_mut().zip(&other.cells) {
            for (cell, more) in row.iter_mut().zip(more) {
                *cell += more;
            }
        }
    }

    /// Every legal combination with its count, zeros included, in a fixed order.
    pub fn cells(&self) -> impl Iterator<Item = (&'static str, Option<Reason>, u64)> + '_ {
        let reasons = || Reason::ALL.into_iter().map(Some).chain([None]);
        OUTCOMES.into_iter().zip(&self.cells).flat_map(move |(outcome, row)| {
            reasons()
                .zip(row)
                .filter(move |(reason, count)| is_legal(outcome, *reason) || **count > 0)
                .map(move |(reason, count)| (outcome, reason, *count))
        })
    }

    /// Count of one combination.
    #[must_use]
    pub fn get(&self, outcome: &str, reason: Option<Reason>) -> u64 {
        self.cells().find(|c| c.0 == outcome && c.1 == reason).map_or(0, |c| c.2)
    }

    /// Count of one outcome over all reasons.
    #[must_use]
    pub fn total(&self, outcome: &str) -> u64 {
        self.cells().filter(|c| c.0 == outcome).map(|c| c.2).sum()
    }

    /// Count of everything.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.cells.iter().flatten().sum()
    }
}

/// A value for each route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerRoute<T> {
    /// Main.
    pub main: T,
    /// DLQ.
    pub dlq: T,
}

impl<T> PerRoute<T> {
    /// The value of a route.
    pub const fn of(&self, route: Route) -> &T {
        match route {
            Route::Main => &self.main,
            Route::Dlq => &self.dlq,
        }
    }

    /// The value of a route, to be changed.
    pub const fn of_mut(&mut self, route: Route) -> &mut T {
        match route {
            Route::Main => &mut self.main,
            Route::Dlq => &mut self.dlq,
        }
    }
}

/// Everything that is counted. Counters never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Outcomes.
    pub tally: Tally,
    /// Accepted events whose main ended without success.
    pub send_failures: u64,
    /// Main attempts beyond the first of each event.
    pub send_retries: u64,
    /// Payloads that could not be compressed and went plain.
    pub compression_failures: u64,
    /// DLQ deliveries with an error that were not late.
    pub dlq_send_failures: u64,
    /// DLQ attempts beyond the first of each event.
    pub dlq_send_retries: u64,
    /// Events that a configured DLQ should have taken and did not.
    pub dlq_dropped: u64,
    /// Events that had to wait for a DLQ permit.
    pub dlq_over_limit: u64,
    /// Events that the spool gave back.
    pub recovered: u64,
    /// Events that found the spool full.
    pub spool_full: u64,
    /// Entries that the spool's file system did not take, and recalls that failed.
    pub spool_failures: u64,
    /// Deliveries after close or drop had resolved their event.
    pub late_deliveries: PerRoute<u64>,
    /// Clients rebuilt after a fatal error.
    pub client_rebuilds: PerRoute<u64>,
    /// Most accepted and unresolved events at a time.
    pub queue_events_max: u64,
    /// Most open main attempts at a time.
    pub open_attempts_max: u64,
}

impl Counters {
    /// Adds another incarnation's: counts are summed, high-water marks compared.
    pub fn add(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.send_failures += other.send_failures;
        self.send_retries += other.send_retries;
        self.compression_failures += other.compression_failures;
        self.dlq_send_failures += other.dlq_send_failures;
        self.dlq_send_retries += other.dlq_send_retries;
        self.dlq_dropped += other.dlq_dropped;
        self.dlq_over_limit += other.dlq_over_limit;
        self.recovered += other.recovered;
        self.spool_full += other.spool_full;
        self.spool_failures += other.spool_failures;
        for (sum, more) in [
            (&mut self.late_deliveries, other.late_deliveries),
            (&mut self.client_rebuilds, other.client_rebuilds),
        ] {
            sum.main += more.main;
            sum.dlq += more.dlq;
        }
        self.queue_events_max = self.queue_events_max.max(other.queue_events_max);
        self.open_attempts_max = self.open_attempts_max.max(other.open_attempts_max);
    }
}

/// What is so now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Accepted and unresolved events.
    pub queue_events: u64,
    /// Their protobuf bytes.
    pub queue_bytes: u64,
    /// Open attempts.
    pub open_attempts: PerRoute<u64>,
}
