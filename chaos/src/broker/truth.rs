//! The logs, read whole into the history at the end of a run.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::Batch;
use super::cluster::Cluster;
use super::identity::Identity;
use crate::history::{Kind, LogRecord, Route, Src};

impl Cluster {
    /// Records one [`Kind::Log`] line per partition, in order of topic and partition.
    pub fn snapshot_logs(&self) {
        let lines = {
            let state = self.state();
            let mut lines = Vec::new();
            for (topic, partitions) in &state.topics {
                let route = if **topic == *state.config.main_topic {
                    Some(Route::Main)
                } else if **topic == *state.config.dlq_topic {
                    Some(Route::Dlq)
                } else {
                    None
                };
                for (partition, found) in (0..).zip(partitions) {
                    let stored = found.log.batches().iter().map(|s| s.bytes.clone());
                    let records = stored.flat_map(|bytes| read(&state.identity, bytes)).collect();
                    lines.push(Kind::Log { topic: Arc::clone(topic), route, partition, records });
                }
            }
            lines
        };
        for line in lines {
            self.recorder().record(Src::Broker, line);
        }
    }
}

/// The records of one stored batch.
fn read(identity: &Identity, bytes: Bytes) -> Vec<LogRecord> {
    let mut out = Vec::new();
    for (base, batch) in Batch::split(bytes) {
        let records = batch.records().unwrap_or_default();
        for record in records {
            out.push(LogRecord {
                offset: base + i64::from(record.offset_delta),
                events: identity.record(&record),
                pid: batch.pid,
                epoch: batch.epoch,
                thread: Arc::from(""),
                sequence: None,
                size: record.size(),
                defects: Vec::new(),
            });
        }
    }
    out
}
