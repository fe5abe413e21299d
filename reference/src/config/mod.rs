//! Settings of a producer: one table, defaults, checks that report every problem at once.

mod check;
mod env;
mod error;
mod model;
mod read;
mod secret;
mod settings;
#[cfg(test)]
mod tests;

pub use error::{ConfigError, Problem};
pub use model::{
    Acks, Compression, Dlq, EndpointIdentification, Kerberos, Mechanism, Order, PolicyViolation,
    ProducerConfig, Protocol, Queue, RateLimit, Retry, Sasl, Security, Spool, Ssl, WhenFull,
};
pub use secret::Secret;
pub use settings::{SETTINGS, Setting};
