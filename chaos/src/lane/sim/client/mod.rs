//! A small Kafka client that runs on virtual time: the simulator's [`Transport`].
//!
//! It behaves like librdkafka where the contract looks (retries inside an attempt, partitioner,
//! limits, claims), with one difference that is deliberate: after `NOT_LEADER` to a transmitted
//! request it says *possibly*, because a leader that steps down may have appended.

mod answers;
mod codes;
mod partitioner;
mod state;
mod tasks;
mod wire;

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use dashproof_reference::config::{Acks, ProducerConfig};
use dashproof_reference::core::{
    BoxFuture, Connect, Delivery, ErrorClass, Record, Refused, Route, Transport,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use state::State;

/// Opens connections: turmoil's, or real ones for the contract suite.
pub trait Dial: Send + Sync + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Connects. The caller bounds the time.
    fn dial(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Connections inside a turmoil simulation.
#[derive(Clone, Copy, Debug, Default)]
pub struct TurmoilDial;

impl Dial for TurmoilDial {
    type Stream = turmoil::net::TcpStream;

    async fn dial(&self, host: &str, port: u16) -> io::Result<Self::Stream> {
        turmoil::net::TcpStream::connect((host, port)).await
    }
}

/// Real TCP connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpDial;

impl Dial for TcpDial {
    type Stream = tokio::net::TcpStream;

    async fn dial(&self, host: &str, port: u16) -> io::Result<Self::Stream> {
        let stream = tokio::net::TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// What may be done about an error code.
pub type Classify = Arc<dyn Fn(i32) -> ErrorClass + Send + Sync>;

/// Settings of one client.
#[derive(Clone)]
pub struct Config {
    /// Where to ask for metadata first.
    pub bootstrap: Vec<(String, u16)>,
    /// The one topic it serves.
    pub topic: Arc<str>,
    /// Producer id and sequences; needs `acks` = -1.
    pub idempotence: bool,
    /// -1 (all), 1 or 0.
    pub acks: i16,
    /// How long a record waits for company.
    pub linger: Duration,
    /// From hand-over to delivery at most.
    pub attempt_timeout: Duration,
    /// Limit for a record with its overhead, and, up to [`BATCH_MAX`], for a batch.
    pub max_message_bytes: usize,
    /// Limit for connecting and agreeing on versions.
    pub connect_timeout: Duration,
    /// Seed of backoff jitter and of the keyless partitioner.
    pub seed: u64,
    /// The producer's error classes.
    pub classify: Classify,
}

/// librdkafka's `batch.size`.
pub const BATCH_MAX: usize = 1_000_000;
/// Room for key, Kafka headers and the batch's own fields beside a payload, as for librdkafka.
const RECORD_OVERHEAD: usize = 64 << 10;

impl Config {
    /// The settings of a route's client: what the rdkafka transport gives to librdkafka.
    #[must_use]
    pub fn of(producer: &ProducerConfig, route: Route, bootstrap: &str, seed: u64) -> Self {
        let classify = {
            let producer = producer.clone();
            Arc::new(move |code| producer.error_class(code))
        };
        let (topic, attempt_timeout, acks, largest) = match route {
            Route::Main => (
                producer.topic.as_str(),
                producer.attempt_timeout_or_default(),
                match producer.acks {
                    Acks::All => -1,
                    Acks::One => 1,
                    Acks::None => 0,
                },
                producer.max_message_bytes,
            ),
            Route::Dlq => (
                producer.dlq.topic.as_str(),
                producer.dlq_attempt_timeout(),
                -1,
                producer.dlq.max_record_bytes,
            ),
        };
        Self {
            bootstrap: bootstrap.split(',').filter_map(address).collect(),
            topic: topic.into(),
            idempotence: producer.idempotence,
            acks,
            linger: producer.linger,
            attempt_timeout,
            max_message_bytes: largest.saturating_add(RECORD_OVERHEAD),
            connect_timeout: attempt_timeout.clamp(Duration::from_secs(1), Duration::from_secs(30)),
            seed,
            classify,
        }
    }
}

fn address(server: &str) -> Option<(String, u16)> {
    let (host, port) = server.trim().rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

/// Makes clients from producer settings, each with a seed of its own.
pub struct ClientConnect<D> {
    producer: ProducerConfig,
    bootstrap: String,
    dial: D,
    seed: u64,
    made: AtomicU64,
}

impl<D: Dial + Clone> ClientConnect<D> {
    /// For these brokers, `host:port,…`.
    #[must_use]
    pub fn new(producer: &ProducerConfig, bootstrap: &str, seed: u64, dial: D) -> Self {
        let (producer, bootstrap) = (producer.clone(), bootstrap.to_owned());
        Self { producer, bootstrap, dial, seed, made: AtomicU64::new(0) }
    }
}

impl<D: Dial + Clone> Connect for ClientConnect<D> {
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<Arc<dyn Transport>, Refused>> {
        Box::pin(async move {
            let made = self.made.fetch_add(1, Ordering::Relaxed);
            let seed = self.seed ^ made.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let config = Config::of(&self.producer, route, &self.bootstrap, seed);
            let client: Arc<dyn Transport> = Client::start(config, self.dial.clone());
            Ok(client)
        })
    }
}

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Work for connections.
    work: Notify,
    /// Metadata or a producer id is wanted.
    control: Notify,
    /// Deadlines or brokers changed.
    timer: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No caller's code runs under the lock, so a panic elsewhere cannot leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_all(&self) {
        self.work.notify_waiters();
        self.control.notify_one();
        self.timer.notify_one();
    }
}

/// The client. Dropping it ends its tasks at once.
pub struct Client {
    shared: Arc<Shared>,
    tasks: Mutex<Option<JoinHandle<()>>>,
}

impl Client {
    /// Starts a client on the current tokio runtime.
    #[must_use]
    pub fn start<D: Dial>(config: Config, dial: D) -> Arc<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(Arc::new(config))),
            work: Notify::new(),
            control: Notify::new(),
            timer: Notify::new(),
        });
        let tasks = tokio::spawn(tasks::supervise(shared.clone(), Arc::new(dial)));
        Arc::new(Self { shared, tasks: Mutex::new(Some(tasks)) })
    }

    fn stop(&self) -> Option<JoinHandle<()>> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        tasks.inspect(JoinHandle::abort)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

impl Transport for Client {
    fn submit(&self, record: Record) -> Result<(), Refused> {
        self.shared.lock().submit(record, Instant::now())?;
        self.shared.wake_all();
        Ok(())
    }

    fn poll_delivery(&self, cx: &mut Context<'_>) -> Poll<Delivery> {
        self.shared.lock().poll(cx)
    }

    fn flush_hint(&self) {
        self.shared.lock().flush(Instant::now());
        self.shared.work.notify_waiters();
    }

    fn purge(&self) {
        self.shared.lock().purge(Instant::now());
        self.shared.wake_all();
    }

    fn shutdown(&self, within: Duration) -> BoxFuture<'_, ()> {
        self.purge();
        self.shared.lock().closed = true;
        let tasks = self.stop();
        Box::pin(async move {
            if let Some(tasks) = tasks {
                // Aborted tasks end at their next poll; an error only says that they were aborted.
                drop(timeout(within, tasks).await);
            }
        })
    }
}
