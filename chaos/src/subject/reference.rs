//! The reference implementation as a subject: every operation of the protocol on a [`Producer`].
//!
//! The same type runs in the child process over rdkafka and in the simulation over its own client.
//! It starts no thread and reads no clock but tokio's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dashproof_reference::codec::{CodecConfig, DecodePolicy, Decoder, Encoder};
use dashproof_reference::config::{ProducerConfig, Protocol};
use dashproof_reference::core::{BoxFuture, Connect};
use dashproof_reference::fs::Fs;
use dashproof_reference::runtime::{Counts, OutcomeRecord, Producer, StdFs};
use prometheus::{Registry, TextEncoder};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Subject;
use super::driver::child::Claims;
use super::message;
use super::protocol::{Answer, EventSpec, Op, OpError, PROTOCOL_VERSION};
use crate::history::{Kind, Trouble};
use crate::saboteur::Saboteur;
use ledger::Ledger;
use recording::RecordingConnect;

mod ledger;
mod recording;
pub mod spool;

type CallResult = Result<Answer, OpError>;

/// Makes the clients of an incarnation: settings and bootstrap servers to a [`Connect`].
pub type ConnectFactory =
    Arc<dyn Fn(&ProducerConfig, &str) -> Result<Arc<dyn Connect>, OpError> + Send + Sync>;

/// What the reference can do, as `hello` declares it.
pub const CAPABILITIES: [&str; 13] = [
    "codec.encode",
    "codec.decode",
    "open",
    "send",
    "cancel",
    "clone",
    "drop",
    "panic_callback",
    "flush",
    "metrics",
    "close",
    "outcomes",
    "bye",
];

/// Wall time of the first `open`, microseconds since the Unix epoch, unless it is set: a fixed one,
/// so that a simulated run is the same on every machine. 2025-01-01T00:00:00Z.
pub const WALL_ORIGIN_US: i64 = 1_735_689_600_000_000;

/// The reference behind the driver protocol.
pub struct ReferenceSubject {
    connect: ConnectFactory,
    claims: Claims,
    saboteur: Option<&'static Saboteur>,
    wall_origin_us: i64,
    fs: Option<Arc<dyn Fs>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    handles: BTreeMap<u32, Handle>,
    ledger: Option<Arc<Ledger>>,
    /// Outlives the producer: the judging scrape comes after `close` or the last `drop`.
    registry: Registry,
    /// When the first incarnation was opened.
    born: Option<Instant>,
}

/// A handle of the producer, and the calls that borrow it.
struct Handle {
    producer: Producer,
    /// Set when the handle is dropped: its pending calls are dropped first, as borrowing asks for.
    gone: watch::Sender<bool>,
    calls: Arc<watch::Sender<usize>>,
}

impl Handle {
    fn new(producer: Producer) -> Self {
        let (gone, calls) = (watch::Sender::new(false), Arc::new(watch::Sender::new(0)));
        Self { producer, gone, calls }
    }

    fn borrow(&self) -> Borrow {
        let (producer, gone) = (self.producer.clone(), self.gone.subscribe());
        Borrow { producer, gone, _counted: Counted::new(&self.calls) }
    }
}

/// A call's hold on a handle. Fields are dropped in order: the producer is gone before the count
/// says so.
struct Borrow {
    producer: Producer,
    gone: watch::Receiver<bool>,
    _counted: Counted,
}

impl Borrow {
    /// Waits for the call, or for the handle to be dropped, which drops the call.
    async fn during<T>(&self, call: impl Future<Output = T>) -> Result<T, OpError> {
        let mut gone = self.gone.clone();
        tokio::select! {
            biased;
            _ = gone.wait_for(|gone| *gone) => {
                let text = "the handle was dropped while the call waited".to_owned();
                Err(OpError::new("cancelled", text, false))
            }
            result = call => Ok(result),
        }
    }
}

