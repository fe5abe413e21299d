//! What can be wrong between a client and its brokers, typed, with what to do about it.

use std::fmt;
use std::sync::Arc;

/// The kind of trouble a client has with its brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConnectionTrouble {
    /// The broker refused the credentials or the mechanism.
    Authentication,
    /// There is no valid token to show (OAUTHBEARER), or soon none.
    Token,
    /// The TLS handshake failed: authority, host name, expiry, or the client's own certificate.
    Tls,
    /// The user may not do what was asked for.
    Authorization,
    /// The client does not take its settings.
    Settings,
    /// The listener ended the connection before it had said anything: it may demand TLS or SASL, or
    /// have neither. A broker that ends at that moment looks the same.
    ClosedAtOnce,
    /// The name of a broker could not be resolved.
    Resolve,
    /// A broker cannot be reached, or ended the connection.
    Unreachable,
    /// No known broker can be reached; nothing says why.
    AllBrokersDown,
    /// Anything else; the text says what.
    Other,
}

impl ConnectionTrouble {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Authentication,
        Self::Token,
        Self::Tls,
        Self::Authorization,
        Self::Settings,
        Self::ClosedAtOnce,
        Self::Resolve,
        Self::Unreachable,
        Self::AllBrokersDown,
        Self::Other,
    ];

    /// As written in logs and histories.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Token => "token",
            Self::Tls => "tls",
            Self::Authorization => "authorization",
            Self::Settings => "settings",
            Self::ClosedAtOnce => "closed_at_once",
            Self::Resolve => "resolve",
            Self::Unreachable => "unreachable",
            Self::AllBrokersDown => "all_brokers_down",
            Self::Other => "other",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Authentication => {
                "check security.sasl: mechanism and credentials, and that the broker has this \
                 mechanism and user; for GSSAPI the principal, that the keytab holds its key, \
                 service_name, and the clock"
            }
            Self::Token => {
                "check security.sasl.token_location, and that whoever renews the token there is at \
                 work"
            }
            Self::Tls => {
                "check security.ssl: that ca_location holds the authority of the brokers, that \
                 their certificates are current and name the host, and that the client's \
                 certificate and key are readable and ones that they trust"
            }
            Self::Authorization => "have the user allowed to write to the topic",
            Self::Settings => "correct the setting that it names",
            Self::ClosedAtOnce => {
                "check that the port speaks security.protocol: the listener ends the connection at \
                 once, as one does that demands TLS or SASL and is spoken to without, or the \
                 reverse"
            }
            Self::Resolve => "check the host names in bootstrap",
            Self::Unreachable => "check bootstrap, and that the brokers run",
            Self::AllBrokersDown => {
                "check bootstrap, that the brokers run, and that the port speaks security.protocol"
            }
            Self::Other => "see the client's log",
        }
    }

    /// True when waiting alone does not mend it: somebody has to change something.
    #[must_use]
    pub const fn is_specific(self) -> bool {
        matches!(
            self,
            Self::Authentication | Self::Token | Self::Tls | Self::Authorization | Self::Settings
        )
    }

    /// How much it says. What says less never takes the place of what says more.
    #[must_use]
    pub const fn weight(self) -> u8 {
        match self {
            Self::ClosedAtOnce | Self::Resolve | Self::Unreachable => 1,
            Self::AllBrokersDown | Self::Other => 0,
            _ => 2,
        }
    }
}

/// What a client last reported about its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionProblem {
    /// What kind.
    pub trouble: ConnectionTrouble,
    /// The client's own words; secrets are cut out.
    pub text: String,
}

impl fmt::Display for ConnectionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.text, self.trouble.remedy())
    }
}

/// Why an event did not reach main: the last error of its own, or of the connection it waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Kafka protocol code, or librdkafka's negative local code.
    pub code: i32,
    /// What is wrong with the connection, where that is it.
    pub trouble: Option<ConnectionTrouble>,
    /// In words, with the remedy where there is one; never holds a secret.
    pub text: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_and_a_remedy_of_its_own() {
        let mut names: Vec<_> = ConnectionTrouble::ALL.map(ConnectionTrouble::as_str).into();
        let mut remedies: Vec<_> = ConnectionTrouble::ALL.map(ConnectionTrouble::remedy).into();
        for texts in [&mut names, &mut remedies] {
            texts.sort_unstable();
            texts.dedup();
            assert_eq!(texts.len(), ConnectionTrouble::ALL.len(), "{texts:?}");
        }
    }

    #[test]
    fn what_somebody_has_to_change_says_the_most() {
        for trouble in ConnectionTrouble::ALL {
            assert_eq!(trouble.is_specific(), trouble.weight() == 2, "{trouble:?}");
        }
    }

    #[test]
    fn every_problem_says_what_to_do() {
        let problem = ConnectionProblem {
            trouble: ConnectionTrouble::Authentication,
            text: "invalid credentials".to_owned(),
        };
        let told = problem.to_string();
        assert!(told.starts_with("invalid credentials; check security.sasl"), "{told}");
        // of a failed kinit librdkafka tells no more than that
        for part in ["GSSAPI", "principal", "keytab", "clock"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
