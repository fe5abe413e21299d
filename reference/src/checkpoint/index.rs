//! The index: a cache of headers, believed only where it agrees with the directory's names.
//!
//! It is a string of the very headers of the files, each with its own checksum. A header makes the
//! name of its file; an entry whose name is not in the directory is not used, and a file that no
//! entry names has its own header read. So no state of the index changes an answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::format::{self, Bytes, Known};
use super::name::FileName;

const MAGIC: [u8; 4] = *b"DCHI";
const FIXED: usize = 40;
/// Most bytes that are read as an index.
pub(super) const LIMIT: u64 = 1 << 32;

/// What was wrong with the index. The names in [`Self::as_str`] are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum IndexDamage {
    /// There are checkpoints and no index.
    Missing,
    /// The system would not let it be read.
    Unreadable,
    /// Not the bytes of an index.
    Corrupt,
    /// Written by a newer format.
    Newer,
    /// It belongs to another directory.
    Foreign,
    /// It lacks files that are there.
    Stale,
    /// It names files that are not there.
    Dangling,
}

impl IndexDamage {
    /// Every kind, in declaration order.
    pub const ALL: [Self; 7] = [
        Self::Missing,
        Self::Unreadable,
        Self::Corrupt,
        Self::Newer,
        Self::Foreign,
        Self::Stale,
        Self::Dangling,
    ];

    /// The stable name, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Corrupt => "corrupt",
            Self::Newer => "newer",
            Self::Foreign => "foreign",
            Self::Stale => "stale",
            Self::Dangling => "dangling",
        }
    }
}

/// Headers by the name that each makes.
pub(super) type Entries = BTreeMap<FileName, Arc<Known>>;

/// An index over headers, each as the bytes that its file starts with.
pub(super) fn encode<'a>(identity: [u8; 16], headers: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(MAGIC);
    bytes.extend(format::VERSION.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(identity);
    bytes.extend([0; 12]);
    let mut count = 0_u32;
    for header in headers {
        bytes.extend_from_slice(header);
        count = count.saturating_add(1);
    }
    let body = (bytes.len() - FIXED) as u64;
    if let Some(at) = bytes.get_mut(28..32) {
        at.copy_from_slice(&count.to_le_bytes());
    }
    if let Some(at) = bytes.get_mut(32..40) {
        at.copy_from_slice(&body.to_le_bytes());
    }
    let crc = crc32fast::hash(bytes.get(12..).unwrap_or_default());
    if let Some(at) = bytes.get_mut(8..12) {
        at.copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

/// Reads an index of the directory with this identity; all of it, or none.
pub(super) fn parse(bytes: &[u8], identity: [u8; 16]) -> Result<Entries, IndexDamage> {
    use IndexDamage::{Corrupt, Foreign, Newer};
    let read = Bytes(bytes);
    if bytes.get(..4) != Some(MAGIC.as_slice()) {
        return Err(Corrupt);
    }
    match read.u32(4).ok_or(Corrupt)? {
        format::VERSION => {}
        newer if newer > format::VERSION => return Err(Newer),
        _ => return Err(Corrupt),
    }
    let rest = bytes.get(12..).ok_or(Corrupt)?;
    if read.u32(8) != Some(crc32fast::hash(rest)) {
        return Err(Corrupt);
    }
    if bytes.get(12..28) != Some(identity.as_slice()) {
        return Err(Foreign);
    }
    let count = read.u32(28).ok_or(Corrupt)?;
    let mut body = bytes.get(FIXED..).ok_or(Corrupt)?;
    if read.u64(32) != Some(body.len() as u64) {
        return Err(Corrupt);
    }
    let mut entries = Entries::new();
    for _ in 0..count {
        let parsed = format::parse(body).map_err(|_| Corrupt)?;
        let (bytes, rest) = body.split_at_checked(parsed.len).ok_or(Corrupt)?;
        entries.insert(parsed.name, Arc::new(Known { header: parsed.header, bytes: bytes.into() }));
        body = rest;
    }
    if body.is_empty() { Ok(entries) } else { Err(Corrupt) }
}
