//! The scan that comes before decoding: it walks the protobuf bytes by the schema's table,
//! allocates nothing, and accepts exactly what the protobuf library accepts, within the limits. So
//! when it has passed, the memory that decoding can take is bounded; and when decoding fails, it
//! knows where.

use super::error::DecodeErrorKind as Kind;
use super::limits::Limits;
use super::schema::{self, CONTENT_COST, CONTENT_MIN, Counter, Field};
use super::wire::{self, WireType};

/// What is wrong, and where in the payload. Two words, so that it is returned in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) offset: usize,
}

/// What a payload holds, as far as the limits ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) batch_members: u64,
    pub(super) elements: u64,
    pub(super) map_entries: u64,
    /// Upper bound on the memory that decoding takes.
    pub(super) decoded_bytes: u64,
}

/// Scans a payload. `UTF8` also checks strings, which decoding does anyway: it is for finding where
/// decoding failed.
pub(super) fn scan<const UTF8: bool>(payload: &[u8], limits: &Limits) -> Result<Usage, Fault> {
    let mut scan = Scan::<UTF8> { limits, usage: Usage::default() };
    scan.message(schema::ROOT, payload, 0, limits.depth())?;
    Ok(scan.usage)
}

struct Scan<'a, const UTF8: bool> {
    limits: &'a Limits,
    usage: Usage,
}

fn fault(kind: Kind, offset: usize) -> Fault {
    Fault { kind, offset }
}

impl<const UTF8: bool> Scan<'_, UTF8> {
    /// One message of type `message` in `buf`, which starts at `base` of the payload and in which
    /// `left` more levels may be nested.
    fn message(&mut self, message: u8, buf: &[u8], base: usize, left: u32) -> Result<(), Fault> {
        let fields = schema::fields(message);
        let mut pos = 0;
        let mut repeated = 0;
        while pos < buf.len() {
            let start = pos;
            let at = |kind| fault(kind, base + start);
            let (number, wire) = wire::key(buf, &mut pos).map_err(at)?;
            let field = fields.get(number as usize).filter(|f| f.kind != schema::Kind::None);
            let Some(field) = field else {
                unknown(number, wire, buf, &mut pos, left).map_err(at)?;
                continue;
            };
            match (field.kind, wire) {
                (
                    schema::Kind::Int64
                    | schema::Kind::Uint64
                    | schema::Kind::Uint32
                    | schema::Kind::Bool
                    | schema::Kind::Enum(_),
                    WireType::Varint,
                ) => {
                    wire::varint(buf, &mut pos).map_err(at)?;
                    self.count(field, 1, &mut repeated, base + start)?;
                }
                (schema::Kind::Utf8 | schema::Kind::Bytes, WireType::Len) => {
                    let content = wire::len(buf, &mut pos).map_err(at)?;
                    if UTF8
                        && field.kind == schema::Kind::Utf8
                        && std::str::from_utf8(content).is_err()
                    {
                        return Err(at(Kind::Utf8));
                    }
                    self.content(content.len(), base + start)?;
                    self.count(field, 1, &mut repeated, base + start)?;
                }
                // The library reads a map entry whatever wire type its key names, and so do we.
                (schema::Kind::Message(inner), WireType::Len) | (schema::Kind::Map(inner), _) => {
                    let left = left.checked_sub(1).ok_or_else(|| at(Kind::Depth))?;
                    let content = wire::len(buf, &mut pos).map_err(at)?;
                    self.count(field, 1, &mut repeated, base + start)?;
                    self.message(inner, content, base + pos - content.len(), left)?;
                }
                (schema::Kind::Double, WireType::Fixed64) => {
                    wire::skip(buf, &mut pos, 8).map_err(at)?;
                    self.count(field, 1, &mut repeated, base + start)?;
                }
                (schema::Kind::Float, WireType::Fixed32) => {
                    wire::skip(buf, &mut pos, 4).map_err(at)?;
                    self.count(field, 1, &mut repeated, base + start)?;
                }
                (_, WireType::Len) if field.counter == Counter::Repeated => {
                    let content = wire::len(buf, &mut pos).map_err(at)?;
                    let inner = base + pos - content.len();
                    let n = packed(field, content).map_err(|(k, at)| fault(k, inner + at))?;
                    self.count(field, n, &mut repeated, base + start)?;
                }
                _ => return Err(at(Kind::WireType)),
            }
        }
        Ok(())
    }

    /// Counts `n` more elements or entries of a field against its limits.
    #[inline]
    fn count(&mut self, field: &Field, n: u64, repeated: &mut u64, at: usize) -> Result<(), Fault> {
        let Limits { batch_members, elements, map_entries, .. } = *self.limits;
        match field.counter {
            Counter::Single => return Ok(()),
            Counter::Map => {
                self.usage.map_entries += n;
                if self.usage.map_entries > map_entries {
                    return Err(fault(Kind::MapEntries, at));
                }
            }
            Counter::Batch | Counter::Repeated => {
                self.usage.elements += n;
                if field.counter == Counter::Batch {
                    self.usage.batch_members += n;
                    if self.usage.batch_members > batch_members {
                        return Err(fault(Kind::BatchMembers, at));
                    }
                } else {
                    *repeated += n;
                    if *repeated > self.limits.repeated {
                        return Err(fault(Kind::RepeatedElements, at));
                    }
                }
                if self.usage.elements > elements {
                    return Err(fault(Kind::TotalElements, at));
                }
            }
        }
        self.charge(n.saturating_mul(field.cost.into()), at)
    }

    /// Charges the buffer of a string or bytes field.
    #[inline]
    fn content(&mut self, len: usize, at: usize) -> Result<(), Fault> {
        if len == 0 {
            return Ok(());
        }
        let cost = len as u64 * u64::from(CONTENT_COST) + u64::from(CONTENT_MIN);
        self.charge(cost, at)
    }

    #[inline]
    fn charge(&mut self, bytes: u64, at: usize) -> Result<(), Fault> {
        self.usage.decoded_bytes = self.usage.decoded_bytes.saturating_add(bytes);
        if self.usage.decoded_bytes > self.limits.decoded_bytes {
            return Err(fault(Kind::DecodedBytes, at));
        }
        Ok(())
    }
}

