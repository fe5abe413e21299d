//! How each type of setting is read from JSON and shown again.

use std::time::Duration;

use serde_json::Value;

use super::Secret;
use super::model::{
    Acks, EndpointIdentification, Mechanism, Order, PolicyViolation, Protocol, WhenFull,
};

/// What a value of the wrong form deserves: reason and remedy.
pub(super) type Fault = (String, String);

/// A type that a setting may have.
pub(super) trait Readable: Sized {
    /// Unit or the words it may be, for the manual.
    const UNIT: &'static str;

    /// Reads it; the error is what a person is told.
    fn read(value: &Value) -> Result<Self, Fault>;

    /// Shows it as it would be written.
    fn show(&self) -> Value;
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn expected(what: &str, value: &Value, example: &str) -> Fault {
    (format!("expected {what}, found {}", kind(value)), format!("write it as {example}"))
}

impl Readable for bool {
    const UNIT: &'static str = "true, false";

    fn read(value: &Value) -> Result<Self, Fault> {
        value.as_bool().ok_or_else(|| expected("true or false", value, "`true` or `false`"))
    }

    fn show(&self) -> Value {
        Value::Bool(*self)
    }
}

impl Readable for Duration {
    const UNIT: &'static str = "duration";

    fn read(value: &Value) -> Result<Self, Fault> {
        let example = "a string with a unit, as \"8s\" or \"250ms\"";
        let text = value.as_str().ok_or_else(|| expected("a duration", value, example))?;
        humantime::parse_duration(text)
            .map_err(|e| (format!("`{text}` is not a duration ({e})"), format!("write {example}")))
    }

    fn show(&self) -> Value {
        Value::String(humantime::format_duration(*self).to_string())
    }
}

impl Readable for String {
    const UNIT: &'static str = "text";

    fn read(value: &Value) -> Result<Self, Fault> {
        let text = value.as_str().ok_or_else(|| expected("text", value, "a string"))?;
        Ok(text.to_owned())
    }

    fn show(&self) -> Value {
        Value::String(self.clone())
    }
}

impl Readable for Secret {
    const UNIT: &'static str = "secret";

    fn read(value: &Value) -> Result<Self, Fault> {
        String::read(value).map(Self::new)
    }

    fn show(&self) -> Value {
        Value::String(self.to_string())
    }
}

impl Readable for f64 {
    const UNIT: &'static str = "number";

    fn read(value: &Value) -> Result<Self, Fault> {
        value.as_f64().ok_or_else(|| expected("a number", value, "`0.25`"))
    }

    fn show(&self) -> Value {
        Value::from(*self)
    }
}

impl<T: Readable> Readable for Option<T> {
    const UNIT: &'static str = T::UNIT;

    fn read(value: &Value) -> Result<Self, Fault> {
        T::read(value).map(Some)
    }

    fn show(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::show)
    }
}

macro_rules! whole_number {
    ($($type:ty: $unit:literal),+) => {$(
        impl Readable for $type {
            const UNIT: &'static str = $unit;

            fn read(value: &Value) -> Result<Self, Fault> {
                let number = value
                    .as_i64()
                    .ok_or_else(|| expected("a whole number", value, "`1000`"))?;
                <$type>::try_from(number).map_err(|_| {
                    let range = format!("{} to {}", <$type>::MIN, <$type>::MAX);
                    (format!("{number} is out of range"), format!("use a number from {range}"))
                })
            }

            fn show(&self) -> Value {
                Value::from(*self)
            }
        }
    )+};
}
whole_number!(usize: "count", u32: "count", i32: "number");

macro_rules! words {
    ($($type:ty { $($word:literal => $value:path),+ $(,)? })+) => {$(
        impl Readable for $type {
            const UNIT: &'static str = words!(@unit $($word),+);

            fn read(value: &Value) -> Result<Self, Fault> {
                let remedy = || format!("use one of: {}", Self::UNIT);
                let text = value
                    .as_str()
                    .ok_or_else(|| (format!("expected a word, found {}", kind(value)), remedy()))?;
                match text {
                    $(t if t.eq_ignore_ascii_case($word) => Ok($value),)+
                    other => Err((format!("`{other}` is not known"), remedy())),
                }
            }

            fn show(&self) -> Value {
                match self { $($value => Value::from($word),)+ }
            }
        }
    )+};
    (@unit $first:literal $(, $rest:literal)*) => {
        concat!("\"", $first, "\"" $(, ", \"", $rest, "\"")*)
    };
}
words! {
    Acks { "all" => Acks::All, "1" => Acks::One, "0" => Acks::None }
    Order { "thread" => Order::Thread, "strict" => Order::Strict }
    WhenFull { "wait" => WhenFull::Wait, "reject" => WhenFull::Reject }
    PolicyViolation {
        "permanent" => PolicyViolation::Permanent,
        "retryable" => PolicyViolation::Retryable,
    }
    Protocol {
        "plaintext" => Protocol::Plaintext,
        "ssl" => Protocol::Ssl,
        "sasl_plaintext" => Protocol::SaslPlaintext,
        "sasl_ssl" => Protocol::SaslSsl,
    }
    Mechanism {
        "PLAIN" => Mechanism::Plain,
        "SCRAM-SHA-256" => Mechanism::ScramSha256,
        "SCRAM-SHA-512" => Mechanism::ScramSha512,
        "OAUTHBEARER" => Mechanism::OauthBearer,
        "GSSAPI" => Mechanism::Gssapi,
    }
    EndpointIdentification {
        "https" => EndpointIdentification::Https,
        "none" => EndpointIdentification::None,
    }
}

macro_rules! as_str {
    ($($type:ty),+) => {$(
        impl std::fmt::Display for $type {
            /// As it is written in a configuration.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.show().as_str().unwrap_or_default())
            }
        }
    )+};
}
as_str!(Acks, Order, WhenFull, PolicyViolation, Protocol, Mechanism, EndpointIdentification);
