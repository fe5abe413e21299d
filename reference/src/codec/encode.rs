//! From a message to the bytes of a record value.

use std::fmt;
use std::io::Cursor;

use bytes::Bytes;
use prost::Message as _;
use zstd::zstd_safe::{self, CCtx, CParameter};

use super::config::{CodecConfig, SchemaPolicy};
use super::error::{DecodeErrorKind, EncodeError};
use super::frame::{FRAME_PLAIN, FRAME_ZSTD};
use super::header::{HeaderFault, check_headers, set_compression};
use super::limits::Limits;
use super::pool::FramePool;
use super::scan::scan;
use crate::proto::attribute_value::Value;
use crate::proto::dash_stream_message::Message;
use crate::proto::{AttributeValue, CompressionType, DashStreamMessage, Event};

/// Buffers larger than this are given back after use instead of being kept.
const KEEP_CAPACITY: usize = 1024 * 1024;

/// A message as one record value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The record value: frame byte and body.
    pub frame: Bytes,
    /// Whether the body is a zstd frame.
    pub compressed: bool,
    /// Protobuf bytes of the message with compression NONE in its headers: what the threshold and
    /// the size limits look at.
    pub payload_len: usize,
    /// True if compression was due and zstd failed; the frame is plain then.
    pub compression_failed: bool,
}

/// Encodes messages under one configuration. Keeps a zstd context and buffers between calls, so one
/// encoder per producer is better than one per message.
pub struct Encoder {
    config: CodecConfig,
    limits: Limits,
    pub(super) context: Option<CCtx<'static>>,
    pub(super) payload: Vec<u8>,
    pub(super) frame: Vec<u8>,
    frames: FramePool,
    /// Calls into zstd: at most one per message.
    pub(super) compressions: u64,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder with a zstd context for this level and checksum setting. If zstd has no memory
    /// for one, messages stay plain and say so in [`Encoded::compression_failed`].
    #[must_use]
    pub fn new(config: &CodecConfig) -> Self {
        Self::sharing(config, &FramePool::default())
    }

    /// One that takes the buffers of its frames where others do.
    pub(crate) fn sharing(config: &CodecConfig, frames: &FramePool) -> Self {
        let context = if config.compression { new_context(config) } else { None };
        Self {
            config: config.clone(),
            limits: Limits::default(),
            context,
            payload: Vec::new(),
            frame: Vec::new(),
            frames: frames.clone(),
            compressions: 0,
        }
    }

    /// Encodes a message. Sets `Header.compression` to what the frame is, in every header, and
    /// changes nothing else: decoding gives back the message as it is after the call.
    ///
    /// # Errors
    /// When a strict decoder would refuse the result, or the message is over the size limit.
    pub fn encode(&mut self, message: &mut DashStreamMessage) -> Result<Encoded, EncodeError> {
        check_form(message, &self.limits)?;
        set_compression(message, CompressionType::None);
        let payload_len = message.encoded_len();
        self.encode_measured(message, payload_len)
    }

    /// Encodes a message that [`measure`] has looked at and found to be `payload_len` bytes long,
    /// or that only changed in a way that the caller has added to the length.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_measured(
        &mut self,
        message: &mut DashStreamMessage,
        payload_len: usize,
    ) -> Result<Encoded, EncodeError> {
        if payload_len > self.config.max_payload {
            let limit = self.config.max_payload;
            return Err(EncodeError::Oversize { size: payload_len, limit });
        }
        let mut compression_failed = false;
        if self.config.compression && payload_len > self.config.threshold {
            match self.compress(message, payload_len)? {
                Compressed::Smaller(frame) => {
                    return Ok(Encoded {
                        frame,
                        compressed: true,
                        payload_len,
                        compression_failed,
                    });
                }
                Compressed::NotSmaller => {}
                Compressed::Failed => compression_failed = true,
            }
            set_compression(message, CompressionType::None);
        }
        let frame = self.frames.frame(payload_len + 1, |frame| {
            frame.push(FRAME_PLAIN);
            message.encode_raw(frame);
        });
        check_counts(frame.get(1..).unwrap_or_default(), &self.limits)?;
        Ok(Encoded { frame, compressed: false, payload_len, compression_failed })
    }

    /// The one compression of a message.
    fn compress(
        &mut self,
        message: &mut DashStreamMessage,
        payload_len: usize,
    ) -> Result<Compressed, EncodeError> {
        set_compression(message, CompressionType::Zstd);
        self.payload.clear();
        message.encode_raw(&mut self.payload);
        let outcome = check_counts(&self.payload, &self.limits).map(|()| self.deflate(payload_len));
        for buffer in [&mut self.payload, &mut self.frame] {
            if buffer.capacity() > KEEP_CAPACITY {
                *buffer = Vec::new();
            }
        }
        outcome
    }

    /// Compresses the payload buffer behind a frame byte.
    fn deflate(&mut self, payload_len: usize) -> Compressed {
        let Some(context) = &mut self.context else { return Compressed::Failed };
        self.frame.clear();
        self.frame.reserve(1 + zstd_safe::compress_bound(self.payload.len()));
        self.frame.push(FRAME_ZSTD);
        self.compressions += 1;
        let mut behind_frame_byte = Cursor::new(std::mem::take(&mut self.frame));
        behind_frame_byte.set_position(1);
        let result = context.compress2(&mut behind_frame_byte, &self.payload);
        self.frame = behind_frame_byte.into_inner();
        match result {
            Err(_) => Compressed::Failed,
            // Its flags make the inflated message a little longer than the plain one.
            Ok(len) if len < payload_len && self.payload.len() <= self.config.max_payload => {
                let len = self.frame.len();
                Compressed::Smaller(self.frames.frame(len, |to| to.extend_from_slice(&self.frame)))
            }
            Ok(_) => Compressed::NotSmaller,
        }
    }
}

