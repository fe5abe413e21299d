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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use dashproof_reference::core::{BoxFuture, Delivery, Record, Refused, Transport};
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

/// Settings of one client.
#[derive(Clone, Debug)]
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
    /// Limit for a record with its overhead, and for a batch.
    pub max_message_bytes: usize,
    /// Limit for connecting and agreeing on versions.
    pub connect_timeout: Duration,
    /// Seed of backoff jitter and of the keyless partitioner.
    pub seed: u64,
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
        let tasks = self.stop();
        Box::pin(async move {
            if let Some(tasks) = tasks {
                // Aborted tasks end at their next poll; an error only says that they were aborted.
                drop(timeout(within, tasks).await);
            }
        })
    }
}
