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
mod transport;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use state::{ConnectionProblem, ConnectionTrouble};

use crate::config::ProducerConfig;
use crate::core::{BoxFuture, Connect, ErrorClass, Refused, Route, Transport};
use ::rdkafka::types::RDKafkaErrorCode;
use context::Context;
use state::ConnectionState;
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
        let state = || Arc::new(ConnectionState::new(settings::secrets(config)));
        Self { config: Arc::new(config.clone()), main: state(), dlq: state() }
    }

    /// What the client of a route last reported about its connections; `None` before any error and
    /// again after a broker confirmed a record. Never holds a secret.
    #[must_use]
    pub fn problem(&self, route: Route) -> Option<ConnectionProblem> {
        self.state(route).problem()
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
                Err(Refused {
                    code: RDKafkaErrorCode::CriticalSystemResource as i32,
                    class: ErrorClass::Retryable,
                    reason: format!("making the client was cut short: {error}").into(),
                })
            })
        })
    }
}

fn create(
    config: &Arc<ProducerConfig>,
    route: Route,
    state: Arc<ConnectionState>,
) -> Result<Arc<dyn Transport>, Refused> {
    let settings = settings::client_config(config, route);
    let classes = Arc::clone(config);
    let transport = RdkafkaTransport::new(&settings, config.linger, |deliveries| Context {
        route,
        deliveries,
        state,
        classify: Arc::new(move |code| classes.error_class(code)),
        fatal: AtomicBool::new(false),
    })?;
    Ok(Arc::new(transport))
}

#[cfg(test)]
mod tests;
