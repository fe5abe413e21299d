//! The model cluster of a scenario, for the lanes that use it.

use std::sync::Arc;

use dashproof_reference::core::BoxFuture;

use crate::broker::{Cluster, ClusterConfig};
use crate::fault::FaultPlan;
use crate::history::Recorder;
use crate::lane::HarnessError;
use crate::scenario::model::Scenario;
use crate::subject::runner::World;

/// The cluster that a scenario asks for, with brokers at these addresses.
#[must_use]
pub fn cluster_config(
    scenario: &Scenario,
    run: [u8; 10],
    advertised: Vec<(String, u16)>,
) -> ClusterConfig {
    let topic = |path: &str, default: &str| {
        scenario.producer.pointer(path).and_then(|t| t.as_str()).unwrap_or(default).to_owned()
    };
    ClusterConfig {
        brokers: scenario.brokers,
        partitions: scenario.partitions,
        main_topic: topic("/topic", "dashstream-events"),
        dlq_topic: topic("/dlq/topic", "dashstream-dlq"),
        advertised,
        min_insync: scenario.min_insync,
        auto_create: scenario.auto_create,
        message_max_bytes: scenario.message_max_bytes,
        run,
    }
}

/// A model cluster with the faults of a scenario.
pub struct ModelWorld {
    cluster: Arc<Cluster>,
    faults: FaultPlan,
}

impl ModelWorld {
    /// A fresh cluster. Nothing listens yet.
    #[must_use]
    pub fn new(
        scenario: &Scenario,
        config: ClusterConfig,
        recorder: Recorder,
        seed: u64,
    ) -> Arc<Self> {
        let cluster = Cluster::new(config, recorder, seed);
        let faults = FaultPlan::new(scenario, cluster.clone());
        Arc::new(Self { cluster, faults })
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }
}

impl World for ModelWorld {
    fn begin(&self, fault: usize) {
        self.faults.begin(fault);
    }

    fn met(&self, fault: usize) {
        self.faults.met(fault);
    }

    fn end(&self, fault: usize) {
        self.faults.end(fault);
    }

    fn until_unanswered(&self, records: u64) -> BoxFuture<'_, ()> {
        Box::pin(self.cluster.until_unanswered(records))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<(), HarnessError>> {
        self.cluster.snapshot_logs();
        Box::pin(async { Ok(()) })
    }
}
