//! The producer's settings as the scenario states them: what bounds and reasons are judged by.

use std::time::Duration;

use dashproof_reference::config::{Acks, ProducerConfig};
use dashproof_reference::core;

use super::index::micros;
use crate::history::{ErrorClass, Route};
use crate::scenario::model::Scenario;

/// The settings, with what laws derive from them.
#[derive(Clone, Debug)]
pub(crate) struct Settings(pub(crate) ProducerConfig);

impl std::ops::Deref for Settings {
    type Target = ProducerConfig;

    fn deref(&self) -> &ProducerConfig {
        &self.0
    }
}

/// Bounds of a back-off in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BackOff {
    pub(crate) least_us: u64,
    pub(crate) most_us: u64,
}

impl Settings {
    /// The settings of a scenario's subject. Settings that cannot be read are refused at `open`,
    /// and a run that never opened is judged by the defaults.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        Self(ProducerConfig::from_json(&scenario.producer).unwrap_or_default())
    }

    pub(crate) fn acks_none(&self) -> bool {
        self.acks == Acks::None
    }

    /// An acked event is one that every replica in sync has.
    pub(crate) fn acks_all(&self) -> bool {
        self.acks == Acks::All
    }

    /// Another attempt is allowed although one may be in the log.
    pub(crate) fn resends_possibly(&self) -> bool {
        !self.idempotence || self.retry.retry_possibly_persisted
    }

    pub(crate) fn max_attempts(&self, route: Route) -> u64 {
        u64::from(match route {
            Route::Main => self.retry.max_attempts,
            Route::Dlq => self.dlq.max_attempts,
        })
    }

    /// Back-off after this many attempts: it doubles from `base` to `cap`, and jitter adds to it.
    pub(crate) fn back_off(&self, route: Route, attempts: usize) -> BackOff {
        let (base, cap, jitter) = match route {
            Route::Main => (self.retry.base, self.retry.cap, self.retry.jitter),
            Route::Dlq => (self.dlq.base, self.dlq.cap, self.dlq.jitter),
        };
        let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(31).min(31);
        let plain = base.saturating_mul(1 << doublings).min(cap);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
        let most = plain.saturating_add(plain.min(Duration::from_secs(1 << 40)).mul_f64(jitter));
        BackOff { least_us: micros(plain), most_us: micros(most) }
    }

    /// Class of an error code by the one table, with the setting for policy violations applied.
    pub(crate) fn class(&self, code: i32) -> ErrorClass {
        match self.error_class(code) {
            core::ErrorClass::Retryable => ErrorClass::Retryable,
            core::ErrorClass::Permanent => ErrorClass::Permanent,
            core::ErrorClass::Fatal => ErrorClass::Fatal,
        }
    }

    /// No main attempt starts later than this after acceptance.
    pub(crate) fn delivery_timeout_us(&self) -> u64 {
        micros(self.delivery_timeout)
    }

    /// Main is decided this long after acceptance.
    pub(crate) fn main_bound_us(&self) -> u64 {
        self.delivery_timeout_us().saturating_add(micros(self.attempt_timeout_or_default()))
    }

    /// The outcome is there this long after acceptance.
    pub(crate) fn outcome_bound_us(&self) -> u64 {
        let dlq = if self.dlq.enabled {
            micros(self.dlq.timeout).saturating_add(micros(self.dlq_attempt_timeout()))
        } else {
            0
        };
        self.main_bound_us().saturating_add(dlq)
    }
}
