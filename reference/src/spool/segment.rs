//! A segment: its name, its header, and how it is read when parts of it are damaged.

use super::entry::{self, Found, MARKER};

/// First bytes of a segment.
pub const MAGIC: [u8; 4] = *b"DSPL";
/// Version of the format written here. Newer ones are left alone and counted.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub(super) const HEADER: usize = 24;

const SUFFIX: &str = ".spool";

/// What may be wrong in a spool's directory; each costs only what it hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// A segment ends in something that is no entry, as after a crash during an append.
    TornTail,
    /// Entries in the midst of a segment, or its header, do not match their checksums.
    Corrupt,
    /// A file that is none of the spool's.
    Foreign,
    /// A segment written by a newer version.
    Newer,
    /// A segment, or a part of it, that the system did not read.
    Unreadable,
}

impl Damage {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::TornTail, Self::Corrupt, Self::Foreign, Self::Newer, Self::Unreadable];

    /// The label value in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TornTail => "torn_tail",
            Self::Corrupt => "corrupt",
            Self::Foreign => "foreign",
            Self::Newer => "newer",
            Self::Unreadable => "unreadable",
        }
    }
}

/// File name of a segment. Names sort as generations do.
pub(super) fn name(generation: u64) -> String {
    format!("{generation:016x}{SUFFIX}")
}

/// Generation of the segment with this name, if it is one of ours.
pub(super) fn generation(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let generation = u64::from_str_radix(digits, 16).ok()?;
    (self::name(generation) == name).then_some(generation)
}

/// Header of a segment.
pub(super) fn header(generation: u64, epoch: u32) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    let fields =
        [&MAGIC[..], &VERSION.to_le_bytes(), &generation.to_le_bytes(), &epoch.to_le_bytes()];
    let crc = crc32fast::hash(&fields.concat());
    for (place, byte) in out.iter_mut().zip(fields.concat().into_iter().chain(crc.to_le_bytes())) {
        *place = byte;
    }
    out
}

/// What a segment's bytes hold.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Intact entries with their offsets, without frames.
    pub(super) entries: Vec<(usize, Found)>,
    /// Entries that are lost, each once.
    pub(super) damage: Vec<Damage>,
    /// The epoch of the header.
    pub(super) epoch: Option<u32>,
    /// Written by a newer version: nothing was read.
    pub(super) newer: bool,
}

/// Reads a segment. Behind damage it goes on at the next intact entry.
pub(super) fn scan(generation: u64, bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let Some(head) = bytes.get(..HEADER) else {
        scan.damage.push(Damage::TornTail);
        return scan;
    };
    let field = |at: usize| head.get(at..at + 4).and_then(|f| f.try_into().ok());
    let field = |at: usize| field(at).map_or(0, u32::from_le_bytes);
    let sealed = head.starts_with(&MAGIC) && head.get(..20).map(crc32fast::hash) == Some(field(20));
    if sealed && field(4) > VERSION {
        scan.newer = true;
        scan.damage.push(Damage::Newer);
        return scan;
    }
    if sealed && head == header(generation, field(16)) {
        scan.epoch = Some(field(16));
    } else {
        scan.damage.push(Damage::Corrupt);
    }
    entries(generation, bytes, &mut scan);
    scan
}

fn entries(generation: u64, bytes: &[u8], scan: &mut Scan) {
    let mut at = HEADER;
    let mut next_ordinal = 0u32;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        if let Some(found) = entry::decode(generation, at as u64, rest, false) {
            // entries that are missing between two intact ones were hit, each
            let lost = found.ordinal.saturating_sub(next_ordinal) as usize;
            scan.damage.extend(std::iter::repeat_n(Damage::Corrupt, lost));
            next_ordinal = found.ordinal.saturating_add(1);
            let len = found.len;
            scan.entries.push((at, found));
            at += len;
            continue;
        }
        let Some(skip) = next_intact(generation, at, bytes) else {
            scan.damage.push(Damage::TornTail);
            return;
        };
        at = skip;
    }
}

/// Offset of the next intact entry behind damage at `at`.
fn next_intact(generation: u64, at: usize, bytes: &[u8]) -> Option<usize> {
    let mut from = at + 1;
    loop {
        let rest = bytes.get(from..)?;
        let found = rest.windows(MARKER.len()).position(|window| window == MARKER)?;
        let here = from + found;
        let rest = bytes.get(here..)?;
        if entry::decode(generation, here as u64, rest, false).is_some() {
            return Some(here);
        }
        from = here + 1;
    }
}
