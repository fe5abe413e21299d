//! The settings themselves, with their defaults.

use std::time::Duration;

use super::{ConfigError, Problem, Secret};
use crate::core::{ErrorClass, errors};

/// Which confirmation counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Every in-sync replica has it.
    All,
    /// The leader has it; it may be lost with the leader.
    One,
    /// Nobody is asked: no event is ever `acked`, each ends `in_doubt{acks_0}`.
    None,
}

/// How strictly the order of one thread's events is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// First attempts in acceptance order; a retried event may come after younger ones.
    Thread,
    /// One open record per thread id: a retry holds back the younger events of its thread.
    Strict,
}

/// What `send` does when the queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Waits, first come first served.
    Wait,
    /// Rejects with reason `queue_full`.
    Reject,
}

/// What a broker's `POLICY_VIOLATION` means: some policies are quotas that pass, others verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyViolation {
    /// The record will never be taken.
    Permanent,
    /// It may be taken later.
    Retryable,
}

/// Transport security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Neither encryption nor authentication.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL over plain TCP.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl Protocol {
    /// True when TLS is part of it.
    #[must_use]
    pub const fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// True when SASL is part of it.
    #[must_use]
    pub const fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// SASL mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// `PLAIN`.
    Plain,
    /// `SCRAM-SHA-256`.
    ScramSha256,
    /// `SCRAM-SHA-512`.
    ScramSha512,
    /// `OAUTHBEARER`: a token out of a file that somebody else renews.
    OauthBearer,
    /// `GSSAPI`: Kerberos, with a key out of a keytab.
    Gssapi,
}

/// Whether the broker's certificate must name the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointIdentification {
    /// It must.
    Https,
    /// It need not; say so only in tests.
    None,
}

/// Compression of the payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Compression {
    /// Compress at all.
    pub enabled: bool,
    /// Payloads longer than this many bytes are compressed.
    pub threshold: usize,
    /// zstd level.
    pub level: i32,
    /// Write zstd's content checksum.
    pub checksum: bool,
}

/// The bounded queue of accepted and unresolved events.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Most events.
    pub max_events: usize,
    /// Most protobuf bytes over all of them.
    pub max_bytes: usize,
    /// What a `send` does that finds no room.
    pub when_full: WhenFull,
}

/// Attempts of the main route.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Most attempts of one event, the first included.
    pub max_attempts: u32,
    /// Back-off before the second attempt; it doubles from then on.
    pub base: Duration,
    /// The back-off, before jitter, never exceeds this.
    pub cap: Duration,
    /// Up to this share of the back-off is added at random, 0 to 1.
    pub jitter: f64,
    /// Send again although an earlier attempt may be in the log: allows a second copy.
    pub retry_possibly_persisted: bool,
    /// Class of the broker's `POLICY_VIOLATION`.
    pub policy_violation: PolicyViolation,
}

/// The dead-letter queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Dlq {
    /// Use one.
    pub enabled: bool,
    /// Its topic.
    pub topic: String,
    /// Time for one event over all DLQ attempts and the wait for a permit.
    pub timeout: Duration,
    /// Most events that are on their way to the DLQ at a time.
    pub max_concurrent: usize,
    /// Most DLQ attempts of one event.
    pub max_attempts: u32,
    /// Back-off before the second attempt; it doubles from then on.
    pub base: Duration,
    /// The back-off, before jitter, never exceeds this.
    pub cap: Duration,
    /// Up to this share of the back-off is added at random, 0 to 1.
    pub jitter: f64,
    /// A longer payload is cut to this many bytes; the record says size and SHA-256 of the whole.
    pub payload_cut: usize,
    /// Most bytes of a whole DLQ record: key, JSON and headers. Wins over `payload_cut`.
    pub max_record_bytes: usize,
}

/// The spool on disk: what neither main nor the DLQ took, until the next open.
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    /// Its directory, which one producer at a time may have; without one nothing is spooled, and
    /// sequences begin anew with every producer.
    pub directory: Option<String>,
    /// Most bytes of its files. An event that no longer fits is dropped or in doubt as without a
    /// spool, and counted.
    pub max_bytes: usize,
}

/// Token bucket per tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Events per second; `None` means no limit.
    pub rate: Option<f64>,
    /// Most events at once.
    pub burst: u32,
}

