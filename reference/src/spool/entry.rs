//! One entry of a segment, as bytes.

use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;

use super::segment::VERSION;
use crate::core::{MessageId, PerRoute, Persistence, SpoolEntry, SpoolId, SpoolRecord};

/// First bytes of every entry: where to go on reading behind damage.
pub(super) const MARKER: [u8; 4] = *b"DSPE";
/// Marker, length, CRC.
pub(super) const HEAD: usize = 12;
/// Bytes of claims, and of an end, with their heads.
pub(super) const CLAIMS_LEN: usize = HEAD + 19;
pub(super) const RESOLVED_LEN: usize = HEAD + 17;
/// Longest body: the largest frame of the format and its fields.
pub(super) const MAX_BODY: usize = 16 << 20;

const RECORD: u8 = 1;
const CLAIMS: u8 = 2;
const RESOLVED: u8 = 3;
const FROM_DLQ: u8 = 1;

/// What an entry says, without the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Record(SpoolRecord),
    Claims(SpoolId, PerRoute<Persistence>),
    Resolved(SpoolId),
}

/// An entry at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) ordinal: u32,
    /// Bytes with its head.
    pub(super) len: usize,
    pub(super) body: Body,
}

/// An entry copied to another place, or into another segment, is none there.
fn crc(segment: u64, offset: u64, body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&VERSION.to_le_bytes());
    hasher.update(&segment.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&(body.len() as u64).to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

const fn persistence_code(persistence: Persistence) -> u8 {
    match persistence {
        Persistence::Not => 0,
        Persistence::Possibly => 1,
        Persistence::Persisted => 2,
    }
}

fn put_claims(out: &mut Vec<u8>, claims: PerRoute<Persistence>) {
    out.extend([persistence_code(claims.main), persistence_code(claims.dlq)]);
}

fn put_id(out: &mut Vec<u8>, id: SpoolId) {
    out.extend(id.segment.to_le_bytes());
    out.extend(id.ordinal.to_le_bytes());
}

/// Length of a number that fits its field: callers have looked at the whole body's.
fn short(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

/// Bytes that an entry will take.
pub(crate) fn len_of(entry: &SpoolEntry) -> usize {
    match entry {
        SpoolEntry::Record(record) => HEAD + 48 + record.thread.len() + record.frame.len(),
        SpoolEntry::Claims(..) => CLAIMS_LEN,
        SpoolEntry::Resolved(_) => RESOLVED_LEN,
    }
}

/// Appends an entry that begins `at` this offset of its segment.
pub(super) fn encode(out: &mut Vec<u8>, at: u64, segment: u64, ordinal: u32, entry: &SpoolEntry) {
    let begin = out.len();
    out.extend(MARKER);
    out.extend([0; 8]);
    match entry {
        SpoolEntry::Record(record) => {
            out.push(RECORD);
            out.extend(ordinal.to_le_bytes());
            put_claims(out, record.claims);
            out.push(if record.from_dlq { FROM_DLQ } else { 0 });
            out.extend(record.sequence.to_le_bytes());
            out.extend(record.accepted_us.to_le_bytes());
            out.extend(short(record.bytes));
            out.extend(record.message_id.0);
            out.extend(short(record.thread.len()));
            out.extend(record.thread.as_bytes());
            out.extend(&record.frame);
        }
        SpoolEntry::Claims(id, claims) => {
            out.push(CLAIMS);
            out.extend(ordinal.to_le_bytes());
            put_id(out, *id);
            put_claims(out, *claims);
        }
        SpoolEntry::Resolved(id) => {
            out.push(RESOLVED);
            out.extend(ordinal.to_le_bytes());
            put_id(out, *id);
        }
    }
    let body = out.get(begin + HEAD..).unwrap_or_default();
    let (len, crc) = (short(body.len()), crc(segment, at, body));
    if let Some(head) = out.get_mut(begin + 4..begin + HEAD) {
        head.copy_from_slice(&[len, crc.to_le_bytes()].concat());
    }
}

/// Takes fields off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn persistence(&mut self) -> Option<Persistence> {
        match self.u8()? {
            0 => Some(Persistence::Not),
            1 => Some(Persistence::Possibly),
            2 => Some(Persistence::Persisted),
            _ => None,
        }
    }

    fn claims(&mut self) -> Option<PerRoute<Persistence>> {
        Some(PerRoute { main: self.persistence()?, dlq: self.persistence()? })
    }

    fn id(&mut self) -> Option<SpoolId> {
        Some(SpoolId { segment: self.u64()?, ordinal: self.u32()? })
    }

    fn record(&mut self, with_frame: bool) -> Option<SpoolRecord> {
        let claims = self.claims()?;
        let flags = self.u8()?;
        let sequence = self.u64()?;
        let accepted_us = self.array().map(i64::from_le_bytes)?;
        let bytes = self.u32()? as usize;
        let message_id = MessageId(self.array()?);
        let thread = self.u32()? as usize;
        let thread = std::str::from_utf8(self.take(thread)?).ok()?;
        let frame = if with_frame { Bytes::copy_from_slice(self.0) } else { Bytes::new() };
        Some(SpoolRecord {
            message_id,
            thread: Arc::from(thread),
            sequence,
            accepted_us,
            bytes,
            from_dlq: flags & FROM_DLQ != 0,
            claims,
            frame,
        })
    }
}

/// The entry that begins at the front of `bytes`, which stand `at` this offset of the segment;
/// `None` when there is none, or it is damaged.
pub(super) fn decode(segment: u64, at: u64, bytes: &[u8], with_frame: bool) -> Option<Found> {
    let mut head = Fields(bytes.get(..HEAD)?);
    if head.array::<4>()? != MARKER {
        return None;
    }
    let (len, sum) = (head.u32()? as usize, head.u32()?);
    if len > MAX_BODY {
        return None;
    }
    let body = bytes.get(HEAD..HEAD + len)?;
    if crc(segment, at, body) != sum {
        return None;
    }
    let mut fields = Fields(body);
    let (kind, ordinal) = (fields.u8()?, fields.u32()?);
    let body = match kind {
        RECORD => Body::Record(fields.record(with_frame)?),
        CLAIMS => Body::Claims(fields.id()?, fields.claims()?),
        RESOLVED => Body::Resolved(fields.id()?),
        _ => return None,
    };
    Some(Found { ordinal, len: HEAD + len, body })
}
