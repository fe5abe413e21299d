//! A reader of bincode 1.3's default encoding: fixed-width little-endian integers, 64-bit lengths.
//!
//! It reads what version 1 wrote and writes nothing. Lengths are checked against what is left
//! before anything is allocated, and nesting is bounded.

use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

/// Most levels of nesting.
const DEPTH: u16 = 256;
/// Most elements of a sequence that has fewer bytes than elements, which only unit types do.
const UNITS: u64 = 1 << 20;

/// What was wrong, and at which byte.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct BincodeError {
    message: String,
    offset: Option<usize>,
}

impl fmt::Display for BincodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.offset.map_or(Ok(()), |at| write!(f, " at byte {at} of the payload"))
    }
}

impl std::error::Error for BincodeError {}

impl de::Error for BincodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), offset: None }
    }
}

type Result<T> = std::result::Result<T, BincodeError>;

/// Reads one value at the start of `bytes`, and says how many bytes it took.
pub(in super::super) fn from_prefix<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize)> {
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    let value = T::deserialize(&mut reader).map_err(|mut error| {
        error.offset.get_or_insert(reader.at);
        error
    })?;
    Ok((value, reader.at))
}

/// Reads one value that takes all of `bytes`.
pub(in super::super) fn from_all<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let (value, len) = from_prefix(bytes)?;
    if len == bytes.len() {
        return Ok(value);
    }
    let message = format!("{} bytes follow the value", bytes.len() - len);
    Err(BincodeError { message, offset: Some(len) })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u16,
}

