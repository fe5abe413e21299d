//! The one table of error classes: code → class, and where the rule comes from.

use super::ErrorClass::{Fatal, Permanent, Retryable};
use super::{ConnectionTrouble, ErrorClass};

/// Broker code whose class is a setting (`retry.policy_violation`).
pub const POLICY_VIOLATION: i32 = 44;
/// Local code of a refused hand-over: the client's own buffer has no room.
pub const LOCAL_QUEUE_FULL: i32 = -184;
/// Local code of an attempt that its timeout ended.
pub const LOCAL_MSG_TIMED_OUT: i32 = -192;
/// Local code of a client that is being rebuilt or lost its idempotence.
pub const LOCAL_FATAL: i32 = -150;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Kafka protocol code, or librdkafka's negative local code.
    pub code: i32,
    /// Its name.
    pub name: &'static str,
    /// What may be done.
    pub class: ErrorClass,
    /// Where the rule comes from.
    pub source: &'static str,
}

const PROTOCOL: &str = "Kafka protocol: retriable";
const VERDICT: &str = "Kafka protocol: not retriable";
const IDEMPOTENCE: &str = "idempotence lost: the producer id must be replaced";
const LOCAL: &str = "client: the condition may pass";
const MISUSE: &str = "client: the record or the settings are at fault";

const fn rule(code: i32, name: &'static str, class: ErrorClass, source: &'static str) -> Rule {
    Rule { code, name, class, source }
}

