//! Record batches (magic 2): checked as a broker checks them, read without trusting a length.
//!
//! Header and checksum go through `kafka-protocol`. The records inside are walked here, because a
//! broker must not reserve memory for a count that a peer made up.

use bytes::{Buf, Bytes};
use kafka_protocol::records::{BatchDecodeInfo, Compression, RecordBatchDecoder};

use super::codes;

/// Bytes before the attributes that the checksum does not cover: base offset, length, leader
/// epoch, magic, checksum.
const HEADER: usize = 61;
/// Records that one batch may hold.
const MAX_RECORDS: i32 = 1_000_000;
/// What a compressed batch may inflate to when it is looked into.
const MAX_INFLATED: u64 = 64 << 20;

/// A checked batch, as it came. Its records are read once.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The whole batch, header included.
    pub bytes: Bytes,
    /// Records it says it has, at least 1.
    pub count: i32,
    /// Producer id, -1 without idempotence.
    pub pid: i64,
    /// Producer epoch, -1 without idempotence.
    pub epoch: i16,
    /// First sequence, -1 without idempotence.
    pub base_sequence: i32,
    /// Largest timestamp of its records, milliseconds since the Unix epoch.
    pub max_timestamp: i64,
    /// Compression of the records.
    pub compression: Compression,
    records: Option<Vec<Record>>,
}

/// One record inside a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Timestamp minus the batch's first timestamp, milliseconds.
    pub timestamp_delta: i64,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers in order; a header's key need not be unique.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Record {
    /// The value of the first header with this key.
    #[must_use]
    pub fn header(&self, key: &str) -> Option<&Bytes> {
        self.headers.iter().find(|(k, _)| k == key.as_bytes()).and_then(|(_, v)| v.as_ref())
    }

    /// Bytes of key, value and headers.
    #[must_use]
    pub fn size(&self) -> usize {
        let len = |b: &Option<Bytes>| b.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(k, v)| k.len() + len(v)).sum();
        len(&self.key) + len(&self.value) + headers
    }
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    let field: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
    Some(i64::from_be_bytes(field))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    let field: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(i32::from_be_bytes(field))
}

impl Batch {
    /// Checks what a Produce request carries for one partition: exactly one batch, of magic 2, not
    /// larger than `max_bytes`, with a right checksum and a count that agrees with its offsets.
    ///
    /// # Errors
    /// The Kafka error code that a broker answers.
    pub fn check(bytes: Bytes, max_bytes: usize) -> Result<Self, i16> {
        let magic = bytes.get(16).copied().ok_or(codes::CORRUPT_MESSAGE)?;
        match magic {
            0 | 1 => return Err(codes::UNSUPPORTED_FOR_MESSAGE_FORMAT),
            2 => {}
            _ => return Err(codes::CORRUPT_MESSAGE),
        }
        let length = i32_at(&bytes, 8).and_then(|n| usize::try_from(n).ok());
        let whole = length.and_then(|n| n.checked_add(12)).ok_or(codes::CORRUPT_MESSAGE)?;
        if whole < HEADER || whole > bytes.len() {
            return Err(codes::CORRUPT_MESSAGE);
        }
        if whole < bytes.len() {
            // More than one batch, or bytes after it.
            return Err(codes::INVALID_RECORD);
        }
        if whole > max_bytes {
            return Err(codes::MESSAGE_TOO_LARGE);
        }
        Self::read(bytes).ok_or(codes::CORRUPT_MESSAGE).and_then(|batch| {
            let last_delta = i32_at(&batch.bytes, 23).unwrap_or(-1);
            let counted = (1..=MAX_RECORDS).contains(&batch.count);
            let sound = counted && last_delta == batch.count - 1 && !batch.lies();
            let idempotent = batch.pid >= 0;
            let sequenced = batch.epoch >= 0 && batch.base_sequence >= 0;
            if sound && (!idempotent || sequenced) { Ok(batch) } else { Err(codes::INVALID_RECORD) }
        })
    }

    /// Reads one whole batch; `None` when its structure or checksum is wrong.
    fn read(bytes: Bytes) -> Option<Self> {
        let info = RecordBatchDecoder::decode_batch_info(&mut bytes.clone()).ok()?;
        let [BatchDecodeInfo { record_count, producer_id, producer_epoch, .. }] = info.as_slice()
        else {
            return None;
        };
        let (count, pid, epoch) = (*record_count, *producer_id, *producer_epoch);
        let first = info.first()?;
        Some(Self {
            count,
            pid,
            epoch,
            base_sequence: first.base_sequence,
            max_timestamp: i64_at(&bytes, 35)?,
            compression: first.compression,
            records: read_records(&bytes, first.compression, count),
            bytes,
        })
    }

    /// Timestamp that the deltas of its records count from.
    #[must_use]
    pub fn first_timestamp(&self) -> Option<i64> {
        i64_at(&self.bytes, 27)
    }

