//! How brokers are secured, and what must come of it.

use std::time::Duration;

use crate::history::Trouble;

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
    /// SASL without encryption, GSSAPI only.
    Gssapi,
    /// The same over TLS.
    GssapiTls,
}

impl Listener {
    /// Every listener with its name in files.
    pub const ALL: [(&'static str, Self); 10] = [
        ("plaintext", Self::Plaintext),
        ("tls", Self::Tls),
        ("tls-expired", Self::TlsExpired),
        ("tls-other-host", Self::TlsOtherHost),
        ("mutual-tls", Self::MutualTls),
        ("sasl", Self::Sasl),
        ("sasl-plain-only", Self::SaslPlainOnly),
        ("sasl-tls", Self::SaslTls),
        ("gssapi", Self::Gssapi),
        ("gssapi-tls", Self::GssapiTls),
    ];

    /// True when TLS hides from a proxy what passes.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        !matches!(self, Self::Plaintext | Self::Sasl | Self::SaslPlainOnly | Self::Gssapi)
    }

    /// True when brokers ask there who it is.
    #[must_use]
    pub const fn asks_who(self) -> bool {
        matches!(self, Self::Sasl | Self::SaslPlainOnly | Self::SaslTls) || self.is_kerberos()
    }

    /// True when it lets in only whom a Kerberos realm knows.
    #[must_use]
    pub const fn is_kerberos(self) -> bool {
        matches!(self, Self::Gssapi | Self::GssapiTls)
    }

    /// What it speaks, as settings of a producer name it.
    #[must_use]
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Tls | Self::TlsExpired | Self::TlsOtherHost | Self::MutualTls => "ssl",
            Self::Sasl | Self::SaslPlainOnly | Self::Gssapi => "sasl_plaintext",
            Self::SaslTls | Self::GssapiTls => "sasl_ssl",
        }
    }

    /// In a few words.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Plaintext => "no encryption, nobody is asked who it is",
            Self::Tls => "TLS",
            Self::TlsExpired => "TLS, with a certificate that has expired",
            Self::TlsOtherHost => "TLS, with a certificate for another host",
            Self::MutualTls => "TLS, and clients must show a certificate",
            Self::Sasl => "SASL without encryption",
            Self::SaslPlainOnly => "SASL without encryption, PLAIN only",
            Self::SaslTls => "SASL over TLS",
            Self::Gssapi => "SASL without encryption, GSSAPI only",
            Self::GssapiTls => "GSSAPI over TLS",
        }
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
    /// There is no valid token, or soon none, because nobody renews it.
    Token,
    /// Certificates: unknown authority, other host, expired, none where one is asked for.
    Tls,
    /// The user may not write to the topic.
    Authorization,
    /// One side speaks TLS and the other does not: the listener ends the connection at once.
    ClosedAtOnce,
}