/// Every code with a rule, ascending. A code that is not here is permanent: an error that nobody
/// foresaw must not be repeated blindly.
pub const RULES: &[Rule] = &[
    rule(-199, "_BAD_MSG", Permanent, MISUSE),
    rule(-198, "_BAD_COMPRESSION", Permanent, MISUSE),
    rule(-197, "_DESTROY", Retryable, LOCAL),
    rule(-195, "_TRANSPORT", Retryable, LOCAL),
    rule(-194, "_CRIT_SYS_RESOURCE", Retryable, LOCAL),
    rule(-193, "_RESOLVE", Retryable, LOCAL),
    rule(-192, "_MSG_TIMED_OUT", Retryable, LOCAL),
    rule(-190, "_UNKNOWN_PARTITION", Retryable, "client: metadata may lag behind"),
    rule(-188, "_UNKNOWN_TOPIC", Retryable, "client: the topic may be created yet"),
    rule(-187, "_ALL_BROKERS_DOWN", Retryable, LOCAL),
    rule(-186, "_INVALID_ARG", Permanent, MISUSE),
    rule(-185, "_TIMED_OUT", Retryable, LOCAL),
    rule(-184, "_QUEUE_FULL", Retryable, LOCAL),
    rule(-183, "_ISR_INSUFF", Retryable, LOCAL),
    rule(-181, "_SSL", Retryable, "client: certificates can be renewed while events wait"),
    rule(-172, "_STATE", Retryable, LOCAL),
    rule(-169, "_AUTHENTICATION", Retryable, "client: credentials can be mended while events wait"),
    rule(-166, "_TIMED_OUT_QUEUE", Retryable, LOCAL),
    rule(-165, "_UNSUPPORTED_FEATURE", Permanent, MISUSE),
    rule(-153, "_RETRY", Retryable, LOCAL),
    rule(-152, "_PURGE_QUEUE", Retryable, "client: purged while it was replaced"),
    rule(-151, "_PURGE_INFLIGHT", Retryable, "client: purged while it was replaced"),
    rule(-150, "_FATAL", Fatal, IDEMPOTENCE),
    rule(-149, "_INCONSISTENT", Fatal, IDEMPOTENCE),
    rule(-148, "_GAPLESS_GUARANTEE", Fatal, IDEMPOTENCE),
    rule(-144, "_FENCED", Fatal, IDEMPOTENCE),
    rule(-1, "UNKNOWN_SERVER_ERROR", Permanent, VERDICT),
    rule(2, "CORRUPT_MESSAGE", Retryable, "Kafka protocol: one flipped bit on the way"),
    rule(3, "UNKNOWN_TOPIC_OR_PARTITION", Retryable, "Kafka protocol: metadata may lag behind"),
    rule(5, "LEADER_NOT_AVAILABLE", Retryable, PROTOCOL),
    rule(6, "NOT_LEADER_OR_FOLLOWER", Retryable, "Kafka protocol: may follow a local append"),
    rule(7, "REQUEST_TIMED_OUT", Retryable, PROTOCOL),
    rule(8, "BROKER_NOT_AVAILABLE", Retryable, PROTOCOL),
    rule(9, "REPLICA_NOT_AVAILABLE", Retryable, PROTOCOL),
    rule(10, "MESSAGE_TOO_LARGE", Permanent, VERDICT),
    rule(13, "NETWORK_EXCEPTION", Retryable, PROTOCOL),
    rule(14, "COORDINATOR_LOAD_IN_PROGRESS", Retryable, PROTOCOL),
    rule(15, "COORDINATOR_NOT_AVAILABLE", Retryable, PROTOCOL),
    rule(16, "NOT_COORDINATOR", Retryable, PROTOCOL),
    rule(17, "INVALID_TOPIC_EXCEPTION", Permanent, VERDICT),
    rule(18, "RECORD_LIST_TOO_LARGE", Permanent, VERDICT),
    rule(19, "NOT_ENOUGH_REPLICAS", Retryable, PROTOCOL),
    rule(
        20,
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        Retryable,
        "Kafka protocol: appended all the same",
    ),
    rule(21, "INVALID_REQUIRED_ACKS", Permanent, VERDICT),
    rule(29, "TOPIC_AUTHORIZATION_FAILED", Permanent, VERDICT),
    rule(31, "CLUSTER_AUTHORIZATION_FAILED", Permanent, VERDICT),
    rule(32, "INVALID_TIMESTAMP", Permanent, VERDICT),
    rule(35, "UNSUPPORTED_VERSION", Permanent, VERDICT),
    rule(41, "NOT_CONTROLLER", Retryable, PROTOCOL),
    rule(43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", Permanent, VERDICT),
    rule(POLICY_VIOLATION, "POLICY_VIOLATION", Permanent, "setting retry.policy_violation"),
    rule(45, "OUT_OF_ORDER_SEQUENCE_NUMBER", Fatal, IDEMPOTENCE),
    rule(46, "DUPLICATE_SEQUENCE_NUMBER", Permanent, "success; transports report it as delivered"),
    rule(47, "INVALID_PRODUCER_EPOCH", Fatal, IDEMPOTENCE),
    rule(53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", Permanent, VERDICT),
    rule(56, "KAFKA_STORAGE_ERROR", Retryable, PROTOCOL),
    rule(58, "SASL_AUTHENTICATION_FAILED", Permanent, VERDICT),
    rule(59, "UNKNOWN_PRODUCER_ID", Fatal, IDEMPOTENCE),
    rule(74, "FENCED_LEADER_EPOCH", Retryable, PROTOCOL),
    rule(75, "UNKNOWN_LEADER_EPOCH", Retryable, PROTOCOL),
    rule(76, "UNSUPPORTED_COMPRESSION_TYPE", Permanent, VERDICT),
    rule(87, "INVALID_RECORD", Permanent, VERDICT),
    rule(89, "THROTTLING_QUOTA_EXCEEDED", Retryable, PROTOCOL),
    rule(90, "PRODUCER_FENCED", Fatal, IDEMPOTENCE),
];

/// Class of a code; unknown codes are permanent.
#[must_use]
pub fn class(code: i32) -> ErrorClass {
    find(code).map_or(Permanent, |r| r.class)
}

/// What a code says about the connection, if anything.
#[must_use]
pub const fn trouble(code: i32) -> Option<ConnectionTrouble> {
    Some(match code {
        29 | 30 | 31 | 53 | 65 => ConnectionTrouble::Authorization,
        // UNSUPPORTED_SASL_MECHANISM, ILLEGAL_SASL_STATE, SASL_AUTHENTICATION_FAILED
        33 | 34 | 58 | -169 => ConnectionTrouble::Authentication,
        -181 => ConnectionTrouble::Tls,
        -187 => ConnectionTrouble::AllBrokersDown,
        -193 => ConnectionTrouble::Resolve,
        -195 => ConnectionTrouble::Unreachable,
        _ => return None,
    })
}

/// Name of a code, or `UNKNOWN`.
#[must_use]
pub fn name(code: i32) -> &'static str {
    find(code).map_or("UNKNOWN", |r| r.name)
}

fn find(code: i32) -> Option<&'static Rule> {
    let at = RULES.binary_search_by_key(&code, |r| r.code).ok()?;
    RULES.get(at)
}
