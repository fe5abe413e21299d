//! A state without its type, as a migration sees it.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// Whatever `MessagePack` or JSON can say, with nothing lost: NaN, all of `u64` and `i64`, bytes,
/// keys that are no strings, and the order of the entries.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`, unit.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer from 0.
    Unsigned(u64),
    /// An integer below 0.
    Signed(i64),
    /// A number with a fraction, NaN and infinities included.
    Float(f64),
    /// A text; also a char, or a variant without content.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A sequence or a tuple.
    Array(Vec<Value>),
    /// A struct or a map; also a variant with content, as the one entry.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The entry of a map under a text key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(k, _)| matches!(k, Self::Text(k) if k == key)).map(|(_, v)| v)
    }

    /// Puts an entry under a text key, in place of the one that is there. False, and nothing done,
    /// when this is no map.
    pub fn set(&mut self, key: &str, value: Value) -> bool {
        let Self::Map(entries) = self else { return false };
        match entries.iter_mut().find(|(k, _)| matches!(k, Self::Text(k) if k == key)) {
            Some((_, old)) => *old = value,
            None => entries.push((Self::Text(key.to_owned()), value)),
        }
        true
    }

    /// Takes the entry under a text key out of a map.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let Self::Map(entries) = self else { return None };
        let at = entries.iter().position(|(k, _)| matches!(k, Self::Text(k) if k == key))?;
        Some(entries.remove(at).1)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Unsigned(n)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => out.serialize_unit(),
            Self::Bool(b) => out.serialize_bool(*b),
            Self::Unsigned(n) => out.serialize_u64(*n),
            Self::Signed(n) => out.serialize_i64(*n),
            Self::Float(n) => out.serialize_f64(*n),
            Self::Text(text) => out.serialize_str(text),
            Self::Bytes(bytes) => out.serialize_bytes(bytes),
            Self::Array(values) => out.collect_seq(values),
            Self::Map(entries) => {
                let mut map = out.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Value::deserialize(from)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Value::deserialize(from)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(n))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(u64::try_from(n).map_or(Value::Signed(n), Value::Unsigned))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(Value::Float(n))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = from.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = from.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(de::Error::custom("an extension type has no place in a state"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            any::<u64>().prop_map(Value::Unsigned),
            (i64::MIN..0).prop_map(Value::Signed),
            any::<f64>().prop_map(Value::Float),
            any::<String>().prop_map(Value::Text),
            any::<Vec<u8>>().prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
                prop::collection::vec((inner.clone(), inner), 0..8).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_survives_messagepack(value in values()) {
            let bytes = rmp_serde::to_vec_named(&value).unwrap();
            let back: Value = rmp_serde::from_slice(&bytes).unwrap();
            prop_assert_eq!(format!("{value:?}"), format!("{back:?}"));
        }
    }

    #[test]
    fn entries_are_read_set_and_removed_by_text_key() {
        let mut value = Value::Map(vec![(Value::Unsigned(1), Value::Nil)]);
        assert!(value.set("a", Value::Bool(true)) && value.set("a", Value::from("x")));
        assert_eq!(value.get("a"), Some(&Value::from("x")));
        assert_eq!(value.remove("a"), Some(Value::from("x")));
        assert_eq!(value.get("a"), None);
        assert!(!Value::Nil.set("a", Value::Nil));
    }
}
