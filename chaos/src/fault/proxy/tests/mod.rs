use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, ProduceRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Mode, Proxy, ProxyConfig, ProxyWorld, TopicNames};
use crate::broker::client::Client;
use crate::broker::tests::kit::*;
use crate::broker::{Cluster, accept_loop, bind_loopback, codes};
use crate::history::{Clock, FaultPhase, Kind, Line, ProduceTruth, Recorder, Route, Src};
use crate::scenario::model::{At, Brokers, Fault, FaultKind, LinkFault, Scenario, TopicSel};
use crate::subject::runner::World;

mod bytes_only;
mod faults;
mod passing;
mod rewriting;

struct Wall(Instant);

impl Clock for Wall {
    fn now_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

fn wall() -> Recorder {
    Recorder::new(Arc::new(Wall(Instant::now())))
}

/// Three model brokers on loopback behind a proxy with one fault planned.
struct Rig {
    proxy: Arc<Proxy>,
    world: Arc<ProxyWorld>,
    recorder: Recorder,
    cluster: Arc<Cluster>,
    client: Client<TcpStream>,
}

fn proxy_config(mode: Mode) -> ProxyConfig {
    ProxyConfig {
        brokers: vec![1, 2, 3],
        main: TopicNames { real: "events".to_owned(), logical: Arc::from("telemetry") },
        dlq: TopicNames { real: "dead".to_owned(), logical: Arc::from("letters") },
        run: [7; 10],
        mode,
    }
}

async fn client(proxy: &Proxy, broker: usize) -> Client<TcpStream> {
    let port = proxy.ports()[broker - 1].1;
    Client::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap())
}

/// The model cluster behind this proxy, on ports of its own.
async fn brokers(proxy: &Proxy) -> Arc<Cluster> {
    let advertised = proxy.ports().iter().map(|(_, port)| ("127.0.0.1".to_owned(), *port));
    let config = crate::broker::ClusterConfig { advertised: advertised.collect(), ..config() };
    let cluster = Cluster::new(config, wall(), 42);
    for id in 1..=3 {
        let (listener, port) = bind_loopback().await.unwrap();
        proxy.connect_to(id, "127.0.0.1", port);
        tokio::spawn(accept_loop(Arc::clone(&cluster), id, listener));
    }
    cluster
}

async fn rig_in(mode: Mode, kind: FaultKind) -> Rig {
    let recorder = wall();
    let proxy = Proxy::bind(proxy_config(mode), recorder.clone(), 1).await.unwrap();
    let proxy = Arc::new(proxy);
    let cluster = brokers(&proxy).await;
    let fault = Fault::new(At::Time(Duration::ZERO), None, kind);
    let scenario = Scenario { faults: vec![fault], ..Scenario::default() };
    let world = ProxyWorld::new(&scenario, Arc::clone(&proxy), None);
    let client = client(&proxy, 1).await;
    Rig { proxy, world, recorder, cluster, client }
}

async fn rig(kind: FaultKind) -> Rig {
    rig_in(Mode::Frames, kind).await
}

/// A fault that nothing here meets.
fn none() -> FaultKind {
    FaultKind::Throttle { delay: Duration::from_secs(1) }
}

impl Rig {
    async fn reconnect(&mut self) {
        self.client = client(&self.proxy, 1).await;
    }

    /// Offers one event to partition 0; `None` when no answer comes within a second.
    async fn offer(&mut self, n: u32) -> Option<(i16, i64)> {
        let request = produce(batch(PLAIN, &[n], b"x"));
        let call = timeout(Duration::from_secs(1), self.client.call(9, &request)).await;
        call.ok()?.ok().map(|response| answer(&response))
    }

    fn truths(&self) -> Vec<ProduceTruth> {
        truths(&self.recorder.lines())
    }

    fn phases(&self) -> Vec<FaultPhase> {
        phases(&self.recorder, 0)
    }

    /// Events in the main log, read through no fault.
    async fn logged(&self) -> usize {
        self.world.snapshot().await.unwrap();
        logs(&self.recorder.lines(), Route::Main)
    }
}

fn logs(lines: &[Line], wanted: Route) -> usize {
    let records = lines.iter().filter_map(|line| match &line.kind {
        Kind::Log { route, records, .. } if *route == Some(wanted) => Some(records.len()),
        _ => None,
    });
    records.sum()
}
