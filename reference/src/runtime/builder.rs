//! Opening a producer.

use std::sync::Arc;

use prometheus::Registry;

use super::driver;
use super::metrics::{ProducerMetrics, RegistryInUse};
use super::producer::Producer;
use super::send::Encoders;
use super::shared::{Client, OnOutcome, Parts, Shared};
use crate::config::{ConfigError, ProducerConfig};
use crate::core::{Connect, Core, Origin, OutcomeRecord, PerRoute, Refused, Route};

/// Outcomes kept for a slow reader of the stream.
const STREAM_CAPACITY: usize = 4096;

/// Why a producer could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings are wrong; all problems are listed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No client for a route could be made. Says which setting is at fault.
    #[error(
        "the {} client could not be made: {}; check the settings it names",
        route.as_str(), refused.reason
    )]
    Connect {
        /// Which route.
        route: Route,
        /// The client's answer.
        refused: Refused,
    },
    /// The registry belongs to another producer.
    #[error(transparent)]
    Registry(#[from] RegistryInUse),
    /// There is no way to these brokers.
    #[error(
        "no way to {0}: this build has no Kafka client; build with the feature `kafka`, or call \
         `connect`"
    )]
    NoClient(String),
    /// No entropy for a seed.
    #[error("the system gave no entropy: {0}; set a seed")]
    Entropy(getrandom::Error),
}

/// What a producer is opened with. Made by [`Producer::builder`].
pub struct Builder {
    config: ProducerConfig,
    connect: Option<Arc<dyn Connect>>,
    registry: Option<Registry>,
    metrics: Option<ProducerMetrics>,
    seed: Option<u64>,
    wall_us: Option<i64>,
    epoch: u32,
    on_outcome: Option<OnOutcome>,
    stream_capacity: usize,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) const fn new(config: ProducerConfig) -> Self {
        Self {
            config,
            connect: None,
            registry: None,
            metrics: None,
            seed: None,
            wall_us: None,
            epoch: 0,
            on_outcome: None,
            stream_capacity: STREAM_CAPACITY,
        }
    }

    /// Makes the clients of both routes, and makes them anew after a fatal error. By default
    /// librdkafka with the settings given.
    #[must_use]
    pub fn connect(mut self, connect: Arc<dyn Connect>) -> Self {
        self.connect = Some(connect);
        self
    }

    /// Exports the metrics to this registry, which outlives the producer. For several producers on
    /// one registry register once and share: [`Builder::metrics`].
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Counts into metrics that are registered already: counters go on from where the producers
    /// before left them.
    #[must_use]
    pub fn metrics(mut self, metrics: ProducerMetrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Seeds the jitter and the ids made here; by default from the system's entropy.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Wall time at `open`, microseconds since the Unix epoch; by default the system's.
    #[must_use]
    pub const fn wall_origin_us(mut self, wall_us: i64) -> Self {
        self.wall_us = Some(wall_us);
        self
    }

    /// Epoch of the sequences, which start at `epoch · 2^40 + 1`; by default 0. Increase it with
    /// every restart to have sequences that increase across restarts.
    #[must_use]
    pub const fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = epoch;
        self
    }

    /// Called once for every outcome, rejections included, from whichever task resolved it. It must
    /// be quick. A panic is caught and counted, and changes nothing.
    #[must_use]
    pub fn on_outcome(
        mut self,
        on_outcome: impl Fn(&OutcomeRecord) + Send + Sync + 'static,
    ) -> Self {
        self.on_outcome = Some(Box::new(on_outcome));
        self
    }

    /// Outcomes kept for a slow reader of [`Producer::subscribe`]; 4096 by default, at least 1.
    #[must_use]
    pub const fn stream_capacity(mut self, outcomes: usize) -> Self {
        self.stream_capacity = if outcomes == 0 { 1 } else { outcomes };
        self
    }

    /// Opens the producer. Does not wait for any broker; must be called in a tokio runtime with
    /// time enabled.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left running then.
    #[tracing::instrument(name = "open", skip_all, fields(topic = %self.config.topic))]
    pub async fn open(self) -> Result<Producer, OpenError> {
        let config = self.config;
        config.validate()?;
        let seed = self.seed.map_or_else(|| getrandom::u64().map_err(OpenError::Entropy), Ok)?;
        let connect = self.connect.map_or_else(|| default_connect(&config), Ok)?;
        // registered last: an `open` that fails leaves the registry to the next one
        let main = Some(client(&*connect, Route::Main).await?);
        let dlq =
            if config.dlq.enabled { Some(client(&*connect, Route::Dlq).await?) } else { None };
        let metrics = match (self.metrics, self.registry) {
            (Some(metrics), _) => metrics,
            (None, registry) => ProducerMetrics::register(&registry.unwrap_or_default())?,
        };
        let wall_us = self.wall_us.unwrap_or_else(system_wall_us);
        let shared = Arc::new(Shared::new(Parts {
            core: Core::new(&config, Origin { seed, wall_us, epoch: self.epoch }),
            clients: PerRoute { main, dlq },
            encoders: Encoders::new(&config, seed),
            config,
            metrics: metrics.clone(),
            wall_us,
            connect,
            on_outcome: self.on_outcome,
            stream_capacity: self.stream_capacity,
        }));
        metrics.join(&shared);
        tokio::spawn(driver::drive(Arc::clone(&shared)));
        tracing::info!("producer opened");
        Ok(Producer::new(shared))
    }
}

async fn client(connect: &dyn Connect, route: Route) -> Result<Client, OpenError> {
    match connect.connect(route).await {
        Ok(transport) => Ok(Client::new(route, transport)),
        Err(refused) => Err(OpenError::Connect { route, refused }),
    }
}

#[cfg_attr(
    feature = "kafka",
    expect(clippy::unnecessary_wraps, reason = "a build without a Kafka client has none to give")
)]
fn default_connect(config: &ProducerConfig) -> Result<Arc<dyn Connect>, OpenError> {
    #[cfg(feature = "kafka")]
    return Ok(Arc::new(super::rdkafka::RdkafkaConnect::new(config)));
    #[cfg(not(feature = "kafka"))]
    Err(OpenError::NoClient(config.bootstrap.clone()))
}

/// The system's wall clock; a clock before 1970 counts as 1970.
fn system_wall_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}
