//! Everything that can be wrong with settings whose form is right.

use std::time::Duration;

use super::model::{Acks, Kerberos, Mechanism, Protocol};
use super::{Problem, ProducerConfig};

/// Largest protobuf payload that the frame format allows, bytes.
const FORMAT_MAX_PAYLOAD: usize = 10 * 1024 * 1024;
/// Room the encoder needs on top of an event's own bytes for what it marks in the headers.
const HEADROOM: usize = 1024;
/// The queue numbers its places with 32 bits; this keeps well below.
const MAX_EVENTS: usize = 1 << 24;
/// A timeout must fit librdkafka's milliseconds.
const MAX_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);
/// A DLQ record cannot be smaller than its fields around an empty payload.
const MIN_DLQ_RECORD: usize = 4096;

/// Room for what the spool writes beside an event.
const SPOOL_FIELDS: usize = 4096;

/// All problems, in the order of the settings table.
pub(super) fn problems(config: &ProducerConfig) -> Vec<Problem> {
    let mut found = Found(Vec::new());
    names(config, &mut found);
    times(config, &mut found);
    delivery(config, &mut found);
    sizes(config, &mut found);
    retries(config, &mut found);
    dlq(config, &mut found);
    spool(config, &mut found);
    rate(config, &mut found);
    security(config, &mut found);
    found.0
}

struct Found(Vec<Problem>);

impl Found {
    /// Notes a problem when `wrong` holds.
    fn when(&mut self, wrong: bool, key: &str, reason: impl Into<String>, remedy: &str) {
        if wrong {
            self.0.push(Problem::new(key, reason, remedy));
        }
    }

    fn at_least_one(&mut self, key: &str, value: usize) {
        self.when(value == 0, key, "is zero, so nothing could ever be sent", "set it to 1 or more");
    }

    fn timeout(&mut self, key: &str, value: Duration) {
        let shortest = Duration::from_millis(1);
        self.when(value < shortest, key, "is shorter than 1ms", "set it to 1ms or more");
        self.when(value > MAX_TIMEOUT, key, "is longer than 24 days", "set a shorter time");
    }
}

fn names(config: &ProducerConfig, found: &mut Found) {
    found.when(
        config.bootstrap.split(',').all(|s| s.trim().is_empty()),
        "bootstrap",
        "names no server",
        "list at least one `host:port`",
    );
    topic("topic", &config.topic, found);
    found.when(config.tenant.is_empty(), "tenant", "is empty", "name the tenant, as `default`");
}

/// Kafka's own rule for topic names.
fn topic(key: &str, name: &str, found: &mut Found) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    found.when(name.is_empty(), key, "is empty", "name the topic");
    found.when(
        name.len() > 249,
        key,
        format!("is {} characters long, Kafka allows 249", name.len()),
        "shorten it",
    );
    if let Some(bad) = name.chars().find(|&c| !legal(c)) {
        found.when(
            true,
            key,
            format!("holds the character {bad:?}, which Kafka does not allow"),
            "use only letters, digits, `.`, `_` and `-`",
        );
    }
    found.when(
        matches!(name, "." | ".."),
        key,
        "is not a name that Kafka allows",
        "choose another name",
    );
}

fn times(config: &ProducerConfig, found: &mut Found) {
    found.timeout("delivery_timeout", config.delivery_timeout);
    let attempt = config.attempt_timeout_or_default();
    found.timeout("attempt_timeout", attempt);
    found.when(
        attempt > config.delivery_timeout,
        "attempt_timeout",
        "is longer than delivery_timeout, so the first attempt would outlive the event",
        "set it to delivery_timeout or less, or leave it out",
    );
    if let Some(within) = config.connect_within {
        found.timeout("connect_within", within);
    }
    found.when(
        config.linger >= attempt && !attempt.is_zero(),
        "linger",
        "is not shorter than attempt_timeout, so records would time out before they are sent",
        "set it well below attempt_timeout, as 5ms",
    );
}

fn delivery(config: &ProducerConfig, found: &mut Found) {
    found.at_least_one("max_in_flight", config.max_in_flight);
    found.at_least_one("max_in_flight_requests", config.max_in_flight_requests);
    found.when(
        config.idempotence && config.max_in_flight_requests > 5,
        "max_in_flight_requests",
        "is over 5, more than idempotence can keep in order",
        "set it to 5 or less, or set idempotence = false",
    );
    found.when(
        config.idempotence && config.acks != Acks::All,
        "acks",
        format!("is {} with idempotence on, which needs acks = \"all\"", config.acks),
        "set acks = \"all\", or set idempotence = false and accept what that loses",
    );
}

