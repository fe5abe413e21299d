//! The mock cluster on a thread of its own: it may not change threads.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

/// Something to be done to the cluster.
pub(super) enum Deed {
    Down(i32),
    Up(i32),
    /// Every answer of this broker takes so long.
    Slow(i32, Duration),
    /// So many Produce requests are refused with this code.
    Refuse(RDKafkaRespErr, usize),
    Lead {
        topic: String,
        partition: i32,
        broker: i32,
    },
    Create {
        topic: String,
        partitions: i32,
        replicas: i32,
    },
}

type Done = mpsc::SyncSender<Result<(), String>>;

/// A mock cluster. It ends with this value.
pub(super) struct Mock {
    /// `host:port` of each broker, in the order of their ids, which begin at 1.
    pub(super) addresses: Vec<String>,
    deeds: Option<mpsc::Sender<(Deed, Done)>>,
    thread: Option<JoinHandle<()>>,
}

/// How long the cluster may take for a deed, or to come up.
const SOON: Duration = Duration::from_secs(5);

impl Mock {
    /// A cluster of so many brokers on loopback.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub(super) fn start(brokers: i32) -> Result<Self, String> {
        let (deeds, todo) = mpsc::channel();
        let (ready, told) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("mock cluster".to_owned());
        let thread = thread.spawn(move || serve(brokers, &ready, &todo));
        let thread = thread.map_err(|error| format!("no thread for the mock cluster: {error}"))?;
        let said = told.recv_timeout(SOON);
        let servers = said.map_err(|_| "the mock cluster does not come up".to_owned())??;
        let addresses = servers.split(',').map(str::to_owned).collect();
        Ok(Self { addresses, deeds: Some(deeds), thread: Some(thread) })
    }

    /// Has something done; returns when it is.
    ///
    /// # Errors
    /// What the cluster says against it, for a person.
    pub(super) fn carry_out(&self, deed: Deed) -> Result<(), String> {
        let gone = || "the mock cluster does not answer".to_owned();
        let (done, told) = mpsc::sync_channel(1);
        let deeds = self.deeds.as_ref().ok_or_else(gone)?;
        deeds.send((deed, done)).map_err(|_| gone())?;
        told.recv_timeout(SOON).map_err(|_| gone())?
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        drop(self.deeds.take());
        if let Some(thread) = self.thread.take() {
            // It panicked, then: what it was asked meanwhile was answered with an error.
            let _ = thread.join();
        }
    }
}

fn serve(
    brokers: i32,
    ready: &mpsc::SyncSender<Result<String, String>>,
    todo: &mpsc::Receiver<(Deed, Done)>,
) {
    let cluster = match MockCluster::new(brokers) {
        Ok(cluster) => cluster,
        Err(error) => {
            drop(ready.send(Err(format!("no mock cluster: {error}"))));
            return;
        }
    };
    drop(ready.send(Ok(cluster.bootstrap_servers())));
    for (deed, done) in todo {
        let result = match deed {
            Deed::Down(broker) => cluster.broker_down(broker),
            Deed::Up(broker) => cluster.broker_up(broker),
            Deed::Slow(broker, by) => cluster.broker_round_trip_time(broker, by),
            Deed::Refuse(error, times) => {
                cluster.request_errors(RDKafkaApiKey::Produce, &vec![error; times]);
                Ok(())
            }
            Deed::Lead { topic, partition, broker } => {
                cluster.partition_leader(&topic, partition, Some(broker))
            }
            Deed::Create { topic, partitions, replicas } => {
                cluster.create_topic(&topic, partitions, replicas)
            }
        };
        // Who asked may have given up.
        drop(done.send(result.map_err(|error| error.to_string())));
    }
}

/// Says whether a mock cluster can be had here.
///
/// # Errors
/// Why not, for a person.
pub fn look() -> Result<String, String> {
    let mock = Mock::start(1)?;
    let version = dashproof_reference::runtime::rdkafka::version();
    Ok(format!("librdkafka {version} serves at {}", mock.addresses.join(",")))
}
