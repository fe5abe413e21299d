//! A state as an application shows it: a value, with its entries in some order, and perhaps with
//! something in it that no JSON can hold.

use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// What no JSON can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Its own `Serialize` fails.
    Unserialisable,
    /// A map whose keys are pairs.
    NonStringKey,
    /// NaN.
    NotANumber,
}

impl Defect {
    /// Every defect.
    pub const ALL: [Self; 3] = [Self::Unserialisable, Self::NonStringKey, Self::NotANumber];

    /// The reason that a subject must tell.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unserialisable => "unserialisable",
            Self::NonStringKey => "non_string_key",
            Self::NotANumber => "not_a_number",
        }
    }

    /// The defect of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|defect| defect.name() == name)
    }
}

/// A state.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// What it holds.
    pub value: &'a Value,
    /// Entries of objects begin with this one: order means nothing.
    pub turn: usize,
    /// Behind the root object's entries.
    pub defect: Option<Defect>,
    /// Arrays inside each other in one more entry of the root object, `deep`. They are made while
    /// they are shown: a value that deep would overflow the stack when it is dropped.
    pub nest: Option<u32>,
}

/// Name of the entry that [`Shown::nest`] adds.
pub(crate) const DEEP: &str = "deep";

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { value, turn, defect, nest } = *self;
        let inner = |value| Shown { value, turn, defect: None, nest: None };
        match value {
            Value::Object(entries) => {
                let added = usize::from(defect.is_some()) + usize::from(nest.is_some());
                let all = added + entries.len();
                let mut map = serializer.serialize_map(Some(all))?;
                let first = if entries.is_empty() { 0 } else { turn % entries.len() };
                for (key, value) in entries.iter().skip(first).chain(entries.iter().take(first)) {
                    map.serialize_entry(key, &inner(value))?;
                }
                if let Some(nest) = nest {
                    map.serialize_entry(DEEP, &Nest(nest))?;
                }
                if let Some(defect) = defect {
                    map.serialize_entry("defect", &defect)?;
                }
                map.end()
            }
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(&inner(item))?;
                }
                seq.end()
            }
            plain => plain.serialize(serializer),
        }
    }
}

/// So many arrays inside each other, round a zero.
struct Nest(u32);

impl Serialize for Nest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.checked_sub(1) {
            None => serializer.serialize_u32(0),
            Some(rest) => {
                let mut seq = serializer.serialize_seq(Some(1))?;
                seq.serialize_element(&Self(rest))?;
                seq.end()
            }
        }
    }
}

impl Serialize for Defect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unserialisable => Err(S::Error::custom("this state refuses to be serialised")),
            Self::NotANumber => f64::NAN.serialize(serializer),
            Self::NonStringKey => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(&(1, 2), &3)?;
                map.end()
            }
        }
    }
}

/// The canonical JSON of a value: no blanks, the keys of each object sorted by their bytes.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_bytes());
            out.push('{');
            for (at, (key, value)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn canonical_json_sorts_keys_by_their_bytes_at_every_depth() {
        let value = json!({"b": [{"z": 1, "a": null}], "B": "\u{1}\"", "": -0.0, "é": u64::MAX});
        let text = r#"{"":-0.0,"B":"\u0001\"","b":[{"a":null,"z":1}],"é":18446744073709551615}"#;
        assert_eq!(canonical(&value), text);
    }

    #[test]
    fn the_order_of_entries_turns_and_the_value_stays() {
        let value = json!({"a": 1, "b": {"c": [true], "d": 0.5}});
        let shown =
            |turn| serde_json::to_string(&Shown { value: &value, turn, defect: None, nest: None });
        assert_eq!(shown(1).unwrap(), r#"{"b":{"d":0.5,"c":[true]},"a":1}"#);
        let read: Value = serde_json::from_str(&shown(1).unwrap()).unwrap();
        assert_eq!(read, value);
    }

    #[test]
    fn nested_arrays_are_made_while_they_are_shown() {
        let value = json!({"a": 1});
        let shown = Shown { value: &value, turn: 0, defect: None, nest: Some(3) };
        assert_eq!(serde_json::to_string(&shown).unwrap(), r#"{"a":1,"deep":[[[0]]]}"#);
    }

    #[test]
    fn defects_cannot_be_serialised_and_have_the_names_of_their_reasons() {
        let value = json!({"a": 1});
        for defect in [Defect::Unserialisable, Defect::NonStringKey] {
            let shown = Shown { value: &value, turn: 0, defect: Some(defect), nest: None };
            assert!(serde_json::to_string(&shown).is_err());
            assert_eq!(Defect::named(defect.name()), Some(defect));
        }
        let defect = Some(Defect::NotANumber);
        let nan = Shown { value: &value, turn: 0, defect, nest: None };
        assert_eq!(serde_json::to_string(&nan).unwrap(), r#"{"a":1,"defect":null}"#);
        assert_eq!(Defect::named("nothing"), None);
    }
}
