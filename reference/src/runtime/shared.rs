//! What every handle and the driver share: the core behind its mutex, and the pump.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

use super::metrics::ProducerMetrics;
use super::producer::CloseReport;
use super::send::Encoders;
use crate::config::ProducerConfig;
use crate::core::{
    AttemptId, Connect, Core, DlqFailure, Effect, ErrorClass, HandOver, OutcomeRecord, PerRoute,
    Refused, Route, Transport,
};

/// Effects that are carried out between two looks at the core.
const BATCH: usize = 256;

/// The application's outcome callback.
pub(super) type OnOutcome = Box<dyn Fn(&OutcomeRecord) + Send + Sync>;

/// A client and the attempts it owes a delivery for.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) route: Route,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) open: Arc<AtomicI64>,
}

impl Client {
    pub(super) fn new(route: Route, transport: Arc<dyn Transport>) -> Self {
        Self { route, transport, open: Arc::default() }
    }

    pub(super) fn owes(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }
}

/// Everything behind the mutex.
pub(super) struct State {
    pub(super) core: Core,
    /// Clients that take records.
    pub(super) clients: PerRoute<Option<Client>>,
    /// Clients that were replaced and still owe deliveries.
    pub(super) retired: Vec<Client>,
    /// Counts changes of the two fields above, for the driver.
    pub(super) clients_version: u64,
    /// Routes whose client the driver is to make anew.
    pub(super) rebuilds: Vec<Route>,
    /// Wakers of waiting sends by ticket.
    pub(super) waiting: BTreeMap<u64, Waker>,
    /// What the driver's timer is set to; an earlier timeout must wake it.
    pub(super) timer: Option<Duration>,
    pub(super) close_began: Option<Instant>,
    pub(super) report: Option<CloseReport>,
    /// Somebody carries out effects; what others add, that one sees.
    pumping: bool,
    effects: Vec<Effect>,
    reports: Vec<Report>,
}

/// What became of a hand-over.
enum Report {
    Submitted(AttemptId),
    Refused(AttemptId, Refused),
    HandedBack(AttemptId),
}

/// One incarnation of a producer.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) config: ProducerConfig,
    pub(super) encoders: Encoders,
    pub(super) metrics: ProducerMetrics,
    pub(super) outcomes: broadcast::Sender<OutcomeRecord>,
    /// Wakes the driver.
    pub(super) driver: Notify,
    /// Told when outcomes were told: flushes and closes look again.
    pub(super) progress: Notify,
    /// Outcomes told to the application.
    pub(super) told: AtomicU64,
    origin: Instant,
    pub(super) wall_us: i64,
    connect: Arc<dyn Connect>,
    on_outcome: Option<OnOutcome>,
}