/// One of the calls that borrow a handle.
struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    fn new(calls: &Arc<watch::Sender<usize>>) -> Self {
        calls.send_modify(|n| *n += 1);
        Self(Arc::clone(calls))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

impl ReferenceSubject {
    /// A subject that makes its clients with `connect` and tells `claims` what it does.
    #[must_use]
    pub fn new(connect: ConnectFactory, claims: Claims) -> Self {
        Self {
            connect,
            claims,
            saboteur: None,
            wall_origin_us: WALL_ORIGIN_US,
            fs: None,
            state: Mutex::default(),
        }
    }

    /// Wall time of the first `open`, microseconds since the Unix epoch.
    #[must_use]
    pub fn wall_origin_us(mut self, origin: i64) -> Self {
        self.wall_origin_us = origin;
        self
    }

    /// A simulated file system for the spool, which takes no time; by default the machine's.
    #[must_use]
    pub fn disk(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = Some(fs);
        self
    }

    /// Puts a saboteur on the seams inside of the subject, and round it.
    #[must_use]
    pub fn sabotaged(mut self, saboteur: Option<&'static Saboteur>) -> Arc<dyn Subject> {
        self.saboteur = saboteur;
        match saboteur {
            Some(saboteur) => {
                self.claims = saboteur.claims(self.claims);
                saboteur.subject(Arc::new(self))
            }
            None => Arc::new(self),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn any_handle(&self) -> Result<Borrow, OpError> {
        self.state().handles.values().next().map(Handle::borrow).ok_or_else(no_handle)
    }

    /// What somebody who looks for bugs would print: law S3 reads it.
    fn print(&self, text: String) {
        (self.claims)(Kind::Proc { what: "debug".to_owned(), value: 0, text });
    }

    async fn open(
        &self,
        bootstrap: String,
        mut settings: serde_json::Value,
        seed: u64,
    ) -> CallResult {
        if let Some(saboteur) = self.saboteur {
            saboteur.config(&mut settings);
        }
        let mut config = ProducerConfig::from_json(&settings)
            .map_err(|error| OpError::new("config", error.to_string(), true))?;
        config.bootstrap.clone_from(&bootstrap);
        let shows = config.security.protocol != Protocol::Plaintext;
        if shows {
            self.print(self.saboteur.map_or_else(|| format!("{config:?}"), |s| s.debug(&config)));
        }
        let ledger = Arc::new(Ledger::new(Arc::clone(&self.claims)));
        let connect = Arc::new(RecordingConnect {
            inner: (self.connect)(&config, &bootstrap)?,
            ledger: Arc::clone(&ledger),
            saboteur: self.saboteur,
        });
        let registry = Registry::new();
        let now = Instant::now();
        let wall = {
            let mut state = self.state();
            state.handles.clear();
            state.ledger = Some(Arc::clone(&ledger));
            state.registry = registry.clone();
            let age = now - *state.born.get_or_insert(now);
            self.wall_origin_us + i64::try_from(age.as_micros()).unwrap_or(0)
        };
        let on_outcome = move |record: &OutcomeRecord| {
            ledger.outcome(record);
        };
        let builder = match (&self.fs, self.saboteur) {
            (Some(fs), saboteur) => {
                let fs = Arc::clone(fs);
                let fs = saboteur.map_or(fs.clone(), |s| s.disk(fs));
                Producer::builder(config).fs(fs).inline_files()
            }
            (None, Some(saboteur)) => Producer::builder(config).fs(saboteur.disk(Arc::new(StdFs))),
            (None, None) => Producer::builder(config),
        };
        let producer = builder
            .connect(connect)
            .registry(registry)
            .seed(seed)
            .wall_origin_us(wall)
            .on_outcome(on_outcome)
            .open()
            .await
            .inspect(|producer| {
                if shows {
                    self.print(format!("{producer:?}"));
                }
            })
            .inspect_err(|error| {
                if shows {
                    self.print(format!("{error:?}"));
                }
            })
            .map_err(|error| OpError {
                why: error.trouble().map(Trouble::from),
                ..OpError::new("open", error.to_string(), true)
            })?;
        self.state().handles.insert(0, Handle::new(producer));
        Ok(Answer::default())
    }

    async fn send(&self, handle: u32, spec: EventSpec) -> CallResult {
        let (message, id) =
            message::build(&spec).zip(message::message_id(&spec.message_id)).ok_or_else(|| {
                let text = format!("no `{}` with message id `{}`", spec.message, spec.message_id);
                OpError::new("unsupported", text, true)
            })?;
        let (borrow, ledger) = {
            let state = self.state();
            let handle = state.handles.get(&handle).ok_or_else(no_handle)?;
            (handle.borrow(), state.ledger.clone().ok_or_else(no_handle)?)
        };
        ledger.offer(id, spec.event);
        let result = borrow.during(borrow.producer.send(message)).await?;
        match result {
            Ok(accepted) => {
                ledger.accepted(id, accepted.sequence);
                Ok(Answer { sequence: Some(accepted.sequence), ..Answer::default() })
            }
            Err(error) => Err(OpError {
                code: "rejected".to_owned(),
                reason: error.reason.as_str().to_owned(),
                message: error.to_string(),
                definite: true,
                why: None,
            }),
        }
    }

    fn clone_handle(&self, number: u32) -> CallResult {
        let producer = self.any_handle()?.producer.clone();
        self.state().handles.insert(number, Handle::new(producer));
        Ok(Answer::default())
    }

    async fn drop_handle(&self, number: u32) -> CallResult {
        let handle = self.state().handles.remove(&number).ok_or_else(no_handle)?;
        handle.gone.send_replace(true);
        let mut calls = handle.calls.subscribe();
        // Fails only when the sender is gone, and the handle holds it.
        let _ = calls.wait_for(|n| *n == 0).await;
        drop(handle);
        Ok(Answer::default())
    }

    async fn flush(&self, within: Duration) -> CallResult {
        let borrow = self.any_handle()?;
        let report = borrow.during(borrow.producer.flush(within)).await?.map_err(|error| {
            let why = error.problem.as_ref().map(|problem| Trouble::from(problem.trouble));
            let connection = error.problem.as_ref().map(|problem| format!("; {problem}"));
            let connection = connection.unwrap_or_default();
            let text = format!("{} events are pending{connection}", error.pending);
            OpError { why, ..OpError::new("pending", text, true) }
        })?;
        Ok(Answer { counts: counts(&report.counts), ..Answer::default() })
    }

    async fn close(&self, within: Duration) -> CallResult {
        let borrow = self.any_handle()?;
        let report = borrow.during(borrow.producer.close(within)).await?;
        Ok(Answer { counts: counts(&report.counts), ..Answer::default() })
    }

    fn panic_callback(&self) -> CallResult {
        self.state().ledger.as_ref().ok_or_else(no_handle)?.panic_in_next_callback();
        Ok(Answer::default())
    }

    fn metrics(&self) -> CallResult {
        let families = self.state().registry.gather();
        let text = TextEncoder::new()
            .encode_to_string(&families)
            .map_err(|error| OpError::new("internal", error.to_string(), true))?;
        Ok(Answer { text, ..Answer::default() })
    }
}

fn no_handle() -> OpError {
    OpError::new("no_handle", "no such handle of an open producer".to_owned(), true)
}

/// By `outcome` or `outcome/reason`.
fn counts(counts: &Counts) -> BTreeMap<String, u64> {
    let label = |(outcome, reason): &(&str, &str)| match *reason {
        "" => (*outcome).to_owned(),
        reason => format!("{outcome}/{reason}"),
    };
    counts.iter().map(|(key, count)| (label(key), *count)).collect()
}

fn hello() -> Answer {
    Answer {
        name: "reference".to_owned(),
        version: Some(PROTOCOL_VERSION),
        capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
        ..Answer::default()
    }
}

fn encode(spec: &EventSpec) -> CallResult {
    let mut message = message::build(spec)
        .ok_or_else(|| OpError::new("unsupported", format!("no `{}`", spec.message), true))?;
    let encoded = Encoder::new(&CodecConfig::default())
        .encode(&mut message)
        .map_err(|error| OpError::new("encode", error.to_string(), true))?;
    Ok(Answer { text: STANDARD.encode(&encoded.frame), ..Answer::default() })
}

/// `codec.decode` by a policy that may depend on the frame.
pub(crate) fn decode(frame: &str, policy: impl Fn(&[u8]) -> DecodePolicy) -> CallResult {
    let frame = STANDARD
        .decode(frame)
        .map_err(|error| OpError::new("protocol", format!("not base64: {error}"), true))?;
    let message = Decoder::new(policy(&frame))
        .decode(&frame)
        .map_err(|error| OpError::new(error.kind.as_str(), error.to_string(), true))?;
    let digest = Sha256::digest(message.encode_to_vec());
    let text = digest.iter().map(|b| format!("{b:02x}")).collect();
    Ok(Answer { text, ..Answer::default() })
}

impl Subject for ReferenceSubject {
    fn call(&self, op: Op) -> BoxFuture<'_, CallResult> {
        Box::pin(async move {
            match op {
                Op::Hello { .. } => Ok(hello()),
                Op::Open { bootstrap, config, seed, .. } => {
                    self.open(bootstrap, config, seed).await
                }
                Op::Send { handle, spec } => self.send(handle, spec).await,
                Op::Clone { handle } => self.clone_handle(handle),
                Op::Drop { handle } => self.drop_handle(handle).await,
                Op::PanicCallback => self.panic_callback(),
                Op::Flush { deadline_us } => self.flush(Duration::from_micros(deadline_us)).await,
                Op::Metrics => self.metrics(),
                Op::Close { deadline_us } => self.close(Duration::from_micros(deadline_us)).await,
                Op::CodecEncode { spec } => encode(&spec),
                Op::CodecDecode { frame } => decode(&frame, |_| DecodePolicy::default()),
                // The request loop answers these two; alone they have nothing to do.
                Op::Cancel { .. } | Op::Bye => Ok(Answer::default()),
                // what nobody knows, and stores, which have a subject of their own
                _ => {
                    let text = "this subject does not know the operation".to_owned();
                    Err(OpError::new("unsupported", text, true))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