    /// Splits fetched bytes into their whole, sound batches, each with its base offset. A partial
    /// batch at the end is left out, as the protocol allows.
    #[must_use]
    pub fn split(mut bytes: Bytes) -> Vec<(i64, Self)> {
        let mut out = Vec::new();
        while let (Some(base), Some(length)) = (i64_at(&bytes, 0), i32_at(&bytes, 8)) {
            let whole = usize::try_from(length).ok().and_then(|n| n.checked_add(12));
            let Some(whole) = whole.filter(|n| *n >= HEADER && *n <= bytes.len()) else { break };
            let Some(batch) = Self::read(bytes.split_to(whole)) else { break };
            out.push((base, batch));
        }
        out
    }

    /// Sequence of the last record; wraps from `i32::MAX` to 0 as Kafka's does.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        advance(self.base_sequence, self.count - 1)
    }

    /// Offsets it takes up; more than its records where a log was compacted.
    #[must_use]
    pub fn offsets(&self) -> i64 {
        i64::from(i32_at(&self.bytes, 23).unwrap_or(0)) + 1
    }

    /// True for a marker of a transaction, which no application wrote.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.bytes.get(22).is_some_and(|attributes| attributes & 0x20 != 0)
    }

    /// The batch as the log keeps it: base offset and leader epoch written into the header, which
    /// the checksum does not cover.
    #[must_use]
    pub fn at(&self, base_offset: i64, leader_epoch: i32) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes.len());
        out.extend_from_slice(&base_offset.to_be_bytes());
        out.extend_from_slice(self.bytes.get(8..12).unwrap_or_default());
        out.extend_from_slice(&leader_epoch.to_be_bytes());
        out.extend_from_slice(self.bytes.get(16..).unwrap_or_default());
        Bytes::from(out)
    }

    /// True when nothing here can inflate its records: they are passed through as they came.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        !matches!(self.compression, Compression::None | Compression::Zstd)
    }

    /// True when what is inside can be looked at and is not what the header says.
    fn lies(&self) -> bool {
        let gapless = |records: &Vec<Record>| (0..).zip(records).all(|(i, r)| r.offset_delta == i);
        !self.is_opaque() && !self.records.as_ref().is_some_and(gapless)
    }

    /// The records, or `None` when they cannot be looked into: a compression without a reader here
    /// (gzip, snappy, lz4), an inflated size over 64 MiB, or a structure that breaks off.
    #[must_use]
    pub fn records(&self) -> Option<&[Record]> {
        self.records.as_deref()
    }
}

fn read_records(bytes: &Bytes, compression: Compression, count: i32) -> Option<Vec<Record>> {
    let body = bytes.slice_ref(bytes.get(HEADER..)?);
    let mut body = match compression {
        Compression::None => body,
        Compression::Zstd => inflate(&body)?,
        Compression::Gzip | Compression::Snappy | Compression::Lz4 => return None,
    };
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(record(&mut body)?);
    }
    body.is_empty().then_some(records)
}

/// `sequence + by` in Kafka's arithmetic, which wraps at `i32::MAX` to 0.
#[must_use]
pub fn advance(sequence: i32, by: i32) -> i32 {
    let sum = (i64::from(sequence) + i64::from(by)) & i64::from(i32::MAX);
    i32::try_from(sum).unwrap_or(0)
}

fn inflate(body: &[u8]) -> Option<Bytes> {
    use std::io::Read as _;
    let mut out = Vec::new();
    let reader = zstd::stream::read::Decoder::new(body).ok()?;
    reader.take(MAX_INFLATED + 1).read_to_end(&mut out).ok()?;
    (out.len() as u64 <= MAX_INFLATED).then(|| Bytes::from(out))
}

fn varlong(buf: &mut Bytes) -> Option<i64> {
    let mut raw = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = buf.try_get_u8().ok()?;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
        }
    }
    None
}

fn varint(buf: &mut Bytes) -> Option<i32> {
    i32::try_from(varlong(buf)?).ok()
}

/// A length and so many bytes; `Some(None)` for the length -1.
#[expect(clippy::option_option, reason = "outer: the structure is sound; inner: null is a value")]
fn nullable(buf: &mut Bytes) -> Option<Option<Bytes>> {
    let length = varint(buf)?;
    if length == -1 {
        return Some(None);
    }
    let length = usize::try_from(length).ok().filter(|n| *n <= buf.len())?;
    Some(Some(buf.split_to(length)))
}

fn record(body: &mut Bytes) -> Option<Record> {
    let mut buf = nullable(body)??;
    buf.try_get_i8().ok()?;
    let timestamp_delta = varlong(&mut buf)?;
    let offset_delta = varint(&mut buf)?;
    let key = nullable(&mut buf)?;
    let value = nullable(&mut buf)?;
    let mut headers = Vec::new();
    for _ in 0..u32::try_from(varint(&mut buf)?).ok()? {
        headers.push((nullable(&mut buf)??, nullable(&mut buf)?));
    }
    buf.is_empty().then_some(Record { offset_delta, timestamp_delta, key, value, headers })
}
