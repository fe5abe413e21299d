//! From producer settings to librdkafka's: one table, with the reason for each line.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::config::{Acks, EndpointIdentification, ProducerConfig};
use crate::core::Route;

/// Room for key, Kafka headers and the batch's own fields beside a payload.
const RECORD_OVERHEAD: usize = 64 << 10;
/// librdkafka's own bounds of `message.max.bytes`.
const MESSAGE_MAX: usize = 1_000_000_000;
/// Late reports follow the reconnect back-off, so it is kept short.
const RECONNECT_MAX: Duration = Duration::from_secs(1);

type Setting = (&'static str, String);

/// Time of one attempt on a route.
pub(super) fn attempt_timeout(config: &ProducerConfig, route: Route) -> Duration {
    match route {
        Route::Main => config.attempt_timeout_or_default(),
        Route::Dlq => config.dlq_attempt_timeout(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds of a time, at most `most` and at least what librdkafka takes.
fn bounded(time: Duration, least: u64, most: u64) -> String {
    millis(time).clamp(least, most).to_string()
}

/// Everything but secrets.
pub(super) fn plain(config: &ProducerConfig, route: Route) -> Vec<Setting> {
    let mut out = connection(config, route);
    out.extend(delivery(config, route));
    out.extend(security(config));
    out
}

fn connection(config: &ProducerConfig, route: Route) -> Vec<Setting> {
    let attempt = attempt_timeout(config, route);
    vec![
        ("bootstrap.servers", config.bootstrap.clone()),
        ("client.id", config.client_id.clone()),
        // A stuck connection must not outlive the attempt that waits for it.
        ("socket.timeout.ms", bounded(attempt, 10, 60_000)),
        ("socket.connection.setup.timeout.ms", bounded(attempt, 1_000, 30_000)),
        ("api.version.request.timeout.ms", bounded(attempt, 10, 10_000)),
        ("reconnect.backoff.ms", "100".to_owned()),
        ("reconnect.backoff.max.ms", millis(RECONNECT_MAX).to_string()),
        // A topic that is missing is waited for inside the attempt. librdkafka allows an hour, but
        // counts microseconds in an int: more than 2 147 483 here would mean "do not wait".
        ("topic.metadata.propagation.max.ms", "2000000".to_owned()),
        // A listener that demands TLS or SASL of a client that has none shows in these lines only.
        ("log.connection.close", "true".to_owned()),
    ]
}

fn delivery(config: &ProducerConfig, route: Route) -> Vec<Setting> {
    let attempt = attempt_timeout(config, route);
    let acks = match (route, config.acks) {
        (Route::Dlq, _) | (Route::Main, Acks::All) => "all",
        (Route::Main, Acks::One) => "1",
        (Route::Main, Acks::None) => "0",
    };
    let open = match route {
        Route::Main => config.max_in_flight,
        Route::Dlq => config.dlq.max_concurrent,
    };
    let largest = match route {
        Route::Main => config.max_message_bytes.saturating_add(RECORD_OVERHEAD),
        Route::Dlq => config.dlq.max_record_bytes.saturating_add(RECORD_OVERHEAD),
    };
    let mut out = vec![
        ("message.timeout.ms", bounded(attempt, 1, 2_147_483_647)),
        ("request.timeout.ms", bounded(attempt, 1, 30_000)),
        ("acks", acks.to_owned()),
        ("enable.idempotence", config.idempotence.to_string()),
        (
            "max.in.flight.requests.per.connection",
            config.max_in_flight_requests.clamp(1, 1_000_000).to_string(),
        ),
        ("linger.ms", millis(config.linger).min(900_000).to_string()),
        // The ledger needs a report for each record, in the order of the partition.
        ("delivery.report.only.error", "false".to_owned()),
        // librdkafka's default of 1 000 000 would refuse what our own limit lets through.
        ("message.max.bytes", largest.clamp(1_000, MESSAGE_MAX).to_string()),
        // The core's cap on open attempts is the bound; the client's queue never is.
        ("queue.buffering.max.messages", open.clamp(100_000, 2_147_483_647).to_string()),
        ("queue.buffering.max.kbytes", "2147483647".to_owned()),
        // The codec has compressed already.
        ("compression.type", "none".to_owned()),
        ("partitioner", "consistent_random".to_owned()),
    ];
    if !config.idempotence {
        // Without idempotence a retry inside the client could store a second copy unseen.
        out.push(("message.send.max.retries", "0".to_owned()));
    }
    out
}

/// librdkafka's own command, but for its words: they would be in the application's output. What
/// fails is told as the state of the connection.
const KINIT: &str = "(kinit -R -t \"%{sasl.kerberos.keytab}\" -k %{sasl.kerberos.principal} \
                     || kinit -t \"%{sasl.kerberos.keytab}\" -k %{sasl.kerberos.principal}) \
                     >/dev/null 2>&1";

fn security(config: &ProducerConfig) -> Vec<Setting> {
    let security = &config.security;
    let mut out = vec![("security.protocol", security.protocol.to_string())];
    let mut set = |key, value: Option<String>| out.extend(value.map(|v| (key, v)));
    if security.protocol.has_sasl() {
        set("sasl.mechanism", security.sasl.mechanism.map(|m| m.to_string()));
        set("sasl.username", security.sasl.username.clone());
        let kerberos = &security.sasl.kerberos;
        set("sasl.kerberos.service.name", kerberos.service_name.clone());
        set("sasl.kerberos.principal", kerberos.principal.clone());
        set("sasl.kerberos.keytab", kerberos.keytab.clone());
        let quiet = kerberos.keytab.is_some().then(|| KINIT.to_owned());
        set("sasl.kerberos.kinit.cmd", quiet);
    }
    if security.protocol.has_tls() {
        let ssl = &security.ssl;
        set("ssl.ca.location", ssl.ca_location.clone());
        set("ssl.certificate.location", ssl.certificate_location.clone());
        set("ssl.key.location", ssl.key_location.clone());
        let check = match ssl.endpoint_identification {
            EndpointIdentification::Https => "https",
            EndpointIdentification::None => "none",
        };
        set("ssl.endpoint.identification.algorithm", Some(check.to_owned()));
    }
    out
}

/// The secrets with their settings; never printed.
fn secret(config: &ProducerConfig) -> Vec<(&'static str, &str)> {
    let security = &config.security;
    let password = security.sasl.password.as_ref().filter(|_| security.protocol.has_sasl());
    let passphrase = security.ssl.key_password.as_ref().filter(|_| security.protocol.has_tls());
    let pairs = [("sasl.password", password), ("ssl.key.password", passphrase)];
    pairs.into_iter().filter_map(|(key, value)| Some((key, value?.expose()))).collect()
}

/// What must be cut out of texts that come from the client.
pub(super) fn secrets(config: &ProducerConfig) -> Vec<String> {
    secret(config).into_iter().map(|(_, value)| value.to_owned()).collect()
}

/// The client's configuration for a route.
pub(super) fn client_config(config: &ProducerConfig, route: Route) -> ClientConfig {
    let mut out = ClientConfig::new();
    out.set_log_level(RDKafkaLogLevel::Info);
    for (key, value) in plain(config, route) {
        out.set(key, value);
    }
    for (key, value) in secret(config) {
        out.set(key, value);
    }
    out
}
