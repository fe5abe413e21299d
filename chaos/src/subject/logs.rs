//! What a subject logs, as lines of the history: law S3 reads them where the scenario hands out a
//! secret.

use std::io::{self, Write};

use serde_json::Value;
use tracing::{Level, Subscriber};
use tracing_subscriber::EnvFilter;

use super::driver::child::Claims;
use crate::history::Kind;

/// Environment variable of a subject's process that asks it to claim its log lines.
pub const LOGS: &str = "DASHPROOF_LOGS";

/// Words in the name of a setting that make its value a secret.
const SECRET: [&str; 4] = ["password", "secret", "token", "passphrase"];
/// Shorter values would be found by chance.
const LEAST: usize = 6;

/// The secrets among producer settings.
#[must_use]
pub fn secrets(settings: &Value) -> Vec<String> {
    let mut secrets = Vec::new();
    collect(settings, false, &mut secrets);
    secrets.retain(|secret| secret.len() >= LEAST);
    secrets
}

/// Values below a name that makes them secret.
fn collect(value: &Value, secret: bool, out: &mut Vec<String>) {
    match value {
        Value::String(text) if secret => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, secret, out)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.to_lowercase();
                let secret = secret || SECRET.iter().any(|word| name.contains(word));
                collect(value, secret, out);
            }
        }
        _ => {}
    }
}

/// Writes every line that the reference or its client logs, at any level, as a claim `log`.
pub fn subscriber(claims: Claims) -> impl Subscriber + Send + Sync {
    let filter = EnvFilter::new("off,dashproof_reference=trace,librdkafka=trace,rdkafka=trace");
    tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_ansi(false)
        .without_time()
        .with_env_filter(filter)
        .with_writer(move || Lines(claims.clone()))
        .finish()
}

/// Gets one log line per write.
struct Lines(Claims);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
        (self.0)(Kind::Proc { what: "log".to_owned(), value: 0, text });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    #[test]
    fn values_below_a_telling_name_are_secrets_and_short_ones_are_not() {
        let settings = json!({
            "topic": "events",
            "security": { "sasl": { "password": "hunter22", "username": "alice" } },
            "ssl": { "key_password": "x", "Tokens": ["first-token"] },
        });
        assert_eq!(secrets(&settings), ["hunter22", "first-token"]);
    }

    #[test]
    fn a_log_line_becomes_a_claim_with_its_fields() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = told.clone();
        let claims: Claims = Arc::new(move |kind| sink.lock().unwrap().push(kind));
        tracing::subscriber::with_default(subscriber(claims), || {
            tracing::debug!(target: "dashproof_reference::x", topic = "t", "opened");
            tracing::debug!(target: "somebody_else", "not ours");
        });
        let told = told.lock().unwrap();
        let [Kind::Proc { what, text, .. }] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(what, "log");
        assert!(text.contains("opened") && text.contains("topic=\"t\""), "{text}");
    }
}
