//! The [`Transport`] for real brokers: librdkafka through `rdkafka`.
//!
//! One client per route. Deliveries carry the client's own status of each message; waiting for
//! metadata, leaders and connections, and retransmission under idempotence, happen inside the
//! client, bounded by the attempt's timeout. librdkafka looks at timeouts about once a second, so
//! reports of timed-out attempts come up to two seconds late.

mod context;
mod ffi;
mod mailbox;
mod settings;
mod state;
mod token;
mod transport;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config::ProducerConfig;
use crate::core::{
    BoxFuture, Connect, ConnectionProblem, ConnectionTrouble, ErrorClass, Refused, Route, Transport,
};
use ::rdkafka::types::RDKafkaErrorCode;
use context::Context;
use state::ConnectionState;
use token::TokenFile;
use transport::RdkafkaTransport;

/// Version of the librdkafka that is linked in, as `2.12.1`.
#[must_use]
pub fn version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

/// Makes librdkafka clients from producer settings.
pub struct RdkafkaConnect {
    config: Arc<ProducerConfig>,
    main: Arc<ConnectionState>,
    dlq: Arc<ConnectionState>,
}

impl RdkafkaConnect {
    /// For brokers at `config.bootstrap`. Nothing is created before [`Connect::connect`].
    #[must_use]
    pub fn new(config: &ProducerConfig) -> Self {
        let sasl = &config.security.sasl;
        let state = || {
            let tokens = sasl.token_location.as_ref().map(TokenFile::new);
            Arc::new(ConnectionState::new(settings::secrets(config), tokens))
        };
        Self { config: Arc::new(config.clone()), main: state(), dlq: state() }
    }

    fn state(&self, route: Route) -> &Arc<ConnectionState> {
        match route {
            Route::Main => &self.main,
            Route::Dlq => &self.dlq,
        }
    }
}

impl Connect for RdkafkaConnect {
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<Arc<dyn Transport>, Refused>> {
        let state = Arc::clone(self.state(route));
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            // librdkafka reads certificates and starts its threads before it returns
            let made = tokio::task::spawn_blocking(move || create(&config, route, state)).await;
            made.unwrap_or_else(|error| {
                let code = RDKafkaErrorCode::CriticalSystemResource as i32;
                let reason = format!("making the client was cut short: {error}");
                Err(Refused::new(code, ErrorClass::Retryable, reason))
            })
        })
    }

    /// `None` before any error, and again after a broker confirmed a record.
    fn problem(&self, route: Route) -> Option<ConnectionProblem> {
        self.state(route).problem()
    }
}

fn create(
    config: &Arc<ProducerConfig>,
    route: Route,
    state: Arc<ConnectionState>,
) -> Result<Arc<dyn Transport>, Refused> {
    if let Some(reason) = without_keytab(config) {
        let code = RDKafkaErrorCode::InvalidArgument as i32;
        let refused = Refused::new(code, ErrorClass::Retryable, reason);
        return Err(Refused { trouble: Some(ConnectionTrouble::Settings), ..refused });
    }
    let settings = settings::client_config(config, route);
    let classes = Arc::clone(config);
    let topic = match route {
        Route::Main => &config.topic,
        Route::Dlq => &config.dlq.topic,
    };
    let words = Arc::clone(&state);
    let transport = RdkafkaTransport::new(&settings, config.linger, topic, |deliveries| Context {
        route,
        deliveries,
        state,
        classify: Arc::new(move |code| classes.error_class(code)),
        fatal: AtomicBool::new(false),
    });
    let transport = transport.map_err(|refused| Refused {
        // librdkafka quotes the value that it does not take
        reason: words.redact(&refused.reason).into(),
        trouble: refused.trouble.or_else(|| Some(about_settings(&refused.reason))),
        ..refused
    })?;
    Ok(Arc::new(transport))
}

/// Why the keytab cannot be read: librdkafka would tell no more than that `kinit` failed.
fn without_keytab(config: &ProducerConfig) -> Option<String> {
    let path = config.security.sasl.kerberos.keytab.as_ref()?;
    let error = std::fs::File::open(path).err()?;
    Some(format!(
        "security.sasl.kerberos.keytab: {path}: {error}; name a keytab that this process can read"
    ))
}

/// What a client is about that does not take its settings: it names the setting at fault.
fn about_settings(text: &str) -> ConnectionTrouble {
    if text.contains("ssl.") { ConnectionTrouble::Tls } else { ConnectionTrouble::Settings }
}

#[cfg(test)]
mod tests;