/// What a [`Shared`] is made of.
pub(super) struct Parts {
    pub(super) core: Core,
    pub(super) clients: PerRoute<Option<Client>>,
    pub(super) config: ProducerConfig,
    pub(super) encoders: Encoders,
    pub(super) metrics: ProducerMetrics,
    pub(super) wall_us: i64,
    pub(super) connect: Arc<dyn Connect>,
    pub(super) on_outcome: Option<OnOutcome>,
    pub(super) stream_capacity: usize,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let state = State {
            core: parts.core,
            clients: parts.clients,
            retired: Vec::new(),
            clients_version: 1,
            rebuilds: Vec::new(),
            waiting: BTreeMap::new(),
            timer: None,
            close_began: None,
            report: None,
            pumping: false,
            effects: Vec::new(),
            reports: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            config: parts.config,
            encoders: parts.encoders,
            metrics: parts.metrics,
            outcomes: broadcast::Sender::new(parts.stream_capacity),
            driver: Notify::new(),
            progress: Notify::new(),
            told: AtomicU64::new(0),
            origin: Instant::now(),
            wall_us: parts.wall_us,
            connect: parts.connect,
            on_outcome: parts.on_outcome,
        }
    }

    /// The core's clock.
    pub(super) fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.origin)
    }

    /// A time of the core's clock for tokio's timers; far away where tokio cannot count so far.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        const FAR: Duration = Duration::from_secs(86_400 * 365);
        self.origin.checked_add(at).unwrap_or_else(|| Instant::now() + FAR)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // the state is never left half changed: nothing in a locked section calls foreign code
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out everything that the core wants done, unless somebody else is at it.
    pub(super) fn pump(&self) {
        self.pump_from(self.lock());
    }

    /// As [`Shared::pump`], in a section that is locked already. One pumps at a time, so that
    /// records reach the transports in the core's order; nobody waits for the other.
    pub(super) fn pump_from<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        if state.pumping {
            return;
        }
        state.pumping = true;
        let mut effects = std::mem::take(&mut state.effects);
        let mut reports = std::mem::take(&mut state.reports);
        let mut told = 0;
        loop {
            let now = self.now();
            while effects.len() < BATCH
                && let Some(effect) = state.core.poll(now)
            {
                effects.push(effect);
            }
            if effects.is_empty() {
                break;
            }
            let clients = state.clients.clone();
            drop(state);
            told += self.carry_out(&clients, &mut effects, &mut reports);
            state = self.lock();
            take_reports(&mut state.core, now, &mut reports);
        }
        state.pumping = false;
        state.effects = effects;
        state.reports = reports;
        let due = state.core.next_timeout();
        let earlier = due.is_some_and(|due| state.timer.is_none_or(|timer| due < timer));
        let over = state.core.is_closed();
        drop(state);
        if earlier || over {
            self.driver.notify_one();
        }
        if told > 0 {
            self.progress.notify_waiters();
        }
    }

    /// After the last handle is gone: tells what is left to tell, although somebody else may be
    /// pumping. No record is handed over any more.
    pub(super) fn pump_remains(&self) {
        let mut effects = Vec::new();
        let mut state = self.lock();
        while let Some(effect) = state.core.poll(self.now()) {
            effects.push(effect);
        }
        let clients = state.clients.clone();
        drop(state);
        let mut reports = Vec::new();
        self.carry_out(&clients, &mut effects, &mut reports);
        take_reports(&mut self.lock().core, self.now(), &mut reports);
        self.driver.notify_one();
        self.progress.notify_waiters();
    }

    /// Carries out effects outside the lock; returns how many outcomes were told.
    fn carry_out(
        &self,
        clients: &PerRoute<Option<Client>>,
        effects: &mut Vec<Effect>,
        reports: &mut Vec<Report>,
    ) -> u64 {
        let mut told = 0;
        // a route whose client refused for now gets nothing more: order
        let mut refused = PerRoute { main: false, dlq: false };
        for effect in effects.drain(..) {
            match effect {
                Effect::HandOver(hand_over) => {
                    let route = hand_over.route;
                    let skip = *refused.of(route);
                    let report = hand_to(clients.of(route).as_ref(), hand_over, skip);
                    *refused.of_mut(route) |= matches!(&report, Report::Refused(_, r)
                        if r.class != ErrorClass::Permanent);
                    reports.push(report);
                }
                Effect::Resolved(record) => {
                    self.tell(record);
                    told += 1;
                }
                Effect::Admit(ticket) => {
                    let waker = self.lock().waiting.remove(&ticket);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
                Effect::FlushHint(route) => on(clients, route, Transport::flush_hint),
                Effect::Purge(route) => on(clients, route, Transport::purge),
                Effect::Retire(route) => self.retire(route),
                Effect::Rebuild(route) => {
                    self.lock().rebuilds.push(route);
                    self.driver.notify_one();
                }
                Effect::DlqFailed(failure) => self.log_dlq_failure(&failure),
            }
        }
        told
    }

    fn tell(&self, record: OutcomeRecord) {
        if let Some(on_outcome) = &self.on_outcome
            && catch_unwind(AssertUnwindSafe(|| on_outcome(&record))).is_err()
        {
            self.metrics.callback_panicked();
            tracing::error!(
                message_id = %record.message_id,
                "the outcome callback panicked; the outcome stands"
            );
        }
        if self.outcomes.receiver_count() > 0 {
            // fails only when the last receiver has just gone
            let _ = self.outcomes.send(record);
        }
        self.told.fetch_add(1, Ordering::Release);
    }

    fn retire(&self, route: Route) {
        let mut state = self.lock();
        let Some(client) = state.clients.of_mut(route).take() else { return };
        state.retired.push(client.clone());
        state.clients_version += 1;
        drop(state);
        tracing::warn!(route = route.as_str(), "the client is unusable and will be replaced");
        client.transport.purge();
        self.driver.notify_one();
    }

    /// Makes a client anew, as the core asked for.
    pub(super) async fn rebuild(&self, route: Route) {
        let made = self.connect.connect(route).await;
        let now = self.now();
        let mut state = self.lock();
        match made {
            Ok(transport) => {
                *state.clients.of_mut(route) = Some(Client::new(route, transport));
                state.clients_version += 1;
                state.core.rebuilt(now, route, true);
                drop(state);
                tracing::info!(route = route.as_str(), "the client was replaced");
            }
            Err(refused) => {
                state.core.rebuilt(now, route, false);
                drop(state);
                tracing::warn!(
                    route = route.as_str(),
                    code = refused.code,
                    reason = %refused.reason,
                    "the client could not be replaced yet"
                );
            }
        }
        self.driver.notify_one();
    }

    fn log_dlq_failure(&self, failure: &DlqFailure) {
        tracing::warn!(
            topic = %failure.topic,
            partition = failure.partition,
            offset = failure.offset,
            thread = %failure.thread,
            trace_id = %failure.trace_id,
            dlq_topic = %self.config.dlq.topic,
            attempt = failure.attempt,
            code = failure.code,
            reason = %failure.reason,
            persistence = failure.persistence.as_str(),
            will_retry = failure.will_retry,
            "a dead-letter attempt failed"
        );
    }
}

fn on(
    clients: &PerRoute<Option<Client>>,
    route: Route,
    act: impl FnOnce(&(dyn Transport + 'static)),
) {
    if let Some(client) = clients.of(route) {
        act(client.transport.as_ref());
    }
}

fn hand_to(client: Option<&Client>, hand_over: HandOver, skip: bool) -> Report {
    let attempt = hand_over.attempt;
    let Some(client) = client.filter(|_| !skip) else { return Report::HandedBack(attempt) };
    // counted first: the delivery may come before `submit` has returned
    client.open.fetch_add(1, Ordering::AcqRel);
    match client.transport.submit(hand_over.into_record()) {
        Ok(()) => Report::Submitted(attempt),
        Err(refused) => {
            client.open.fetch_sub(1, Ordering::AcqRel);
            Report::Refused(attempt, refused)
        }
    }
}

/// Tells the core what became of its hand-overs. What goes back to the head of a queue goes back in
/// reverse order.
fn take_reports(core: &mut Core, now: Duration, reports: &mut Vec<Report>) {
    for report in reports.iter() {
        if let Report::Submitted(attempt) = report {
            core.submitted(now, *attempt);
        }
    }
    for report in reports.drain(..).rev() {
        match report {
            Report::Submitted(_) => {}
            Report::Refused(attempt, refused) => core.refused(now, attempt, &refused),
            Report::HandedBack(attempt) => core.handed_back(now, attempt),
        }
    }
}
