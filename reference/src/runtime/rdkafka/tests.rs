use std::fmt::Write as _;
use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::config::{Acks, Mechanism, Protocol};
use crate::core::{AttemptId, Delivery, ErrorClass, HeaderValue, Headers, Persistence, Record};
use crate::proto::DashStreamMessage;
use crate::runtime::Producer;

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

fn event() -> DashStreamMessage {
    let header = crate::proto::Header { thread_id: "t0".to_owned(), ..Default::default() };
    let event = crate::proto::Event { header: Some(header), ..Default::default() };
    DashStreamMessage { message: Some(crate::proto::dash_stream_message::Message::Event(event)) }
}

/// A listener that ends every connection without a word, to the end of the test.
fn mute() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::sleep(Duration::from_millis(5));
            drop(stream);
        }
    });
    at
}

#[tokio::test]
async fn a_listener_that_ends_connections_at_once_is_told_apart_from_nobody() {
    let at = mute();
    let transport = RdkafkaConnect::new(&fast(&at)).connect(Route::Main).await.unwrap();
    let problem = transport.reach(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(problem.trouble, ConnectionTrouble::ClosedAtOnce, "{problem}");
    transport.submit(record(1)).unwrap();
    let failure = next(&transport).await.result.unwrap_err();
    assert_eq!(failure.trouble, Some(ConnectionTrouble::ClosedAtOnce), "{}", failure.reason);
    let transport = RdkafkaConnect::new(&fast(NOBODY)).connect(Route::Main).await.unwrap();
    let problem = transport.reach(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(problem.trouble, ConnectionTrouble::Unreachable, "{problem}");
}

#[cfg(any(feature = "tls", feature = "tls-vendored"))]
#[tokio::test]
async fn a_port_without_tls_that_ends_connections_at_once_is_no_problem_of_tls() {
    // both mostly end it after the client's first look; what it says then and before is in `state`
    for at in [mute(), starting(NOBODY, usize::MAX)] {
        let mut config = fast(&at);
        config.security.protocol = Protocol::Ssl;
        let transport = RdkafkaConnect::new(&config).connect(Route::Main).await.unwrap();
        transport.submit(record(1)).unwrap();
        let failure = next(&transport).await.result.unwrap_err();
        assert_eq!(failure.trouble, Some(ConnectionTrouble::ClosedAtOnce), "{}", failure.reason);
    }
}

#[tokio::test]
async fn a_cluster_that_answers_is_reached() {
    let cluster = MockCluster::new(1).unwrap();
    let config = fast(&cluster.bootstrap_servers());
    let transport = RdkafkaConnect::new(&config).connect(Route::Main).await.unwrap();
    transport.reach(Duration::from_secs(10)).await.unwrap();
    transport.shutdown(Duration::from_secs(5)).await;
}

/// Stands before a cluster: ends the first connections at once, as a broker may that is starting,
/// and passes the later ones on.
fn starting(cluster: &str, refused: usize) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let cluster = cluster.to_owned();
    std::thread::spawn(move || {
        for (n, client) in listener.incoming().enumerate() {
            let mut client = client.unwrap();
            if n < refused {
                // it has asked before it is ended
                let _ = std::io::Read::read(&mut client, &mut [0; 512]);
                continue;
            }
            let mut broker = std::net::TcpStream::connect(&cluster).unwrap();
            let (mut back, mut to) = (broker.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut client, &mut broker));
            std::thread::spawn(move || std::io::copy(&mut back, &mut to));
        }
    });
    at
}

#[tokio::test]
async fn open_that_waits_outlives_a_broker_that_turns_its_first_clients_away() {
    let cluster = MockCluster::new(1).unwrap();
    let config = fast(&starting(&cluster.bootstrap_servers(), 3));
    let connect = RdkafkaConnect::new(&config);
    let transport = connect.connect(Route::Main).await.unwrap();
    transport.reach(Duration::from_secs(10)).await.unwrap();
    assert_eq!(connect.problem(Route::Main), None, "it is over");
    transport.shutdown(Duration::from_secs(5)).await;
}