/// Checks that [`Encoder::encode`] will take a message and says how many protobuf bytes it has.
/// Sets compression NONE in every header, as the length is that of the plain message. Limits on
/// counts are looked at only up to `max_payload` bytes; a longer message is for the caller to
/// refuse.
///
/// # Errors
/// What [`Encoder::encode`] would say, but for the size.
pub fn measure(message: &mut DashStreamMessage, max_payload: usize) -> Result<usize, EncodeError> {
    let limits = Limits::default();
    check_form(message, &limits)?;
    set_compression(message, CompressionType::None);
    let len = message.encoded_len();
    if len <= max_payload && len as u64 > limits.counts_unreachable_up_to() {
        check_counts(&message.encode_to_vec(), &limits)?;
    }
    Ok(len)
}

/// Headers, schema versions and depth.
fn check_form(message: &DashStreamMessage, limits: &Limits) -> Result<(), EncodeError> {
    check_headers(message, |version| SchemaPolicy::Exact.accepts(version)).map_err(|fault| {
        match fault {
            HeaderFault::NoMessage => EncodeError::MissingMessage,
            HeaderFault::NoHeader { member } => EncodeError::MissingHeader { member },
            HeaderFault::Version { member, found } => EncodeError::SchemaVersion { member, found },
        }
    })?;
    check_depth(message, limits.depth())
}

/// Refuses what a strict decoder's scan would refuse. Nothing to do for most messages: they are too
/// short to exceed a limit.
fn check_counts(payload: &[u8], limits: &Limits) -> Result<(), EncodeError> {
    if payload.len() as u64 <= limits.counts_unreachable_up_to() {
        return Ok(());
    }
    scan::<false>(payload, limits).map(|_| ()).map_err(|fault| EncodeError::Limit {
        kind: fault.kind,
        limit: limits.of(fault.kind).unwrap_or_default(),
    })
}

enum Compressed {
    Smaller(Bytes),
    NotSmaller,
    Failed,
}

fn new_context(config: &CodecConfig) -> Option<CCtx<'static>> {
    let mut context = CCtx::try_create()?;
    context.set_parameter(CParameter::CompressionLevel(config.level)).ok()?;
    context.set_parameter(CParameter::ChecksumFlag(config.checksum)).ok()?;
    Some(context)
}

/// Attribute values are the only messages that nest without end. Checked before anything recurses
/// into them.
fn check_depth(message: &DashStreamMessage, limit: u32) -> Result<(), EncodeError> {
    let fits = match &message.message {
        // Levels: the event, then entry and value of each attribute.
        Some(Message::Event(event)) => event_fits(event, limit.saturating_sub(1)),
        Some(Message::EventBatch(batch)) => {
            batch.events.iter().all(|event| event_fits(event, limit.saturating_sub(2)))
        }
        _ => true,
    };
    if fits {
        Ok(())
    } else {
        Err(EncodeError::Limit { kind: DecodeErrorKind::Depth, limit: limit.into() })
    }
}

fn event_fits(event: &Event, left: u32) -> bool {
    event.attributes.values().all(|value| value_fits(value, left.saturating_sub(2)))
}

/// Whether what is in a value nests at most `left` levels.
fn value_fits(value: &AttributeValue, left: u32) -> bool {
    match &value.value {
        // The array, then each value.
        Some(Value::ArrayValue(array)) => {
            left > 0
                && (array.values.is_empty() || left > 1)
                && array.values.iter().all(|value| value_fits(value, left - 2))
        }
        // The map, then each entry, then its value.
        Some(Value::MapValue(map)) => {
            left > 0
                && map.values.values().all(|value| match value.value {
                    // An entry without a value is written without one.
                    None => left > 1,
                    Some(_) => left > 2 && value_fits(value, left - 3),
                })
        }
        _ => true,
    }
}