/// SASL credentials.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Sasl {
    /// Mechanism.
    pub mechanism: Option<Mechanism>,
    /// User.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// File with the current token, for OAUTHBEARER. Read when the client asks for a token: at the
    /// start, and when most of a token's life is over.
    pub token_location: Option<String>,
    /// For GSSAPI.
    pub kerberos: Kerberos,
}

/// Who a client is to a Kerberos realm, and whom it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Kerberos {
    /// First part of the brokers' principals; `kafka` when absent.
    pub service_name: Option<String>,
    /// The client's principal.
    pub principal: Option<String>,
    /// File with its key. `kinit` reads it at the start and whenever the ticket grows old.
    pub keytab: Option<String>,
}

/// TLS files.
#[derive(Clone, Debug, PartialEq)]
pub struct Ssl {
    /// PEM file with the authorities to trust; the system's when absent.
    pub ca_location: Option<String>,
    /// PEM file with the client's certificate.
    pub certificate_location: Option<String>,
    /// PEM file with the client's key.
    pub key_location: Option<String>,
    /// Passphrase of that key.
    pub key_password: Option<Secret>,
    /// Host check.
    pub endpoint_identification: EndpointIdentification,
}

/// How to talk to the brokers.
#[derive(Clone, Debug, PartialEq)]
pub struct Security {
    /// Protocol.
    pub protocol: Protocol,
    /// Credentials, with a `sasl_*` protocol.
    pub sasl: Sasl,
    /// Files, with an `ssl` protocol.
    pub ssl: Ssl,
}

/// Every setting of a producer. Change what you need on top of [`ProducerConfig::default`]; `open`
/// and [`ProducerConfig::validate`] tell all problems at once.
///
/// ```
/// use std::time::Duration;
/// use dashproof_reference::config::ProducerConfig;
///
/// let config = ProducerConfig::default()
///     .bootstrap("kafka-1:9092,kafka-2:9092")
///     .topic("telemetry")
///     .delivery_timeout(Duration::from_secs(12));
/// assert_eq!(config.attempt_timeout_or_default(), Duration::from_secs(4));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ProducerConfig {
    /// Where to find the cluster: `host:port,…`.
    pub bootstrap: String,
    /// Client id as brokers log it.
    pub client_id: String,
    /// Topic of the main route.
    pub topic: String,
    /// Tenant of events that name none.
    pub tenant: String,
    /// Time from acceptance after which no further main attempt is started.
    pub delivery_timeout: Duration,
    /// Time of one attempt; `None` means `delivery_timeout / retry.max_attempts`.
    pub attempt_timeout: Option<Duration>,
    /// `open` waits so long for the brokers to answer both clients, and fails with what is wrong
    /// with the connection; `None` means that it waits for nobody. Being refused ends it no sooner:
    /// another broker may serve, and one that is starting may refuse once.
    pub connect_within: Option<Duration>,
    /// Most open attempts (events) on the main route. High enough for the client to fill batches.
    pub max_in_flight: usize,
    /// Most unanswered Produce requests per connection; at most 5 with idempotence.
    pub max_in_flight_requests: usize,
    /// The broker recognises retransmissions; asks for `acks = "all"`.
    pub idempotence: bool,
    /// Which confirmation the main route asks for. The DLQ always asks for all.
    pub acks: Acks,
    /// How strictly order is kept.
    pub order: Order,
    /// Most protobuf bytes of one event.
    pub max_message_bytes: usize,
    /// How long the client waits for more records before it sends a batch.
    pub linger: Duration,
    /// Compression.
    pub compression: Compression,
    /// Queue.
    pub queue: Queue,
    /// Attempts on the main route.
    pub retry: Retry,
    /// Dead-letter queue.
    pub dlq: Dlq,
    /// Spool on disk.
    pub spool: Spool,
    /// Rate limit per tenant.
    pub rate_limit: RateLimit,
    /// Transport security.
    pub security: Security,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            bootstrap: "localhost:9092".to_owned(),
            client_id: "dashproof".to_owned(),
            topic: "dashstream-events".to_owned(),
            tenant: "default".to_owned(),
            delivery_timeout: Duration::from_secs(30),
            attempt_timeout: None,
            connect_within: None,
            max_in_flight: 10_000,
            max_in_flight_requests: 5,
            idempotence: true,
            acks: Acks::All,
            order: Order::Thread,
            max_message_bytes: 1 << 20,
            linger: Duration::from_millis(5),
            compression: Compression { enabled: true, threshold: 512, level: 3, checksum: true },
            queue: Queue { max_events: 100_000, max_bytes: 128 << 20, when_full: WhenFull::Wait },
            retry: Retry {
                max_attempts: 3,
                base: Duration::from_millis(100),
                cap: Duration::from_secs(5),
                jitter: 0.25,
                retry_possibly_persisted: false,
                policy_violation: PolicyViolation::Permanent,
            },
            dlq: Dlq {
                enabled: true,
                topic: "dashstream-dlq".to_owned(),
                timeout: Duration::from_secs(5),
                max_concurrent: 100,
                max_attempts: 3,
                base: Duration::from_millis(100),
                cap: Duration::from_secs(5),
                jitter: 0.25,
                payload_cut: 512 << 10,
                max_record_bytes: 1_000_000,
            },
            spool: Spool { directory: None, max_bytes: 256 << 20 },
            rate_limit: RateLimit { rate: None, burst: 1000 },
            security: Security {
                protocol: Protocol::Plaintext,
                sasl: Sasl::default(),
                ssl: Ssl {
                    ca_location: None,
                    certificate_location: None,
                    key_location: None,
                    key_password: None,
                    endpoint_identification: EndpointIdentification::Https,
                },
            },
        }
    }
}

