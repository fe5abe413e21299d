//! Tests that need the codec's insides: the scan, the encoder's counters, its missing context.
#![expect(clippy::similar_names, reason = "encoder and encoded are what these tests are about")]

mod decode;
mod encode;
mod generate;
mod integrity;
mod laws;
mod limits;
mod nesting;
mod view;

use super::{CodecConfig, DecodePolicy, Decoder, Encoder};
use crate::proto::dash_stream_message::Message;
use crate::proto::{AttributeValue, DashStreamMessage, Event, EventBatch, Header, attribute_value};

/// A header that strict decoding accepts.
fn plain_header() -> Header {
    Header {
        message_id: (0..16).collect(),
        timestamp_us: 1_700_000_000_000_000,
        tenant_id: "tenant".to_owned(),
        thread_id: "thread".to_owned(),
        sequence: 7,
        schema_version: 1,
        ..Header::default()
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue { value: Some(attribute_value::Value::StringValue(value.to_owned())) }
}

/// An event whose `fill` attribute is `fill`.
fn event(fill: &str) -> Event {
    Event {
        header: Some(plain_header()),
        attributes: [("fill".to_owned(), text(fill))].into(),
        ..Event::default()
    }
}

fn envelope(message: Message) -> DashStreamMessage {
    DashStreamMessage { message: Some(message) }
}

fn event_message(fill: &str) -> DashStreamMessage {
    envelope(Message::Event(event(fill)))
}

fn batch_message(events: Vec<Event>) -> DashStreamMessage {
    envelope(Message::EventBatch(EventBatch { header: Some(plain_header()), events }))
}

fn encoder() -> Encoder {
    Encoder::new(&CodecConfig::default())
}

fn strict() -> Decoder {
    Decoder::new(DecodePolicy::default())
}

/// Text that zstd cannot make smaller than it is, or hardly.
fn noise(len: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(42);
    (0..len).map(|_| char::from(rng.u8(32..127))).collect()
}
