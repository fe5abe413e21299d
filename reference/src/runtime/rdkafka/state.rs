//! What the client last said about its connections, typed.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::types::RDKafkaErrorCode;

/// The kind of trouble a client has with its brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionTrouble {
    /// The broker refused the credentials or the mechanism.
    Authentication,
    /// The TLS handshake failed: authority, host name, expiry, or a missing client certificate.
    Tls,
    /// The name of a broker could not be resolved.
    Resolve,
    /// A broker cannot be reached, or closed the connection.
    Unreachable,
    /// No known broker can be reached. A plaintext client on a TLS or SASL port sees only this.
    AllBrokersDown,
    /// Anything else; the text says what.
    Other,
}

impl ConnectionTrouble {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Authentication => {
                "check security.sasl: mechanism, username and password, and that the broker has \
                 this mechanism and user"
            }
            Self::Tls => {
                "check security.ssl: that ca_location holds the authority of the brokers, that \
                 their certificates are current and name the host, that the client's certificate \
                 is one they trust, and that the port speaks TLS"
            }
            Self::Resolve => "check the host names in bootstrap",
            Self::Unreachable => "check bootstrap, and that the brokers run",
            Self::AllBrokersDown => {
                "check bootstrap, that the brokers run, and that the port speaks \
                 security.protocol: one that speaks TLS or SASL ends the connections of others \
                 without a word"
            }
            Self::Other => "see the client's log",
        }
    }

    fn classify(code: RDKafkaErrorCode, text: &str) -> Self {
        match code {
            RDKafkaErrorCode::Authentication => Self::Authentication,
            RDKafkaErrorCode::SSL => Self::Tls,
            // librdkafka 2.12: an alert of the broker, or bytes that are no TLS, come as a lost
            // connection, and only the text tells.
            RDKafkaErrorCode::BrokerTransportFailure if is_about_tls(text) => Self::Tls,
            RDKafkaErrorCode::Resolve => Self::Resolve,
            RDKafkaErrorCode::BrokerTransportFailure => Self::Unreachable,
            RDKafkaErrorCode::AllBrokersDown => Self::AllBrokersDown,
            _ => Self::Other,
        }
    }
}

/// What a broker that speaks TLS, or does not, makes librdkafka say.
fn is_about_tls(text: &str) -> bool {
    ["SSL", " alert ", "PLAINTEXT broker listener"].iter().any(|words| text.contains(words))
}

/// The last error that a client reported about its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionProblem {
    /// What kind.
    pub trouble: ConnectionTrouble,
    /// The client's own words; passwords are cut out.
    pub text: String,
}

impl fmt::Display for ConnectionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.text, self.trouble.remedy())
    }
}

/// Kept per route, over rebuilds of the client.
#[derive(Default)]
pub(super) struct ConnectionState {
    inner: Mutex<Inner>,
    secrets: Vec<String>,
}

#[derive(Default)]
struct Inner {
    problem: Option<ConnectionProblem>,
    /// The event seen by the first of the two calls that rdkafka 0.39 makes per event.
    half_seen: Option<(RDKafkaErrorCode, String)>,
}

impl ConnectionState {
    /// `secrets` never appear in a problem's text.
    pub(super) fn new(secrets: Vec<String>) -> Self {
        let secrets = secrets.into_iter().filter(|s| !s.is_empty()).collect();
        Self { inner: Mutex::default(), secrets }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an error callback. `None` for the second call about the same event.
    pub(super) fn error(&self, code: RDKafkaErrorCode, text: &str) -> Option<ConnectionProblem> {
        let mut inner = self.inner();
        if inner.half_seen.as_ref().is_some_and(|(c, t)| *c == code && t == text) {
            inner.half_seen = None;
            return None;
        }
        inner.half_seen = Some((code, text.to_owned()));
        let trouble = ConnectionTrouble::classify(code, text);
        let specific = inner.problem.as_ref().is_some_and(|p| {
            !matches!(p.trouble, ConnectionTrouble::Unreachable | ConnectionTrouble::AllBrokersDown)
        });
        let problem = ConnectionProblem { trouble, text: self.redact(text) };
        // "All brokers are down" follows every other error and would hide its cause.
        if trouble != ConnectionTrouble::AllBrokersDown || !specific {
            inner.problem = Some(problem.clone());
        }
        Some(problem)
    }

    /// A broker confirmed something: whatever was wrong is over.
    pub(super) fn confirmed(&self) {
        let mut inner = self.inner();
        if inner.problem.is_some() {
            inner.problem = None;
        }
    }

    pub(super) fn problem(&self) -> Option<ConnectionProblem> {
        self.inner().problem.clone()
    }

    pub(super) fn redact(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, s| text.replace(s.as_str(), "***"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: RDKafkaErrorCode = RDKafkaErrorCode::AllBrokersDown;
    const AUTH: RDKafkaErrorCode = RDKafkaErrorCode::Authentication;

    #[test]
    fn the_second_call_about_an_event_is_not_another_event() {
        let state = ConnectionState::default();
        let seen: Vec<bool> =
            (0..6).map(|_| state.error(DOWN, "1/1 brokers are down").is_some()).collect();
        assert_eq!(seen, [true, false, true, false, true, false]);
    }

    #[test]
    fn all_brokers_down_does_not_hide_why() {
        let state = ConnectionState::default();
        state.error(AUTH, "invalid credentials");
        state.error(AUTH, "invalid credentials");
        state.error(DOWN, "1/1 brokers are down");
        assert_eq!(state.problem().unwrap().trouble, ConnectionTrouble::Authentication);
    }

    #[test]
    fn a_lost_connection_that_is_about_tls_is_no_broker_that_cannot_be_reached() {
        let lost = RDKafkaErrorCode::BrokerTransportFailure;
        for (text, trouble) in [
            ("Disconnected: tlsv13 alert certificate required", ConnectionTrouble::Tls),
            ("connecting to a PLAINTEXT broker listener?", ConnectionTrouble::Tls),
            ("Connect to ipv4#127.0.0.1:9 failed", ConnectionTrouble::Unreachable),
        ] {
            let state = ConnectionState::default();
            state.error(lost, text);
            state.error(lost, text);
            state.error(DOWN, "1/1 brokers are down");
            let kept = state.problem().unwrap().trouble;
            let expected = match trouble {
                ConnectionTrouble::Unreachable => ConnectionTrouble::AllBrokersDown,
                told => told,
            };
            assert_eq!(kept, expected, "{text}");
        }
    }

    #[test]
    fn every_problem_says_what_to_do() {
        let state = ConnectionState::default();
        state.error(AUTH, "invalid credentials");
        let told = state.problem().unwrap().to_string();
        assert!(told.starts_with("invalid credentials; check security.sasl"), "{told}");
    }

    #[test]
    fn a_confirmation_ends_the_problem() {
        let state = ConnectionState::default();
        state.error(DOWN, "1/1 brokers are down");
        state.confirmed();
        assert_eq!(state.problem(), None);
    }

    #[test]
    fn secrets_are_cut_out_of_the_text() {
        let state = ConnectionState::new(vec!["hunter2".to_owned(), String::new()]);
        state.error(AUTH, "login as alice with hunter2 failed");
        assert_eq!(state.problem().unwrap().text, "login as alice with *** failed");
    }
}
