use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn problems(value: &Value) -> String {
    let error = ProducerConfig::from_json(value).unwrap_err();
    error.problems.iter().map(|p| format!("{p}\n")).collect()
}

#[test]
fn the_defaults_are_valid_and_those_of_the_format() {
    let config = ProducerConfig::default();
    assert_eq!(config.validate(), Ok(()));
    insta::assert_snapshot!(serde_json::to_string_pretty(&config.to_json()).unwrap());
}

#[test]
fn every_setting_is_read_back_as_it_is_shown() {
    let config = ProducerConfig::default();
    assert_eq!(ProducerConfig::from_json(&config.to_json()), Ok(config));
}

#[test]
fn nothing_and_an_empty_table_mean_the_defaults() {
    assert_eq!(ProducerConfig::from_json(&Value::Null), Ok(ProducerConfig::default()));
    assert_eq!(ProducerConfig::from_json(&json!({})), Ok(ProducerConfig::default()));
}

#[test]
fn a_scenarios_table_sets_what_it_says_and_nothing_else() {
    let config = ProducerConfig::from_json(&json!({
        "delivery_timeout": "8s",
        "retry": { "max_attempts": 4, "retry_possibly_persisted": true },
        "queue": { "max_events": 10, "when_full": "reject" },
        "order": "strict",
        "acks": "1",
        "idempotence": false,
        "rate_limit": { "rate": 100, "burst": 7 },
        "dlq": { "enabled": false },
    }))
    .unwrap();
    let mut wanted = ProducerConfig::default().delivery_timeout(Duration::from_secs(8));
    wanted.retry.max_attempts = 4;
    wanted.retry.retry_possibly_persisted = true;
    wanted.queue.max_events = 10;
    wanted.queue.when_full = WhenFull::Reject;
    wanted.order = Order::Strict;
    wanted.acks = Acks::One;
    wanted.idempotence = false;
    wanted.rate_limit = RateLimit { rate: Some(100.0), burst: 7 };
    wanted.dlq.enabled = false;
    assert_eq!(config, wanted);
    assert_eq!(config.attempt_timeout_or_default(), Duration::from_secs(2));
}

#[test]
fn unknown_names_and_wrong_forms_are_all_told_with_a_remedy() {
    insta::assert_snapshot!(problems(&json!({
        "topik": "x",
        "retries": 3,
        "retry": { "max_attempt": 3, "base": 100, "cap": "soon", "jitter": "much" },
        "dlq": true,
        "queue": { "max_events": -1, "when_full": "block" },
        "acks": 1,
        "idempotence": "yes",
        "delivery_timeout": 30,
        "qqqqqqqqqqqqqqqq": null,
        "zzzzzzzzzzzzzzzz": 1,
        "compression": { "level": 3.5 },
        "client_id": 7,
    })));
}

#[test]
fn a_configuration_that_is_no_table_is_refused() {
    insta::assert_snapshot!(problems(&json!("fast")));
}

#[test]
fn every_check_tells_its_problem_and_all_are_told_at_once() {
    insta::assert_snapshot!(problems(&json!({
        "bootstrap": " , ",
        "topic": "bad topic/ü",
        "tenant": "",
        "delivery_timeout": "1s",
        "attempt_timeout": "2s",
        "max_in_flight": 0,
        "max_in_flight_requests": 6,
        "acks": "0",
        "max_message_bytes": 20_000_000,
        "linger": "3s",
        "compression": { "level": 99 },
        "queue": { "max_events": 0, "max_bytes": 1 },
        "retry": { "max_attempts": 0, "base": "9s", "cap": "1s", "jitter": 1.5 },
        "dlq": {
            "topic": "",
            "timeout": "0s",
            "max_concurrent": 0,
            "max_attempts": 0,
            "base": "0s",
            "jitter": -0.1,
            "max_record_bytes": 10,
        },
        "rate_limit": { "rate": 0, "burst": 0 },
    })));
}

#[test]
fn the_dlq_topic_must_not_be_the_main_topic() {
    insta::assert_snapshot!(problems(&json!({ "topic": "t", "dlq": { "topic": "t" } })));
    let without = json!({ "topic": "t", "dlq": { "topic": "t", "enabled": false } });
    assert!(ProducerConfig::from_json(&without).is_ok());
}

