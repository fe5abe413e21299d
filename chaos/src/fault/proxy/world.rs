//! A cluster behind a proxy, with the faults of a scenario.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use dashproof_reference::core::BoxFuture;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Proxy;
use super::site::Shared;
use crate::broker::reader::{Dial, PartitionLog, ReadError, Reader, record_logs};
use crate::fault::FaultPlan;
use crate::history::Route;
use crate::lane::HarnessError;
use crate::scenario::model::Scenario;
use crate::subject::runner::World;

/// How long answers to what was passed on are waited for before the logs are read.
const SETTLE: Duration = Duration::from_secs(6);
/// How long reading all logs may take.
const READ: Duration = Duration::from_secs(60);

/// The brokers behind a proxy as the world of a run.
pub struct ProxyWorld {
    proxy: Arc<Proxy>,
    faults: FaultPlan,
    /// Where the logs are read, if not behind the proxy's own ports.
    reading: Option<Direct>,
}

impl ProxyWorld {
    /// The faults of the scenario act in this proxy.
    #[must_use]
    pub fn new(scenario: &Scenario, proxy: Arc<Proxy>) -> Arc<Self> {
        let faults = FaultPlan::new(scenario, Arc::clone(&proxy.shared));
        Arc::new(Self { proxy, faults, reading: None })
    }

    /// As [`ProxyWorld::new`], for a cluster whose logs are read through another listener than the
    /// proxy's: by the port that it advertises, and the port of 127.0.0.1 where it is.
    #[must_use]
    pub fn reading(
        scenario: &Scenario,
        proxy: Arc<Proxy>,
        listeners: &BTreeMap<u16, u16>,
    ) -> Arc<Self> {
        let faults = FaultPlan::new(scenario, Arc::clone(&proxy.shared));
        let ids = || listeners.iter().zip(1_i32..);
        let ports = ids().map(|((advertised, _), id)| (*advertised, id)).collect();
        let brokers = ids().map(|((_, port), id)| (id, ("127.0.0.1".to_owned(), *port))).collect();
        Arc::new(Self { proxy, faults, reading: Some(Direct { ports, brokers }) })
    }

    /// The proxy.
    #[must_use]
    pub fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    async fn read(&self) -> Result<(), ReadError> {
        let shared = &self.proxy.shared;
        let main = self.topic(&shared.main.real).await?;
        let dlq = self.topic(&shared.dlq.real).await?;
        let name = |route: Route| {
            let names = if route == Route::Main { &shared.main } else { &shared.dlq };
            Arc::clone(&names.logical)
        };
        let mut core = shared.core();
        record_logs(
            crate::broker::links::Site::recorder(&**shared),
            &mut core.identity,
            &main,
            &dlq,
            name,
        );
        Ok(())
    }

    /// Reads a topic, beginning at the first broker that answers.
    async fn topic(&self, topic: &str) -> Result<Vec<PartitionLog>, ReadError> {
        let direct = self.reading.clone().unwrap_or_else(|| Direct::new(&self.proxy));
        let mut failed = ReadError::Io {
            topic: topic.to_owned(),
            source: io::Error::other("nobody said where the brokers are"),
        };
        for (host, port) in direct.brokers.values() {
            match Reader::new(direct.clone(), host, *port).topic(topic).await {
                Ok(logs) => return Ok(logs),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl World for ProxyWorld {
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
        Box::pin(self.proxy.shared.until_unanswered(records))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<(), HarnessError>> {
        Box::pin(async move {
            self.proxy.settled(SETTLE).await;
            let read = timeout(READ, self.read()).await;
            let message = match read {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("the logs could not be read within {READ:?}"),
            };
            Err(HarnessError { blame: "environment", message })
        })
    }
}

/// Dials brokers themselves: what they advertise is the proxy, and no fault may hide the truth.
#[derive(Clone)]
struct Direct {
    /// The proxy's port of each broker, by port.
    ports: BTreeMap<u16, i32>,
    brokers: BTreeMap<i32, (String, u16)>,
}

impl Direct {
    fn new(proxy: &Proxy) -> Self {
        let shared: &Shared = &proxy.shared;
        let ports = proxy.ports.iter().map(|(id, port)| (*port, *id)).collect();
        Self { ports, brokers: shared.addresses() }
    }
}

impl Dial for Direct {
    type Stream = TcpStream;

    async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let ours = matches!(host, "127.0.0.1" | "localhost");
        let behind = self.ports.get(&port).filter(|_| ours).and_then(|id| self.brokers.get(id));
        let (host, port) = behind.map_or((host, port), |(host, port)| (host.as_str(), *port));
        TcpStream::connect((host, port)).await
    }
}
