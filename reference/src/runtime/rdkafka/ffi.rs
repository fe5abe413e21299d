//! The one call that the safe wrapper does not offer: what librdkafka knows about a message.
//!
//! An error code cannot say whether a message may be in the log: a time-out in the queue and one
//! in flight have the same code, and a message that was sent, requeued and then purged *from the
//! queue* may have been stored all the same. librdkafka keeps the answer per message, and only
//! there.

#![expect(unsafe_code, reason = "rd_kafka_message_status has no safe wrapper in rdkafka 0.39")]

use rdkafka::bindings::{rd_kafka_message_status, rd_kafka_msg_status_t};
use rdkafka::message::BorrowedMessage;

use crate::core::Persistence;

/// The client's own status of a message of a delivery report.
///
/// Only meaningful inside `ProducerContext::delivery`, which is the only caller: a message that
/// came from a consumer has no such status.
pub(super) fn persistence(message: &BorrowedMessage<'_>) -> Persistence {
    // SAFETY: `ptr()` is the non-null `rd_kafka_message_t` of the delivery-report event that
    // `message` borrows and keeps alive. The function reads one field of the private message that
    // the public one is embedded in, which holds for every message of a delivery report.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    match status {
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Persistence::Not,
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED => Persistence::Possibly,
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED => Persistence::Persisted,
    }
}
