//! The model broker on loopback TCP, as it is or behind the proxy.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::broker::{self, Wrong};
use crate::fault::proxy::{Mode, Proxy, ProxyConfig, ProxyWorld, TopicNames};
use crate::history::Recorder;
use crate::lane::child::RealClock;
use crate::lane::world::{ModelWorld, cluster_config};
use crate::scenario::model::Scenario;
use crate::subject::runner::World;

fn serve(world: &ModelWorld, sockets: Vec<TcpListener>) -> JoinSet<()> {
    let mut listeners = JoinSet::new();
    for (id, socket) in world.cluster().broker_ids().into_iter().zip(sockets) {
        listeners.spawn(broker::accept_loop(Arc::clone(world.cluster()), id, socket));
    }
    listeners
}

/// The scenario's cluster with a listener per broker.
pub(super) struct Brokers {
    pub(super) world: Arc<dyn World>,
    /// `host:port,…` of all brokers.
    pub(super) bootstrap: String,
    /// Accept loops; they end with this.
    _listeners: JoinSet<()>,
}

impl Brokers {
    /// Binds a free port per broker and starts to serve; `wrong` is what they do wrong, if it is
    /// they who are put to the test.
    ///
    /// # Errors
    /// No port on the loopback interface.
    pub(super) async fn start(
        scenario: &Scenario,
        run: [u8; 10],
        recorder: Recorder,
        seed: u64,
        wrong: Option<Wrong>,
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
        if let Some(wrong) = wrong {
            world.cluster().go_wrong(wrong);
        }
        let listeners = serve(&world, sockets);
        Ok(Self { world, bootstrap: servers.join(","), _listeners: listeners })
    }

    /// The same brokers behind a proxy that carries the faults and tells the truth: what they
    /// record themselves is nobody's.
    ///
    /// # Errors
    /// No port on the loopback interface.
    pub(super) async fn behind_proxy(
        scenario: &Scenario,
        run: [u8; 10],
        recorder: Recorder,
        seed: u64,
    ) -> io::Result<Self> {
        let config = cluster_config(scenario, run, Vec::new());
        let names = |name: &str| TopicNames::same(name);
        let settings = ProxyConfig {
            brokers: (1..=i32::try_from(scenario.brokers).unwrap_or(i32::MAX)).collect(),
            main: names(&config.main_topic),
            dlq: names(&config.dlq_topic),
            run,
            mode: Mode::Frames,
        };
        let unheard = Recorder::new(Arc::new(RealClock(Instant::now())));
        let proxy = Arc::new(Proxy::bind(settings, recorder, seed).await?);
        let ports = proxy.ports().iter().map(|(_, port)| ("127.0.0.1".to_owned(), *port));
        let config = cluster_config(scenario, run, ports.collect());
        let unbroken = Scenario { faults: Vec::new(), ..scenario.clone() };
        let model = ModelWorld::new(&unbroken, config, unheard, seed);
        let mut sockets = Vec::new();
        for (id, _) in proxy.ports() {
            let (socket, port) = broker::bind_loopback().await?;
            proxy.connect_to(*id, "127.0.0.1", port);
            sockets.push(socket);
        }
        let listeners = serve(&model, sockets);
        let bootstrap = proxy.bootstrap();
        Ok(Self { world: ProxyWorld::new(scenario, proxy, None), bootstrap, _listeners: listeners })
    }
}