#[test]
fn topic_names_follow_kafkas_rule() {
    for (name, good) in [
        ("a", true),
        ("A.b_c-9", true),
        ("", false),
        (".", false),
        ("..", false),
        ("a b", false),
        ("a\0b", false),
        ("a\nb", false),
    ] {
        let valid = ProducerConfig::default().topic(name).validate().is_ok();
        assert_eq!(valid, good, "{name:?}");
    }
    assert!(ProducerConfig::default().topic("x".repeat(249)).validate().is_ok());
    assert!(ProducerConfig::default().topic("x".repeat(250)).validate().is_err());
}

#[test]
#[cfg(any(feature = "tls", feature = "tls-vendored"))]
fn security_settings_that_do_not_fit_together_are_told() {
    let tables = [
        json!({ "protocol": "sasl_ssl" }),
        json!({ "protocol": "sasl_plaintext", "sasl": { "mechanism": "plain" } }),
        json!({ "sasl": { "username": "alice", "password": "wonderland" } }),
        json!({ "protocol": "ssl", "ssl": { "certificate_location": "c.pem" } }),
        json!({ "protocol": "ssl", "ssl": { "key_password": "wonderland" } }),
        json!({ "ssl": { "ca_location": "ca.pem" } }),
        json!({ "protocol": "tls", "sasl": { "mechanism": "MD5" } }),
        json!({ "protocol": "sasl_ssl", "sasl": { "mechanism": "OAUTHBEARER" } }),
        json!({ "protocol": "sasl_ssl", "sasl": {
            "mechanism": "OAUTHBEARER", "token_location": "t", "username": "alice",
        } }),
        json!({ "protocol": "sasl_ssl", "sasl": {
            "mechanism": "PLAIN", "token_location": "t", "username": "alice", "password": "w",
        } }),
        json!({ "protocol": "sasl_ssl", "sasl": {
            "mechanism": "PLAIN", "username": "alice", "password": "w",
            "kerberos": { "keytab": "k" },
        } }),
        json!({ "sasl": { "kerberos": { "principal": "alice" } } }),
    ];
    let texts: Vec<String> = tables.iter().map(|t| problems(&json!({ "security": t }))).collect();
    insta::assert_snapshot!(texts.join("\n"));
}

fn kerberos(kerberos: &serde_json::Value) -> serde_json::Value {
    let sasl = json!({ "mechanism": "GSSAPI", "kerberos": kerberos });
    json!({ "security": { "protocol": "sasl_plaintext", "sasl": sasl } })
}

#[test]
#[cfg(not(feature = "gssapi"))]
fn a_build_without_kerberos_refuses_gssapi_by_name() {
    let told = problems(&kerberos(&json!({ "principal": "alice", "keytab": "k" })));
    assert!(told.contains("is GSSAPI") && told.contains("the feature `gssapi`"), "{told}");
}

#[test]
#[cfg(feature = "gssapi")]
fn gssapi_needs_a_principal_and_a_keytab_that_a_command_line_takes() {
    let good =
        json!({ "principal": "alice/host.example@REALM", "keytab": "/run/my keys/a.keytab" });
    assert!(ProducerConfig::from_json(&kerberos(&good)).is_ok());
    let told = problems(&kerberos(&json!({})));
    assert!(
        told.contains("principal`: is missing") && told.contains("keytab`: is missing"),
        "{told}"
    );
    let bad =
        [("alice; rm", "k"), ("-x", "k"), ("alice", "$(id)"), ("alice", "a\"b"), ("a b", "k")];
    for (principal, keytab) in bad {
        let told = problems(&kerberos(&json!({ "principal": principal, "keytab": keytab })));
        assert!(told.contains("the command line of kinit"), "{principal} {keytab}: {told}");
    }
}

#[test]
#[cfg(not(any(feature = "tls", feature = "tls-vendored", feature = "gssapi")))]
fn a_build_without_tls_refuses_tls_and_scram_by_name() {
    let mut config = ProducerConfig::default();
    config.security.protocol = Protocol::SaslSsl;
    config.security.sasl.mechanism = Some(Mechanism::ScramSha512);
    let error = config.validate().unwrap_err().to_string();
    assert!(error.contains("sasl_ssl") && error.contains("SCRAM-SHA-512"), "{error}");
}

