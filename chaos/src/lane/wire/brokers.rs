//! The model broker on loopback TCP.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::broker;
use crate::history::Recorder;
use crate::lane::world::{ModelWorld, cluster_config};
use crate::scenario::model::Scenario;

/// The scenario's cluster with a listener per broker.
pub(super) struct Brokers {
    pub(super) world: Arc<ModelWorld>,
    /// `host:port,…` of all brokers.
    pub(super) bootstrap: String,
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
    ) -> io::Result<Self> {
        let mut sockets: Vec<TcpListener> = Vec::new();
        let mut advertised = Vec::new();
        for _ in 0..scenario.brokers {
            let (socket, port) = broker::bind_loopback().await?;
            sockets.push(socket);
            advertised.push(("127.0.0.1".to_owned(), port));
        }
        let servers: Vec<String> = advertised.iter().map(|(h, p)| format!("{h}:{p}")).collect();
        let config = cluster_config(scenario, run, advertised);
        let world = ModelWorld::new(scenario, config, recorder, seed);
        let mut listeners = JoinSet::new();
        for (id, socket) in world.cluster().broker_ids().into_iter().zip(sockets) {
            listeners.spawn(broker::accept_loop(Arc::clone(world.cluster()), id, socket));
        }
        Ok(Self { world, bootstrap: servers.join(","), _listeners: listeners })
    }
}
