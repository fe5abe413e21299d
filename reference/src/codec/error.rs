//! What can be wrong with a frame or a message.

use std::fmt;

use thiserror::Error;

/// What was wrong. The names in [`Self::as_str`] are stable: they appear in JSON output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// No bytes at all.
    Empty,
    /// The first byte is no frame byte (and, with legacy allowed, starts no bare message either).
    UnknownFrame,
    /// The frame is longer than the payload cap plus its frame byte.
    FrameTooLarge,
    /// The message inside is, or inflates to, more than the payload cap.
    PayloadTooLarge,
    /// The zstd frame is cut short, corrupt, fails its checksum or needs a dictionary.
    Zstd,
    /// Bytes follow the one zstd frame.
    ZstdTrailing,
    /// A field, length or message reaches past the end of what holds it.
    Truncated,
    /// A varint is longer than ten bytes or does not fit 64 bits.
    Varint,
    /// A field key with number 0, above 2^29 - 1, or with a wire type that does not exist.
    Key,
    /// A known field in a wire type that its declared type does not have.
    WireType,
    /// A group ends that never began, or under another number.
    Group,
    /// A string field is not UTF-8.
    Utf8,
    /// Messages are nested deeper than `Limits::depth`.
    Depth,
    /// A batch has more members than [`super::Limits::batch_members`].
    BatchMembers,
    /// One message has more repeated elements than [`super::Limits::repeated`].
    RepeatedElements,
    /// The frame has more repeated elements in all than [`super::Limits::elements`].
    TotalElements,
    /// The frame has more map entries in all than [`super::Limits::map_entries`].
    MapEntries,
    /// Decoding could take more memory than [`super::Limits::decoded_bytes`].
    DecodedBytes,
    /// The envelope holds no message.
    MissingMessage,
    /// The message, or a member of its batch, has no header.
    MissingHeader,
    /// A header's schema version is not one the policy accepts.
    SchemaVersion,
    /// The CRC32 record header is not eight lower-case hex digits.
    CrcMalformed,
    /// The record value is not what the CRC32 record header was computed from.
    CrcMismatch,
    /// The decoder and its own scan disagree; never seen, kept typed instead of a panic.
    Inconsistent,
}

impl DecodeErrorKind {
    /// Every kind, in declaration order.
    pub const ALL: [Self; 24] = [
        Self::Empty,
        Self::UnknownFrame,
        Self::FrameTooLarge,
        Self::PayloadTooLarge,
        Self::Zstd,
        Self::ZstdTrailing,
        Self::Truncated,
        Self::Varint,
        Self::Key,
        Self::WireType,
        Self::Group,
        Self::Utf8,
        Self::Depth,
        Self::BatchMembers,
        Self::RepeatedElements,
        Self::TotalElements,
        Self::MapEntries,
        Self::DecodedBytes,
        Self::MissingMessage,
        Self::MissingHeader,
        Self::SchemaVersion,
        Self::CrcMalformed,
        Self::CrcMismatch,
        Self::Inconsistent,
    ];

    /// The stable name, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::UnknownFrame => "unknown_frame",
            Self::FrameTooLarge => "frame_too_large",
            Self::PayloadTooLarge => "payload_too_large",
            Self::Zstd => "zstd",
            Self::ZstdTrailing => "zstd_trailing",
            Self::Truncated => "truncated",
            Self::Varint => "varint",
            Self::Key => "key",
            Self::WireType => "wire_type",
            Self::Group => "group",
            Self::Utf8 => "utf8",
            Self::Depth => "depth",
            Self::BatchMembers => "batch_members",
            Self::RepeatedElements => "repeated_elements",
            Self::TotalElements => "total_elements",
            Self::MapEntries => "map_entries",
            Self::DecodedBytes => "decoded_bytes",
            Self::MissingMessage => "missing_message",
            Self::MissingHeader => "missing_header",
            Self::SchemaVersion => "schema_version",
            Self::CrcMalformed => "crc_malformed",
            Self::CrcMismatch => "crc_mismatch",
            Self::Inconsistent => "inconsistent",
        }
    }

    /// True when a configurable limit bound, rather than the bytes being wrong.
    #[must_use]
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::FrameTooLarge
                | Self::PayloadTooLarge
                | Self::Depth
                | Self::BatchMembers
                | Self::RepeatedElements
                | Self::TotalElements
                | Self::MapEntries
                | Self::DecodedBytes
        )
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which bytes an offset counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// The bytes as given, frame byte included.
    Frame,
    /// The protobuf message that a compressed frame inflated to.
    Inflated,
}

impl Region {
    /// `frame` or `inflated`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Inflated => "inflated",
        }
    }
}

/// Why bytes did not become a message: what, where, and the limit that bound.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message} (byte {offset} of the {})", match region {
    Region::Frame => "frame",
    Region::Inflated => "inflated message",
})]
pub struct DecodeError {
    /// What was wrong.
    pub kind: DecodeErrorKind,
    /// Where: the byte at which the offending field, message or frame starts.
    pub offset: usize,
    /// Which bytes `offset` counts.
    pub region: Region,
    /// The limit that bound, if one did.
    pub limit: Option<u64>,
    /// For people; names the remedy where there is one. Holds no bytes of the message.
    pub message: String,
}

impl DecodeError {
    pub(super) fn new(
        kind: DecodeErrorKind,
        region: Region,
        offset: usize,
        message: String,
    ) -> Self {
        Self { kind, offset, region, limit: None, message }
    }

    pub(super) fn with_limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// Why a message did not become a frame. What is refused here is what a strict decoder would
/// refuse.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The protobuf message is over the cap.
    #[error("message of {size} protobuf bytes is over the limit of {limit}: raise it or split it")]
    Oversize {
        /// Bytes of the message with compression NONE in its headers.
        size: usize,
        /// The cap, [`super::CodecConfig::max_payload`].
        limit: usize,
    },
    /// The envelope is empty.
    #[error("envelope holds no message: set `message`")]
    MissingMessage,
    /// The message, or a member of its batch, has no header.
    #[error("{} has no header: set `header`", Whose(*member))]
    MissingHeader {
        /// Position of the batch member, or `None` for the message itself.
        member: Option<usize>,
    },
    /// A header asks for a schema version that this encoder does not write.
    #[error("{} has schema version {found}: set `schema_version` to 1", Whose(*member))]
    SchemaVersion {
        /// Position of the batch member, or `None` for the message itself.
        member: Option<usize>,
        /// What the header says.
        found: u32,
    },
    /// The message is over one of the default decoding limits, so no strict decoder would take it.
    #[error("message is over the {kind} limit of {limit}: split it")]
    Limit {
        /// Which limit; [`DecodeErrorKind::is_limit`] holds.
        kind: DecodeErrorKind,
        /// Its value.
        limit: u64,
    },
}

/// Names the message or the batch member in an error text.
pub(super) struct Whose(pub(super) Option<usize>);

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("message"),
            Some(member) => write!(f, "batch member {member}"),
        }
    }
}
