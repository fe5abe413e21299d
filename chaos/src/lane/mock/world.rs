//! A mock cluster with the faults of a scenario.

use std::sync::{Arc, Mutex, PoisonError};

use dashproof_reference::core::BoxFuture;
use tokio::task::JoinSet;

use super::cluster::{Deed, Mock};
use super::probe;
use super::tail::Tail;
use super::target::{Led, MockTarget};
use crate::broker::reader::record_logs;
use crate::broker::{ClusterConfig, Identity};
use crate::fault::FaultPlan;
use crate::history::{Recorder, Route};
use crate::lane::HarnessError;
use crate::lane::child::environment;
use crate::lane::world::cluster_config;
use crate::scenario::model::Scenario;
use crate::subject::runner::World;

/// The world of a run on the lane mock.
pub(super) struct MockWorld {
    bootstrap: String,
    target: Arc<MockTarget>,
    faults: FaultPlan,
    tail: Arc<Tail>,
    follows: Mutex<JoinSet<()>>,
    main: String,
    dlq: String,
    identity: Mutex<Identity>,
    recorder: Recorder,
}

impl MockWorld {
    /// Starts the cluster that a scenario asks for, with its topics.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub(super) async fn start(
        scenario: &Scenario,
        run: [u8; 10],
        recorder: Recorder,
    ) -> Result<Arc<Self>, String> {
        let config = cluster_config(scenario, run, Vec::new());
        let ClusterConfig { main_topic: main, dlq_topic: dlq, partitions, .. } = config;
        let brokers = i32::try_from(scenario.brokers).unwrap_or(i32::MAX);
        let mock = Mock::start(brokers)?;
        let bootstrap = mock.addresses.join(",");
        let mut led = Vec::new();
        for (topic, partitions) in [(&*main, partitions), (&*dlq, 1), (probe::TOPIC, 1)] {
            let (topic, replicas) = (topic.to_owned(), brokers.min(3));
            mock.carry_out(Deed::Create { topic: topic.clone(), partitions, replicas })?;
            for partition in 0..partitions {
                let (topic, leader) = (topic.clone(), partition % brokers + 1);
                led.push(Led { topic: topic.clone(), partition, leader });
                mock.carry_out(Deed::Lead { topic, partition, broker: leader })?;
            }
        }
        let target = Arc::new(MockTarget::new(mock, led, recorder.clone()).await);
        let tail = Arc::new(Tail::new(target.addresses(), &[main.clone(), dlq.clone()]));
        let mut follows = JoinSet::new();
        let follow = Arc::clone(&tail);
        follows.spawn(async move { follow.follow().await });
        Ok(Arc::new(Self {
            bootstrap,
            faults: FaultPlan::new(scenario, Arc::clone(&target)),
            target,
            tail,
            follows: Mutex::new(follows),
            main,
            dlq,
            identity: Mutex::new(Identity::new(run)),
            recorder,
        }))
    }

    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    async fn read(&self) -> Result<(), HarnessError> {
        self.faults.end_all();
        self.target.settled().await.map_err(|text| environment(&text))?;
        // one that still follows would take the logs away while they are read for good
        let mut follows = {
            let mut follows = self.follows.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *follows)
        };
        follows.shutdown().await;
        let read = self.tail.finish().await;
        read.map_err(|error| environment(&error.to_string()))?;
        let (main, dlq) = (self.tail.take(&self.main), self.tail.take(&self.dlq));
        let name = |route| Arc::from(if route == Route::Main { &*self.main } else { &*self.dlq });
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        record_logs(&self.recorder, &mut identity, &main, &dlq, name);
        Ok(())
    }
}

impl World for MockWorld {
    fn begin(&self, fault: usize) {
        self.faults.begin(fault);
    }

    fn met(&self, fault: usize) {
        self.faults.met(fault);
    }

    fn end(&self, fault: usize) {
        self.faults.end(fault);
    }

    fn until_unanswered(&self, _records: u64) -> BoxFuture<'_, ()> {
        // No scenario that asks for it comes here.
        Box::pin(std::future::pending())
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<(), HarnessError>> {
        Box::pin(self.read())
    }
}
