use std::fmt::Write as _;
use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::config::{Acks, Mechanism, Protocol};
use crate::core::{AttemptId, Delivery, ErrorClass, HeaderValue, Headers, Persistence, Record};

fn table(config: &ProducerConfig, route: Route) -> String {
    settings::plain(config, route).into_iter().fold(String::new(), |mut out, (key, value)| {
        writeln!(out, "{key} = {value}").unwrap();
        out
    })
}

fn with_password() -> ProducerConfig {
    let mut config = ProducerConfig::default();
    config.security.protocol = Protocol::SaslSsl;
    config.security.sasl.mechanism = Some(Mechanism::ScramSha512);
    config.security.sasl.username = Some("alice".to_owned());
    config.security.sasl.password = Some("hunter2".into());
    config.security.ssl.ca_location = Some("/etc/ca.pem".to_owned());
    config.security.ssl.key_password = Some("open-sesame".into());
    config
}

#[test]
fn default_settings_of_the_main_client() {
    insta::assert_snapshot!(table(&ProducerConfig::default(), Route::Main));
}

#[test]
fn default_settings_of_the_dlq_client() {
    insta::assert_snapshot!(table(&ProducerConfig::default(), Route::Dlq));
}

#[test]
fn without_idempotence_the_client_does_not_retry_and_the_dlq_still_asks_for_all() {
    let config = ProducerConfig::default().idempotence(false).acks(Acks::None);
    insta::assert_snapshot!(table(&config, Route::Main));
    assert!(table(&config, Route::Dlq).contains("acks = all\n"));
}

#[test]
fn security_settings_reach_the_client_and_secrets_reach_nothing_else() {
    let config = with_password();
    let table = table(&config, Route::Main);
    for line in [
        "security.protocol = sasl_ssl",
        "sasl.mechanism = SCRAM-SHA-512",
        "sasl.username = alice",
        "ssl.ca.location = /etc/ca.pem",
        "ssl.endpoint.identification.algorithm = https",
    ] {
        assert!(table.contains(&format!("{line}\n")), "{line} is missing from\n{table}");
    }
    let client = settings::client_config(&config, Route::Main);
    assert_eq!(client.get("sasl.password"), Some("hunter2"));
    assert_eq!(client.get("ssl.key.password"), Some("open-sesame"));
    for shown in [table, format!("{client:?}"), format!("{config:?}")] {
        assert!(!shown.contains("hunter2") && !shown.contains("open-sesame"), "{shown}");
    }
}

#[test]
fn an_attempt_bounds_what_it_waits_for() {
    let config = ProducerConfig::default().attempt_timeout(Duration::from_millis(700));
    let table = table(&config, Route::Main);
    for line in [
        "message.timeout.ms = 700",
        "socket.timeout.ms = 700",
        "request.timeout.ms = 700",
        // librdkafka takes no less
        "socket.connection.setup.timeout.ms = 1000",
    ] {
        assert!(table.contains(&format!("{line}\n")), "{line} is missing from\n{table}");
    }
}

#[cfg(any(feature = "tls", feature = "tls-vendored"))]
#[tokio::test]
async fn a_ca_file_that_is_not_there_is_refused_by_name_and_for_good() {
    let refused = RdkafkaConnect::new(&with_password()).connect(Route::Main).await.err().unwrap();
    assert_eq!(refused.class, ErrorClass::Permanent);
    assert!(refused.reason.contains("ssl.ca.location"), "{}", refused.reason);
    assert!(!refused.reason.contains("hunter2"));
}

fn record(attempt: u64) -> Record {
    Record {
        attempt: AttemptId(attempt),
        topic: "dashstream-events".into(),
        key: Some(Bytes::from_static(b"t0")),
        value: Bytes::from_static(b"\0value"),
        headers: Headers::one("dashstream-crc32", HeaderValue::new(b"00000000")),
        timestamp_ms: 1_700_000_000_000,
    }
}

fn fast(bootstrap: &str) -> ProducerConfig {
    ProducerConfig::default().bootstrap(bootstrap).attempt_timeout(Duration::from_secs(2))
}

async fn next(transport: &Arc<dyn Transport>) -> Delivery {
    let delivery = poll_fn(|cx| transport.poll_delivery(cx));
    tokio::time::timeout(Duration::from_secs(20), delivery).await.expect("no delivery came")
}

const NOBODY: &str = "127.0.0.1:1";

