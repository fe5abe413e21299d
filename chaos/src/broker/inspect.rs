//! Looks into one record of a log and says what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dashproof_reference::codec::{
    DecodeErrorKind, DecodePolicy, Decoder, FRAME_ZSTD, MAX_PAYLOAD, header, measure, verify_crc32,
};
use dashproof_reference::core::{CRC32_HEADER, MESSAGE_ID_HEADER};
use dashproof_reference::proto::dash_stream_message::Message;
use dashproof_reference::proto::{CompressionType, DashStreamMessage};
use kafka_protocol::records::Compression;

use super::batch::{Batch, Record};
use super::identity::Identity;
use super::letter::Letter;
use crate::history::{EventId, FrameFacts, LogRecord, Route};

/// Reads the records of all logs of a run, main before dead letters: a dead letter is compared with
/// the main record of the same event.
pub(crate) struct Inspector<'a> {
    identity: &'a mut Identity,
    strict: Decoder,
    /// Name of the dead-letter topic.
    dlq: String,
    /// Where each event stands in main, and its value.
    main: BTreeMap<EventId, Vec<(String, Bytes)>>,
    threads: BTreeSet<Arc<str>>,
}

impl<'a> Inspector<'a> {
    pub(crate) fn new(identity: &'a mut Identity, dlq: &str) -> Self {
        let strict = Decoder::new(DecodePolicy::default());
        let (main, threads) = (BTreeMap::new(), BTreeSet::new());
        Self { identity, strict, dlq: dlq.to_owned(), main, threads }
    }

    /// The records of a batch that begins at `base`.
    pub(crate) fn batch(
        &mut self,
        route: Option<Route>,
        partition: i32,
        base: i64,
        batch: &Batch,
    ) -> Vec<LogRecord> {
        let Some(records) = batch.records() else {
            // Its records cannot be looked at: they are there, and nobody knows who they are.
            return (0..batch.count).map(|n| blank(batch, base + i64::from(n))).collect();
        };
        let mut out = Vec::with_capacity(records.len());
        for record in records {
            let offset = base + i64::from(record.offset_delta);
            let mut read = blank(batch, offset);
            read.events = self.identity.record(record);
            read.size = record.size();
            match route {
                Some(Route::Main) => self.main_record(partition, batch, record, &mut read),
                Some(Route::Dlq) => self.letter(record, &mut read),
                None => {}
            }
            out.push(read);
        }
        out
    }

    fn intern(&mut self, thread: &str) -> Arc<str> {
        if let Some(known) = self.threads.get(thread) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(thread);
        self.threads.insert(Arc::clone(&new));
        new
    }

    fn main_record(&mut self, at: i32, batch: &Batch, record: &Record, read: &mut LogRecord) {
        let value = record.value.clone().unwrap_or_default();
        crc(record, &value, read);
        match self.strict.decode(&value) {
            Ok(message) => {
                if let Some(header) = header(&message) {
                    read.thread = self.intern(&header.thread_id);
                    read.sequence = (header.sequence != 0).then_some(header.sequence);
                }
                let defect = compression_defect(batch, &value, &message);
                read.defects.extend(defect.map(|text| format!("compression: {text}")));
                self.name(record, &message, read);
                read.frame = facts(&value, message);
            }
            Err(error) => {
                let schema = matches!(
                    error.kind,
                    DecodeErrorKind::MissingMessage
                        | DecodeErrorKind::MissingHeader
                        | DecodeErrorKind::SchemaVersion
                );
                let class = if schema { "schema" } else { "frame" };
                read.defects.push(format!("{class}: {error}"));
            }
        }
        let place = format!("{at}@{}", read.offset);
        for event in &read.events {
            self.main.entry(*event).or_default().push((place.clone(), value.clone()));
        }
    }

    /// The Kafka header and the frame must name the same event.
    fn name(&self, record: &Record, message: &DashStreamMessage, read: &mut LogRecord) {
        let named = record.header(MESSAGE_ID_HEADER).and_then(|id| self.identity.message_id(id));
        let inside = self.identity.message(message);
        if let Some(named) = named.filter(|named| !inside.is_empty() && !inside.contains(named)) {
            let first = inside.first().map(ToString::to_string).unwrap_or_default();
            read.defects.push(format!("frame: the header names {named}, inside is {first}"));
        }
    }