impl<'a> Reader<'a> {
    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(BincodeError { message: message.into(), offset: Some(self.at) })
    }

    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len);
        let Some(bytes) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return self.error(format!("ends {} bytes early", len.saturating_sub(self.left())));
        };
        self.at += len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().or_else(|_| self.error("ends early"))
    }

    fn length(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str> {
        let len = self.length()?;
        let Ok(len) = usize::try_from(len) else {
            return self.error("a text longer than any file");
        };
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).or_else(|e| self.error(format!("a text is not UTF-8: {e}")))
    }

    /// A count of elements that can be there.
    fn count(&mut self) -> Result<usize> {
        let count = self.length()?;
        if count > (self.left() as u64).max(UNITS) {
            return self.error(format!("{count} elements in {} bytes", self.left()));
        }
        usize::try_from(count).or_else(|_| self.error("more elements than memory"))
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEPTH {
            return self.error(format!("nested deeper than {DEPTH}"));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(<$type>::from_le_bytes(self.array()?))
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = BincodeError;

    numbers! {
        deserialize_u8 visit_u8 u8; deserialize_u16 visit_u16 u16; deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64; deserialize_u128 visit_u128 u128;
        deserialize_i8 visit_i8 i8; deserialize_i16 visit_i16 i16; deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64; deserialize_i128 visit_i128 i128;
        deserialize_f32 visit_f32 f32; deserialize_f64 visit_f64 f64;
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        self.error("bincode does not say what follows: the state needs its own type")
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.array()? {
            [0] => visitor.visit_bool(false),
            [1] => visitor.visit_bool(true),
            [other] => self.error(format!("a bool of {other}")),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let lens = 1..=rest.len().min(4);
        let mut texts = lens.filter_map(|len| std::str::from_utf8(rest.get(..len)?).ok());
        let Some(char) = texts.next().and_then(|text| text.chars().next()) else {
            return self.error("a char is not UTF-8");
        };
        self.at += char.len_utf8();
        visitor.visit_char(char)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let len = usize::try_from(self.length()?).unwrap_or(usize::MAX);
        visitor.visit_borrowed_bytes(self.take(len)?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.array()? {
            [0] => visitor.visit_none(),
            [1] => self.nested(|r| visitor.visit_some(r)),
            [other] => self.error(format!("an option of tag {other}")),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.nested(|r| visitor.visit_newtype_struct(r))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.count()?;
        self.nested(|reader| visitor.visit_seq(Elements { reader, left }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value> {
        self.nested(|reader| visitor.visit_seq(Elements { reader, left }))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.count()?;
        self.nested(|reader| visitor.visit_map(Elements { reader, left }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.nested(|reader| visitor.visit_enum(Variant { reader }))
    }
}

struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = BincodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.reader.left()))
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = BincodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.reader.left()))
    }
}

struct Variant<'a, 'de> {
    reader: &'a mut Reader<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = BincodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let index = u32::from_le_bytes(self.reader.array()?);
        let value = seed.deserialize(IntoDeserializer::<BincodeError>::into_deserializer(index))?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = BincodeError;

    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self.reader)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.reader.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.reader.deserialize_tuple(fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    enum Shape {
        Unit,
        Newtype(u8),
        Tuple(u8, char),
        Struct { a: bool },
    }

    #[test]
    fn every_shape_is_read_as_bincode_writes_it() {
        assert_eq!(from_all::<(u16, i32)>(&[1, 2, 3, 0, 0, 0]), Ok((0x0201, 3)));
        let text = [&2_u64.to_le_bytes()[..], "é".as_bytes()].concat();
        assert_eq!(from_all::<String>(&text), Ok("é".to_owned()));
        assert_eq!(from_all::<Option<u8>>(&[1, 7]), Ok(Some(7)));
        assert_eq!(from_all::<Option<u8>>(&[0]), Ok(None));
        let map = [&1_u64.to_le_bytes()[..], &[5, 6]].concat();
        assert_eq!(from_all::<BTreeMap<u8, u8>>(&map), Ok(BTreeMap::from([(5, 6)])));
        assert_eq!(from_all::<Shape>(&[0, 0, 0, 0]), Ok(Shape::Unit));
        assert_eq!(from_all::<Shape>(&[1, 0, 0, 0, 9]), Ok(Shape::Newtype(9)));
        assert_eq!(from_all::<Shape>(&[2, 0, 0, 0, 9, b'x']), Ok(Shape::Tuple(9, 'x')));
        assert_eq!(from_all::<Shape>(&[3, 0, 0, 0, 1]), Ok(Shape::Struct { a: true }));
        assert_eq!(from_all::<char>("語".as_bytes()), Ok('語'));
        assert_eq!(from_all::<f64>(&f64::INFINITY.to_le_bytes()), Ok(f64::INFINITY));
        assert_eq!(from_all::<Vec<()>>(&9_u64.to_le_bytes()), Ok(vec![(); 9]));
    }

    #[test]
    fn errors_say_what_and_where() {
        let text = |bytes: &[u8]| from_all::<(bool, String)>(bytes).unwrap_err().to_string();
        assert_eq!(text(&[2]), "a bool of 2 at byte 1 of the payload");
        assert_eq!(text(&[1, 1, 0, 0]), "ends 5 bytes early at byte 1 of the payload");
        let huge = [&[1][..], &u64::MAX.to_le_bytes()].concat();
        assert!(text(&huge).ends_with("early at byte 9 of the payload"), "{}", text(&huge));
        let behind = [&[1][..], &0_u64.to_le_bytes(), &[1, 2]].concat();
        assert_eq!(text(&behind), "2 bytes follow the value at byte 9 of the payload");
        assert!(from_all::<serde_json::Value>(&[1]).is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        #[derive(Debug, Deserialize)]
        struct Deep(#[expect(dead_code, reason = "only its depth matters")] Option<Box<Deep>>);
        assert!(from_all::<Deep>(&[&[1; 100][..], &[0]].concat()).is_ok());
        let error = from_all::<Deep>(&vec![1; 100_000]).unwrap_err();
        assert!(error.to_string().starts_with("nested deeper"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes: Vec<u8>) {
            let _ = from_prefix::<(Shape, Vec<String>, BTreeMap<String, Option<char>>)>(&bytes);
            let _ = from_prefix::<Vec<Vec<u64>>>(&bytes);
        }
    }
}
