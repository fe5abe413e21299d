//! The JSON Schema of scenario files, made from the table of keys.

use serde_json::{Map, Value, json};

use super::forms::reasons;
use super::keys::{Key, ROOT, Shape, Variant};
use super::names;

/// The schema as published in `scenarios/schema.json`.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = object(&[ROOT]);
    if let Value::Object(map) = &mut schema {
        let mut head = Map::new();
        head.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        head.insert("title".into(), "dashproof scenario".into());
        head.append(map);
        *map = head;
    }
    schema
}

fn object(keys: &[&[Key]]) -> Value {
    let all = || keys.iter().copied().flatten();
    let properties: Map<String, Value> =
        all().map(|key| (key.name.to_owned(), described(key))).collect();
    let required: Vec<&str> = all().filter(|key| key.required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn described(key: &Key) -> Value {
    let mut schema = shape(key.shape);
    if let Value::Object(map) = &mut schema {
        map.insert("description".into(), key.about.into());
    }
    schema
}

const DURATION: &str = r"^\s*(\d+\s*[a-zA-Z]+\s*)+$";
const BOUND: &str = r"^\s*(==|<=|>=|<|>)\s*([\d_]+|([\d.]+\s*%\s*)?offered)\s*$";

const WITHIN: &str = r"^\s*±\s*[\d_.]+\s*%?\s*$";

fn shape(shape: Shape) -> Value {
    let duration = || json!({ "type": "string", "pattern": DURATION });
    let bytes = || json!({ "type": ["integer", "string"] });
    match shape {
        Shape::Text => json!({ "type": "string", "minLength": 1 }),
        Shape::Id => json!({ "type": "string", "pattern": "^[a-z0-9-]+/[a-z0-9-]+$" }),
        Shape::Ids => {
            json!({ "type": "array", "items": self::shape(Shape::Id), "uniqueItems": true })
        }
        Shape::Words => {
            json!({ "type": "array", "items": self::shape(Shape::Text), "uniqueItems": true })
        }
        Shape::Span { .. } => duration(),
        Shape::Bytes => bytes(),
        Shape::Count(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Share => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Shape::Hex => json!({ "type": "string", "pattern": "^([0-9a-fA-F]{2}|\\s)*$" }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Name(names) => json!({ "enum": (names.list)() }),
        Shape::NameList(names) => {
            json!({ "type": "array", "items": { "enum": (names.list)() }, "uniqueItems": true })
        }
        Shape::At => {
            json!({ "oneOf": [duration(), condition("offered"), condition("unanswered")] })
        }
        Shape::Size => {
            let range = json!({ "type": "array", "items": bytes(), "minItems": 2, "maxItems": 2 });
            json!({ "oneOf": [bytes(), one_key("uniform", &range)] })
        }
        Shape::Room => json!({ "oneOf": [bytes(), { "const": super::forms::EVERY }] }),
        Shape::Rate => json!({ "type": "string", "pattern": r"^[\d_.]+\s*/s$" }),
        Shape::Brokers => json!({ "oneOf": [
            { "enum": ["all", "leader"] },
            { "type": "array", "items": { "type": "integer", "minimum": 1 }, "minItems": 1 },
        ] }),
        Shape::Code => {
            let codes: Vec<String> =
                names::kafka_codes().into_iter().map(|(name, _)| name).collect();
            json!({ "oneOf": [{ "enum": codes }, { "type": "integer" }] })
        }
        Shape::Laws => laws(),
        Shape::Agree => by_outcome(&json!({ "type": "string", "pattern": WITHIN })),
        Shape::Outcomes => outcomes(),
        Shape::Bound => json!({ "type": "string", "pattern": BOUND }),
        Shape::Ceiling => json!({ "type": "string", "pattern": r"^\s*<=" }),
        Shape::Producer => json!({ "type": "object" }),
        Shape::Table(keys) => object(&[keys]),
        Shape::Tables(keys) => json!({ "type": "array", "items": object(&[keys]) }),
        Shape::Kinds(kinds) => {
            let each: Vec<Value> =
                kinds.variants.iter().map(|variant| kind(kinds.common, variant)).collect();
            json!({ "type": "array", "items": { "oneOf": each } })
        }
    }
}

fn one_key(key: &str, value: &Value) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": [key],
        "properties": { key: value },
    })
}

fn condition(key: &str) -> Value {
    one_key(key, &json!({ "type": "integer", "minimum": 1 }))
}

fn kind(common: &[Key], variant: &Variant) -> Value {
    let mut schema = object(&[common, variant.keys]);
    if let Value::Object(map) = &mut schema {
        map.insert("description".into(), variant.about.into());
    }
    if let Some(slot) = schema.pointer_mut("/properties/kind") {
        *slot = json!({ "const": variant.name });
    }
    schema
}

fn laws() -> Value {
    let law = json!({ "enum": names::laws() });
    let reasons = json!({
        "type": "object",
        "propertyNames": law,
        "additionalProperties": { "type": "string", "minLength": 1 },
    });
    json!({ "oneOf": [
        { "const": "all" },
        { "type": "array", "items": law, "uniqueItems": true, "minItems": 1 },
        one_key("all_but", &reasons),
    ] })
}

fn outcomes() -> Value {
    by_outcome(&json!({
        "oneOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": BOUND }],
    }))
}

/// A table by outcome, or by outcome and reason.
fn by_outcome(value: &Value) -> Value {
    let keys: Vec<String> = names::OUTCOMES
        .iter()
        .flat_map(|outcome| {
            let with =
                reasons(outcome).into_iter().map(move |reason| format!("{outcome}/{reason}"));
            std::iter::once((*outcome).to_owned()).chain(with)
        })
        .collect();
    json!({
        "type": "object",
        "propertyNames": { "enum": keys },
        "additionalProperties": value,
    })
}