#[cfg(any(feature = "tls", feature = "tls-vendored"))]
#[tokio::test]
async fn open_that_waits_uses_all_of_its_time_though_it_has_seen_a_specific_problem() {
    let mut config = fast(NOBODY);
    config.security.protocol = Protocol::SaslPlaintext;
    config.security.sasl.mechanism = Some(Mechanism::OauthBearer);
    config.security.sasl.token_location = Some("/nowhere/token.json".to_owned());
    let transport = RdkafkaConnect::new(&config).connect(Route::Main).await.unwrap();
    let began = std::time::Instant::now();
    let problem = transport.reach(Duration::from_secs(2)).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
    assert_eq!(problem.trouble, ConnectionTrouble::Token, "{problem}");
}

#[tokio::test]
async fn open_that_waits_fails_with_what_is_wrong_and_a_flush_says_it_too() {
    let at = mute();
    let config = fast(&at).delivery_timeout(Duration::from_secs(6));
    let waits = config.clone().connect_within(Duration::from_millis(700));
    let error = Producer::builder(waits).open().await.err().unwrap();
    assert_eq!(error.trouble(), Some(ConnectionTrouble::ClosedAtOnce));
    assert!(error.to_string().contains("check that the port speaks security.protocol"), "{error}");
    let producer = Producer::builder(config).open().await.unwrap();
    producer.send(event()).await.unwrap();
    let error = producer.flush(Duration::from_millis(700)).await.unwrap_err();
    let problem = error.problem.clone().unwrap();
    assert_eq!(problem.trouble, ConnectionTrouble::ClosedAtOnce);
    assert!(error.to_string().contains("last connection error"), "{error}");
    let mut outcomes = producer.subscribe();
    producer.close(Duration::from_millis(300)).await;
    let cause = outcomes.next().await.unwrap().cause.unwrap();
    assert_eq!(cause.trouble, Some(ConnectionTrouble::ClosedAtOnce), "{}", cause.text);
}

#[tokio::test]
async fn a_purge_without_a_connection_says_what_is_wrong_with_it() {
    let transport = RdkafkaConnect::new(&fast(NOBODY)).connect(Route::Main).await.unwrap();
    transport.reach(Duration::from_secs(1)).await.unwrap_err();
    transport.submit(record(1)).unwrap();
    transport.purge();
    let failure = next(&transport).await.result.unwrap_err();
    assert_eq!(failure.trouble, Some(ConnectionTrouble::Unreachable), "{}", failure.reason);
}

#[cfg(any(feature = "tls", feature = "tls-vendored"))]
#[tokio::test]
async fn a_token_that_cannot_be_read_is_a_typed_problem_with_its_place() {
    let mut config = fast(NOBODY);
    config.security.protocol = Protocol::SaslPlaintext;
    config.security.sasl.mechanism = Some(Mechanism::OauthBearer);
    config.security.sasl.token_location = Some("/nowhere/token.json".to_owned());
    let transport = RdkafkaConnect::new(&config).connect(Route::Main).await.unwrap();
    let problem = transport.reach(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(problem.trouble, ConnectionTrouble::Token, "{problem}");
    assert!(problem.text.contains("/nowhere/token.json: No such file"), "{problem}");
}

#[cfg(feature = "gssapi")]
#[tokio::test]
async fn a_keytab_that_cannot_be_read_is_refused_with_its_place() {
    let mut config = fast(NOBODY);
    config.security.protocol = Protocol::SaslPlaintext;
    config.security.sasl.mechanism = Some(Mechanism::Gssapi);
    config.security.sasl.kerberos.principal = Some("alice".to_owned());
    config.security.sasl.kerberos.keytab = Some("/nowhere/alice.keytab".to_owned());
    let refused = RdkafkaConnect::new(&config).connect(Route::Main).await.err().unwrap();
    assert_eq!(refused.trouble, Some(ConnectionTrouble::Settings));
    assert!(refused.reason.contains("/nowhere/alice.keytab: No such file"), "{}", refused.reason);
    assert!(refused.reason.contains("name a keytab"), "{}", refused.reason);
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
