//! What a subject logs, as lines of the history: law S3 reads them where the scenario hands out a
//! secret.

use std::io::{self, Write};
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;

use super::driver::child::Claims;
use crate::history::Kind;

/// Environment variable of a subject's process that asks it to claim its log lines.
pub const LOGS: &str = "DASHPROOF_LOGS";

/// Has every log line of the program decided upon when it is logged, and never once for all.
///
/// As long as one subscriber is all there is, `tracing` asks only the one of the thread that comes
/// by a log line first whether anybody is interested, and remembers the answer for all threads: a
/// run with logs would lack the lines that another thread, whose run has none, came by before. With
/// this second subscriber, which wants nothing, it asks both.
pub fn anchor() {
    static ANCHOR: OnceLock<Dispatch> = OnceLock::new();
    ANCHOR.get_or_init(|| Dispatch::new(Anchor));
}

/// Wants nothing, and does not say so beforehand.
struct Anchor;

impl Subscriber for Anchor {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::OFF)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
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

    use super::*;

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

    #[test]
    fn a_line_that_a_thread_without_logs_came_by_first_is_logged_where_there_are_logs() {
        fn one() {
            tracing::info!(target: "dashproof_reference::x", "once");
        }
        anchor();
        let told = Arc::new(Mutex::new(0));
        let count = told.clone();
        let claims: Claims = Arc::new(move |_| *count.lock().unwrap() += 1);
        tracing::subscriber::with_default(subscriber(claims), || {
            std::thread::spawn(one).join().unwrap();
            one();
        });
        assert_eq!(*told.lock().unwrap(), 1);
    }
}