    fn letter(&mut self, record: &Record, read: &mut LogRecord) {
        let value = record.value.as_deref().unwrap_or_default();
        crc(record, value, read);
        let Some(letter) = Letter::parse(value) else {
            read.defects.push("payload: the record is no dead-letter JSON".to_owned());
            return;
        };
        read.thread = self.intern(letter.text("thread_id"));
        read.letter = letter.without_payload();
        let mut defects = Vec::new();
        defects.extend(letter.payload_defect().map(|text| format!("payload: {text}")));
        defects.extend(letter.context_defect().map(|text| format!("context: {text}")));
        if letter.text("source_topic") == self.dlq {
            defects.push("loop: its source is the dead-letter topic".to_owned());
        }
        if letter.payload.as_deref().is_some_and(|payload| Letter::parse(payload).is_some()) {
            defects.push("loop: a dead-letter record inside a dead-letter record".to_owned());
        } else {
            defects.extend(self.payload(&letter, read));
        }
        read.defects.extend(defects);
    }

    /// Compares what a dead letter holds with what else is known of its event.
    fn payload(&mut self, letter: &Letter, read: &mut LogRecord) -> Option<String> {
        for event in &read.events {
            for (place, original) in self.main.get(event).into_iter().flatten() {
                if letter.differs(original) {
                    return Some(format!("payload: not the bytes of the main record {place}"));
                }
            }
        }
        // What a producer could not send was well formed; what a consumer could not read was not.
        let sent = letter.text("error_type") == "kafka_send_error";
        let message = match self.strict.decode(letter.whole().filter(|_| sent)?) {
            Ok(message) => message,
            Err(error) => return Some(format!("payload: does not decode: {error}")),
        };
        let inside = self.identity.message(&message);
        let header = header(&message)?;
        read.sequence = (header.sequence != 0).then_some(header.sequence);
        if !inside.is_empty() && read.events.iter().any(|event| !inside.contains(event)) {
            return Some("payload: is another event's".to_owned());
        }
        let (thread, said) = (&header.thread_id, &*read.thread);
        let told = !said.is_empty() && thread.starts_with(said);
        (!thread.is_empty() && !told).then(|| "context: `thread_id` is not the event's".to_owned())
    }
}

fn blank(batch: &Batch, offset: i64) -> LogRecord {
    LogRecord {
        offset,
        events: Vec::new(),
        pid: batch.pid,
        epoch: batch.epoch,
        thread: Arc::from(""),
        sequence: None,
        size: 0,
        letter: String::new(),
        frame: None,
        defects: Vec::new(),
    }
}

fn crc(record: &Record, value: &[u8], read: &mut LogRecord) {
    let Some(said) = record.header(CRC32_HEADER) else { return };
    if let Err(error) = verify_crc32(value, said) {
        read.defects.push(format!("crc: {error}"));
    }
}

/// What the compression settings are judged by.
fn facts(frame: &[u8], mut message: DashStreamMessage) -> Option<FrameFacts> {
    let payload = measure(&mut message, MAX_PAYLOAD).ok()?;
    Some(FrameFacts { payload, zstd: frame.first() == Some(&FRAME_ZSTD) })
}

/// Law C6: header flag and frame byte agree, and nothing is compressed twice.
fn compression_defect(batch: &Batch, frame: &[u8], message: &DashStreamMessage) -> Option<String> {
    let zstd = frame.first() == Some(&FRAME_ZSTD);
    let flag = if zstd { CompressionType::Zstd } else { CompressionType::None };
    let mut headers = Vec::from_iter(header(message));
    if let Some(Message::EventBatch(batch)) = &message.message {
        headers.extend(batch.events.iter().filter_map(|event| event.header.as_ref()));
    }
    if let Some(wrong) = headers.iter().find(|h| h.compression != flag as i32) {
        let frame = if zstd { "compressed" } else { "plain" };
        let says = wrong.compression;
        return Some(format!("the frame is {frame}, a header says compression {says}"));
    }
    let twice = zstd && batch.compression != Compression::None;
    twice
        .then(|| format!("a compressed frame inside a batch compressed by {:?}", batch.compression))
}
