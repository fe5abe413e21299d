//! What a store of the saboteurs' own counts: as honestly as the reference, so that what it is
//! caught by is what it does.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use dashproof_reference::checkpoint::CHECKPOINT_METRICS;

use crate::subject::store::{Answered, Checkpointer, Given, Listed};

const PREFIX: &str = "dashstream_checkpoint_";

/// Counts by series and label.
#[derive(Clone, Debug)]
pub(super) struct Counts(Arc<Mutex<BTreeMap<(String, String), u64>>>);

impl Default for Counts {
    fn default() -> Self {
        let rows = CHECKPOINT_METRICS.iter();
        let all = rows.flat_map(|row| row.labels().into_iter().map(|label| (row.name, label)));
        let zero = all.map(|(name, label)| ((name.to_owned(), label.to_owned()), 0));
        Self(Arc::new(Mutex::new(zero.collect())))
    }
}

impl Counts {
    /// One more, of a series without its prefix.
    pub(super) fn add(&self, series: &str, label: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry((format!("{PREFIX}{series}"), label.to_owned())).or_default() += 1;
    }

    fn told<T>(&self, answer: &Answered<T>, good: &str, bad: &str) {
        match answer {
            Ok(_) if good.is_empty() => {}
            Ok(_) => self.add(good, ""),
            Err(refusal) => self.add(bad, &refusal.kind),
        }
    }

    fn text(&self) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |((name, value), n): (&(String, String), &u64)| {
            let row = CHECKPOINT_METRICS.iter().find(|row| row.name == *name);
            match row.map_or("", |row| row.label) {
                "" => format!("{name} {n}\n"),
                label => format!("{name}{{{label}=\"{value}\"}} {n}\n"),
            }
        };
        let mut out = String::new();
        for row in CHECKPOINT_METRICS {
            out.push_str(&format!("# HELP {} {}\n# TYPE {0} counter\n", row.name, row.help));
            out.extend(all.iter().filter(|((name, _), _)| name == row.name).map(line));
        }
        out
    }
}

/// A store whose calls are counted.
pub(super) struct Counted<S> {
    pub(super) inner: S,
    pub(super) counts: Counts,
}

impl<S: Checkpointer> Checkpointer for Counted<S> {
    fn save(&mut self, thread: &str, id: Option<&str>, state: &str) -> Answered<String> {
        let answer = self.inner.save(thread, id, state);
        self.counts.told(&answer, "saves_total", "save_failures_total");
        answer
    }

    fn load(&mut self, id: &str) -> Answered<Given> {
        let answer = self.inner.load(id);
        self.counts.told(&answer, "loads_total", "load_failures_total");
        answer
    }

    fn latest(&mut self, thread: &str) -> Answered<Option<Given>> {
        let answer = self.inner.latest(thread);
        if !matches!(answer, Ok(None)) {
            self.counts.told(&answer, "loads_total", "load_failures_total");
        }
        answer
    }

    fn list(&mut self, thread: &str) -> Answered<Vec<Listed>> {
        self.inner.list(thread)
    }

    fn threads(&mut self) -> Answered<Vec<String>> {
        self.inner.threads()
    }

    fn verify(&mut self) -> Answered<Vec<String>> {
        self.inner.verify()
    }

    fn delete(&mut self, id: &str) -> Answered<u64> {
        let answer = self.inner.delete(id);
        self.counts.told(&answer, "", "delete_failures_total");
        answer
    }

    fn delete_thread(&mut self, thread: &str) -> Answered<u64> {
        let answer = self.inner.delete_thread(thread);
        self.counts.told(&answer, "", "delete_failures_total");
        answer
    }

    fn retain(&mut self, keep: NonZeroUsize) -> Answered<u64> {
        let answer = self.inner.retain(keep);
        self.counts.told(&answer, "", "delete_failures_total");
        answer
    }

    fn metrics(&self) -> String {
        self.counts.text()
    }

    fn close(self: Box<Self>) {}
}
