//! The one table of settings: it drives reading, showing, suggestions and the manual.

use serde_json::{Map, Value};

use super::read::{Fault, Readable};
use super::{ConfigError, Problem, ProducerConfig};

/// One setting.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Dotted name.
    pub key: &'static str,
    /// Unit, or the words it may be.
    pub unit: fn() -> &'static str,
    /// What it does, one line.
    pub about: &'static str,
    get: fn(&ProducerConfig) -> Value,
    set: fn(&mut ProducerConfig, &Value) -> Result<(), Fault>,
}

impl Setting {
    /// The value in a configuration, as it would be written; secrets show as `[redacted]`.
    #[must_use]
    pub fn get(&self, config: &ProducerConfig) -> Value {
        (self.get)(config)
    }
}

fn unit_of<T: Readable>(_: fn(&ProducerConfig) -> &T) -> &'static str {
    T::UNIT
}

fn put<T: Readable>(place: &mut T, value: &Value) -> Result<(), Fault> {
    *place = T::read(value)?;
    Ok(())
}

macro_rules! settings {
    ($($key:literal, $($field:ident).+, $about:literal;)+) => {
        /// Every setting, in the order in which problems and the manual list them.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: $key,
            unit: || unit_of(|c| &c.$($field).+),
            about: $about,
            get: |c| c.$($field).+.show(),
            set: |c, v| put(&mut c.$($field).+, v),
        },)+];

        impl ProducerConfig {
            /// Dotted names of all settings, for suggestions.
            pub const KEYS: &[&str] = &[$($key,)+];
        }
    };
}

settings! {
    "bootstrap", bootstrap, "where to find the cluster, `host:port,…`";
    "client_id", client_id, "client id as brokers log it";
    "topic", topic, "topic of the main route";
    "tenant", tenant, "tenant of events that name none";
    "delivery_timeout", delivery_timeout,
        "from acceptance; after it no further main attempt is started";
    "attempt_timeout", attempt_timeout,
        "one main attempt; by default delivery_timeout / retry.max_attempts";
    "connect_within", connect_within,
        "`open` waits so long for the brokers, and fails with what is wrong; for nobody by default";
    "max_in_flight", max_in_flight, "most open attempts (events) on the main route";
    "max_in_flight_requests", max_in_flight_requests,
        "most unanswered Produce requests per connection";
    "idempotence", idempotence, "the broker recognises retransmissions";
    "acks", acks, "confirmation asked for on the main route; the DLQ always asks for all";
    "order", order, "`strict` keeps one open record per thread id";
    "max_message_bytes", max_message_bytes, "most protobuf bytes of one event";
    "linger", linger, "wait of the client for more records before it sends a batch";
    "compression.enabled", compression.enabled, "compress payloads with zstd";
    "compression.threshold", compression.threshold, "longer payloads (bytes) are compressed";
    "compression.level", compression.level, "zstd level, 1 to 22";
    "compression.checksum", compression.checksum, "write zstd's content checksum";
    "queue.max_events", queue.max_events, "most accepted and unresolved events";
    "queue.max_bytes", queue.max_bytes, "most protobuf bytes over all of them";
    "queue.when_full", queue.when_full, "what `send` does when there is no room";
    "retry.max_attempts", retry.max_attempts, "most main attempts of one event";
    "retry.base", retry.base, "back-off before the second attempt; doubles";
    "retry.cap", retry.cap, "largest back-off before jitter";
    "retry.jitter", retry.jitter, "up to this share of the back-off is added, 0 to 1";
    "retry.retry_possibly_persisted", retry.retry_possibly_persisted,
        "send again what may be in the log: allows a second copy";
    "retry.policy_violation", retry.policy_violation, "class of the broker's POLICY_VIOLATION";
    "dlq.enabled", dlq.enabled, "use a dead-letter queue";
    "dlq.topic", dlq.topic, "its topic";
    "dlq.timeout", dlq.timeout, "one event, over all DLQ attempts and the wait for a permit";
    "dlq.max_concurrent", dlq.max_concurrent, "most events on their way to the DLQ at a time";
    "dlq.max_attempts", dlq.max_attempts, "most DLQ attempts of one event";
    "dlq.base", dlq.base, "back-off before the second DLQ attempt; doubles";
    "dlq.cap", dlq.cap, "largest DLQ back-off before jitter";
    "dlq.jitter", dlq.jitter, "up to this share of the back-off is added, 0 to 1";
    "dlq.payload_cut", dlq.payload_cut, "longer payloads (bytes) are cut, with size and hash said";
    "dlq.max_record_bytes", dlq.max_record_bytes,
        "most bytes of a whole DLQ record; wins over payload_cut";
    "spool.directory", spool.directory,
        "where events wait on disk for the next open; nowhere when absent";
    "spool.max_bytes", spool.max_bytes, "most bytes of the spool's files";
    "rate_limit.rate", rate_limit.rate, "events per second and tenant; no limit when absent";
    "rate_limit.burst", rate_limit.burst, "most events of a tenant at once";
    "security.protocol", security.protocol, "how to talk to the brokers";
    "security.sasl.mechanism", security.sasl.mechanism, "SASL mechanism";
    "security.sasl.username", security.sasl.username, "SASL user";
    "security.sasl.password", security.sasl.password, "SASL password";
    "security.sasl.token_location", security.sasl.token_location,
        "file with the current OAUTHBEARER token, which somebody else renews";
    "security.sasl.kerberos.service_name", security.sasl.kerberos.service_name,
        "GSSAPI: first part of the brokers' principals, `kafka` when absent";
    "security.sasl.kerberos.principal", security.sasl.kerberos.principal,
        "GSSAPI: the client's principal";
    "security.sasl.kerberos.keytab", security.sasl.kerberos.keytab,
        "GSSAPI: file with the key of that principal";
    "security.ssl.ca_location", security.ssl.ca_location, "PEM file with authorities to trust";
    "security.ssl.certificate_location", security.ssl.certificate_location,
        "PEM file with the client's certificate";
    "security.ssl.key_location", security.ssl.key_location, "PEM file with the client's key";
    "security.ssl.key_password", security.ssl.key_password, "passphrase of that key";
    "security.ssl.endpoint_identification", security.ssl.endpoint_identification,
        "whether the certificate must name the host";
}

