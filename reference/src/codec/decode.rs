//! From bytes to a message: the one entry point for anything that comes from outside.

use std::sync::Arc;

use prost::Message as _;
use tracing::warn;

use super::config::{DecodePolicy, Legacy};
use super::counters::{CodecCounters, bump};
use super::error::{DecodeError, DecodeErrorKind as Kind, Place, Region};
use super::frame::{self, Shape};
use super::header::{HeaderFault, check_headers};
use super::inflate::Inflater;
use super::locate;
use super::scan::{Fault, scan};
use crate::proto::DashStreamMessage;

/// Decodes frames under one policy. Keeps a zstd context and a buffer between calls, so one decoder
/// per task is better than one per message.
#[derive(Debug)]
pub struct Decoder {
    policy: DecodePolicy,
    inflater: Inflater,
    counters: Arc<CodecCounters>,
}

impl Decoder {
    /// A decoder with counters of its own.
    #[must_use]
    pub fn new(policy: DecodePolicy) -> Self {
        Self::with_counters(policy, Arc::default())
    }

    /// A decoder that counts into `counters`, which others may share.
    #[must_use]
    pub fn with_counters(policy: DecodePolicy, counters: Arc<CodecCounters>) -> Self {
        Self { policy, inflater: Inflater::new(), counters }
    }

    /// What was decoded so far.
    #[must_use]
    pub fn counters(&self) -> &Arc<CodecCounters> {
        &self.counters
    }

    /// What this decoder accepts.
    #[must_use]
    pub fn policy(&self) -> &DecodePolicy {
        &self.policy
    }

    /// Decodes a record value.
    ///
    /// # Errors
    /// For any bytes that the policy does not accept; never panics, and never takes more than
    /// [`super::MEMORY_CEILING`] under the default limits.
    pub fn decode(&mut self, frame: &[u8]) -> Result<DashStreamMessage, DecodeError> {
        self.decode_record(frame, None)
    }

    /// Decodes a record value together with the record's `dashstream-crc32` header, which is
    /// checked when present.
    ///
    /// # Errors
    /// As [`Self::decode`], and when header and bytes do not belong together.
    pub fn decode_record(
        &mut self,
        frame: &[u8],
        crc32: Option<&[u8]>,
    ) -> Result<DashStreamMessage, DecodeError> {
        bump(&self.counters.messages_received);
        let result = crc32
            .map_or(Ok(()), |header| frame::verify_crc32(frame, header))
            .and_then(|()| self.decode_frame(frame));
        if result.is_err() {
            bump(&self.counters.decode_failures);
        }
        result
    }

    fn decode_frame(&mut self, frame: &[u8]) -> Result<DashStreamMessage, DecodeError> {
        let Self { policy, inflater, counters } = self;
        let cap = policy.limits.payload;
        check_size(frame, cap)?;
        let shape = frame::shape(frame);
        let message = match shape {
            Shape::Plain => {
                parse(frame.get(1..).unwrap_or_default(), 1, Region::Frame, policy, counters)
            }
            Shape::BarePlain if policy.legacy != Legacy::Refuse => {
                parse(frame, 0, Region::Frame, policy, counters)
            }
            Shape::Zstd => {
                let body = frame.get(1..).unwrap_or_default();
                let payload = inflater.inflate(body, 1, cap)?;
                parse(payload, 0, Region::Inflated, policy, counters)
            }
            Shape::BareZstd if policy.legacy == Legacy::ProtobufOrZstd => {
                let payload = inflater.inflate(frame, 0, cap)?;
                parse(payload, 0, Region::Inflated, policy, counters)
            }
            Shape::BarePlain | Shape::BareZstd | Shape::Unknown => Err(unknown_frame(frame, shape)),
        };
        inflater.trim();
        if message.is_ok() && matches!(shape, Shape::BarePlain | Shape::BareZstd) {
            let n = bump(&counters.legacy_decodes);
            if n.is_power_of_two() {
                warn!(count = n, ?shape, "let in a record without a frame byte");
            }
        }
        message
    }
}

fn check_size(frame: &[u8], cap: usize) -> Result<(), DecodeError> {
    if frame.is_empty() {
        let text = "no bytes: a frame has at least its frame byte".to_owned();
        return Err(DecodeError::new(Kind::Empty, Region::Frame, 0, text));
    }
    if frame.len() - 1 > cap {
        let text = format!("frame of {} bytes is over the payload limit of {cap}", frame.len());
        return Err(
            DecodeError::new(Kind::FrameTooLarge, Region::Frame, 0, text).with_limit(cap as u64)
        );
    }
    Ok(())
}

