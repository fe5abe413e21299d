//! The dead-letter record: what is known of an event that main did not take.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{HeaderValue, MessageId};
use crate::codec::{DecodePolicy, Decoder, crc32_hex, header};
use crate::proto::dash_stream_message::Message;

/// Longest error text in a record, bytes.
const MAX_ERROR: usize = 2048;
/// Longest other text when the record would otherwise not fit, bytes.
const MAX_TEXT: usize = 128;
/// Bytes beside key and JSON: the two record headers (61), and the digits that the sizes in the
/// JSON may grow by once the cut is known.
const BESIDE: usize = 80;

/// Everything a record is made of. Building the JSON is left to [`Letter::into_parts`], which the
/// shell calls outside the core's lock.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) payload: Bytes,
    pub(super) error: String,
    pub(super) source_topic: Arc<str>,
    pub(super) source_partition: i32,
    pub(super) source_offset: i64,
    /// Microseconds since the Unix epoch when main ended.
    pub(super) ended_us: i64,
    pub(super) consumer: Arc<str>,
    pub(super) thread: Arc<str>,
    pub(super) message_id: MessageId,
    pub(super) payload_cut: usize,
    pub(super) max_record_bytes: usize,
}

/// The JSON, field by field in the order of the format.
#[derive(Serialize)]
struct Json<'a> {
    original_payload_base64: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_payload_size_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_payload_included_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_payload_truncated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_payload_sha256: Option<String>,
    error: &'a str,
    source_topic: &'a str,
    source_partition: i32,
    source_offset: i64,
    timestamp: String,
    consumer_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thread_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tenant_id: &'a str,
    error_type: &'a str,
    trace_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    node_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    parent_trace_id: &'a str,
}

impl Letter {
    /// Kafka key, JSON value and CRC32 header of the record.
    pub(super) fn into_parts(mut self) -> (Option<Bytes>, Bytes, HeaderValue) {
        cut(&mut self.error, MAX_ERROR);
        let trace_id = self.message_id.to_string();
        let mut texts = self.texts();
        let mut room = self.room(&trace_id, &texts);
        if room == 0 {
            texts.cut();
            cut(&mut self.error, MAX_TEXT);
            room = self.room(&trace_id, &texts);
        }
        let included = self.payload.len().min(self.payload_cut).min(room);
        let json = self.json(&trace_id, &texts, included);
        // a struct of strings and numbers always has a JSON form
        let value = Bytes::from(serde_json::to_vec(&json).unwrap_or_default());
        let crc32 = HeaderValue::new(&crc32_hex(&value));
        (Some(Bytes::from(trace_id)), value, crc32)
    }

    /// What only the event itself knows is read from its frame, here, off the fast path.
    fn texts(&self) -> Texts {
        let consumer = self.consumer.to_string();
        let tenant = consumer.strip_prefix("producer:").unwrap_or_default().to_owned();
        let thread = self.thread.to_string();
        let mut texts = Texts { thread, tenant, consumer, ..Texts::default() };
        let message = Decoder::new(DecodePolicy::default()).decode(&self.payload);
        let Ok(message) = message else { return texts };
        if let Some(header) = header(&message) {
            texts.tenant.clone_from(&header.tenant_id);
            texts.parent = hex(&header.parent_id);
        }
        if let Some(Message::Event(event)) = message.message {
            texts.node = event.node_id;
        }
        texts
    }

    /// Payload bytes that still fit beside everything else.
    fn room(&self, trace_id: &str, texts: &Texts) -> usize {
        let json = serde_json::to_vec(&self.json_of(trace_id, texts, 0, true)).unwrap_or_default();
        let others = json.len() + trace_id.len() + BESIDE;
        self.max_record_bytes.saturating_sub(others) / 4 * 3
    }

    fn json<'a>(&'a self, trace_id: &'a str, texts: &'a Texts, included: usize) -> Json<'a> {
        self.json_of(trace_id, texts, included, included < self.payload.len())
    }

    fn json_of<'a>(
        &'a self,
        trace_id: &'a str,
        texts: &'a Texts,
        included: usize,
        truncated: bool,
    ) -> Json<'a> {
        let part = self.payload.get(..included).unwrap_or_default();
        Json {
            original_payload_base64: STANDARD.encode(part),
            original_payload_size_bytes: truncated.then_some(self.payload.len()),
            original_payload_included_bytes: truncated.then_some(included),
            original_payload_truncated: truncated.then_some(true),
            original_payload_sha256: truncated.then(|| hex(&Sha256::digest(&self.payload))),
            error: &self.error,
            source_topic: &self.source_topic,
            source_partition: self.source_partition,
            source_offset: self.source_offset,
            timestamp: rfc3339(self.ended_us),
            consumer_id: &texts.consumer,
            thread_id: &texts.thread,
            tenant_id: &texts.tenant,
            error_type: "kafka_send_error",
            trace_id,
            node_id: &texts.node,
            parent_trace_id: &texts.parent,
        }
    }
}

/// Texts that are cut only when the record would not fit.
#[derive(Default)]
struct Texts {
    thread: String,
    tenant: String,
    consumer: String,
    node: String,
    parent: String,
}

impl Texts {
    fn cut(&mut self) {
        let Self { thread, tenant, consumer, node, parent } = self;
        for text in [thread, tenant, consumer, node, parent] {
            cut(text, MAX_TEXT);
        }
    }
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let fits = text.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = fits.take_while(|end| *end <= most).last().unwrap_or_default();
        text.truncate(end);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A time before 1970 or after 9999 is written as the nearest that the format has.
fn rfc3339(us: i64) -> String {
    const LAST: u64 = 253_402_300_799_000_000;
    let since = Duration::from_micros(u64::try_from(us).unwrap_or_default().min(LAST));
    humantime::format_rfc3339_micros(UNIX_EPOCH + since).to_string()
}
