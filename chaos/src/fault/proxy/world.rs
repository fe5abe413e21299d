//! A cluster behind a proxy, with the faults of a scenario.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use dashproof_reference::core::BoxFuture;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{Mode, Proxy};
use crate::broker::reader::{Dial, PartitionLog, ReadError, Reader, record_logs};
use crate::fault::FaultPlan;
use crate::history::Route;
use crate::lane::HarnessError;
use crate::scenario::model::Scenario;
use crate::subject::runner::World;

/// How long answers to what was passed on are waited for before the logs are read.
const SETTLE: Duration = Duration::from_secs(6);
/// How long logs of what passed as bytes must not grow.
const STILL: Duration = Duration::from_millis(500);
/// How long reading all logs may take.
const READ: Duration = Duration::from_secs(60);

/// The brokers behind a proxy as the world of a run.
pub struct ProxyWorld {
    proxy: Arc<Proxy>,
    faults: FaultPlan,
    /// Where the logs are read, if not behind the proxy's own ports.
    reading: Option<Direct>,
    /// Where the run's logs begin, of each topic by partition, if that is not their beginning.
    begin: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl ProxyWorld {
    /// The faults of the scenario act in this proxy. `listeners` is for a cluster whose logs are
    /// read through another listener than the proxy's: the port that each broker advertises for
    /// it, and the port of 127.0.0.1 where it is.
    #[must_use]
    pub fn new(
        scenario: &Scenario,
        proxy: Arc<Proxy>,
        listeners: Option<&BTreeMap<u16, u16>>,
    ) -> Arc<Self> {
        let faults = FaultPlan::new(scenario, Arc::clone(&proxy.shared));
        let here = |(advertised, port): (&u16, &u16)| (*advertised, ("127.0.0.1".into(), *port));
        let reading = listeners.map(|listeners| Direct {
            ports: listeners.iter().map(here).collect(),
            elsewhere: BTreeMap::new(),
        });
        Arc::new(Self { proxy, faults, reading, begin: BTreeMap::new() })
    }

    /// As [`ProxyWorld::new`], before brokers that do not know the proxy. `elsewhere` is where
    /// brokers are that are not where they say; `begin` is where the run's logs begin, of each
    /// topic by partition.
    #[must_use]
    pub fn before_strangers(
        scenario: &Scenario,
        proxy: Arc<Proxy>,
        elsewhere: BTreeMap<(String, u16), (String, u16)>,
        begin: BTreeMap<String, BTreeMap<i32, i64>>,
    ) -> Arc<Self> {
        let faults = FaultPlan::new(scenario, Arc::clone(&proxy.shared));
        let reading = Some(Direct { elsewhere, ..Direct::new(&proxy) });
        Arc::new(Self { proxy, faults, reading, begin })
    }

    /// The proxy.
    #[must_use]
    pub fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    async fn read(&self) -> Result<(), ReadError> {
        let shared = &self.proxy.shared;
        let [mut main, mut dlq] = self.logs().await?;
        // what passed as bytes is on no record: it has arrived when the logs stand still
        if shared.mode == Mode::Bytes {
            let mut before = None;
            while before != Some(ends(&main, &dlq)) {
                before = Some(ends(&main, &dlq));
                sleep(STILL).await;
                [main, dlq] = self.logs().await?;
            }
        }
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

    async fn logs(&self) -> Result<[Vec<PartitionLog>; 2], ReadError> {
        let shared = &self.proxy.shared;
        Ok([self.topic(&shared.main.real).await?, self.topic(&shared.dlq.real).await?])
    }

    /// Reads a topic, beginning at the first broker that answers.
    async fn topic(&self, topic: &str) -> Result<Vec<PartitionLog>, ReadError> {
        let direct = self.reading.clone().unwrap_or_else(|| Direct::new(&self.proxy));
        let mut failed = ReadError::Io {
            topic: topic.to_owned(),
            source: io::Error::other("nobody said where the brokers are"),
        };
        for (host, port) in direct.ports.values() {
            let mut logs = self.beginning(topic);
            match Reader::new(direct.clone(), host, *port).on(topic, &mut logs).await {
                Ok(()) => return Ok(logs.into_values().collect()),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// What is not read of a topic, because it was there before the run.
    fn beginning(&self, topic: &str) -> BTreeMap<i32, PartitionLog> {
        let partitions = self.begin.get(topic).into_iter().flatten();
        let log = |(partition, next): (&i32, &i64)| {
            let (topic, batches) = (Arc::from(topic), Vec::new());
            (*partition, PartitionLog { topic, partition: *partition, batches, next: *next })
        };
        partitions.map(log).collect()
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

/// Batches in each partition, and where the last one begins.
fn ends(main: &[PartitionLog], dlq: &[PartitionLog]) -> Vec<(usize, Option<i64>)> {
    let end = |log: &PartitionLog| (log.batches.len(), log.batches.last().map(|(base, _)| *base));
    main.iter().chain(dlq).map(end).collect()
}

/// Dials brokers themselves: what they advertise is the proxy, and no fault may hide the truth.
#[derive(Clone)]
struct Direct {
    /// By the port that a broker advertises on this machine, where it is.
    ports: BTreeMap<u16, (String, u16)>,
    /// By the address that a broker advertises, where it is.
    elsewhere: BTreeMap<(String, u16), (String, u16)>,
}

impl Direct {
    fn new(proxy: &Proxy) -> Self {
        let addresses = proxy.shared.addresses();
        let place = |(id, port): &(i32, u16)| Some((*port, addresses.get(id)?.clone()));
        let ports = proxy.ports().iter().filter_map(place).collect();
        Self { ports, elsewhere: BTreeMap::new() }
    }
}

impl Dial for Direct {
    type Stream = TcpStream;

    async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let ours = matches!(host, "127.0.0.1" | "localhost");
        let behind = self.ports.get(&port).filter(|_| ours);
        let behind = behind.or_else(|| self.elsewhere.get(&(host.to_owned(), port)));
        let (host, port) = behind.map_or((host, port), |(host, port)| (host.as_str(), *port));
        TcpStream::connect((host, port)).await
    }
}
