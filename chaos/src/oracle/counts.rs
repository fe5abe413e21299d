//! Exact numbers of a run, for the regression gate and for summaries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::delivery::d11::recovery_us;
use super::index::Index;
use super::{plays, spool, state, store};
use crate::history::Route;

/// Numbers that are the same in every replay of a simulated run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Lines of the history.
    pub lines: u64,
    /// Hand-overs to the main transport.
    pub main_attempts: u64,
    /// Hand-overs to the DLQ transport.
    pub dlq_attempts: u64,
    /// Hand-overs that the transport refused.
    pub refused: u64,
    /// Produce requests that reached a broker whole.
    pub requests: u64,
    /// Records in the main log.
    pub main_records: u64,
    /// Records in the DLQ's log.
    pub dlq_records: u64,
    /// Bytes of both logs.
    pub log_bytes: u64,
    /// Most accepted and unresolved events at a time, over all incarnations.
    pub queue_peak: u64,
    /// Most open main attempts at a time, over all incarnations.
    pub open_peak: u64,
    /// From the last fault's end until every older event had an outcome and a new one was acked,
    /// microseconds; `None` where that cannot be said.
    pub recovery_us: Option<u64>,
    /// Crash states of a store's or spool's disk that were tried.
    #[serde(default)]
    pub crash_states: u64,
    /// Points of its log at which crash states were sampled, because there are too many.
    #[serde(default)]
    pub crash_sampled: u64,
    /// Numbers of free bytes that a full disk was tried with, each in a play of its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub full_at: u64,
    /// Which numbers those were.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub full_which: String,
    /// Checkpoints that were offered to be saved.
    #[serde(default)]
    pub saves: u64,
    /// States that were diffed, by answer and reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub states: BTreeMap<String, u64>,
    /// Crash states that were tried, by variant and operation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub crashes: BTreeMap<String, u64>,
    /// Lane time of the last line, microseconds.
    pub end_us: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl RunCounts {
    pub(crate) fn of(index: &Index<'_>) -> Self {
        let attempts = |route, refused| {
            let same = index.attempts.iter().filter(|a| a.refused == refused);
            same.filter(|a| a.route == route).count() as u64
        };
        let records = |route| {
            let logs = index.logs.iter().filter(|log| log.route == route);
            logs.map(|log| log.records.len() as u64).sum()
        };
        let sizes = index.logs.iter().flat_map(|log| log.records.iter());
        let crashes = store::tally(index);
        let (full_at, which) = plays::tried(index);
        Self {
            lines: index.lines.len() as u64,
            main_attempts: attempts(Route::Main, false),
            dlq_attempts: attempts(Route::Dlq, false),
            refused: attempts(Route::Main, true) + attempts(Route::Dlq, true),
            requests: index.requests.len() as u64,
            main_records: records(Route::Main),
            dlq_records: records(Route::Dlq),
            log_bytes: sizes.map(|record| record.size as u64).fold(0, u64::saturating_add),
            queue_peak: index.peaks.iter().map(|p| p.events.count).max().unwrap_or(0),
            open_peak: index.peaks.iter().map(|p| p.main.count).max().unwrap_or(0),
            recovery_us: recovery_us(index),
            crash_states: crashes.states,
            crash_sampled: crashes.sampled,
            full_at,
            full_which: which.unwrap_or_default().to_owned(),
            saves: store::saves(index),
            states: state::answers(index),
            crashes: if index.scenario.checkpoint.is_some() {
                store::tried(index)
            } else {
                spool::tried(index)
            },
            end_us: index.lines.iter().map(|line| line.t_us).max().unwrap_or(0),
        }
    }
}
