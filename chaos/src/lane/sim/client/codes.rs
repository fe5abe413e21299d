//! Kafka error codes as this client treats them, after librdkafka's tables.

use std::sync::Arc;

use dashproof_reference::core::{Failure, Persistence, errors};

use super::Config;

pub(super) const UNKNOWN_TOPIC: i32 = 3;
pub(super) const DUPLICATE_SEQUENCE: i32 = 46;
pub(super) const UNKNOWN_PRODUCER_ID: i32 = 59;
pub(super) const MSG_SIZE_TOO_LARGE: i32 = 10;
/// librdkafka's local codes.
pub(super) const FATAL: i32 = -150;
pub(super) const PURGE_INFLIGHT: i32 = -151;
pub(super) const PURGE_QUEUE: i32 = -152;
pub(super) const DESTROY: i32 = -197;
pub(super) const QUEUE_FULL: i32 = -184;
pub(super) const TIMED_OUT: i32 = -185;
pub(super) const MSG_TIMED_OUT: i32 = -192;
pub(super) const TRANSPORT: i32 = -195;

/// A failure with this code, of the class that the producer's settings give it.
pub(super) fn failure(config: &Config, code: i32) -> Failure {
    let reason: Arc<str> = match code {
        FATAL => "the client lost its idempotence guarantee".into(),
        PURGE_INFLIGHT => "purged while in flight".into(),
        PURGE_QUEUE => "purged from the queue".into(),
        TIMED_OUT => "unanswered when the producer epoch had to change".into(),
        MSG_TIMED_OUT => "the attempt timed out".into(),
        TRANSPORT => "the connection was lost before the answer".into(),
        code => format!("the broker answered {} ({code})", errors::name(code)).into(),
    };
    Failure::new(code, (config.classify)(code), reason)
}

/// Errors that leave it open whether the broker appended the records. `NOT_LEADER` is among them:
/// a leader that steps down may have appended locally.
pub(super) const fn may_follow_append(code: i32) -> bool {
    matches!(code, 6 | 7 | 20)
}

/// Errors that say: ask for metadata again.
pub(super) const fn stale_metadata(code: i32) -> bool {
    matches!(code, 3 | 5 | 6 | 8 | 9 | 56 | 74)
}

/// Without idempotence only these are sent again inside an attempt.
pub(super) const fn resent_without_idempotence(code: i32) -> bool {
    matches!(code, 3 | 5 | 6)
}

/// Metadata errors that no waiting mends.
pub(super) const fn topic_is_forbidden(code: i32) -> bool {
    matches!(code, 17 | 29)
}

/// `InitProducerId`: the id that was to be bumped is no good; a new one is.
pub(super) const fn identity_is_void(code: i32) -> bool {
    matches!(code, 47 | 49 | 59 | 90)
}

/// `InitProducerId`: no id will be given.
pub(super) const fn identity_is_denied(code: i32) -> bool {
    matches!(code, 31 | 35 | 53)
}

/// What is claimed of the batch that met a fatal error.
pub(super) const fn fatal_persistence(code: i32) -> Persistence {
    match code {
        45 | 59 => Persistence::Possibly,
        _ => Persistence::Not,
    }
}
