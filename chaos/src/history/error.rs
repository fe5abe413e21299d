//! Errors as a subject tells them.

use std::sync::Arc;

use dashproof_reference::core::{ConnectionTrouble, errors};
use serde::{Deserialize, Serialize};

/// Error class as the subject sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May be tried again.
    Retryable,
    /// Never.
    Permanent,
    /// The client is unusable.
    Fatal,
}

/// What is wrong between a subject and its brokers, as the subject tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The broker refused the credentials or the mechanism.
    Authentication,
    /// There is no valid token to show, or soon none.
    Token,
    /// The TLS handshake failed, or the client's own TLS files are no good.
    Tls,
    /// The user may not do what was asked for.
    Authorization,
    /// The client does not take its settings.
    Settings,
    /// The listener ended the connection before it had said anything.
    ClosedAtOnce,
    /// The name of a broker could not be resolved.
    Resolve,
    /// A broker cannot be reached, or ended the connection.
    Unreachable,
    /// No known broker can be reached; nothing says why.
    AllBrokersDown,
    /// Anything else, or a kind that this version does not know.
    #[serde(other)]
    Other,
}

impl Trouble {
    /// What one of Kafka's own error codes says; nothing that only a lost connection can mean.
    #[must_use]
    pub fn of_code(code: i32) -> Option<Self> {
        errors::trouble(code).filter(|trouble| trouble.is_specific()).map(Self::from)
    }
}

impl From<ConnectionTrouble> for Trouble {
    fn from(trouble: ConnectionTrouble) -> Self {
        match trouble {
            ConnectionTrouble::Authentication => Self::Authentication,
            ConnectionTrouble::Token => Self::Token,
            ConnectionTrouble::Tls => Self::Tls,
            ConnectionTrouble::Authorization => Self::Authorization,
            ConnectionTrouble::Settings => Self::Settings,
            ConnectionTrouble::ClosedAtOnce => Self::ClosedAtOnce,
            ConnectionTrouble::Resolve => Self::Resolve,
            ConnectionTrouble::Unreachable => Self::Unreachable,
            ConnectionTrouble::AllBrokersDown => Self::AllBrokersDown,
            _ => Self::Other,
        }
    }
}

/// Error of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryError {
    /// Kafka protocol code, negative for codes local to a client.
    pub code: i32,
    /// Class the subject gave it.
    pub class: ErrorClass,
    /// Text for people.
    pub reason: Arc<str>,
    /// What is wrong with the connection, where that is it and the subject tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Trouble>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_trouble_has_the_name_that_the_reference_gives_it() {
        for trouble in ConnectionTrouble::ALL {
            let name = serde_json::to_value(Trouble::from(trouble)).unwrap();
            assert_eq!(name, trouble.as_str());
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_something_else() {
        let later: Trouble = serde_json::from_str("\"quota\"").unwrap();
        assert_eq!(later, Trouble::Other);
    }
}
