//! Sending one event: made ready, admitted, encoded, handed to the core.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use prost::Message as _;

use super::shared::Shared;
use crate::codec::{
    self, CodecConfig, EncodeError, Encoder, FramePool, MAX_PAYLOAD, crc32_hex, header,
};
use crate::config::ProducerConfig;
use crate::core::{Admission, HeaderValue, Key, Measure, MessageId, Offer, Payload, Reason};
use crate::proto::dash_stream_message::Message;
use crate::proto::{DashStreamMessage, Header, MessageType};

/// An event that the producer has taken on: it ends in exactly one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its sequence in its thread.
    pub sequence: u64,
    /// Its id, made here if its header had none.
    pub message_id: MessageId,
}

/// An event that was refused at the call. It took no sequence, and its outcome
/// `rejected{reason}` is counted and told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendError {
    /// Why.
    pub reason: Reason,
    /// Its id; zeros when its header had none that could be used.
    pub message_id: MessageId,
    detail: String,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event was rejected ({}): {}", self.reason.as_str(), self.detail)
    }
}

impl std::error::Error for SendError {}

/// Encoders are reused; as many exist as sends ever encoded at the same time.
pub(super) struct Encoders {
    config: CodecConfig,
    frames: FramePool,
    idle: Mutex<Vec<Encoder>>,
    ids: Mutex<fastrand::Rng>,
}

impl Encoders {
    pub(super) fn new(config: &ProducerConfig, seed: u64) -> Self {
        let compression = &config.compression;
        let config = CodecConfig {
            compression: compression.enabled,
            threshold: compression.threshold,
            level: compression.level,
            checksum: compression.checksum,
            // the core holds events to `max_message_bytes`, which is less
            max_payload: MAX_PAYLOAD,
        };
        let ids = Mutex::new(fastrand::Rng::with_seed(seed ^ 0x6d65_7373_6167_6569));
        Self { config, frames: FramePool::default(), idle: Mutex::default(), ids }
    }

    fn encode(&self, message: &mut DashStreamMessage, len: usize) -> Result<Payload, EncodeError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut encoder = taken.unwrap_or_else(|| Encoder::sharing(&self.config, &self.frames));
        let record = encoder.encode_measured(message, len)?;
        idle().push(encoder);
        let crc32 = HeaderValue::new(&crc32_hex(&record.frame));
        let compression_failed = record.compression_failed;
        Ok(Payload { frame: record.frame, crc32, compression_failed })
    }

    fn make_id(&self) -> MessageId {
        let mut rng = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        MessageId(rng.u128(..).to_be_bytes())
    }
}

/// What the core is told of an event that is ready to be offered.
struct Draft {
    message_id: MessageId,
    measure: Measure,
    from_dlq: bool,
}

impl Draft {
    fn offer<'a>(&self, message: &'a DashStreamMessage) -> Offer<'a> {
        let header = header(message);
        Offer {
            message_id: self.message_id,
            thread: header.map_or("", |h| &h.thread_id),
            tenant: header.map_or("", |h| &h.tenant_id),
            measure: self.measure,
            from_dlq: self.from_dlq,
        }
    }
}

impl Shared {
    /// Sends one event; the whole of [`Producer::send`](super::Producer::send).
    pub(super) async fn send(
        &self,
        mut message: DashStreamMessage,
        from_dlq: bool,
    ) -> Result<Accepted, SendError> {
        let called = self.now();
        let draft = self.draft(called, &mut message, from_dlq)?;
        let offer = draft.offer(&message);
        let admission = Entering { shared: self, offer, called, ticket: None }.await;
        match admission {
            Admission::Accepted { key, sequence } => {
                let accepted = self.supply(&mut message, &draft, key, sequence);
                // A sender that never waits must not starve the driver on its own thread. Here, and
                // not before: what is dropped from here on is accepted all the same.
                tokio::task::consume_budget().await;
                Ok(accepted)
            }
            Admission::Rejected(reason) => {
                self.pump();
                Err(self.rejected(reason, &draft))
            }
            // `Entering` is pending for as long as the core says so
            Admission::Waiting(_) => Err(self.rejected(Reason::Cancelled, &draft)),
        }
    }

    /// Completes the header, and finds out now whether the event can be encoded at all: a refused
    /// event takes no sequence.
    fn draft(
        &self,
        now: Duration,
        message: &mut DashStreamMessage,
        from_dlq: bool,
    ) -> Result<Draft, SendError> {
        let kind = message.message.as_ref().map(kind);
        let Some(header) = codec::header_mut(message) else {
            let text = "the message or its header is missing; set both";
            return Err(self.unserialisable(MessageId([0; 16]), "", text.to_owned()));
        };
        self.complete(now, header, kind);
        let Ok(id) = <[u8; 16]>::try_from(header.message_id.as_slice()) else {
            let text = format!(
                "message_id has {} bytes, not 16; leave it empty to have one made",
                header.message_id.len()
            );
            let thread = std::mem::take(&mut header.thread_id);
            return Err(self.unserialisable(MessageId([0; 16]), &thread, text));
        };
        let header = header.encoded_len();
        match codec::measure(message, self.config.max_message_bytes) {
            Ok(len) => {
                let measure = Measure { message: len, header };
                Ok(Draft { message_id: MessageId(id), measure, from_dlq })
            }
            Err(error) => {
                let thread = codec::header(message).map_or("", |h| &h.thread_id);
                Err(self.unserialisable(MessageId(id), thread, error.to_string()))
            }
        }
    }

