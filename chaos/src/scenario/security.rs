//! How brokers are secured, and what must come of it.

use std::time::Duration;

/// The listener of the brokers that the subject is sent to. All but the first exist on the lane
/// `kafka` only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    /// No encryption, nobody is asked who it is.
    #[default]
    Plaintext,
    /// TLS, with a certificate for 127.0.0.1 and localhost.
    Tls,
    /// TLS, with a certificate that has expired.
    TlsExpired,
    /// TLS, with a certificate for another host.
    TlsOtherHost,
    /// TLS, and clients must show a certificate of the same authority.
    MutualTls,
    /// SASL without encryption: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER.
    Sasl,
    /// SASL without encryption, PLAIN only.
    SaslPlainOnly,
    /// SASL over TLS.
    SaslTls,
}

impl Listener {
    /// Every listener with its name in files.
    pub const ALL: [(&'static str, Self); 8] = [
        ("plaintext", Self::Plaintext),
        ("tls", Self::Tls),
        ("tls-expired", Self::TlsExpired),
        ("tls-other-host", Self::TlsOtherHost),
        ("mutual-tls", Self::MutualTls),
        ("sasl", Self::Sasl),
        ("sasl-plain-only", Self::SaslPlainOnly),
        ("sasl-tls", Self::SaslTls),
    ];

    /// True when TLS hides from a proxy what passes.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        !matches!(self, Self::Plaintext | Self::Sasl | Self::SaslPlainOnly)
    }

    /// Name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, listener)| *listener == self).map_or("", |(name, _)| name)
    }
}

/// Why brokers must refuse the subject, or the subject the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Unknown user, wrong password, bad token, mechanism that the broker does not have.
    Authentication,
    /// Certificates: unknown authority, other host, expired, none where one is asked for; or one
    /// side speaks TLS and the other does not.
    Tls,
    /// The user may not write to the topic.
    Authorization,
}

impl Why {
    /// Every reason with its name in files, and words one of which a clear error has.
    pub const ALL: [(&'static str, Self, &'static [&'static str]); 3] = [
        ("authentication", Self::Authentication, &["authenticat", "credential", "sasl", "token"]),
        ("tls", Self::Tls, &["tls", "ssl", "certificate"]),
        ("authorization", Self::Authorization, &["authoriz", "authoris", "acl", "permission"]),
    ];

    /// Name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// Words one of which a clear error has, in lower case.
    #[must_use]
    pub fn words(self) -> &'static [&'static str] {
        self.entry().2
    }

    fn entry(self) -> (&'static str, Self, &'static [&'static str]) {
        let entry = Self::ALL.into_iter().find(|(_, why, _)| *why == self);
        entry.unwrap_or(("", self, &[]))
    }
}

/// The subject must not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What a clear error is about.
    pub why: Why,
    /// From the first event that is offered to the error, at most.
    pub within: Duration,
}

/// Marks a setting whose value is one of the files in [`FILES`], made anew for every run.
pub const PLACE: &str = "certs:";

/// Files that a scenario's settings may name, as `certs:ca.pem`.
pub const FILES: [&str; 8] = [
    "ca.pem",
    "other-ca.pem",
    "client.pem",
    "client.key",
    "client-encrypted.key",
    "stranger.pem",
    "stranger.key",
    "token.json",
];

/// Every text in `settings` that begins with [`PLACE`], without it.
pub fn places(settings: &serde_json::Value) -> Vec<&str> {
    match settings {
        serde_json::Value::String(text) => text.strip_prefix(PLACE).into_iter().collect(),
        serde_json::Value::Array(items) => items.iter().flat_map(places).collect(),
        serde_json::Value::Object(fields) => fields.values().flat_map(places).collect(),
        _ => Vec::new(),
    }
}

/// Puts files of this directory in the places of [`PLACE`].
pub fn placed(settings: &mut serde_json::Value, dir: &std::path::Path) {
    match settings {
        serde_json::Value::String(text) => {
            if let Some(file) = text.strip_prefix(PLACE) {
                *text = dir.join(file).to_string_lossy().into_owned();
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| placed(item, dir)),
        serde_json::Value::Object(fields) => {
            fields.values_mut().for_each(|field| placed(field, dir));
        }
        _ => {}
    }
}