/// Skips a field that the schema does not have. The protobuf library counts it as a level.
#[cold]
fn unknown(
    number: u32,
    wire: WireType,
    buf: &[u8],
    pos: &mut usize,
    left: u32,
) -> Result<(), Kind> {
    let left = left.checked_sub(1).ok_or(Kind::Depth)?;
    match wire {
        WireType::Varint => wire::varint(buf, pos).map(|_| ()),
        WireType::Fixed64 => wire::skip(buf, pos, 8),
        WireType::Fixed32 => wire::skip(buf, pos, 4),
        WireType::Len => wire::len(buf, pos).map(|_| ()),
        WireType::EndGroup => Err(Kind::Group),
        WireType::StartGroup => loop {
            match wire::key(buf, pos)? {
                (end, WireType::EndGroup) if end == number => return Ok(()),
                (_, WireType::EndGroup) => return Err(Kind::Group),
                (inner, wire) => unknown(inner, wire, buf, pos, left)?,
            }
        },
    }
}

/// Counts the numbers in a packed field, or says what is wrong and where in it.
fn packed(field: &Field, content: &[u8]) -> Result<u64, (Kind, usize)> {
    let width = match field.kind {
        schema::Kind::Float => 4,
        schema::Kind::Double => 8,
        schema::Kind::Utf8
        | schema::Kind::Bytes
        | schema::Kind::Message(_)
        | schema::Kind::Map(_)
        | schema::Kind::None => return Err((Kind::WireType, 0)),
        _ => 0,
    };
    if width > 0 {
        let whole = content.len() - content.len() % width;
        return if whole == content.len() {
            Ok((content.len() / width) as u64)
        } else {
            Err((Kind::Truncated, whole))
        };
    }
    let (mut pos, mut n) = (0, 0);
    while pos < content.len() {
        let at = pos;
        wire::varint(content, &mut pos).map_err(|kind| (kind, at))?;
        n += 1;
    }
    Ok(n)
}
