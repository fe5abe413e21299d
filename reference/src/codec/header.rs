//! Reaching a message's header whatever its kind.

use crate::proto::dash_stream_message::Message;
use crate::proto::{CompressionType, DashStreamMessage, Header};

/// The header of the message inside the envelope, if there is one.
#[must_use]
pub fn header(message: &DashStreamMessage) -> Option<&Header> {
    match message.message.as_ref()? {
        Message::Event(m) => m.header.as_ref(),
        Message::StateDiff(m) => m.header.as_ref(),
        Message::TokenChunk(m) => m.header.as_ref(),
        Message::ToolExecution(m) => m.header.as_ref(),
        Message::Checkpoint(m) => m.header.as_ref(),
        Message::Metrics(m) => m.header.as_ref(),
        Message::Error(m) => m.header.as_ref(),
        Message::EventBatch(m) => m.header.as_ref(),
        Message::ExecutionTrace(m) => m.header.as_ref(),
    }
}

/// The header of the message inside the envelope, to change; `None` if there is none.
#[must_use]
pub fn header_mut(message: &mut DashStreamMessage) -> Option<&mut Header> {
    match message.message.as_mut()? {
        Message::Event(m) => m.header.as_mut(),
        Message::StateDiff(m) => m.header.as_mut(),
        Message::TokenChunk(m) => m.header.as_mut(),
        Message::ToolExecution(m) => m.header.as_mut(),
        Message::Checkpoint(m) => m.header.as_mut(),
        Message::Metrics(m) => m.header.as_mut(),
        Message::Error(m) => m.header.as_mut(),
        Message::EventBatch(m) => m.header.as_mut(),
        Message::ExecutionTrace(m) => m.header.as_mut(),
    }
}

/// What is wrong with the headers of a message, and in which batch member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    NoMessage,
    NoHeader { member: Option<usize> },
    Version { member: Option<usize>, found: u32 },
}

/// The first fault in the message's header or a batch member's, with `accepts` for versions.
pub(super) fn check_headers(
    message: &DashStreamMessage,
    accepts: impl Fn(u32) -> bool,
) -> Result<(), HeaderFault> {
    let check = |header: Option<&Header>, member| match header {
        None => Err(HeaderFault::NoHeader { member }),
        Some(h) if accepts(h.schema_version) => Ok(()),
        Some(h) => Err(HeaderFault::Version { member, found: h.schema_version }),
    };
    if message.message.is_none() {
        return Err(HeaderFault::NoMessage);
    }
    check(header(message), None)?;
    if let Some(Message::EventBatch(batch)) = &message.message {
        for (i, event) in batch.events.iter().enumerate() {
            check(event.header.as_ref(), Some(i))?;
        }
    }
    Ok(())
}

/// Writes the compression flag into the message's header and every batch member's.
pub(super) fn set_compression(message: &mut DashStreamMessage, compression: CompressionType) {
    let flag = compression as i32;
    if let Some(header) = header_mut(message) {
        header.compression = flag;
    }
    if let Some(Message::EventBatch(batch)) = &mut message.message {
        for header in batch.events.iter_mut().filter_map(|e| e.header.as_mut()) {
            header.compression = flag;
        }
    }
}
