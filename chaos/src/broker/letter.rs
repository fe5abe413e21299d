//! A dead-letter record as it stands in the log, read by names and not by a producer's types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Field that makes a JSON object a dead-letter record.
const PAYLOAD: &str = "original_payload_base64";

/// What a dead-letter record says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Letter {
    /// The payload it holds, whole or cut; `None` when that is not base64.
    pub(crate) payload: Option<Vec<u8>>,
    /// It says that the payload is cut.
    cut: bool,
    size: Option<u64>,
    included: Option<u64>,
    /// SHA-256 of the whole payload, where it is said.
    pub(crate) sha256: Option<[u8; 32]>,
    fields: Map<String, Value>,
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, at) in out.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

impl Letter {
    /// Reads a record value; `None` when it is no dead-letter record.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        if value.first() != Some(&b'{') {
            return None;
        }
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(value) else { return None };
        let payload = fields.remove(PAYLOAD)?;
        let size = |name: &str| fields.get(name).and_then(Value::as_u64);
        let flag = fields.get("original_payload_truncated").and_then(Value::as_bool);
        let sha256 = fields.get("original_payload_sha256").and_then(Value::as_str);
        Some(Self {
            payload: payload.as_str().and_then(|text| STANDARD.decode(text).ok()),
            cut: flag.unwrap_or(false),
            size: size("original_payload_size_bytes"),
            included: size("original_payload_included_bytes"),
            sha256: sha256.and_then(digest),
            fields,
        })
    }

    /// A text field, empty when absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Everything it says but for the payload, as JSON text.
    pub(crate) fn without_payload(&self) -> String {
        serde_json::to_string(&self.fields).unwrap_or_default()
    }

    /// The payload where it is whole.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        self.payload.as_deref().filter(|_| !self.cut)
    }

    /// What is wrong with the payload by what the record itself says (law Q1).
    pub(crate) fn payload_defect(&self) -> Option<String> {
        let Some(payload) = &self.payload else {
            return Some("the payload is not base64".to_owned());
        };
        let held = payload.len() as u64;
        if self.included.is_some_and(|said| said != held) {
            return Some(format!("holds {held} bytes of payload and says another number"));
        }
        if self.cut {
            let Some(size) = self.size else {
                return Some("the payload is cut and its size is not said".to_owned());
            };
            if self.sha256.is_none() {
                return Some("the payload is cut and its SHA-256 is not said".to_owned());
            }
            let cut = held < size;
            return (!cut).then(|| format!("says cut, but holds {held} of {size} bytes"));
        }
        if self.size.is_some_and(|said| said != held) {
            return Some(format!("holds {held} bytes, says another size, and does not say cut"));
        }
        let wrong =
            self.sha256.is_some_and(|said| said != <[u8; 32]>::from(Sha256::digest(payload)));
        wrong.then(|| "the payload's SHA-256 is not the one that is said".to_owned())
    }

    /// How the payload differs from the `original` it was made of, which is known otherwise.
    pub(crate) fn differs(&self, original: &[u8]) -> bool {
        let Some(payload) = &self.payload else { return true };
        if self.cut {
            let sha256 = self.sha256 == Some(Sha256::digest(original).into());
            return !(original.starts_with(payload) && sha256);
        }
        payload != original
    }

    /// What is missing of the source's context (law Q5); `dlq` is the dead-letter topic's name.
    pub(crate) fn context_defect(&self) -> Option<String> {
        const TEXTS: [&str; 6] =
            ["error", "source_topic", "timestamp", "consumer_id", "error_type", "trace_id"];
        if let Some(name) = TEXTS.into_iter().find(|name| self.text(name).is_empty()) {
            return Some(format!("`{name}` is missing or empty"));
        }
        let number = |name: &&str| !self.fields.get(*name).is_some_and(Value::is_i64);
        let missing = ["source_partition", "source_offset"].into_iter().find(number);
        missing.map(|name| format!("`{name}` is missing or no whole number"))
    }
}
