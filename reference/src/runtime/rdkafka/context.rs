//! Callbacks of a librdkafka client: deliveries, errors and log lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;

use super::ffi::persistence;
use super::mailbox::Mailbox;
use super::state::{ConnectionState, is_end};

use crate::core::{AttemptId, ConnectionTrouble, Delivery, ErrorClass, Failure, Route, errors};

/// Maps a code to what may be done about it.
pub(super) type Classify = Arc<dyn Fn(i32) -> ErrorClass + Send + Sync>;

/// What the callbacks of one client share with its transport.
pub(super) struct Context {
    pub(super) route: Route,
    pub(super) deliveries: Arc<Mailbox>,
    pub(super) state: Arc<ConnectionState>,
    pub(super) classify: Classify,
    /// The client raised a fatal error and will never send again.
    pub(super) fatal: AtomicBool,
}

impl Context {
    /// The class of a failure of this client.
    ///
    /// After a fatal error librdkafka purges its queue: those records may be handed to the next
    /// client, so the purge keeps its own class. Everything else that fails then is fatal.
    pub(super) fn class(&self, code: RDKafkaErrorCode) -> ErrorClass {
        let purged = matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight);
        if code == RDKafkaErrorCode::Fatal || (self.is_fatal() && !purged) {
            return ErrorClass::Fatal;
        }
        (self.classify)(code as i32)
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.fatal.load(Ordering::Acquire)
    }

    /// The client's own words and, when that is the likely cause, what is wrong with the
    /// connection.
    pub(super) fn explain(&self, code: RDKafkaErrorCode) -> (Arc<str>, Option<ConnectionTrouble>) {
        let about_connection = matches!(
            code,
            RDKafkaErrorCode::MessageTimedOut
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Fatal
                | RDKafkaErrorCode::PurgeQueue
                | RDKafkaErrorCode::PurgeInflight
        );
        match self.state.problem().filter(|_| about_connection) {
            Some(problem) => {
                let text = format!("{code} (last connection error: {problem})");
                (text.into(), Some(problem.trouble))
            }
            None => (code.to_string().into(), errors::trouble(code as i32)),
        }
    }

    fn failure(&self, error: &KafkaError) -> Failure {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let (reason, trouble) = self.explain(code);
        Failure { code: code as i32, class: self.class(code), reason, trouble }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, attempt: usize) {
        let (message, result): (&BorrowedMessage<'_>, _) = match result {
            Ok(message) => (message, Ok(())),
            Err((error, message)) => (message, Err(self.failure(error))),
        };
        if result.is_ok() {
            self.state.confirmed();
        }
        let delivery = Delivery {
            attempt: AttemptId(attempt as u64),
            persistence: persistence(message),
            partition: message.partition().max(-1),
            offset: message.offset().max(-1),
            result,
        };
        self.deliveries.put(delivery);
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// Asked for with OAUTHBEARER only: at the start, and when most of a token's life is over.
    fn generate_oauth_token(
        &self,
        _: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let token = self.state.token(now)?;
        Ok(OAuthToken {
            token: token.text,
            principal_name: token.principal,
            lifetime_ms: token.expires_at_ms,
        })
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let mut level = level;
        if is_end(facility, line) {
            // connections come and go; what matters of it is in the state
            self.state.ended(Instant::now(), line);
            level = RDKafkaLogLevel::Debug;
        }
        let route = self.route.as_str();
        let line = self.state.redact(line);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", route, facility, "{line}");
            }
            RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "librdkafka", route, facility, "{line}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", route, facility, "{line}");
            }
            RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", route, facility, "{line}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        if code == RDKafkaErrorCode::Fatal {
            self.fatal.store(true, Ordering::Release);
        }
        if let Some(problem) = self.state.error(Instant::now(), code, reason) {
            tracing::warn!(
                target: "librdkafka",
                route = self.route.as_str(),
                code = code as i32,
                trouble = problem.trouble.as_str(),
                "{problem}"
            );
        }
    }
}
