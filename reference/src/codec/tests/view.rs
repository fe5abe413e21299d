//! The JSON view shows every field by its name.

use proptest::prelude::*;

use super::generate::strict_message;
use super::{envelope, event, plain_header, text};
use crate::codec::to_json;
use crate::proto::attribute_value::Value;
use crate::proto::dash_stream_message::Message;
use crate::proto::{
    AttributeArray, AttributeMap, AttributeValue, DashStreamMessage, EventType, TokenChunk,
};

#[test]
fn an_event_is_shown_with_names_and_nested_attributes() {
    let mut event = event("text");
    event.event_type = EventType::ToolError as i32;
    event.duration_us = -5;
    let values = vec![text("a"), AttributeValue { value: Some(Value::FloatValue(0.5)) }];
    let list = AttributeValue { value: Some(Value::ArrayValue(AttributeArray { values })) };
    let map = AttributeMap { values: [("inner".to_owned(), list)].into() };
    let map = AttributeValue { value: Some(Value::MapValue(map)) };
    event.attributes.insert("nested".to_owned(), map);
    event.attributes.insert("nothing".to_owned(), AttributeValue { value: None });
    let shown = to_json(&envelope(Message::Event(event)));
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap());
}

#[test]
fn numbers_are_shown_as_they_were_meant() {
    let mut header = plain_header();
    header.sequence = u64::MAX;
    header.r#type = 77;
    let chunk = TokenChunk {
        header: Some(header),
        token_ids: vec![1, 4_000_000_000],
        logprobs: vec![-0.1, f32::NAN, f32::INFINITY],
        is_final: true,
        ..TokenChunk::default()
    };
    let shown = to_json(&envelope(Message::TokenChunk(chunk)));
    insta::assert_snapshot!(serde_json::to_string(&shown).unwrap());
}

#[test]
fn an_empty_envelope_is_an_empty_object() {
    assert_eq!(to_json(&DashStreamMessage { message: None }).to_string(), "{}");
}

proptest! {
    #[test]
    fn every_message_is_shown_under_the_name_of_its_kind(message in strict_message()) {
        let shown = to_json(&message);
        let object = shown.as_object().unwrap();
        prop_assert_eq!(object.len(), 1);
        prop_assert!(object.values().all(|m| m["header"].is_object()));
    }
}