    fn complete(&self, now: Duration, header: &mut Header, kind: Option<MessageType>) {
        header.sequence = 0;
        header.compression = 0;
        if header.message_id.is_empty() {
            header.message_id = self.encoders.make_id().0.to_vec();
        }
        if header.tenant_id.is_empty() {
            header.tenant_id.clone_from(&self.config.tenant);
        }
        if header.timestamp_us == 0 {
            let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
            header.timestamp_us = self.wall_us.saturating_add(now);
        }
        if header.schema_version == 0 {
            header.schema_version = codec::SCHEMA_VERSION;
        }
        if let Some(kind) = kind.filter(|_| header.r#type == 0) {
            header.r#type = kind as i32;
        }
    }

    fn unserialisable(&self, id: MessageId, thread: &str, detail: String) -> SendError {
        let mut state = self.lock();
        let reason = state.core.refuse(self.now(), id, thread, Reason::Unserialisable);
        self.pump_from(state);
        tracing::debug!(message_id = %id, reason = reason.as_str(), %detail, "event rejected");
        SendError { reason, message_id: id, detail }
    }

    fn rejected(&self, reason: Reason, draft: &Draft) -> SendError {
        let config = &self.config;
        let detail = match reason {
            Reason::QueueFull => format!(
                "the queue holds its most ({} events, {} bytes); slow down, or raise queue.*",
                config.queue.max_events, config.queue.max_bytes
            ),
            Reason::Oversize => format!(
                "it has {} bytes of protobuf, max_message_bytes is {}; split it or raise the limit",
                draft.measure.message, config.max_message_bytes
            ),
            Reason::RateLimited => {
                "its tenant's bucket is empty; slow down, or raise rate_limit.*".to_owned()
            }
            Reason::Closed => "the producer is closed or closing; open another one".to_owned(),
            _ => String::new(),
        };
        let id = draft.message_id;
        tracing::debug!(message_id = %id, reason = reason.as_str(), %detail, "event rejected");
        SendError { reason, message_id: id, detail }
    }

    /// Encodes outside the lock and hands the payload to the core.
    fn supply(
        &self,
        message: &mut DashStreamMessage,
        draft: &Draft,
        key: Key,
        sequence: u64,
    ) -> Accepted {
        let Draft { message_id, measure, .. } = *draft;
        if let Some(header) = codec::header_mut(message) {
            header.sequence = sequence;
        }
        let encoded = self.encoders.encode(message, measure.with_sequence(sequence));
        let mut state = self.lock();
        let now = self.now();
        match encoded {
            Ok(payload) => state.core.supply(now, key, payload),
            Err(error) => {
                // `measure` has looked for everything that can fail: the event ends all the same
                tracing::error!(%message_id, %error, "an accepted event could not be encoded");
                state.core.supply_failed(now, key);
            }
        }
        self.pump_at(state, now);
        Accepted { sequence, message_id }
    }
}

fn kind(message: &Message) -> MessageType {
    match message {
        Message::Event(_) => MessageType::Event,
        Message::StateDiff(_) => MessageType::StateDiff,
        Message::TokenChunk(_) => MessageType::TokenChunk,
        Message::ToolExecution(_) => MessageType::ToolExecution,
        Message::Checkpoint(_) => MessageType::Checkpoint,
        Message::Metrics(_) => MessageType::Metrics,
        Message::Error(_) => MessageType::Error,
        Message::EventBatch(_) => MessageType::EventBatch,
        Message::ExecutionTrace(_) => MessageType::ExecutionTrace,
    }
}

/// Waits for admission. Dropped while it waits, it leaves the line: `rejected{cancelled}`.
struct Entering<'a> {
    shared: &'a Shared,
    offer: Offer<'a>,
    /// When the send was called.
    called: Duration,
    ticket: Option<u64>,
}

impl Future for Entering<'_> {
    type Output = Admission;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Admission> {
        let shared = self.shared;
        let now = if self.ticket.is_none() { self.called } else { shared.now() };
        let mut state = shared.lock();
        let admission = match self.ticket {
            None => state.core.offer(now, &self.offer),
            Some(ticket) => state.core.enter(now, ticket, &self.offer),
        };
        if let Admission::Waiting(ticket) = admission {
            state.waiting.insert(ticket, cx.waker().clone());
            self.ticket = Some(ticket);
            return Poll::Pending;
        }
        if let Some(ticket) = self.ticket.take() {
            state.waiting.remove(&ticket);
        }
        Poll::Ready(admission)
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut state = self.shared.lock();
        state.waiting.remove(&ticket);
        state.core.leave(self.shared.now(), ticket);
        self.shared.pump_from(state);
    }
}