/// Builder-style setters for what is changed most; the fields are public for the rest.
impl ProducerConfig {
    /// Sets where to find the cluster.
    #[must_use]
    pub fn bootstrap(mut self, servers: impl Into<String>) -> Self {
        self.bootstrap = servers.into();
        self
    }

    /// Sets the main topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = topic.into();
        self
    }

    /// Sets the tenant of events that name none.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// Sets the time from acceptance to the last possible start of an attempt.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// Sets the time of one attempt.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// Has `open` wait for the brokers, for so long.
    #[must_use]
    pub fn connect_within(mut self, timeout: Duration) -> Self {
        self.connect_within = Some(timeout);
        self
    }

    /// Sets the acknowledgement asked for. Anything but all also needs `idempotence(false)`.
    #[must_use]
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// Switches idempotence.
    #[must_use]
    pub fn idempotence(mut self, on: bool) -> Self {
        self.idempotence = on;
        self
    }

    /// Sets how strictly order is kept.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets the queue's bounds and policy.
    #[must_use]
    pub fn queue(mut self, queue: Queue) -> Self {
        self.queue = queue;
        self
    }

    /// Sets the attempts of the main route.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the dead-letter queue.
    #[must_use]
    pub fn dlq(mut self, dlq: Dlq) -> Self {
        self.dlq = dlq;
        self
    }

    /// Sets the spool.
    #[must_use]
    pub fn spool(mut self, spool: Spool) -> Self {
        self.spool = spool;
        self
    }

    /// Sets the compression.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the transport security.
    #[must_use]
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }
}

/// What follows from the settings.
impl ProducerConfig {
    /// Time of one main attempt: as set, or `delivery_timeout / retry.max_attempts`.
    #[must_use]
    pub fn attempt_timeout_or_default(&self) -> Duration {
        self.attempt_timeout.unwrap_or(self.delivery_timeout / self.retry.max_attempts.max(1))
    }

    /// Time of one DLQ attempt: `dlq.timeout / dlq.max_attempts`.
    #[must_use]
    pub fn dlq_attempt_timeout(&self) -> Duration {
        self.dlq.timeout / self.dlq.max_attempts.max(1)
    }

    /// Class of an error code under these settings: the table of [`errors`], with
    /// `retry.policy_violation` applied. Transports fill [`Failure::class`] with it.
    ///
    /// [`Failure::class`]: crate::core::Failure
    #[must_use]
    pub fn error_class(&self, code: i32) -> ErrorClass {
        if code == errors::POLICY_VIOLATION
            && self.retry.policy_violation == PolicyViolation::Retryable
        {
            return ErrorClass::Retryable;
        }
        errors::class(code)
    }

    /// Every problem of these settings.
    ///
    /// # Errors
    /// [`ConfigError`] with at least one [`Problem`], in the order of the settings table.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let problems: Vec<Problem> = super::check::problems(self);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}