fn with_secrets() -> ProducerConfig {
    let mut config = ProducerConfig::default();
    config.security.protocol = Protocol::SaslSsl;
    config.security.sasl = Sasl {
        mechanism: Some(Mechanism::ScramSha256),
        username: Some("alice".to_owned()),
        password: Some("wonderland".into()),
        token_location: None,
        kerberos: Kerberos::default(),
    };
    config.security.ssl.key_password = Some("looking-glass".into());
    config
}

#[test]
fn secrets_are_never_shown() {
    let config = with_secrets();
    let error = config.validate().unwrap_err();
    let secret = config.security.sasl.password.clone().unwrap();
    let shown = [
        format!("{config:?} {config:#?}"),
        config.to_json().to_string(),
        format!("{secret} {secret:?}"),
        serde_json::to_string(&secret).unwrap(),
        format!("{error} {error:?}"),
    ];
    for text in shown {
        assert!(!text.contains("wonderland") && !text.contains("looking"), "{text}");
    }
    assert_eq!(secret.expose(), "wonderland");
}

#[test]
fn the_environment_fills_the_settings_of_the_format() {
    let config = ProducerConfig::from_variables(|name| {
        let value = match name {
            "KAFKA_BROKERS" => "one:9092",
            "KAFKA_BOOTSTRAP_SERVERS" => "two:9092",
            "KAFKA_TOPIC" => "",
            "DASHSTREAM_TOPIC" => "telemetry",
            "KAFKA_TENANT_ID" => "acme",
            "KAFKA_SECURITY_PROTOCOL" => "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM" => "PLAIN",
            "KAFKA_SASL_USERNAME" => "alice",
            "KAFKA_SASL_PASSWORD" => "wonderland",
            "KAFKA_SSL_ENDPOINT_ALGORITHM" => "none",
            _ => return None,
        };
        Some(value.to_owned())
    })
    .unwrap();
    assert_eq!(config.bootstrap, "one:9092");
    assert_eq!((config.topic.as_str(), config.tenant.as_str()), ("telemetry", "acme"));
    assert_eq!(config.security.protocol, Protocol::SaslPlaintext);
    assert_eq!(config.security.sasl.password.unwrap().expose(), "wonderland");
    let check = config.security.ssl.endpoint_identification;
    assert_eq!(check, EndpointIdentification::None);
}

#[test]
fn a_bad_variable_is_named_by_its_own_name() {
    let error = ProducerConfig::from_variables(|name| {
        (name == "KAFKA_SECURITY_PROTOCOL").then(|| "tls".to_owned())
    })
    .unwrap_err();
    insta::assert_snapshot!(error);
}

#[test]
fn every_variable_fills_a_setting_that_exists() {
    for (name, key) in ProducerConfig::ENVIRONMENT {
        assert!(ProducerConfig::KEYS.contains(key), "{name} fills {key}");
    }
}

#[test]
fn one_problem_and_several_read_well() {
    let one = ProducerConfig::default().topic("").validate().unwrap_err();
    let several = ProducerConfig::default().topic("").tenant("").validate().unwrap_err();
    insta::assert_snapshot!(format!("{one}\n\n{several}"));
}

proptest! {
    /// Whatever is in the table, the answer is a configuration or problems.
    #[test]
    fn any_table_gives_a_configuration_or_problems(
        keys in prop::collection::vec((0..ProducerConfig::KEYS.len(), 0..8u8), 0..6),
    ) {
        let mut root = json!({});
        for (key, kind) in keys {
            let value = match kind {
                0 => json!(true),
                1 => json!(-5),
                2 => json!(1e300),
                3 => json!("5s"),
                4 => json!([]),
                5 => json!({ "x": 1 }),
                6 => json!("all"),
                _ => json!(4096),
            };
            let mut place = &mut root;
            for part in ProducerConfig::KEYS[key].split('.') {
                if !place.is_object() {
                    *place = json!({});
                }
                place = &mut place[part];
            }
            *place = value;
        }
        match ProducerConfig::from_json(&root) {
            Ok(config) => prop_assert_eq!(config.validate(), Ok(())),
            Err(error) => prop_assert!(!error.problems.is_empty()),
        }
    }
}
