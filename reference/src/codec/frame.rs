//! What the first byte of a frame says, and the CRC32 that travels beside it.

use bytes::Bytes;

use super::error::{DecodeError, DecodeErrorKind, Region};

/// First byte of a frame that holds a plain protobuf message.
pub const FRAME_PLAIN: u8 = 0x00;
/// First byte of a frame that holds one zstd frame with the protobuf message inside.
pub const FRAME_ZSTD: u8 = 0x01;
/// Default and protocol-wide cap on the protobuf bytes of one message, inflated: 10 MiB.
pub const MAX_PAYLOAD: usize = 10 * 1024 * 1024;
/// The schema version that is written; 0 on the wire is read as this one.
pub const SCHEMA_VERSION: u32 = 1;

/// The four bytes that every zstd frame starts with.
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// How the bytes behind a first byte are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Framed, plain: the message starts at byte 1.
    Plain,
    /// Framed, compressed: the zstd frame starts at byte 1.
    Zstd,
    /// No frame byte: a protobuf message from byte 0.
    BarePlain,
    /// No frame byte: a zstd frame from byte 0.
    BareZstd,
    /// None of these.
    Unknown,
}

/// Reads the shape off the first bytes. A protobuf message cannot start with 0x00 or 0x01, so the
/// framed shapes cannot be mistaken for bare ones.
pub(super) fn shape(frame: &[u8]) -> Shape {
    match frame.first() {
        Some(&FRAME_PLAIN) => Shape::Plain,
        Some(&FRAME_ZSTD) => Shape::Zstd,
        // The tags of fields 1 to 9, length-delimited: how an envelope can start.
        Some(&tag) if tag & 0x07 == 2 && (1..=9).contains(&(tag >> 3)) => Shape::BarePlain,
        Some(_) if frame.starts_with(&ZSTD_MAGIC) => Shape::BareZstd,
        _ => Shape::Unknown,
    }
}

/// The value of the Kafka header `dashstream-crc32` for a record value: the CRC32 (IEEE) of all its
/// bytes as eight lower-case hex digits.
#[must_use]
pub fn crc32_header(frame: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&crc32_hex(frame))
}

/// As [`crc32_header`], without the heap.
#[must_use]
pub fn crc32_hex(frame: &[u8]) -> [u8; 8] {
    let mut crc = crc32fast::hash(frame);
    let mut hex = [0; 8];
    for place in &mut hex {
        crc = crc.rotate_left(4);
        let nibble = (crc & 0xF) as u8;
        *place = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    }
    hex
}

/// Checks a record value against the header that came with it.
///
/// # Errors
/// [`DecodeErrorKind::CrcMalformed`] if the header is not eight lower-case hex digits,
/// [`DecodeErrorKind::CrcMismatch`] if the bytes are not those that were sent.
pub fn verify_crc32(frame: &[u8], header: &[u8]) -> Result<(), DecodeError> {
    let well_formed =
        header.len() == 8 && header.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !well_formed {
        return Err(DecodeError::new(
            DecodeErrorKind::CrcMalformed,
            Region::Frame,
            0,
            "the crc32 record header is not eight lower-case hex digits".to_owned(),
        ));
    }
    let computed = crc32_hex(frame);
    if computed == *header {
        return Ok(());
    }
    Err(DecodeError::new(
        DecodeErrorKind::CrcMismatch,
        Region::Frame,
        0,
        format!(
            "crc32 of the record value is {}, its header says {}: the bytes changed on the way",
            String::from_utf8_lossy(&computed),
            String::from_utf8_lossy(header)
        ),
    ))
}
