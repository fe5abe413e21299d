//! The handle applications hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::builder::Builder;
use super::outcomes::Outcomes;
use super::send::{Accepted, SendError};
use super::shared::Shared;
use crate::config::ProducerConfig;
use crate::core::{ConnectionProblem, FlushId, Reason, Route, Tally};
use crate::proto::DashStreamMessage;

/// Counts by (outcome, reason); reason is empty for acked and spooled. Zeros are left out.
pub type Counts = BTreeMap<(&'static str, &'static str), u64>;

fn counts(tally: &Tally) -> Counts {
    let present = tally.cells().filter(|(_, _, count)| *count > 0);
    present
        .map(|(outcome, reason, count)| ((outcome, reason.map_or("", Reason::as_str)), count))
        .collect()
}

/// Everything that a flush waited for is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushReport {
    /// What became of the events that were accepted and unresolved when the flush began. Resolved
    /// does not mean delivered: look.
    pub counts: Counts,
}

/// A flush ran out of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{pending} events were not resolved within the flush's time; they go on{}",
    problem.as_ref().map_or_else(String::new, |p| format!(" (last connection error: {p})"))
)]
pub struct FlushError {
    /// Events accepted before the flush whose outcome was not told yet.
    pub pending: u64,
    /// Outcomes of the others.
    pub counts: Counts,
    /// What is wrong with the connection to the brokers of main, if anything.
    pub problem: Option<ConnectionProblem>,
}

/// The account of a whole incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReport {
    /// Outcomes of every event that was offered until `close` had resolved the last.
    pub counts: Counts,
    /// Time from the call to the last outcome.
    pub took: Duration,
}

/// A telemetry producer. Clones share one queue; the incarnation ends with [`Producer::close`], or
/// when the last clone is dropped.
///
/// Every event offered ends in exactly one [`Outcome`](crate::core::Outcome), which is counted,
/// told to the callback, and put on the stream.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("topic", &self.shared().config.topic)
            .finish_non_exhaustive()
    }
}

/// Shared by the clones, and by nothing else: its drop is the drop of the last clone.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.abandon();
        if let Some(desk) = &shared.desk {
            desk.end(&shared.me);
        }
        shared.metrics.part(shared);
    }
}

impl Producer {
    /// Begins to open a producer with these settings.
    #[must_use]
    pub const fn builder(config: ProducerConfig) -> Builder {
        Builder::new(config)
    }

    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { handle: Arc::new(Handle { shared }) }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Offers an event. Returns when it is accepted (queued, with its sequence) or rejected; how it
    /// ends is told by the callback and the stream. Waits for room if the queue is full and
    /// `queue.when_full` says so, first come first served; dropping the future while it waits
    /// rejects the event (`cancelled`), dropping it later changes nothing.
    ///
    /// The header is completed: sequence always; message id, tenant, timestamp, type and schema
    /// version where they are empty.
    ///
    /// # Errors
    /// [`SendError`] with the reason of the rejection, which is counted and told as well.
    pub async fn send(&self, message: DashStreamMessage) -> Result<Accepted, SendError> {
        self.shared().send(message, false).await
    }