#[tokio::test]
async fn a_confirmed_record_is_delivered_as_persisted_with_its_offset() {
    let cluster = MockCluster::new(1).unwrap();
    let config = fast(&cluster.bootstrap_servers()).idempotence(false);
    let transport = RdkafkaConnect::new(&config).connect(Route::Main).await.unwrap();
    transport.submit(record(7)).unwrap();
    let delivery = next(&transport).await;
    assert_eq!(delivery.attempt, AttemptId(7));
    assert_eq!((delivery.persistence, delivery.offset), (Persistence::Persisted, 0));
    assert_eq!(delivery.result, Ok(()));
    transport.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn acks_0_is_no_error_and_possibly_persisted() {
    let cluster = MockCluster::new(1).unwrap();
    let config = fast(&cluster.bootstrap_servers()).idempotence(false).acks(Acks::None);
    let transport = RdkafkaConnect::new(&config).connect(Route::Main).await.unwrap();
    transport.submit(record(1)).unwrap();
    let delivery = next(&transport).await;
    assert_eq!((delivery.persistence, delivery.offset), (Persistence::Possibly, -1));
    assert_eq!(delivery.result, Ok(()));
}

#[tokio::test]
async fn an_error_of_the_broker_keeps_its_code_and_gets_its_class() {
    let cluster = MockCluster::new(1).unwrap();
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
    let config = fast(&cluster.bootstrap_servers()).idempotence(false);
    let transport = RdkafkaConnect::new(&config).connect(Route::Main).await.unwrap();
    transport.submit(record(1)).unwrap();
    let delivery = next(&transport).await;
    let failure = delivery.result.unwrap_err();
    assert_eq!((failure.code, failure.class), (29, ErrorClass::Permanent));
    assert_eq!(delivery.persistence, Persistence::Not);
}

#[tokio::test]
async fn nobody_there_ends_the_attempt_as_not_persisted_and_says_why() {
    let transport = RdkafkaConnect::new(&fast(NOBODY)).connect(Route::Main).await.unwrap();
    transport.submit(record(1)).unwrap();
    let delivery = next(&transport).await;
    let failure = delivery.result.unwrap_err();
    assert_eq!((failure.code, failure.class), (-192, ErrorClass::Retryable));
    assert_eq!(delivery.persistence, Persistence::Not);
    assert!(failure.reason.contains("last connection error"), "{}", failure.reason);
}

#[tokio::test]
async fn a_purge_delivers_every_open_attempt() {
    let transport = RdkafkaConnect::new(&fast(NOBODY)).connect(Route::Main).await.unwrap();
    for attempt in 0..100 {
        transport.submit(record(attempt)).unwrap();
    }
    transport.purge();
    let mut seen = Vec::new();
    for _ in 0..100 {
        let delivery = next(&transport).await;
        assert_eq!(delivery.persistence, Persistence::Not);
        seen.push(delivery.attempt.0);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_shutdown_delivers_what_is_open_and_refuses_what_comes_after() {
    let transport = RdkafkaConnect::new(&fast(NOBODY)).connect(Route::Main).await.unwrap();
    transport.submit(record(1)).unwrap();
    transport.shutdown(Duration::from_secs(5)).await;
    assert_eq!(next(&transport).await.attempt, AttemptId(1));
    assert!(transport.submit(record(2)).is_err());
}

#[tokio::test]
async fn a_record_over_the_limit_is_refused_and_never_delivered() {
    let mut config = fast(NOBODY);
    config.max_message_bytes = 1_000;
    let transport = RdkafkaConnect::new(&config).connect(Route::Main).await.unwrap();
    let mut large = record(1);
    large.value = Bytes::from(vec![0; 200_000]);
    let refused = transport.submit(large).unwrap_err();
    assert_eq!((refused.code, refused.class), (10, ErrorClass::Permanent));
}

#[tokio::test]
async fn the_problem_of_a_connection_is_typed_and_per_route() {
    let connect = RdkafkaConnect::new(&fast(NOBODY));
    let transport = connect.connect(Route::Main).await.unwrap();
    transport.submit(record(1)).unwrap();
    let _ = next(&transport).await;
    let problem = connect.problem(Route::Main).unwrap();
    assert!(matches!(
        problem.trouble,
        ConnectionTrouble::Unreachable | ConnectionTrouble::AllBrokersDown
    ));
    assert_eq!(connect.problem(Route::Dlq), None);
}
