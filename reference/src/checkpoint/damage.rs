//! Why a file is not a checkpoint: a closed list of reasons, each one a label of a metric.

use super::error::{CheckpointError, ErrorKind};

/// The check that failed. The names in [`Self::as_str`] are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The file is gone, or is no plain file.
    Missing,
    /// Shorter than its header says, or than any header.
    Short,
    /// Bytes behind the end.
    Trailing,
    /// Not the magic of a checkpoint.
    Magic,
    /// A format version that never was.
    Version,
    /// The header's checksum does not match.
    HeaderCrc,
    /// The header's fields cannot be read, or one has an impossible value.
    HeaderFields,
    /// The file's name is not the one that its header makes.
    Name,
    /// The payload's checksum does not match.
    PayloadCrc,
    /// The compressed payload does not inflate to what the header says.
    Compression,
    /// A version-1 payload that is not what version 1 writes.
    Payload,
}

impl Reason {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 11] = [
        Self::Missing,
        Self::Short,
        Self::Trailing,
        Self::Magic,
        Self::Version,
        Self::HeaderCrc,
        Self::HeaderFields,
        Self::Name,
        Self::PayloadCrc,
        Self::Compression,
        Self::Payload,
    ];

    /// The stable name, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Short => "short",
            Self::Trailing => "trailing",
            Self::Magic => "magic",
            Self::Version => "version",
            Self::HeaderCrc => "header_crc",
            Self::HeaderFields => "header_fields",
            Self::Name => "name",
            Self::PayloadCrc => "payload_crc",
            Self::Compression => "compression",
            Self::Payload => "payload",
        }
    }
}

/// Why bytes did not become a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes are wrong: the file counts as damaged.
    Damage(Reason, String),
    /// A newer format than this reader's, undamaged as far as one can tell.
    Newer(u32),
    /// The bytes are right, the reader is not: type, schema or migration.
    Reader(ErrorKind, String),
}

impl Fault {
    pub(super) fn damage(reason: Reason, message: impl Into<String>) -> Self {
        Self::Damage(reason, message.into())
    }

    /// Whether a header says it, so that the file is none of what `list` tells of.
    pub(super) fn is_of_header(&self) -> bool {
        use Reason::{HeaderCrc, HeaderFields, Magic, Name, Version};
        match self {
            Self::Newer(_) => true,
            Self::Damage(reason, _) => {
                matches!(reason, Magic | Version | HeaderCrc | HeaderFields | Name)
            }
            Self::Reader(..) => false,
        }
    }

    pub(super) fn into_error(self) -> CheckpointError {
        match self {
            Self::Damage(Reason::Payload, message) => {
                CheckpointError::new(ErrorKind::DeserializationFailed, message)
            }
            Self::Damage(_, message) => {
                CheckpointError::new(ErrorKind::IntegrityCheckFailed, message)
            }
            Self::Newer(found) => {
                let supported = super::format::VERSION;
                let kind = ErrorKind::SchemaMismatch { found, supported };
                let message =
                    format!("format version {found}, this reader knows up to {supported}; upgrade");
                CheckpointError::new(kind, message)
            }
            Self::Reader(kind, message) => CheckpointError::new(kind, message),
        }
    }
}
