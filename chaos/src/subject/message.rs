//! The message that an event specification asks for.

use dashproof_reference::core::MessageId;
use dashproof_reference::proto::dash_stream_message::Message;
use dashproof_reference::proto::{
    AttributeValue, Checkpoint, DashStreamMessage, Error, Event, EventBatch, EventType,
    ExecutionTrace, Header, MessageType, Metrics, StateDiff, TokenChunk, ToolExecution,
    attribute_value,
};
use prost::Message as _;

use crate::subject::protocol::EventSpec;

/// Message types that an [`EventSpec`] can ask for.
pub const MESSAGE_TYPES: [&str; 9] = [
    "event",
    "token_chunk",
    "metrics",
    "error",
    "tool_execution",
    "state_diff",
    "checkpoint",
    "execution_trace",
    "event_batch",
];

/// Reads the 32 hex digits of a message id.
#[must_use]
pub fn message_id(hex: &str) -> Option<MessageId> {
    let digits = hex.as_bytes();
    let mut out = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(MessageId(out))
}

fn text(value: &str) -> AttributeValue {
    AttributeValue { value: Some(attribute_value::Value::StringValue(value.to_owned())) }
}

fn event(spec: &EventSpec, header: Option<Header>) -> Event {
    let id = ("dashproof.id".to_owned(), text(&spec.event.to_string()));
    let fill = ("fill".to_owned(), text(&spec.fill));
    Event {
        header,
        event_type: EventType::NodeEnd as i32,
        attributes: [id, fill].into_iter().collect(),
        ..Event::default()
    }
}

/// Builds the message: identity in the header (and, for an `event` and the first of the two members
/// of an `event_batch`, in the attribute `dashproof.id`), the filler where the type has room for
/// text. `None` when the message id is not 32 hex digits or the type is none of [`MESSAGE_TYPES`].
#[must_use]
pub fn build(spec: &EventSpec) -> Option<DashStreamMessage> {
    let id = message_id(&spec.message_id)?;
    let header = |kind: MessageType| {
        Some(Header {
            message_id: id.0.to_vec(),
            thread_id: spec.thread.clone(),
            r#type: kind as i32,
            schema_version: 1,
            ..Header::default()
        })
    };
    let fill = || spec.fill.clone();
    let bytes = || spec.fill.clone().into_bytes();
    let message = match spec.message.as_str() {
        "event" => Message::Event(event(spec, header(MessageType::Event))),
        "token_chunk" => Message::TokenChunk(TokenChunk {
            header: header(MessageType::TokenChunk),
            text: fill(),
            ..TokenChunk::default()
        }),
        "metrics" => Message::Metrics(Metrics {
            header: header(MessageType::Metrics),
            tags: [("fill".to_owned(), fill())].into_iter().collect(),
            ..Metrics::default()
        }),
        "error" => Message::Error(Error {
            header: header(MessageType::Error),
            message: fill(),
            ..Error::default()
        }),
        "tool_execution" => Message::ToolExecution(ToolExecution {
            header: header(MessageType::ToolExecution),
            result: bytes(),
            ..ToolExecution::default()
        }),
        "state_diff" => Message::StateDiff(StateDiff {
            header: header(MessageType::StateDiff),
            full_state: bytes(),
            ..StateDiff::default()
        }),
        "checkpoint" => Message::Checkpoint(Checkpoint {
            header: header(MessageType::Checkpoint),
            state: bytes(),
            ..Checkpoint::default()
        }),
        "execution_trace" => Message::ExecutionTrace(ExecutionTrace {
            header: header(MessageType::ExecutionTrace),
            final_state: bytes(),
            ..ExecutionTrace::default()
        }),
        "event_batch" => {
            let first = event(spec, header(MessageType::Event));
            // Nobody is offered this one by itself: it has no id.
            let second = header(MessageType::Event).map(|h| Header { message_id: vec![], ..h });
            let second = Event { header: second, ..Event::default() };
            Message::EventBatch(EventBatch {
                header: header(MessageType::EventBatch),
                events: vec![first, second],
            })
        }
        _ => return None,
    };
    Some(DashStreamMessage { message: Some(message) })
}

/// Protobuf bytes of the message, before the subject adds anything: 0 when it cannot be built.
#[must_use]
pub fn measure(spec: &EventSpec) -> usize {
    build(spec).map_or(0, |message| message.encoded_len())
}

#[cfg(test)]
mod tests {
    use dashproof_reference::codec::header;

    use super::*;
    use crate::history::EventId;

    fn spec(message: &str) -> EventSpec {
        let event = EventId { load: 1, n: 23 };
        let id = event.message_id([7; 10]);
        EventSpec {
            event,
            message_id: id.iter().map(|b| format!("{b:02x}")).collect(),
            thread: "t3".to_owned(),
            message: message.to_owned(),
            fill: "x".repeat(500),
        }
    }

    #[test]
    fn every_type_carries_identity_thread_and_filler() {
        for name in MESSAGE_TYPES {
            let message = build(&spec(name)).unwrap();
            let header = header(&message).unwrap();
            let id = EventId { load: 1, n: 23 }.message_id([7; 10]);
            assert_eq!((header.message_id.as_slice(), header.thread_id.as_str()), (&id[..], "t3"));
            assert!(measure(&spec(name)) > 500, "{name} has no filler");
        }
    }

    #[test]
    fn an_event_also_says_who_it_is_in_an_attribute() {
        let Some(Message::Event(event)) = build(&spec("event")).unwrap().message else { panic!() };
        assert_eq!(event.attributes["dashproof.id"], text("1.000023"));
    }

    #[test]
    fn an_unknown_type_or_a_bad_id_builds_nothing() {
        assert_eq!(build(&spec("telegram")), None);
        assert_eq!(measure(&spec("telegram")), 0);
        for bad in ["", "12", &"g".repeat(32), &"é".repeat(16), &"+1".repeat(16)] {
            assert_eq!(message_id(bad), None, "{bad}");
        }
    }
}
