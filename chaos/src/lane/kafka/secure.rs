//! What a broker with secured listeners is told.

use crate::scenario::model::Listener;

use super::certs::{Certificates, PASSWORD, TOKEN_LIFE, USER};
use super::realm::{Realm, SERVICE};

/// Where the broker's files are in the container.
const FILES: &str = "/tmp/dashproof-certs";

/// Upper case, without underscores: it becomes part of names of settings. It must not end with
/// `SSL`, which the official image's start script takes for more than a name.
pub(super) fn name(listener: Listener, slot: usize) -> String {
    let stem = match listener {
        Listener::Plaintext => "SLOT",
        Listener::Tls => "TLS",
        Listener::TlsExpired => "EXPIRED",
        Listener::TlsOtherHost => "OTHERHOST",
        Listener::MutualTls => "MUTUAL",
        Listener::Sasl => "SASL",
        Listener::SaslPlainOnly => "PLAINONLY",
        Listener::SaslTls => "SASLTLS",
        Listener::Gssapi => "GSSAPI",
        Listener::GssapiTls => "GSSAPITLS",
    };
    format!("{stem}{slot}")
}

/// Kafka's name of the listener's protocol.
pub(super) const fn protocol(listener: Listener) -> &'static str {
    match listener {
        Listener::Plaintext => "PLAINTEXT",
        Listener::Tls | Listener::TlsExpired | Listener::TlsOtherHost | Listener::MutualTls => {
            "SSL"
        }
        Listener::Sasl | Listener::SaslPlainOnly | Listener::Gssapi => "SASL_PLAINTEXT",
        Listener::SaslTls | Listener::GssapiTls => "SASL_SSL",
    }
}

/// Settings of a broker that has these listeners in every slot.
pub(super) fn settings(slots: usize, listeners: &[Listener]) -> Vec<(String, String)> {
    let mut settings = vec![
        ("ssl.keystore.type".to_owned(), "PEM".to_owned()),
        ("ssl.keystore.location".to_owned(), format!("{FILES}/good.pem")),
        ("ssl.truststore.type".to_owned(), "PEM".to_owned()),
        ("ssl.truststore.location".to_owned(), format!("{FILES}/ca.pem")),
        (
            "authorizer.class.name".to_owned(),
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        ),
        // brokers among themselves, and the harness
        ("super.users".to_owned(), "User:ANONYMOUS".to_owned()),
        ("allow.everyone.if.no.acl.found".to_owned(), "true".to_owned()),
    ];
    if listeners.iter().any(|listener| listener.is_kerberos()) {
        // for the start itself, which both images take from `KAFKA_OPTS`
        settings.push(("opts".into(), format!("-Djava.security.krb5.conf={FILES}/krb5.conf")));
    }
    for slot in 0..slots {
        for &listener in listeners {
            let name = name(listener, slot).to_lowercase();
            let own = own(listener).into_iter();
            settings.extend(own.map(|(key, value)| (format!("listener.name.{name}.{key}"), value)));
        }
    }
    settings
}

/// Settings of one listener.
fn own(listener: Listener) -> Vec<(String, String)> {
    let set = |key: &str, value: String| (key.to_owned(), value);
    match listener {
        Listener::Plaintext | Listener::Tls => Vec::new(),
        Listener::TlsExpired => vec![set("ssl.keystore.location", format!("{FILES}/expired.pem"))],
        Listener::TlsOtherHost => {
            vec![set("ssl.keystore.location", format!("{FILES}/other-host.pem"))]
        }
        Listener::MutualTls => vec![set("ssl.client.auth", "required".to_owned())],
        Listener::SaslPlainOnly => {
            vec![set("sasl.enabled.mechanisms", "PLAIN".to_owned()), plain()]
        }
        Listener::Gssapi | Listener::GssapiTls => {
            let login = format!(
                "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true \
                 storeKey=true isInitiator=false keyTab=\"{FILES}/service.keytab\" \
                 principal=\"{SERVICE}\";"
            );
            vec![
                set("sasl.enabled.mechanisms", "GSSAPI".to_owned()),
                set("sasl.kerberos.service.name", "kafka".to_owned()),
                set("gssapi.sasl.jaas.config", login),
            ]
        }
        Listener::Sasl | Listener::SaslTls => {
            const MODULE: &str = "org.apache.kafka.common.security";
            let scram = |bits: u32| {
                let login = format!("{MODULE}.scram.ScramLoginModule required;");
                set(&format!("scram-sha-{bits}.sasl.jaas.config"), login)
            };
            let bearer = format!(
                "{MODULE}.oauthbearer.OAuthBearerLoginModule required \
                 unsecuredLoginStringClaim_sub=\"broker\";"
            );
            let life = TOKEN_LIFE.as_millis().to_string();
            vec![
                set(
                    "sasl.enabled.mechanisms",
                    "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
                ),
                plain(),
                scram(256),
                scram(512),
                set("oauthbearer.sasl.jaas.config", bearer),
                // a connection does not outlive its token
                set("oauthbearer.connections.max.reauth.ms", life),
            ]
        }
    }
}

fn plain() -> (String, String) {
    let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
    let login = format!("{module} required user_{USER}=\"{PASSWORD}\";");
    ("plain.sasl.jaas.config".to_owned(), login)
}

/// The broker's files.
///
/// # Errors
/// Those of the realm cannot be read.
pub(super) fn files(
    certificates: Option<&Certificates>,
    realm: Option<&Realm>,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    let at = |name: &str| format!("{FILES}/{name}");
    let mut files = Vec::new();
    if let Some(certificates) = certificates {
        files.extend([
            (at("good.pem"), certificates.good.keystore()),
            (at("expired.pem"), certificates.expired.keystore()),
            (at("other-host.pem"), certificates.other_host.keystore()),
            (at("ca.pem"), certificates.authority.clone().into_bytes()),
        ]);
    }
    if let Some(realm) = realm {
        let own = realm.of_broker().map_err(|error| format!("no keytab: {error}"))?;
        files.extend(own.map(|(name, bytes)| (at(name), bytes)));
    }
    Ok(files)
}
