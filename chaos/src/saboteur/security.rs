//! What a producer can get wrong about TLS, SASL and ACLs. Only real brokers show most of it.

use dashproof_reference::config::Secret;
use dashproof_reference::core::{Delivery, Persistence, Route};
use serde_json::{Value, json};

use super::subject::{Gossip, Lie};
use super::table::{set, set_in};
use super::transport::Trick;
use super::{Sabotage, Saboteur};
use crate::scenario::model::LaneName::{Kafka, Sim};

/// In the order of the kill matrix.
pub(super) const TABLE: &[Saboteur] = &[
    Saboteur {
        name: "security-ignored",
        row: "SEC-1",
        law: "S1",
        rule: "let_in",
        lane: Kafka,
        scenarios: &["security/tls", "security/sasl-tls-scram-sha-512"],
        about: "takes the settings for TLS and SASL and speaks plaintext",
        sabotage: Sabotage::Config(|config| set(config, "security", json!({}))),
    },
    Saboteur {
        name: "certificate-unchecked",
        row: "SEC-1",
        law: "S2",
        rule: "refused",
        lane: Kafka,
        scenarios: &["security/wrong-host"],
        about: "takes any certificate of a trusted authority for the broker's",
        sabotage: Sabotage::Config(|config| {
            if let Some(security) = config.get_mut("security") {
                let none = Value::from("none");
                set_in(security, "ssl", "endpoint_identification", none);
            }
        }),
    },
    Saboteur {
        name: "reasons-hidden",
        row: "SEC-1",
        law: "S2",
        rule: "told",
        lane: Kafka,
        scenarios: &["security/wrong-password-plain", "security/untrusted-authority"],
        about: "says that the brokers are down, whatever the reason",
        sabotage: Sabotage::Claims(|| Gossip::BrokersDown),
    },
    Saboteur {
        name: "refused-unasked",
        row: "SEC-1",
        law: "S2",
        rule: "tried",
        lane: Kafka,
        scenarios: &["security/wrong-password-plain", "security/open-says-why"],
        about: "says that its credentials were refused, and never connects",
        sabotage: Sabotage::Operations(|| Lie::RefusedUnasked),
    },
    Saboteur {
        name: "retries-authentication-for-ever",
        row: "SEC-1",
        law: "S2",
        rule: "told",
        lane: Kafka,
        scenarios: &["security/wrong-password-scram"],
        about: "tries credentials that were refused again and again, and tells nobody",
        sabotage: Sabotage::Config(|config| {
            for key in ["delivery_timeout", "attempt_timeout"] {
                set(config, key, json!("1h"));
            }
        }),
    },
    Saboteur {
        name: "secret-in-debug",
        row: "SEC-1",
        law: "S3",
        rule: "leaked",
        lane: Sim,
        scenarios: &["security/secrets-stay-inside"],
        about: "the settings print their password",
        sabotage: Sabotage::Debug(|config| {
            let password = config.security.sasl.password.as_ref().map(Secret::expose);
            format!("{config:?} with password {password:?}")
        }),
    },
    Saboteur {
        name: "denied-told-as-success",
        row: "SEC-1",
        law: "D2",
        rule: "main",
        lane: Kafka,
        scenarios: &["security/acl-revoked"],
        about: "takes TOPIC_AUTHORIZATION_FAILED for a success",
        sabotage: Sabotage::Transport(Some(Route::Main), || Box::new(Denied)),
    },
];

/// Takes the broker's refusal for its word that the record is there.
struct Denied;

impl Trick for Denied {
    fn delivery(&mut self, delivery: Delivery) -> Option<Delivery> {
        const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
        match &delivery.result {
            Err(failure) if failure.code == TOPIC_AUTHORIZATION_FAILED => {
                Some(Delivery { persistence: Persistence::Persisted, result: Ok(()), ..delivery })
            }
            _ => Some(delivery),
        }
    }
}
