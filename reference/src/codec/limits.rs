//! Bounds on what is decoded, and why they hold memory under a ceiling.

use super::error::DecodeErrorKind;
use super::frame::MAX_PAYLOAD;
use super::schema::MAX_COST_PER_BYTE;

/// Messages can be nested no deeper than this, whatever `Limits::depth` says: it is the protobuf
/// library's own bound, and the original's.
pub const MAX_DEPTH: u32 = 100;

/// With the default [`Limits`], decoding any bytes takes no more than this many bytes of memory:
/// the frame given, the buffer it inflates into, and everything allocated for the message. 256 MiB.
pub const MEMORY_CEILING: usize = 256 * 1024 * 1024;

/// Bounds on what is decoded. The counts are checked by a scan over the protobuf bytes that
/// allocates nothing, before anything else is done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Protobuf bytes of one message, inflated; the frame may be one byte longer. Default: 10 MiB.
    pub payload: usize,
    /// Messages nested in the envelope; map entries are messages. Default and maximum: 100.
    pub depth: u32,
    /// Events in a batch. Default: 100 000.
    pub batch_members: u64,
    /// Elements of repeated fields in any one message, batch members aside. Default: 1 000 000.
    pub repeated: u64,
    /// Elements of repeated fields in the whole frame, batch members included. Default: 2 000 000.
    pub elements: u64,
    /// Entries of maps in the whole frame. Default: 200 000.
    pub map_entries: u64,
    /// Upper bound on the memory that decoding the message may take, computed by the scan from the
    /// sizes of the types. Default: 224 MiB.
    pub decoded_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload: MAX_PAYLOAD,
            depth: MAX_DEPTH,
            batch_members: 100_000,
            repeated: 1_000_000,
            elements: 2_000_000,
            map_entries: 200_000,
            decoded_bytes: 224 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// The depth that binds.
    pub(super) fn depth(&self) -> u32 {
        self.depth.min(MAX_DEPTH)
    }

    /// The limit that an error of this kind ran into.
    pub(super) fn of(&self, kind: DecodeErrorKind) -> Option<u64> {
        match kind {
            DecodeErrorKind::FrameTooLarge | DecodeErrorKind::PayloadTooLarge => {
                Some(self.payload as u64)
            }
            DecodeErrorKind::Depth => Some(self.depth().into()),
            DecodeErrorKind::BatchMembers => Some(self.batch_members),
            DecodeErrorKind::RepeatedElements => Some(self.repeated),
            DecodeErrorKind::TotalElements => Some(self.elements),
            DecodeErrorKind::MapEntries => Some(self.map_entries),
            DecodeErrorKind::DecodedBytes => Some(self.decoded_bytes),
            _ => None,
        }
    }

    /// Payloads up to this many bytes cannot exceed any limit but [`Self::depth`]: the smallest
    /// packed element takes one byte, the smallest message two, and no byte costs more memory than
    /// [`MAX_COST_PER_BYTE`].
    pub(super) fn counts_unreachable_up_to(&self) -> u64 {
        (self.batch_members.saturating_mul(2))
            .min(self.repeated)
            .min(self.elements)
            .min(self.map_entries.saturating_mul(2))
            .min(self.decoded_bytes / u64::from(MAX_COST_PER_BYTE))
    }

    /// Payloads up to this many bytes need no scan before they are decoded. A nested message takes
    /// at least two bytes; the deepest limit, [`MAX_DEPTH`], the protobuf library enforces itself.
    pub(super) fn unreachable_up_to(&self) -> u64 {
        let depth = match self.depth() {
            MAX_DEPTH => u64::MAX,
            depth => u64::from(depth) * 2,
        };
        self.counts_unreachable_up_to().min(depth)
    }
}
