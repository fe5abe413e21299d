//! The logs, read whole into the history at the end of a run.

use std::sync::Arc;

use super::batch::Batch;
use super::cluster::Cluster;
use super::inspect::Inspector;
use super::state::State;
use crate::history::{Kind, Route, Src};

impl Cluster {
    /// Records one [`Kind::Log`] line per partition: main first, then dead letters, then the rest
    /// by name.
    pub fn snapshot_logs(&self) {
        let State { topics, identity, config, .. } = &mut *self.state();
        let route = |topic: &str| match topic {
            main if main == config.main_topic => Some(Route::Main),
            dlq if dlq == config.dlq_topic => Some(Route::Dlq),
            _ => None,
        };
        let mut order: Vec<_> = topics.iter().map(|(t, p)| (route(t), t, p)).collect();
        order.sort_by_key(|(route, topic, _)| (route.is_none(), *route, Arc::clone(topic)));
        let mut inspector = Inspector::new(identity, &config.dlq_topic);
        for (route, topic, partitions) in order {
            for (partition, found) in (0..).zip(partitions) {
                let mut records = Vec::new();
                for stored in found.log.batches() {
                    for (base, batch) in Batch::split(stored.bytes.clone()) {
                        records.extend(inspector.batch(route, partition, base, &batch));
                    }
                }
                let topic = Arc::clone(topic);
                let line = Kind::Log { topic, route, partition, records };
                self.recorder().record(Src::Broker, line);
            }
        }
    }
}