fn unknown_frame(frame: &[u8], shape: Shape) -> DecodeError {
    let first = frame.first().copied().unwrap_or_default();
    let text = match shape {
        Shape::BarePlain => "a protobuf message without a frame byte: allow legacy records".into(),
        Shape::BareZstd => "a zstd frame without a frame byte: allow legacy zstd records".into(),
        _ => format!("frame byte 0x{first:02x} is neither 0x00 (plain) nor 0x01 (zstd)"),
    };
    DecodeError::new(Kind::UnknownFrame, Region::Frame, 0, text)
}

/// From protobuf bytes, which start at `base` of their region, to a message that the policy
/// accepts.
fn parse(
    payload: &[u8],
    base: usize,
    region: Region,
    policy: &DecodePolicy,
    counters: &CodecCounters,
) -> Result<DashStreamMessage, DecodeError> {
    let limits = &policy.limits;
    if payload.len() > limits.payload {
        let text = format!("message is over the payload limit of {} bytes", limits.payload);
        return Err(DecodeError::new(Kind::PayloadTooLarge, region, base, text)
            .with_limit(limits.payload as u64));
    }
    let explain = |fault: Fault| describe(fault, base, region);
    // Too short to exceed any limit: then there is nothing that the scan could find.
    if payload.len() as u64 > limits.unreachable_up_to() {
        scan::<false>(payload, limits).map_err(explain)?;
    }
    let message =
        DashStreamMessage::decode(payload).map_err(|e| match scan::<true>(payload, limits) {
            Err(fault) => explain(fault),
            Ok(_) => DecodeError::new(Kind::Inconsistent, region, base, e.to_string()),
        })?;
    match check_headers(&message, |version| policy.schema.accepts(version)) {
        Ok(()) => Ok(message),
        Err(fault) if policy.lenient => {
            let n = bump(&counters.lenient_decodes);
            if n.is_power_of_two() {
                warn!(count = n, ?fault, "let in a message that strict decoding refuses");
            }
            Ok(message)
        }
        Err(fault) => Err(refuse(fault, payload, base, region, policy)),
    }
}

fn refuse(
    fault: HeaderFault,
    payload: &[u8],
    base: usize,
    region: Region,
    policy: &DecodePolicy,
) -> DecodeError {
    let (kind, member, text) = match fault {
        HeaderFault::NoMessage => {
            (Kind::MissingMessage, None, "envelope holds no message".to_owned())
        }
        HeaderFault::NoHeader { member } => {
            (Kind::MissingHeader, member, format!("{} has no header", Place(member)))
        }
        HeaderFault::Version { member, found } => {
            let policy = policy.schema.as_str();
            let place = Place(member);
            let text = format!(
                "{place} has schema version {found}, which policy `{policy}` does not accept"
            );
            (Kind::SchemaVersion, member, text)
        }
    };
    DecodeError::new(kind, region, base + locate::message(payload, member), text)
}

fn describe(fault: Fault, base: usize, region: Region) -> DecodeError {
    let text = match fault.kind {
        Kind::Truncated => "field reaches past the end of its message",
        Kind::Varint => "varint is longer than ten bytes or does not fit 64 bits",
        Kind::Key => "field key has an impossible number or wire type",
        Kind::WireType => "field has a wire type that its declared type does not have",
        Kind::Group => "group ends that never began",
        Kind::Utf8 => "string field is not utf-8",
        Kind::Depth => "messages are nested too deep",
        Kind::BatchMembers => "batch has too many members",
        Kind::RepeatedElements => "message has too many repeated elements",
        Kind::TotalElements => "frame has too many repeated elements",
        Kind::MapEntries => "frame has too many map entries",
        Kind::DecodedBytes => "decoding could take too much memory",
        _ => "bytes are not a message",
    };
    let text = match fault.limit {
        Some(limit) => format!("{text}: the limit is {limit}"),
        None => text.to_owned(),
    };
    let error = DecodeError::new(fault.kind, region, base + fault.offset, text);
    fault.limit.into_iter().fold(error, DecodeError::with_limit)
}
