//! Map keys: which ones JSON has, and how they compare.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;

use serde::ser::{Impossible, Serialize, Serializer};

use super::error::{StateError, StateErrorKind};

/// Longest key, in bytes. Keys are what the walk must hold whole.
const MAX_KEY: usize = 64 << 10;

/// Writes the text of a map key into a buffer that is used again.
///
/// # Errors
/// `NonStringKey` for a key that is no string, char, integer, bool or unit variant;
/// `Unserialisable` for one over 64 KiB.
pub(super) fn key_text<K: Serialize + ?Sized>(
    key: &K,
    text: &mut String,
) -> Result<(), StateError> {
    text.clear();
    key.serialize(KeyText(text))?;
    check_length(text)
}

/// # Errors
/// `Unserialisable` for a key over 64 KiB.
pub(super) fn check_length(key: &str) -> Result<(), StateError> {
    if key.len() > MAX_KEY {
        let text = format!("a key of {} bytes, at most {MAX_KEY}", key.len());
        return Err(StateError::unserialisable(&text));
    }
    Ok(())
}

/// Compares two JSON string literals by the bytes of the strings they stand for.
pub(super) fn compare_literals(a: &[u8], b: &[u8]) -> Ordering {
    for (left, right) in a.iter().zip(b).skip(1) {
        match (left, right) {
            (b'\\', _) | (_, b'\\') => {
                return string_of(a).as_bytes().cmp(string_of(b).as_bytes());
            }
            // The closing quote is the end.
            (b'"', b'"') => return Ordering::Equal,
            (b'"', _) => return Ordering::Less,
            (_, b'"') => return Ordering::Greater,
            _ if left != right => return left.cmp(right),
            _ => {}
        }
    }
    a.len().cmp(&b.len())
}

/// The string that a JSON string literal stands for.
pub(super) fn string_of(literal: &[u8]) -> Cow<'_, str> {
    if !literal.contains(&b'\\') {
        let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
        return String::from_utf8_lossy(inner);
    }
    Cow::Owned(serde_json::from_slice(literal).unwrap_or_default())
}

/// Splits string literals that stand one behind the other.
pub(super) fn split_literals(keys: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = keys;
    std::iter::from_fn(move || {
        let mut escaped = false;
        let end = rest.iter().skip(1).position(|byte| {
            let closes = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            closes
        })?;
        let (first, tail) = rest.split_at_checked(end + 2)?;
        rest = tail;
        Some(first)
    })
}

struct KeyText<'a>(&'a mut String);

fn refused(what: &'static str) -> StateError {
    StateError::new(StateErrorKind::NonStringKey(what))
}

macro_rules! as_text {
    ($($name:ident: $type:ty),*) => {$(
        fn $name(self, value: $type) -> Result<(), StateError> {
            let failed = |e: std::fmt::Error| StateError::unserialisable(&e.to_string());
            write!(self.0, "{value}").map_err(failed)
        }
    )*};
}

impl Serializer for KeyText<'_> {
    type Ok = ();
    type Error = StateError;
    type SerializeSeq = Impossible<(), StateError>;
    type SerializeTuple = Impossible<(), StateError>;
    type SerializeTupleStruct = Impossible<(), StateError>;
    type SerializeTupleVariant = Impossible<(), StateError>;
    type SerializeMap = Impossible<(), StateError>;
    type SerializeStruct = Impossible<(), StateError>;
    type SerializeStructVariant = Impossible<(), StateError>;

    as_text! {
        serialize_bool: bool, serialize_char: char,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_i128: i128, serialize_u128: u128
    }

    fn serialize_str(self, value: &str) -> Result<(), StateError> {
        self.0.push_str(value);
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), StateError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), StateError> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), StateError> {
        value.serialize(self)
    }

    fn serialize_f32(self, _: f32) -> Result<(), StateError> {
        Err(refused("a float"))
    }

    fn serialize_f64(self, _: f64) -> Result<(), StateError> {
        Err(refused("a float"))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), StateError> {
        Err(refused("a byte string"))
    }

    fn serialize_none(self) -> Result<(), StateError> {
        Err(refused("none"))
    }

    fn serialize_unit(self) -> Result<(), StateError> {
        Err(refused("a unit"))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), StateError> {
        Err(refused("a unit struct"))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), StateError> {
        Err(refused("a variant with content"))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, StateError> {
        Err(refused("a sequence"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, StateError> {
        Err(refused("a tuple"))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, StateError> {
        Err(refused("a tuple struct"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, StateError> {
        Err(refused("a variant with content"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, StateError> {
        Err(refused("a map"))
    }

    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStruct, StateError> {
        Err(refused("a struct"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, StateError> {
        Err(refused("a variant with content"))
    }
}