impl ProducerConfig {
    /// Reads settings from a JSON (or TOML) table over the defaults, and validates them. Durations
    /// are strings with a unit, nested tables are dotted keys.
    ///
    /// # Errors
    /// [`ConfigError`] lists unknown names, values of the wrong form, and, when there are none of
    /// those, everything [`ProducerConfig::validate`] finds.
    pub fn from_json(value: &Value) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut problems = Vec::new();
        match value {
            Value::Null => {}
            Value::Object(table) => fill(&mut config, "", table, &mut problems),
            _ => problems.push(Problem::new(
                "(root)",
                "expected a table of settings",
                "write `{ \"topic\": \"…\" }`",
            )),
        }
        if problems.is_empty() {
            config.validate()?;
            return Ok(config);
        }
        Err(ConfigError { problems })
    }

    /// Sets one setting from JSON.
    ///
    /// # Errors
    /// The one problem: an unknown name, or a value of the wrong form.
    pub fn set(&mut self, key: &str, value: &Value) -> Result<(), Problem> {
        let Some(setting) = SETTINGS.iter().find(|s| s.key == key) else {
            return Err(unknown(key));
        };
        (setting.set)(self, value).map_err(|(reason, remedy)| Problem::new(key, reason, remedy))
    }

    /// All settings as nested JSON that [`ProducerConfig::from_json`] reads back; absent optional
    /// settings are left out, secrets show as `[redacted]`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut root = Map::new();
        for setting in SETTINGS {
            let value = setting.get(self);
            if !value.is_null() {
                insert(&mut root, setting.key, value);
            }
        }
        Value::Object(root)
    }
}

fn insert(table: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((head, rest)) => {
            let child = table.entry(head).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(child) = child {
                insert(child, rest, value);
            }
        }
    }
}

fn fill(
    config: &mut ProducerConfig,
    prefix: &str,
    table: &Map<String, Value>,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let is_table = SETTINGS
            .iter()
            .any(|s| s.key.strip_prefix(key.as_str()).is_some_and(|r| r.starts_with('.')));
        match value {
            Value::Null => {}
            Value::Object(child) if is_table => fill(config, &key, child, problems),
            _ if is_table => problems.push(Problem::new(
                &key,
                "expected a table",
                format!("write `{key} = {{ … }}`"),
            )),
            _ => {
                if let Err(problem) = config.set(&key, value) {
                    problems.push(problem);
                }
            }
        }
    }
}

fn unknown(key: &str) -> Problem {
    let nearest = ProducerConfig::KEYS.iter().min_by_key(|known| distance(key, known));
    let remedy = match nearest {
        Some(near) if distance(key, near) <= 1 + key.len() / 3 => format!("did you mean `{near}`?"),
        _ => "remove it; the manual's producer page lists every setting".to_owned(),
    };
    Problem::new(key, "unknown setting", remedy)
}

/// Levenshtein distance; the names are short and few.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
