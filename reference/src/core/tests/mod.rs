//! The core against scripted transports under a virtual clock.

mod accept;
mod clients;
mod closing;
mod dead_letters;
mod flushing;
mod laws;
mod order;
mod outcomes;
mod pair;
mod parts;
mod retrying;
mod spooling;

use std::time::Duration;

use super::*;
use crate::config::{Acks, Order, ProducerConfig, WhenFull};
use pair::{Pair, Treat};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Defaults with a delivery timeout of 9 s, three attempts, and no jitter: times are exact.
fn plain() -> ProducerConfig {
    let mut config = ProducerConfig::default().delivery_timeout(ms(9000));
    config.retry.jitter = 0.0;
    config.dlq.jitter = 0.0;
    config
}

/// As [`plain`], without a DLQ.
fn no_dlq() -> ProducerConfig {
    let mut config = plain();
    config.dlq.enabled = false;
    config
}

const TIMED_OUT: i32 = errors::LOCAL_MSG_TIMED_OUT;
const TOO_LARGE: i32 = 10;

/// A retryable failure with this claim.
const fn again(persistence: Persistence) -> Treat {
    Treat::Fail(persistence, TIMED_OUT)
}

const NOT: Treat = again(Persistence::Not);
const POSSIBLY: Treat = again(Persistence::Possibly);
const PERMANENT: Treat = Treat::Fail(Persistence::Not, TOO_LARGE);
