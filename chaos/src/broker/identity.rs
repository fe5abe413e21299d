//! Which events a record carries: never a guess.
//!
//! In this order: the Kafka header `dashstream-message-id`, `Header.message_id` inside the frame,
//! the attribute `dashproof.id`, and a table of SHA-256 digests of whole payloads. A batch resolves
//! to its members. What none of them resolves stays unresolved.

use std::collections::BTreeMap;

use dashproof_reference::codec::{DecodePolicy, Decoder, Legacy, SchemaPolicy, header};
use dashproof_reference::core::MESSAGE_ID_HEADER;
use dashproof_reference::proto::attribute_value::Value;
use dashproof_reference::proto::dash_stream_message::Message;
use dashproof_reference::proto::{DashStreamMessage, Event, Header};
use sha2::{Digest, Sha256};

use super::batch::{Batch, Record};
use super::letter::Letter;
use crate::history::EventId;

/// Attribute that names an event whose header does not.
const ATTRIBUTE: &str = "dashproof.id";

/// Resolves records to the events of one run.
#[derive(Debug)]
pub struct Identity {
    run: [u8; 10],
    digests: BTreeMap<[u8; 32], EventId>,
    decoder: Decoder,
}

impl Identity {
    /// For the run with this digest.
    #[must_use]
    pub fn new(run: [u8; 10]) -> Self {
        // Whoever an event is, it is asked generously: whether it is well formed is judged apart.
        let (schema, legacy) = (SchemaPolicy::Forward, Legacy::ProtobufOrZstd);
        let policy = DecodePolicy { schema, legacy, lenient: true, ..DecodePolicy::default() };
        Self { run, digests: BTreeMap::new(), decoder: Decoder::new(policy) }
    }

    /// From now on a payload with this SHA-256 is this event, if nothing else says who it is.
    pub fn learn(&mut self, digest: [u8; 32], event: EventId) {
        self.digests.insert(digest, event);
    }

    /// The event that a message id names: 16 bytes, or the same as 32 hex digits.
    #[must_use]
    pub fn message_id(&self, id: &[u8]) -> Option<EventId> {
        if id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit) {
            let text = std::str::from_utf8(id).ok()?;
            let raw = u128::from_str_radix(text, 16).ok()?;
            return EventId::from_message_id(&raw.to_be_bytes(), self.run);
        }
        EventId::from_message_id(id, self.run)
    }

    /// The events of a record of any topic, a dead-letter record included; empty when nothing
    /// tells.
    pub fn record(&mut self, record: &Record) -> Vec<EventId> {
        let named = record.header(MESSAGE_ID_HEADER).and_then(|id| self.message_id(id));
        if let Some(event) = named {
            return vec![event];
        }
        let Some(value) = record.value.as_deref() else { return Vec::new() };
        match Letter::parse(value) {
            Some(letter) => self.letter(&letter),
            None => self.payload(value),
        }
    }

    /// The events of a dead-letter record, by what it holds.
    fn letter(&mut self, letter: &Letter) -> Vec<EventId> {
        let found = letter.payload.as_deref().map(|payload| self.payload(payload));
        let found = found.unwrap_or_default();
        let said = letter.sha256.and_then(|digest| self.digests.get(&digest).copied());
        if found.is_empty() { said.into_iter().collect() } else { found }
    }

    /// The events of a frame, by what is inside; empty when nothing tells.
    pub fn payload(&mut self, frame: &[u8]) -> Vec<EventId> {
        let found =
            self.decoder.decode(frame).map(|message| self.message(&message)).unwrap_or_default();
        if found.is_empty() && !self.digests.is_empty() {
            let digest: [u8; 32] = Sha256::digest(frame).into();
            return self.digests.get(&digest).copied().into_iter().collect();
        }
        found
    }

    /// The events of a decoded message.
    #[must_use]
    pub fn message(&self, message: &DashStreamMessage) -> Vec<EventId> {
        let whole = self.header(header(message));
        match &message.message {
            Some(Message::EventBatch(batch)) => {
                let members: Vec<_> = batch.events.iter().filter_map(|e| self.event(e)).collect();
                if members.is_empty() { whole.into_iter().collect() } else { members }
            }
            Some(Message::Event(event)) => self.event(event).into_iter().collect(),
            _ => whole.into_iter().collect(),
        }
    }

    fn header(&self, header: Option<&Header>) -> Option<EventId> {
        self.message_id(&header?.message_id)
    }

    fn event(&self, event: &Event) -> Option<EventId> {
        self.header(event.header.as_ref()).or_else(|| {
            let attribute = event.attributes.get(ATTRIBUTE)?.value.as_ref()?;
            let Value::StringValue(text) = attribute else { return None };
            text.parse().ok()
        })
    }

    /// The events of a whole batch in order, `None` for each record that cannot be resolved.
    /// Empty for a batch whose structure is broken.
    pub fn batch(&mut self, batch: &Batch) -> Vec<Option<EventId>> {
        let Some(records) = batch.records() else {
            let count = if batch.is_opaque() { batch.count } else { 0 };
            return (0..count).map(|_| None).collect();
        };
        let mut out = Vec::with_capacity(records.len());
        for record in records {
            let events = self.record(record);
            if events.is_empty() {
                out.push(None);
            }
            out.extend(events.into_iter().map(Some));
        }
        out
    }
}
