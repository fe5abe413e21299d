//! A message as JSON, for people and for other programs to look at. It walks the encoded message by
//! the schema's table, so it knows every field that the schema knows.

use std::fmt::Write as _;

use prost::Message as _;
use serde_json::{Map, Number, Value};

use super::error::DecodeErrorKind;
use super::schema::{self, Counter, ENUMS, Field, Kind};
use super::wire::{self, WireType};
use crate::proto::DashStreamMessage;

/// Renders a message as JSON: field names as in `proto/dashstream.proto`, enum values by name
/// without their prefix (unknown ones by number), bytes as lower-case hex, floats that JSON cannot
/// hold as strings. Fields at their default are left out, as they are on the wire.
///
/// The message must be nested no deeper than [`super::MAX_DEPTH`], as everything decoded is; what
/// is deeper is cut.
#[must_use]
pub fn to_json(message: &DashStreamMessage) -> Value {
    let bytes = message.encode_to_vec();
    Value::Object(object(schema::ROOT, &bytes, super::MAX_DEPTH + 1))
}

/// The fields of one message; what cannot be read is left out.
fn object(message: u8, buf: &[u8], left: u32) -> Map<String, Value> {
    let mut out = Map::new();
    let Some(left) = left.checked_sub(1) else { return out };
    let mut pos = 0;
    while pos < buf.len() {
        let Ok((number, wire)) = wire::key(buf, &mut pos) else { break };
        let Some(field) = schema::fields(message).get(number as usize) else { break };
        if read(field, wire, buf, &mut pos, left, &mut out).is_err() {
            break;
        }
    }
    out
}

fn read(
    field: &Field,
    wire: WireType,
    buf: &[u8],
    pos: &mut usize,
    left: u32,
    out: &mut Map<String, Value>,
) -> Result<(), DecodeErrorKind> {
    match (field.kind, field.counter, wire) {
        (Kind::Map(entry), _, _) => {
            let mut entry = object(entry, wire::len(buf, pos)?, left);
            let key = match entry.remove("key") {
                Some(Value::String(key)) => key,
                _ => String::new(),
            };
            let value = entry.remove("value").unwrap_or_else(|| absent(field));
            if let Value::Object(map) = slot(out, field, Value::Object(Map::new())) {
                map.insert(key, value);
            }
        }
        (kind, Counter::Repeated, WireType::Len) if is_number(kind) => {
            let content = wire::len(buf, pos)?;
            let mut at = 0;
            while at < content.len() {
                let value = scalar(kind, content, &mut at, left)?;
                push(out, field, value);
            }
        }
        (kind, Counter::Repeated | Counter::Batch, _) => {
            let value = scalar(kind, buf, pos, left)?;
            push(out, field, value);
        }
        (kind, _, _) => {
            let value = scalar(kind, buf, pos, left)?;
            out.insert(field.name.to_owned(), value);
        }
    }
    Ok(())
}

fn slot<'a>(out: &'a mut Map<String, Value>, field: &Field, empty: Value) -> &'a mut Value {
    out.entry(field.name).or_insert(empty)
}

fn push(out: &mut Map<String, Value>, field: &Field, value: Value) {
    if let Value::Array(values) = slot(out, field, Value::Array(Vec::new())) {
        values.push(value);
    }
}

/// A map entry that has no value on the wire has its type's default.
fn absent(field: &Field) -> Value {
    let Kind::Map(entry) = field.kind else { return Value::Null };
    match schema::fields(entry).get(2).map(|f| f.kind) {
        Some(Kind::Message(_)) => Value::Object(Map::new()),
        _ => Value::String(String::new()),
    }
}

fn is_number(kind: Kind) -> bool {
    !matches!(kind, Kind::Utf8 | Kind::Bytes | Kind::Message(_) | Kind::Map(_) | Kind::None)
}

#[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "as protobuf does")]
fn scalar(kind: Kind, buf: &[u8], pos: &mut usize, left: u32) -> Result<Value, DecodeErrorKind> {
    Ok(match kind {
        Kind::Int64 => Value::from(wire::varint(buf, pos)? as i64),
        Kind::Uint64 => Value::from(wire::varint(buf, pos)?),
        Kind::Uint32 => Value::from(wire::varint(buf, pos)? as u32),
        Kind::Bool => Value::from(wire::varint(buf, pos)? != 0),
        Kind::Enum(at) => enumeration(at, wire::varint(buf, pos)? as i32),
        Kind::Float => {
            let value = f32::from_le_bytes(fixed(buf, pos)?);
            // Through the shortest decimal, so that 0.1 is shown as 0.1.
            float(value.to_string().parse().unwrap_or_else(|_| f64::from(value)))
        }
        Kind::Double => float(f64::from_le_bytes(fixed(buf, pos)?)),
        Kind::Utf8 => Value::from(String::from_utf8_lossy(wire::len(buf, pos)?)),
        Kind::Bytes => Value::from(hex(wire::len(buf, pos)?)),
        Kind::Message(inner) => Value::Object(object(inner, wire::len(buf, pos)?, left)),
        Kind::Map(_) | Kind::None => return Err(DecodeErrorKind::WireType),
    })
}

fn fixed<const N: usize>(buf: &[u8], pos: &mut usize) -> Result<[u8; N], DecodeErrorKind> {
    let start = *pos;
    wire::skip(buf, pos, N)?;
    buf.get(start..*pos).and_then(|b| b.try_into().ok()).ok_or(DecodeErrorKind::Truncated)
}

fn float(value: f64) -> Value {
    let text = || {
        if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
    };
    Number::from_f64(value).map_or_else(|| Value::from(text()), Value::Number)
}

fn enumeration(at: u8, number: i32) -> Value {
    let names = ENUMS.get(usize::from(at)).copied().unwrap_or_default();
    let name = names.iter().find(|(n, _)| *n == number);
    name.map_or_else(|| Value::from(number), |(_, name)| Value::from(*name))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