/// A reason with its name in files, what a subject tells that names it, and phrases, in lower case,
/// one of which it has in its error if it names nothing.
type Entry = (&'static str, Why, Trouble, &'static [&'static str]);

impl Why {
    /// Every reason. The phrases are such as only this reason brings about: the names of protocols
    /// and settings occur in the words of clients about anything.
    pub const ALL: [Entry; 5] = [
        (
            "authentication",
            Self::Authentication,
            Trouble::Authentication,
            &[
                "authentication failed",
                "invalid credentials",
                "invalid username or password",
                "unsupported sasl mechanism",
                "invalid_token",
            ],
        ),
        (
            "token",
            Self::Token,
            Trouble::Token,
            &["acquire sasl oauthbearer token", "token was not renewed", "token has expired"],
        ),
        (
            "tls",
            Self::Tls,
            Trouble::Tls,
            &[
                "certificate verify failed",
                "certificate required",
                "certificate has expired",
                "unable to find valid certification path",
                "hostname mismatch",
                "ssl.ca.location failed",
                "ssl.key.location failed",
                "ssl.certificate.location failed",
            ],
        ),
        (
            "authorization",
            Self::Authorization,
            Trouble::Authorization,
            &["authorization failed", "authorization_failed", "not authorized", "access denied"],
        ),
        (
            "closed_at_once",
            Self::ClosedAtOnce,
            Trouble::ClosedAtOnce,
            &[
                "connecting to a ssl listener",
                "connecting to a plaintext broker listener",
                "might require sasl",
            ],
        ),
    ];

    /// Name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// True for an error that says why: by what it names or, if it names nothing, in its words.
    #[must_use]
    pub fn is_told(self, named: Option<Trouble>, text: &str) -> bool {
        let (_, _, trouble, phrases) = self.entry();
        let text = text.to_lowercase();
        if let Some(named) = named {
            return named == trouble;
        }
        // a client's hint may come or not by who is faster; librdkafka's state always does
        let unspoken = self == Self::ClosedAtOnce && ended_unspoken(&text);
        unspoken || phrases.iter().any(|p| text.contains(p))
    }

    fn entry(self) -> Entry {
        let entry = Self::ALL.into_iter().find(|(_, why, ..)| *why == self);
        entry.unwrap_or(("", self, Trouble::Other, &[]))
    }
}

/// True for librdkafka's words, in lower case, about a connection that the other side ended before
/// it had answered: while it was made, or within two seconds after it was thought to be up. The
/// reference reads them on its own: no subject has a part in its verdict.
fn ended_unspoken(text: &str) -> bool {
    let states = ["in state connect", "in state ssl_handshake", "in state apiversion_query"];
    let up = text.split_once("ms in state up").and_then(|(before, _)| {
        before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok()
    });
    let early = up.is_some_and(|ms| ms < 2_000) || states.iter().any(|s| text.contains(s));
    early && ["disconnected", "connection reset", "broken pipe"].iter().any(|w| text.contains(w))
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

/// Files that a scenario's settings may name, as `certs:ca.pem`, with the setting that takes such a
/// file and what it holds.
pub const FILES: [(&str, &str, &str); 10] = [
    ("ca.pem", "ca_location", "the authority of the brokers"),
    ("other-ca.pem", "ca_location", "an authority that has made no certificate of theirs"),
    ("client.pem", "certificate_location", "a certificate that the brokers trust"),
    ("client.key", "key_location", "its key"),
    ("client-encrypted.key", "key_location", "its key, under a passphrase"),
    ("stranger.pem", "certificate_location", "a certificate that the brokers do not trust"),
    ("stranger.key", "key_location", "its key"),
    ("token.json", "token_location", "a token of alice, renewed every second"),
    ("expired-token.json", "token_location", "a token that has expired and does not say so"),
    ("alice.keytab", "keytab", "the Kerberos key of alice"),
];

/// What a file holds.
#[must_use]
pub fn about(file: &str) -> &'static str {
    FILES.iter().find(|(name, ..)| *name == file).map_or("", |(_, _, about)| about)
}

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

#[cfg(test)]
mod tests {
    use dashproof_reference::core::ConnectionTrouble;

    use super::*;

    #[test]
    fn what_an_error_names_counts_and_not_its_words() {
        let text = "SASL authentication failed";
        assert!(Why::Authentication.is_told(None, text));
        assert!(Why::Authentication.is_told(Some(Trouble::Authentication), "no"));
        assert!(!Why::Authentication.is_told(Some(Trouble::AllBrokersDown), text));
    }

    #[test]
    fn a_connection_that_ended_before_it_could_speak_is_told_without_the_hint() {
        for text in [
            "ssl://127.0.0.1:9093/bootstrap: Disconnected: SSL connection closed by peer (after \
             0ms in state SSL_HANDSHAKE)",
            "127.0.0.1:9093/bootstrap: Disconnected (after 2ms in state APIVERSION_QUERY)",
            "127.0.0.1:9093/1: Disconnected: connection closed by peer (after 3ms in state UP)",
            "127.0.0.1:9093/1: Send failed: Broken pipe (after 1ms in state APIVERSION_QUERY)",
            "ssl://127.0.0.1:9093/1: Connect to ipv4#127.0.0.1:9093 failed: Connection reset by \
             peer (after 0ms in state CONNECT)",
        ] {
            assert!(Why::ClosedAtOnce.is_told(None, text), "{text}");
            assert!(!Why::Tls.is_told(None, text), "{text}");
        }
    }

    #[test]
    fn names_of_brokers_and_remedies_for_other_troubles_say_nothing() {
        let brokers = [
            "ssl://127.0.0.1:9093/bootstrap: 1/1 brokers are down",
            "sasl_ssl://tls.example:9/1: Connect to ipv4#1.2.3.4:9 failed: Connection refused \
             (after 0ms in state CONNECT)",
            "ssl://127.0.0.1:9093/1: Connection setup timed out in state SSL_HANDSHAKE",
            "127.0.0.1:9093/1: Disconnected (after 90000ms in state UP)",
        ];
        for (name, why, trouble, _) in Why::ALL {
            let others = ConnectionTrouble::ALL.into_iter();
            let others = others.filter(|other| Trouble::from(*other) != trouble);
            for text in brokers.into_iter().chain(others.map(ConnectionTrouble::remedy)) {
                assert!(!why.is_told(None, text), "{name}: {text}");
            }
        }
    }
}
