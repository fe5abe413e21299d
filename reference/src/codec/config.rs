//! Settings of the encoder, and what the decoder accepts.

use super::frame::{MAX_PAYLOAD, SCHEMA_VERSION};
use super::limits::Limits;

/// How messages are framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecConfig {
    /// Whether messages over the threshold are compressed at all. Default: true.
    pub compression: bool,
    /// Protobuf bytes up to which a message stays plain; one more and it is compressed. Default:
    /// 512.
    pub threshold: usize,
    /// zstd level; zstd clamps it to what it has. Default: 3.
    pub level: i32,
    /// Whether compressed frames end in zstd's content checksum. Default: true.
    pub checksum: bool,
    /// Protobuf bytes above which a message is refused. Default: 10 MiB, the protocol's own cap.
    pub max_payload: usize,
}

impl Default for CodecConfig {
    fn default() -> Self {
        Self {
            compression: true,
            threshold: 512,
            level: 3,
            checksum: true,
            max_payload: MAX_PAYLOAD,
        }
    }
}

/// Which schema versions a decoder accepts; 0 is read as 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchemaPolicy {
    /// The current version, 1.
    #[default]
    Exact,
    /// The current version and newer ones, whose new fields are skipped.
    Forward,
    /// The current version and older ones.
    Backward,
}

impl SchemaPolicy {
    /// Whether a header with this version is accepted.
    #[must_use]
    pub const fn accepts(self, version: u32) -> bool {
        let version = if version == 0 { SCHEMA_VERSION } else { version };
        match self {
            Self::Exact => version == SCHEMA_VERSION,
            Self::Forward => version >= SCHEMA_VERSION,
            Self::Backward => version <= SCHEMA_VERSION,
        }
    }

    /// `exact`, `forward` or `backward`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Forward => "forward",
            Self::Backward => "backward",
        }
    }
}

/// Which records without a frame byte a decoder accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Legacy {
    /// None.
    #[default]
    Refuse,
    /// A bare protobuf message.
    Protobuf,
    /// A bare protobuf message, or a bare zstd frame that holds one.
    ProtobufOrZstd,
}

/// What a decoder accepts. The default is strict; every other way in has to be asked for, is under
/// the same limits, and is logged and counted when it is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecodePolicy {
    /// Schema versions, checked in the message's header and in every batch member's.
    pub schema: SchemaPolicy,
    /// Records without a frame byte.
    pub legacy: Legacy,
    /// Let an empty envelope, a missing header or another schema version pass.
    pub lenient: bool,
    /// Bounds on what is decoded.
    pub limits: Limits,
}
