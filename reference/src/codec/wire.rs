//! The protobuf wire format: varints, keys, and a walk over the fields of one message.

use super::error::DecodeErrorKind;

/// How a value is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Fixed64,
    Len,
    StartGroup,
    EndGroup,
    Fixed32,
}

/// Reads a varint at `pos` and moves `pos` behind it.
#[inline]
pub(super) fn varint(buf: &[u8], pos: &mut usize) -> Result<u64, DecodeErrorKind> {
    match buf.get(*pos) {
        Some(&byte) if byte < 0x80 => {
            *pos += 1;
            Ok(u64::from(byte))
        }
        Some(_) => long_varint(buf, pos),
        None => Err(DecodeErrorKind::Truncated),
    }
}

fn long_varint(buf: &[u8], pos: &mut usize) -> Result<u64, DecodeErrorKind> {
    let rest = buf.get(*pos..).unwrap_or_default();
    let mut value = 0u64;
    for (i, &byte) in rest.iter().take(10).enumerate() {
        // The tenth byte holds the 64th bit and nothing else.
        if i == 9 && byte > 1 {
            return Err(DecodeErrorKind::Varint);
        }
        value |= u64::from(byte & 0x7F) << (7 * i);
        if byte < 0x80 {
            *pos += i + 1;
            return Ok(value);
        }
    }
    Err(if rest.len() < 10 { DecodeErrorKind::Truncated } else { DecodeErrorKind::Varint })
}

/// Reads a field key: its number and wire type.
#[inline]
pub(super) fn key(buf: &[u8], pos: &mut usize) -> Result<(u32, WireType), DecodeErrorKind> {
    let key = u32::try_from(varint(buf, pos)?).map_err(|_| DecodeErrorKind::Key)?;
    let wire = match key & 0x07 {
        0 => WireType::Varint,
        1 => WireType::Fixed64,
        2 => WireType::Len,
        3 => WireType::StartGroup,
        4 => WireType::EndGroup,
        5 => WireType::Fixed32,
        _ => return Err(DecodeErrorKind::Key),
    };
    match key >> 3 {
        0 => Err(DecodeErrorKind::Key),
        number => Ok((number, wire)),
    }
}

/// Reads a length and the bytes it covers.
#[inline]
pub(super) fn len<'a>(buf: &'a [u8], pos: &mut usize) -> Result<&'a [u8], DecodeErrorKind> {
    let len = usize::try_from(varint(buf, pos)?).map_err(|_| DecodeErrorKind::Truncated)?;
    let end = pos.checked_add(len).ok_or(DecodeErrorKind::Truncated)?;
    let content = buf.get(*pos..end).ok_or(DecodeErrorKind::Truncated)?;
    *pos = end;
    Ok(content)
}

/// Skips `width` bytes.
#[inline]
pub(super) fn skip(buf: &[u8], pos: &mut usize, width: usize) -> Result<(), DecodeErrorKind> {
    if buf.len() - (*pos).min(buf.len()) < width {
        return Err(DecodeErrorKind::Truncated);
    }
    *pos += width;
    Ok(())
}
