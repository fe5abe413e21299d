//! Secrets that a run hands out, and the search for them (law S3).

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::history::{Kind, Line, Recorder};

/// `what` of the harness's [`Kind::Proc`] line that says how many secrets of the run's own, which
/// the history cannot hold, were looked for in it.
pub const SEARCHED: &str = "secrets";
/// `what` of the harness's [`Kind::Proc`] line that says where one of them was found.
pub const LEAKED: &str = "leaked";

/// Words in the name of a setting that make its value a secret.
const SECRET: [&str; 4] = ["password", "secret", "token", "passphrase"];
/// The end of the name of a setting whose value is where something is.
const PLACE: &str = "_location";
/// Shorter values would be found by chance.
const LEAST: usize = 6;
/// The same of a line of a key.
const LEAST_OF_KEY: usize = 32;

/// The secrets among producer settings.
#[must_use]
pub fn secrets(settings: &Value) -> Vec<String> {
    let mut secrets = Vec::new();
    collect(settings, false, &mut secrets);
    secrets.retain(|secret| secret.len() >= LEAST);
    secrets
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    !name.ends_with(PLACE) && SECRET.iter().any(|word| name.contains(word))
}

/// Values below a name that makes them secret.
fn collect(value: &Value, secret: bool, out: &mut Vec<String>) {
    match value {
        Value::String(text) if secret => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, secret, out)),
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(value, secret || is_secret(name), out);
            }
        }
        _ => {}
    }
}

/// Settings as they may be shown.
#[must_use]
pub fn masked(settings: &Value) -> Value {
    match settings {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let hidden = is_secret(name) && !value.is_null();
                let shown = if hidden { Value::from("[redacted]") } else { masked(value) };
                (name.clone(), shown)
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(masked).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// Which text of the line holds one of the secrets.
#[must_use]
pub fn found_in(line: &Line, secrets: &[String]) -> Option<&'static str> {
    let holds = |text: &str| secrets.iter().any(|secret| text.contains(secret.as_str()));
    let (found, what) = match &line.kind {
        Kind::Return { error, answer, .. } => {
            let answer = answer.to_string();
            (error.as_deref().is_some_and(holds) || holds(&answer), "an answer")
        }
        Kind::Refused { error, .. } => (holds(&error.reason), "a refusal"),
        Kind::Delivery { error, .. } => {
            (error.as_ref().is_some_and(|error| holds(&error.reason)), "a delivery error")
        }
        Kind::Scrape { text, .. } => (holds(text), "a scrape"),
        Kind::Proc { text, .. } => (holds(text), "a logged or printed line"),
        Kind::Log { records, .. } => {
            let defects = records.iter().flat_map(|record| record.defects.iter());
            let threads = records.iter().map(|record| &*record.thread);
            let letters = records.iter().map(|record| record.letter.as_str());
            let texts = defects.map(String::as_str).chain(threads).chain(letters);
            (texts.into_iter().any(holds), "a record")
        }
        Kind::Fs { path, error, .. } => {
            (holds(path) || error.as_deref().is_some_and(holds), "a file name")
        }
        _ => (false, ""),
    };
    found.then_some(what)
}

/// Secrets that a lane makes for one run, each with what it is.
#[derive(Default)]
pub struct OwnSecrets(Mutex<Vec<(&'static str, String)>>);

impl OwnSecrets {
    /// A text that must not show up.
    pub fn add(&self, what: &'static str, secret: &str) {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if secret.len() >= LEAST && made.iter().all(|(_, known)| known != secret) {
            made.push((what, secret.to_owned()));
        }
    }

    /// A key in PEM: each line of its body, for texts break it as they like, and the whole.
    pub fn add_key(&self, what: &'static str, pem: &str) {
        let body = pem.lines().filter(|line| !line.starts_with("-----"));
        for line in body.clone().filter(|line| line.len() >= LEAST_OF_KEY) {
            self.add(what, line);
        }
        self.add(what, &body.collect::<String>());
    }

    /// True when nothing was made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Looks for all of them in everything that was recorded, and records what came of it.
    pub fn search(&self, recorder: &Recorder) {
        let made = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if made.is_empty() {
            return;
        }
        let count = i64::try_from(made.len()).unwrap_or(i64::MAX);
        let secrets: Vec<String> = made.iter().map(|(_, secret)| secret.clone()).collect();
        let found: Vec<String> = recorder.read(|lines| {
            let leaks = lines.iter().filter_map(|line| {
                found_in(line, &secrets)?;
                let one = made.iter().find_map(|(what, secret)| {
                    Some((*what, found_in(line, std::slice::from_ref(secret))?))
                });
                one.map(|(what, place)| {
                    format!("line {} of the history, {place}, holds {what}", line.n)
                })
            });
            leaks.collect()
        });
        let line = |what: &str, value, text| {
            recorder.harness(Kind::Proc { what: what.to_owned(), value, text });
        };
        line(SEARCHED, count, String::new());
        for text in found {
            line(LEAKED, 0, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::history::Clock;

    struct Still;

    impl Clock for Still {
        fn now_us(&self) -> u64 {
            0
        }
    }

    #[test]
    fn values_below_a_telling_name_are_secrets_and_short_ones_and_places_are_not() {
        let settings = json!({
            "topic": "events",
            "security": { "sasl": { "password": "hunter22", "username": "alice" } },
            "ssl": { "key_password": "x", "Tokens": ["first-token"] },
            "token_location": "/run/token.json",
        });
        assert_eq!(secrets(&settings), ["hunter22", "first-token"]);
        let shown = masked(&settings).to_string();
        for hidden in ["hunter22", "first-token", "\"x\""] {
            assert!(!shown.contains(hidden), "{shown}");
        }
        assert!(shown.contains("alice") && shown.contains("/run/token.json"), "{shown}");
    }

    #[test]
    fn a_line_of_a_key_is_found_wherever_it_stands_and_the_key_is_not_shown() {
        let line = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1234567890abcdef";
        let made = OwnSecrets::default();
        made.add_key("a key", &format!("-----BEGIN PRIVATE KEY-----\n{line}\nshort\n"));
        let recorder = Recorder::new(Arc::new(Still));
        let log = |text: &str| {
            recorder.harness(Kind::Proc { what: "log".into(), value: 0, text: text.to_owned() });
        };
        log("short");
        log(&format!("opened with {line}"));
        made.search(&recorder);
        let told: Vec<(String, i64, String)> = recorder
            .take()
            .into_iter()
            .skip(2)
            .map(|line| match line.kind {
                Kind::Proc { what, value, text } => (what, value, text),
                other => panic!("{other:?}"),
            })
            .collect();
        let place = "line 1 of the history, a logged or printed line, holds a key";
        assert_eq!(told[0], (SEARCHED.to_owned(), 2, String::new()));
        assert_eq!(told[1..], [(LEAKED.to_owned(), 0, place.to_owned())]);
    }
}