    /// Offers an event that was read from a dead-letter queue. As [`Producer::send`], but if main
    /// does not take it this time, it is not dead-lettered again: that would be a loop.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn resend(&self, message: DashStreamMessage) -> Result<Accepted, SendError> {
        self.shared().send(message, true).await
    }

    /// What the client of a route last reported about its connections; `None` while nothing is
    /// wrong. Never holds a secret.
    #[must_use]
    pub fn problem(&self, route: Route) -> Option<ConnectionProblem> {
        self.shared().connect.problem(route)
    }

    /// The stream of outcomes from now on.
    #[must_use]
    pub fn subscribe(&self) -> Outcomes {
        Outcomes::new(self.shared().outcomes.subscribe(), self.shared().metrics.clone())
    }

    /// Waits until everything accepted before the call has an outcome.
    ///
    /// # Errors
    /// [`FlushError`] when the time is over first. Nothing is cut: the events go on.
    #[tracing::instrument(name = "flush", skip_all, fields(within = ?within))]
    pub async fn flush(&self, within: Duration) -> Result<FlushReport, FlushError> {
        let shared = self.shared();
        let until = deadline(within);
        let flush = {
            let mut state = shared.lock();
            let id = state.core.flush(shared.now());
            shared.pump_from(state);
            Flushing { shared, id }
        };
        let mut target = None;
        loop {
            let mut progress = std::pin::pin!(shared.progress.notified());
            progress.as_mut().enable();
            if flush.is_done(&mut target) {
                return Ok(FlushReport { counts: counts(&flush.end().tally) });
            }
            tokio::select! {
                biased;
                () = progress => {}
                () = sleep_until(until) => break,
            }
        }
        let untold = flush.untold();
        let flushed = flush.end();
        let (pending, counts) = (flushed.pending + untold, counts(&flushed.tally));
        if pending == 0 {
            return Ok(FlushReport { counts });
        }
        Err(FlushError { pending, counts, problem: self.problem(Route::Main) })
    }

    /// Ends the incarnation. At once new and waiting sends are rejected (`closed`); what is
    /// accepted goes on for its share of the time, then is cut route by route; at `within`
    /// everything has an outcome. Returns as soon as that is so. The clients are shut down in the
    /// background.
    ///
    /// Every further call returns the same report; one with an earlier deadline brings the end
    /// forward.
    #[tracing::instrument(name = "close", skip_all, fields(within = ?within))]
    pub async fn close(&self, within: Duration) -> CloseReport {
        let shared = self.shared();
        // a block: a guard that was borrowed would make the future !Send, although it is moved
        let began = {
            let mut state = shared.lock();
            let began = *state.close_began.get_or_insert_with(Instant::now);
            state.core.close(shared.now(), within);
            shared.pump_from(state);
            began
        };
        // an earlier close has its own deadline; this is only the clock that cannot fail
        let mut until = deadline(within);
        let mut target = None;
        loop {
            let mut progress = std::pin::pin!(shared.progress.notified());
            progress.as_mut().enable();
            if let Some(report) = closed(shared, began, &mut target) {
                return report;
            }
            tokio::select! {
                biased;
                () = progress => {}
                () = sleep_until(until) => {
                    let mut state = shared.lock();
                    state.core.handle_timeout(shared.now());
                    let next = state.core.next_timeout().map(|at| shared.instant(at));
                    let soon = Instant::now() + Duration::from_millis(10);
                    until = next.unwrap_or(soon).max(soon);
                    shared.pump_from(state);
                }
            }
        }
    }
}

/// The report, once everything is resolved and told.
fn closed(shared: &Shared, began: Instant, target: &mut Option<u64>) -> Option<CloseReport> {
    let mut state = shared.lock();
    if !state.core.is_closed() {
        return None;
    }
    let target = *target.get_or_insert(state.core.resolved());
    if shared.told.load(Ordering::Acquire) < target {
        return None;
    }
    if let Some(desk) = &shared.desk {
        // the next producer may have the directory as soon as this close has returned
        desk.end(&shared.me);
    }
    let counts = counts(&state.core.counters().tally);
    let took = began.elapsed();
    Some(state.report.get_or_insert(CloseReport { counts, took }).clone())
}

fn deadline(within: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365);
    Instant::now().checked_add(within).unwrap_or_else(|| Instant::now() + FAR)
}

/// A flush in the core; ended also when its future is dropped.
struct Flushing<'a> {
    shared: &'a Shared,
    id: FlushId,
}

impl Flushing<'_> {
    /// Resolved, and told: the application has seen every outcome before it sees the flush's.
    fn is_done(&self, target: &mut Option<u64>) -> bool {
        let state = self.shared.lock();
        if target.is_none() && state.core.is_flushed(self.id) {
            *target = Some(state.core.resolved());
        }
        target.is_some_and(|target| self.shared.told.load(Ordering::Acquire) >= target)
    }

    /// Outcomes that another thread is about to tell.
    fn untold(&self) -> u64 {
        let resolved = self.shared.lock().core.resolved();
        resolved.saturating_sub(self.shared.told.load(Ordering::Acquire))
    }

    fn end(&self) -> crate::core::Flushed {
        self.shared.lock().core.end_flush(self.id)
    }
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        // ending it twice is harmless
        self.end();
    }
}
