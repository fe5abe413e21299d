//! What a store counts: one table of series, each with closed labels, all at zero from the start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::damage::Reason;
use super::error::ErrorKind;
use super::index::IndexDamage;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// Name of the metric.
    pub name: &'static str,
    /// Name of its label; none when empty.
    pub label: &'static str,
    /// What it counts.
    pub help: &'static str,
    labels: fn() -> Vec<&'static str>,
}

impl Series {
    /// Every value of the label.
    #[must_use]
    pub fn labels(&self) -> Vec<&'static str> {
        (self.labels)()
    }
}

fn kinds() -> Vec<&'static str> {
    ErrorKind::NAMES.to_vec()
}

macro_rules! series {
    ($($id:ident = $name:literal, $label:literal, $labels:expr, $help:literal;)*) => {
        $(pub(crate) const $id: &str = $name;)*

        /// Every series of the checkpointers.
        pub const CHECKPOINT_METRICS: &[Series] = &[
            $(Series { name: $name, label: $label, help: $help, labels: || $labels },)*
        ];
    };
}

series! {
    SAVES = "dashstream_checkpoint_saves_total", "", vec![""],
        "Saves that said Ok";
    SAVE_FAILURES = "dashstream_checkpoint_save_failures_total", "kind", kinds(),
        "Saves that said Err";
    LOADS = "dashstream_checkpoint_loads_total", "", vec![""],
        "Checkpoints that load and latest gave";
    LOAD_FAILURES = "dashstream_checkpoint_load_failures_total", "kind", kinds(),
        "Calls of load and latest that said Err";
    DELETES = "dashstream_checkpoint_deletes_total", "by", vec!["request", "retention"],
        "Checkpoint files removed";
    DELETE_FAILURES = "dashstream_checkpoint_delete_failures_total", "kind", kinds(),
        "Deletes and retentions that failed";
    CORRUPT = "dashstream_checkpoint_corrupt_files_total", "reason",
        Reason::ALL.iter().map(|r| r.as_str()).collect(),
        "Damaged checkpoint files, each once per open";
    INDEX_DAMAGE = "dashstream_checkpoint_index_damage_total", "kind",
        IndexDamage::ALL.iter().map(|d| d.as_str()).collect(),
        "What was wrong with the index at an open; it is repaired";
    INDEX_WRITE_FAILURES = "dashstream_checkpoint_index_write_failures_total", "", vec![""],
        "Indexes that could not be written; nothing depends on them";
    SWEPT = "dashstream_checkpoint_swept_temp_files_total", "", vec![""],
        "Temporary files of interrupted saves, removed at an open";
    BYTES = "dashstream_checkpoint_written_bytes_total", "", vec![""],
        "Bytes of the checkpoint files of saves that said Ok";
}

/// What was counted; a series or label that is not here is at zero.
type Cells = BTreeMap<(&'static str, &'static str), u64>;

/// Counts of one store, or of several that share them. Cheap to clone; lives as long as any clone.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Mutex<Cells>>);

impl Counters {
    pub(crate) fn add(&self, series: &'static str, label: &'static str, n: u64) {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *cells.entry((series, label)).or_default() += n;
    }

    /// One count; 0 for a series or label that does not exist.
    #[must_use]
    pub fn get(&self, series: &str, label: &str) -> u64 {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.get(&(series, label)).copied().unwrap_or(0)
    }

    /// Every count at one moment: series, label, count.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rows = CHECKPOINT_METRICS.iter();
        let all = rows.flat_map(|row| row.labels().into_iter().map(|label| (row.name, label)));
        all.map(|(name, label)| (name, label, cells.get(&(name, label)).copied().unwrap_or(0)))
            .collect()
    }
}
