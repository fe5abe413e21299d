//! Opening a producer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;

use super::desk::Desk;
use super::driver;
use super::metrics::{ProducerMetrics, RegistryInUse};
use super::producer::Producer;
use super::send::Encoders;
use super::shared::{Client, OnOutcome, Parts, Shared};
use super::std_fs::{StdFs, holder};
use crate::config::{ConfigError, ProducerConfig};
use crate::core::{
    Connect, ConnectionProblem, ConnectionTrouble, Core, Origin, OutcomeRecord, PerRoute, Refused,
    Route,
};
use crate::fs::{Fs, FsError};
use crate::spool::{Spool, SpoolError, SpoolOptions};

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
    /// With the setting `connect_within`: the brokers did not answer in all of that time, and this
    /// is what is wrong: of what was seen what says the most, the last of several.
    #[error("no connection to the brokers of the {} route: {problem}", route.as_str())]
    Unreached {
        /// Which route.
        route: Route,
        /// What is wrong with its connection, and the remedy.
        problem: ConnectionProblem,
    },
    /// The registry belongs to another producer.
    #[error(transparent)]
    Registry(#[from] RegistryInUse),
    /// The spool could not be opened; another producer that has its directory is named.
    #[error(transparent)]
    Spool(#[from] SpoolError),
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

impl OpenError {
    /// What is wrong with the connection or the settings of a client, where that is it.
    #[must_use]
    pub const fn trouble(&self) -> Option<ConnectionTrouble> {
        match self {
            Self::Config(_) => Some(ConnectionTrouble::Settings),
            Self::Connect { refused, .. } => refused.trouble,
            Self::Unreached { problem, .. } => Some(problem.trouble),
            _ => None,
        }
    }
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
    fs: Option<Arc<dyn Fs>>,
    inline_files: bool,
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
            fs: None,
            inline_files: false,
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
    /// every restart to have sequences that increase across restarts. With `spool.directory` the
    /// directory counts restarts, and this is not looked at.
    #[must_use]
    pub const fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = epoch;
        self
    }

    /// File system of the spool; by default the system's.
    #[must_use]
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = Some(fs);
        self
    }

    /// Carries out file operations where they come up, in place of tokio's blocking pool: for
    /// simulations, whose file systems take no time and whose every step has its place.
    #[must_use]
    pub const fn inline_files(mut self) -> Self {
        self.inline_files = true;
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

    /// Opens the producer. Waits for no broker, unless the setting `connect_within` says so: then
    /// until both clients are answered, and for all of that time where they are not. Settings that
    /// no client can be made of end it at once. Reads the spool, if there is one. Must be called in
    /// a tokio runtime with time enabled.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left running then.
    #[tracing::instrument(name = "open", skip_all, fields(topic = %self.config.topic))]
    pub async fn open(self) -> Result<Producer, OpenError> {
        let config = self.config;
        config.validate()?;
        let seed = self.seed.map_or_else(|| getrandom::u64().map_err(OpenError::Entropy), Ok)?;
        let connect = self.connect.map_or_else(|| default_connect(&config), Ok)?;
        let spool = open_spool(&config, self.fs, self.inline_files).await?;
        let (epoch, expected) = spool
            .as_ref()
            .map_or((self.epoch, (0, None)), |s| (s.epoch(), (s.pending(), s.next_bytes())));
        // registered last: an `open` that fails leaves the registry to the next one
        let main = Some(client(&*connect, Route::Main).await?);
        let dlq =
            if config.dlq.enabled { Some(client(&*connect, Route::Dlq).await?) } else { None };
        let clients = PerRoute { main, dlq };
        reach(&clients, config.connect_within).await?;
        let metrics = match (self.metrics, self.registry) {
            (Some(metrics), _) => metrics,
            (None, registry) => ProducerMetrics::register(&registry.unwrap_or_default())?,
        };
        let wall_us = self.wall_us.unwrap_or_else(system_wall_us);
        let mut core = Core::new(&config, Origin { seed, wall_us, epoch });
        core.expect(expected.0, expected.1.unwrap_or_default());
        let pool = (!self.inline_files).then(tokio::runtime::Handle::current);
        let shared = Shared::new(Parts {
            core,
            clients,
            encoders: Encoders::new(&config, seed),
            config,
            metrics: metrics.clone(),
            wall_us,
            connect,
            on_outcome: self.on_outcome,
            stream_capacity: self.stream_capacity,
            desk: spool.map(|spool| Desk::new(spool, pool)),
        });
        metrics.join(&shared);
        tokio::spawn(driver::drive(Arc::clone(&shared)));
        shared.pump();
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

/// Time a client gets to shut down that reached nobody.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Waits until brokers have answered every client; without a time, for nobody.
async fn reach(
    clients: &PerRoute<Option<Client>>,
    within: Option<Duration>,
) -> Result<(), OpenError> {
    let Some(within) = within else { return Ok(()) };
    let one = async |client: &Option<Client>| match client {
        Some(client) => client.transport.reach(within).await,
        None => Ok(()),
    };
    let (main, dlq) = tokio::join!(one(&clients.main), one(&clients.dlq));
    let failed = |route| move |problem| OpenError::Unreached { route, problem };
    let reached = main.map_err(failed(Route::Main)).and(dlq.map_err(failed(Route::Dlq)));
    if reached.is_err() {
        for client in [&clients.main, &clients.dlq].into_iter().flatten() {
            client.transport.shutdown(SHUTDOWN).await;
        }
    }
    reached
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

/// How long `open` waits for a producer that is letting go of the directory.
const HAND_OVER: Duration = Duration::from_millis(500);

/// Opens the spool, off the async path.
async fn open_spool(
    config: &ProducerConfig,
    fs: Option<Arc<dyn Fs>>,
    inline: bool,
) -> Result<Option<Spool>, OpenError> {
    let Some(directory) = &config.spool.directory else { return Ok(None) };
    let fs = fs.unwrap_or_else(|| Arc::new(StdFs));
    let mut options = SpoolOptions::new(directory);
    options.max_bytes = config.spool.max_bytes as u64;
    let holder = format!("producer {} of {}", config.client_id, holder());
    let until = tokio::time::Instant::now() + HAND_OVER;
    loop {
        let (fs, options, holder) = (Arc::clone(&fs), options.clone(), holder.clone());
        let open = move || Spool::open(fs, options, &holder);
        let opened = if inline {
            open()
        } else {
            let lost = |e| FsError::new("open", Path::new(directory), std::io::Error::other(e));
            tokio::task::spawn_blocking(open).await.map_err(|e| SpoolError::from(lost(e)))?
        };
        match opened {
            Err(SpoolError::Locked { .. }) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            result => return Ok(Some(result?)),
        }
    }
}

/// The system's wall clock; a clock before 1970 counts as 1970.
fn system_wall_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}