fn sizes(config: &ProducerConfig, found: &mut Found) {
    found.at_least_one("max_message_bytes", config.max_message_bytes);
    let format_max = FORMAT_MAX_PAYLOAD - HEADROOM;
    found.when(
        config.max_message_bytes > format_max,
        "max_message_bytes",
        format!("is over {format_max}, the frame format's limit less the encoder's headroom"),
        "set it lower; other readers refuse larger payloads",
    );
    found.when(
        !(1..=22).contains(&config.compression.level),
        "compression.level",
        format!("is {}, outside zstd's levels", config.compression.level),
        "use 1 to 22; 3 is a good choice",
    );
    found.at_least_one("queue.max_events", config.queue.max_events);
    found.when(
        config.queue.max_events > MAX_EVENTS,
        "queue.max_events",
        format!("is over {MAX_EVENTS}"),
        "set it lower",
    );
    found.when(
        config.queue.max_bytes < config.max_message_bytes,
        "queue.max_bytes",
        "is less than max_message_bytes, so the largest event could never be accepted",
        "raise it, or lower max_message_bytes",
    );
}

fn back_off(table: &str, base: Duration, cap: Duration, jitter: f64, found: &mut Found) {
    let key = |name: &str| format!("{table}.{name}");
    found.when(base.is_zero(), &key("base"), "is zero: retries would spin", "set it, as 100ms");
    found.when(base > cap, &key("base"), "is longer than cap", "set it to cap or less");
    found.when(
        !(0.0..=1.0).contains(&jitter),
        &key("jitter"),
        format!("is {jitter}, outside 0 to 1"),
        "use a share, as 0.25 for up to 25 %",
    );
}

fn retries(config: &ProducerConfig, found: &mut Found) {
    let retry = &config.retry;
    found.at_least_one("retry.max_attempts", retry.max_attempts as usize);
    back_off("retry", retry.base, retry.cap, retry.jitter, found);
}

fn dlq(config: &ProducerConfig, found: &mut Found) {
    let dlq = &config.dlq;
    if !dlq.enabled {
        return;
    }
    topic("dlq.topic", &dlq.topic, found);
    found.when(
        dlq.topic == config.topic,
        "dlq.topic",
        "is the main topic, so failed events would be fed back into it",
        "choose another topic, or set dlq.enabled = false",
    );
    found.timeout("dlq.timeout", dlq.timeout);
    found.when(
        config.linger >= config.dlq_attempt_timeout() && !dlq.timeout.is_zero(),
        "dlq.timeout",
        "leaves each DLQ attempt no more time than linger",
        "raise it, or lower linger or dlq.max_attempts",
    );
    found.at_least_one("dlq.max_concurrent", dlq.max_concurrent);
    found.at_least_one("dlq.max_attempts", dlq.max_attempts as usize);
    back_off("dlq", dlq.base, dlq.cap, dlq.jitter, found);
    found.when(
        dlq.max_record_bytes < MIN_DLQ_RECORD,
        "dlq.max_record_bytes",
        format!("is under {MIN_DLQ_RECORD}, too small for a record's own fields"),
        "set it just below the broker's message.max.bytes",
    );
}

fn spool(config: &ProducerConfig, found: &mut Found) {
    let Some(directory) = &config.spool.directory else { return };
    found.when(
        directory.is_empty(),
        "spool.directory",
        "is empty",
        "name a directory that is this producer's alone, or leave it out",
    );
    found.when(
        config.spool.max_bytes < config.max_message_bytes.saturating_add(SPOOL_FIELDS),
        "spool.max_bytes",
        format!(
            "is less than max_message_bytes and {SPOOL_FIELDS}, so the largest event could never \
             be spooled"
        ),
        "raise it, or lower max_message_bytes",
    );
}

fn rate(config: &ProducerConfig, found: &mut Found) {
    let Some(rate) = config.rate_limit.rate else { return };
    found.when(
        !(rate.is_finite() && rate > 0.0),
        "rate_limit.rate",
        format!("is {rate}, not a number of events per second"),
        "set a number above 0, or leave it out for no limit",
    );
    found.at_least_one("rate_limit.burst", config.rate_limit.burst as usize);
}

fn security(config: &ProducerConfig, found: &mut Found) {
    let security = &config.security;
    let protocol = security.protocol;
    // Cyrus SASL brings OpenSSL along
    let built_with_tls = cfg!(any(feature = "tls", feature = "tls-vendored", feature = "gssapi"));
    found.when(
        protocol.has_tls() && !built_with_tls,
        "security.protocol",
        format!("is {protocol}, but this build has no TLS"),
        "build with the feature `tls` or `tls-vendored`",
    );
    if protocol.has_sasl() {
        sasl(config, built_with_tls, found);
    } else {
        found.when(
            security.sasl.password.is_some()
                || security.sasl.username.is_some()
                || security.sasl.token_location.is_some()
                || security.sasl.kerberos != Kerberos::default(),
            "security.sasl",
            format!("is given, but security.protocol = \"{protocol}\" never uses it"),
            "set security.protocol to sasl_ssl or sasl_plaintext",
        );
    }
    let ssl = &security.ssl;
    found.when(
        !protocol.has_tls() && (ssl.ca_location.is_some() || ssl.certificate_location.is_some()),
        "security.ssl",
        format!("is given, but security.protocol = \"{protocol}\" never uses it"),
        "set security.protocol to ssl or sasl_ssl",
    );
    found.when(
        ssl.certificate_location.is_some() != ssl.key_location.is_some(),
        "security.ssl.key_location",
        "a client certificate and its key need each other",
        "set both certificate_location and key_location, or neither",
    );
    found.when(
        ssl.key_password.is_some() && ssl.key_location.is_none(),
        "security.ssl.key_password",
        "is given without a key",
        "set key_location, or leave the passphrase out",
    );
}

