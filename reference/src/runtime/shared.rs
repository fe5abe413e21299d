//! What every handle and the driver share: the core behind its mutex, and the pump.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::thread::ThreadId;
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, timeout};

use super::desk::Desk;
use super::metrics::ProducerMetrics;
use super::producer::CloseReport;
use super::pump::Turn;
use super::send::Encoders;
use crate::config::ProducerConfig;
use crate::core::{Connect, Core, ErrorClass, OutcomeRecord, PerRoute, Refused, Route, Transport};

/// librdkafka's number for a time-out of the client's own.
const TIMED_OUT: i32 = -185;
/// How long a client may take to be made.
const CONNECT: Duration = Duration::from_secs(30);

/// The application's outcome callback.
pub(super) type OnOutcome = Box<dyn Fn(&OutcomeRecord) + Send + Sync>;

/// A client and the attempts it owes a delivery for.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) route: Route,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) open: Arc<AtomicI64>,
    /// It panicked while it was asked for deliveries.
    broken: Arc<AtomicBool>,
}

impl Client {
    pub(super) fn new(route: Route, transport: Arc<dyn Transport>) -> Self {
        Self { route, transport, open: Arc::default(), broken: Arc::default() }
    }

    /// It gives no delivery any more, and owes none.
    pub(super) fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
        self.open.store(0, Ordering::Release);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    pub(super) fn owes(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }
}

/// Everything behind the mutex.
pub(super) struct State {
    pub(super) core: Core,
    /// Clients that take records. Shared with the pump, which uses them outside the lock.
    pub(super) clients: Arc<PerRoute<Option<Client>>>,
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
    /// Who carries out effects; what others add, that one sees.
    pub(super) pumper: Option<ThreadId>,
    /// Threads that wait until nobody pumps.
    pub(super) idle_waiters: usize,
    /// What the last turn left undone: nothing, unless it was cut short by a panic.
    pub(super) turn: Turn,
}

/// One incarnation of a producer.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Told when nobody pumps any more.
    pub(super) idle: Condvar,
    /// The last handle is gone: no record goes out any more.
    pub(super) abandoned: AtomicBool,
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
    pub(super) connect: Arc<dyn Connect>,
    pub(super) on_outcome: Option<OnOutcome>,
    /// The spool, if there is one.
    pub(super) desk: Option<Desk>,
    pub(super) me: Weak<Self>,
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
    pub(super) desk: Option<Desk>,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let state = State {
            core: parts.core,
            clients: Arc::new(parts.clients),
            retired: Vec::new(),
            clients_version: 1,
            rebuilds: Vec::new(),
            waiting: BTreeMap::new(),
            timer: None,
            close_began: None,
            report: None,
            pumper: None,
            idle_waiters: 0,
            turn: Turn::default(),
        };
        Arc::new_cyclic(|me| Self {
            state: Mutex::new(state),
            idle: Condvar::new(),
            abandoned: AtomicBool::new(false),
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
            desk: parts.desk,
            me: me.clone(),
        })
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

    /// Makes a client anew, as the core asked for.
    pub(super) async fn rebuild(&self, route: Route) {
        let made = timeout(CONNECT, self.connect.connect(route)).await.unwrap_or_else(|_| {
            let reason = format!("no client was made within {CONNECT:?}");
            Err(Refused::new(TIMED_OUT, ErrorClass::Retryable, reason))
        });
        let now = self.now();
        let mut state = self.lock();
        match made {
            Ok(transport) => {
                let client = Client::new(route, transport);
                let before = Arc::make_mut(&mut state.clients).of_mut(route).replace(client);
                state.clients_version += 1;
                state.core.rebuilt(now, route, true);
                drop(state);
                // it does not end under the lock
                drop(before);
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
}
