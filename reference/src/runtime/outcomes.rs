//! The stream of outcomes.

use tokio::sync::broadcast::{self, error::RecvError};

use super::metrics::ProducerMetrics;
use crate::core::OutcomeRecord;

/// A bounded stream of outcomes. A reader that falls behind misses the oldest; what it missed is
/// counted in `dashstream_outcomes_lagged_total`, never passed over in silence.
#[derive(Debug)]
pub struct Outcomes {
    receiver: broadcast::Receiver<OutcomeRecord>,
    metrics: ProducerMetrics,
    missed: u64,
}

impl Outcomes {
    pub(super) const fn new(
        receiver: broadcast::Receiver<OutcomeRecord>,
        metrics: ProducerMetrics,
    ) -> Self {
        Self { receiver, metrics, missed: 0 }
    }

    /// The next outcome; `None` when the producer is gone and everything was read.
    pub async fn next(&mut self) -> Option<OutcomeRecord> {
        loop {
            match self.receiver.recv().await {
                Ok(record) => return Some(record),
                Err(RecvError::Lagged(missed)) => {
                    self.missed += missed;
                    self.metrics.lagged(missed);
                    tracing::warn!(missed, "a reader of the outcome stream fell behind");
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Outcomes that this stream missed so far.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }
}
