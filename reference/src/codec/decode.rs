//! From bytes to a message: the one entry point for anything that comes from outside.

use std::sync::Arc;

use prost::Message as _;
use tracing::warn;

use super::config::{DecodePolicy, Legacy};
use super::counters::{CodecCounters, bump};
use super::error::{DecodeError, DecodeErrorKind as Kind, Region, Whose};
use super::frame::{self, Shape};
use super::header::{HeaderFault, check_headers};
use super::inflate::Inflater;
use super::limits::Limits;
use super::locate;
use super::scan::{Fault, scan};
use crate::proto::DashStreamMessage;

/// Decodes frames under one policy. Keeps a zstd context and a buffer between calls, so one decoder
/// per task is better than one per message.
#[derive(Debug)]
pub struct Decoder {
    policy: DecodePolicy,
    pub(super) inflater: Inflater,
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
        // Filled in place: an envelope is some hundred bytes, not to be moved about.
        let mut message = DashStreamMessage::default();
        let result = crc32
            .map_or(Ok(()), |header| frame::verify_crc32(frame, header))
            .and_then(|()| self.decode_frame(frame, &mut message));
        self.inflater.trim();
        match result {
            Ok(()) => Ok(message),
            Err(error) => {
                bump(&self.counters.decode_failures);
                Err(error)
            }
        }
    }

    fn decode_frame(
        &mut self,
        frame: &[u8],
        message: &mut DashStreamMessage,
    ) -> Result<(), DecodeError> {
        let Self { policy, inflater, counters } = self;
        let cap = policy.limits.payload;
        check_size(frame, cap)?;
        let shape = frame::shape(frame);
        let allowed = match shape {
            Shape::Plain | Shape::Zstd => true,
            Shape::BarePlain => policy.legacy != Legacy::Refuse,
            Shape::BareZstd => policy.legacy == Legacy::ProtobufOrZstd,
            Shape::Unknown => false,
        };
        if !allowed {
            return Err(unknown_frame(frame, shape));
        }
        let legacy = matches!(shape, Shape::BarePlain | Shape::BareZstd);
        let base = usize::from(!legacy);
        let body = frame.get(base..).unwrap_or_default();
        let place = if matches!(shape, Shape::Plain | Shape::BarePlain) {
            Place { payload: body, base, region: Region::Frame }
        } else {
            let payload = inflater.inflate(body, base, cap)?;
            Place { payload, base: 0, region: Region::Inflated }
        };
        place.parse(policy, counters, message)?;
        if legacy {
            let n = bump(&counters.legacy_decodes);
            if n.is_power_of_two() {
                warn!(count = n, ?shape, "let in a record without a frame byte");
            }
        }
        Ok(())
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

/// Protobuf bytes, and where they came from.
#[derive(Clone, Copy)]
struct Place<'a> {
    payload: &'a [u8],
    /// Where the bytes start in their region.
    base: usize,
    region: Region,
}

impl Place<'_> {
    /// Reads the bytes into an empty message, if the policy accepts it.
    fn parse(
        self,
        policy: &DecodePolicy,
        counters: &CodecCounters,
        message: &mut DashStreamMessage,
    ) -> Result<(), DecodeError> {
        let Self { payload, .. } = self;
        let limits = &policy.limits;
        if payload.len() > limits.payload {
            return Err(self.too_large(limits));
        }
        // Too short to exceed any limit: then there is nothing for the scan to find.
        if payload.len() as u64 > limits.unreachable_up_to() {
            scan::<false>(payload, limits).map_err(|fault| self.explain(fault, limits))?;
        }
        message.merge(payload).map_err(|e| self.find(&e, limits))?;
        match check_headers(message, |version| policy.schema.accepts(version)) {
            Ok(()) => Ok(()),
            Err(fault) if policy.lenient => {
                let n = bump(&counters.lenient_decodes);
                if n.is_power_of_two() {
                    warn!(count = n, ?fault, "let in a message that strict decoding refuses");
                }
                Ok(())
            }
            Err(fault) => Err(self.refuse(fault, policy)),
        }
    }

    #[cold]
    fn too_large(self, limits: &Limits) -> DecodeError {
        let limit = limits.payload;
        let text = format!("message is over the payload limit of {limit} bytes");
        DecodeError::new(Kind::PayloadTooLarge, self.region, self.base, text)
            .with_limit(limit as u64)
    }

    /// Finds what the protobuf library refused, which tells neither kind nor place.
    #[cold]
    fn find(self, error: &prost::DecodeError, limits: &Limits) -> DecodeError {
        match scan::<true>(self.payload, limits) {
            Err(fault) => self.explain(fault, limits),
            Ok(_) => {
                DecodeError::new(Kind::Inconsistent, self.region, self.base, error.to_string())
            }
        }
    }

    #[cold]
    fn refuse(self, fault: HeaderFault, policy: &DecodePolicy) -> DecodeError {
        let (kind, member, text) = match fault {
            HeaderFault::NoMessage => {
                (Kind::MissingMessage, None, "envelope holds no message".to_owned())
            }
            HeaderFault::NoHeader { member } => {
                (Kind::MissingHeader, member, format!("{} has no header", Whose(member)))
            }
            HeaderFault::Version { member, found } => {
                let policy = policy.schema.as_str();
                let whose = Whose(member);
                let text = format!(
                    "{whose} has schema version {found}, which policy `{policy}` does not accept"
                );
                (Kind::SchemaVersion, member, text)
            }
        };
        let offset = self.base + locate::message(self.payload, member);
        DecodeError::new(kind, self.region, offset, text)
    }

    #[cold]
    fn explain(self, fault: Fault, limits: &Limits) -> DecodeError {
        let text = words(fault.kind);
        let limit = limits.of(fault.kind);
        let text = match limit {
            Some(limit) => format!("{text}: the limit is {limit}"),
            None => text.to_owned(),
        };
        let error = DecodeError::new(fault.kind, self.region, self.base + fault.offset, text);
        limit.into_iter().fold(error, DecodeError::with_limit)
    }
}

fn words(kind: Kind) -> &'static str {
    match kind {
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
    }
}
