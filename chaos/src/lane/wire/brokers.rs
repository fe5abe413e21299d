//! The model broker on loopback TCP.

use std::io;
use std::sync::Arc;

use dashproof_reference::core::BoxFuture;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::broker::{self, Cluster, ClusterConfig};
use crate::fault::FaultPlan;
use crate::history::Recorder;
use crate::scenario::model::Scenario;
use crate::subject::runner::World;

/// A cluster with a listener per broker, and the faults of the scenario.
pub(super) struct Brokers {
    cluster: Arc<Cluster>,
    faults: FaultPlan,
    bootstrap: String,
    /// Accept loops; they end with this.
    _listeners: JoinSet<()>,
}

impl Brokers {
    /// Binds a free port per broker and starts to serve.
    ///
    /// # Errors
    /// No port on the loopback interface.
    pub(super) async fn start(
        scenario: &Scenario,
        run: [u8; 10],
        recorder: Recorder,
        seed: u64,
    ) -> io::Result<Arc<Self>> {
        let mut sockets: Vec<TcpListener> = Vec::new();
        let mut advertised = Vec::new();
        for _ in 0..scenario.brokers {
            let (socket, port) = broker::bind_loopback().await?;
            sockets.push(socket);
            advertised.push(("127.0.0.1".to_owned(), port));
        }
        let servers: Vec<String> = advertised.iter().map(|(h, p)| format!("{h}:{p}")).collect();
        let topic = |path: &str, default: &str| {
            scenario.producer.pointer(path).and_then(|t| t.as_str()).unwrap_or(default).to_owned()
        };
        let config = ClusterConfig {
            brokers: scenario.brokers,
            partitions: scenario.partitions,
            main_topic: topic("/topic", "dashstream-events"),
            dlq_topic: topic("/dlq/topic", "dashstream-dlq"),
            advertised,
            min_insync: scenario.min_insync,
            auto_create: scenario.auto_create,
            message_max_bytes: scenario.message_max_bytes,
            run,
        };
        let cluster = Cluster::new(config, recorder, seed);
        let mut listeners = JoinSet::new();
        for (id, socket) in cluster.broker_ids().into_iter().zip(sockets) {
            listeners.spawn(broker::accept_loop(Arc::clone(&cluster), id, socket));
        }
        let faults = FaultPlan::new(scenario, Arc::clone(&cluster));
        let bootstrap = servers.join(",");
        Ok(Arc::new(Self { cluster, faults, bootstrap, _listeners: listeners }))
    }

    /// `host:port,…` of all brokers.
    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

impl World for Brokers {
    fn begin(&self, fault: usize) {
        self.faults.begin(fault);
    }

    fn end(&self, fault: usize) {
        self.faults.end(fault);
    }

    fn met(&self, fault: usize) {
        self.faults.met(fault);
    }

    fn until_unanswered(&self, records: u64) -> BoxFuture<'_, ()> {
        Box::pin(self.cluster.until_unanswered(records))
    }

    fn snapshot(&self) {
        self.cluster.snapshot_logs();
    }
}