fn sasl(config: &ProducerConfig, built_with_tls: bool, found: &mut Found) {
    let sasl = &config.security.sasl;
    let protocol: Protocol = config.security.protocol;
    let Some(mechanism) = sasl.mechanism else {
        found.when(
            true,
            "security.sasl.mechanism",
            format!("is missing with security.protocol = \"{protocol}\""),
            "set PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or GSSAPI",
        );
        return;
    };
    let gssapi = mechanism == Mechanism::Gssapi;
    found.when(
        gssapi && !cfg!(feature = "gssapi"),
        "security.sasl.mechanism",
        "is GSSAPI, but this build has no Kerberos".to_owned(),
        "build with the feature `gssapi` (needs libsasl2-dev)",
    );
    found.when(
        mechanism != Mechanism::Plain && !gssapi && !built_with_tls,
        "security.sasl.mechanism",
        format!("is {mechanism}, but this build has only PLAIN"),
        "build with the feature `tls` or `tls-vendored`",
    );
    let bearer = mechanism == Mechanism::OauthBearer;
    found.when(
        bearer && sasl.token_location.as_deref().is_none_or(str::is_empty),
        "security.sasl.token_location",
        format!("is missing, {mechanism} needs it"),
        "set it, or KAFKA_SASL_TOKEN_LOCATION, to the file where the token is",
    );
    found.when(
        !bearer && sasl.token_location.is_some(),
        "security.sasl.token_location",
        format!("is given, but {mechanism} never uses it"),
        "set security.sasl.mechanism = \"OAUTHBEARER\", or leave it out",
    );
    kerberos(&sasl.kerberos, mechanism, found);
    if bearer || gssapi {
        found.when(
            sasl.username.is_some() || sasl.password.is_some(),
            "security.sasl",
            format!("has a username or password, but {mechanism} never uses them"),
            if bearer {
                "leave them out: the token says who it is"
            } else {
                "leave them out: principal and keytab say who it is"
            },
        );
        return;
    }
    found.when(
        sasl.username.as_deref().is_none_or(str::is_empty),
        "security.sasl.username",
        format!("is missing, {mechanism} needs it"),
        "set it, or KAFKA_SASL_USERNAME",
    );
    found.when(
        sasl.password.as_ref().is_none_or(|p| p.expose().is_empty()),
        "security.sasl.password",
        format!("is missing, {mechanism} needs it"),
        "set it, or KAFKA_SASL_PASSWORD",
    );
}

/// Principal and keytab, which become part of the command line of `kinit`.
fn kerberos(kerberos: &Kerberos, mechanism: Mechanism, found: &mut Found) {
    const NAMES: &str = "security.sasl.kerberos";
    if mechanism != Mechanism::Gssapi {
        found.when(
            *kerberos != Kerberos::default(),
            NAMES,
            format!("is given, but {mechanism} never uses it"),
            "set security.sasl.mechanism = \"GSSAPI\", or leave it out",
        );
        return;
    }
    let is_plain =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./@+,=: ".contains(c));
    let all = [
        ("principal", &kerberos.principal, "KAFKA_SASL_KERBEROS_PRINCIPAL"),
        ("keytab", &kerberos.keytab, "KAFKA_SASL_KERBEROS_KEYTAB"),
    ];
    for (name, value, variable) in all {
        let key = format!("{NAMES}.{name}");
        let text = value.as_deref().unwrap_or_default();
        found.when(
            text.is_empty(),
            &key,
            format!("is missing, {mechanism} needs it"),
            &format!("set it, or {variable}"),
        );
        found.when(
            !is_plain(text) || text.starts_with('-') || (name == "principal" && text.contains(' ')),
            &key,
            "has characters that the command line of kinit does not take".to_owned(),
            "use letters, digits and `-_./@+,=:` only, and no `-` in front",
        );
    }
    found.when(
        kerberos.service_name.as_deref() == Some(""),
        "security.sasl.kerberos.service_name",
        "is empty".to_owned(),
        "leave it out for `kafka`",
    );
}
