//! The mock cluster, in a process of its own.
//!
//! librdkafka opens its sockets so that every child inherits them. A subject that is started beside
//! the mock would hold them open: a broker that is down would still be connected to and listened
//! on. So the mock lives where nobody starts children, and is told what to do over a pipe.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::error::KafkaResult;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde::{Deserialize, Serialize};

use crate::lane::child::program;

/// Something to be done to the cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Deed {
    Down(i32),
    Up(i32),
    /// Every answer of this broker takes so long.
    Slow(i32, Duration),
    /// So many Produce requests are refused with this Kafka error.
    Refuse(i16, usize),
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
    child: Child,
}

/// How long the cluster may take for a deed, or to come up.
const SOON: Duration = Duration::from_secs(5);

impl Mock {
    /// A cluster of so many brokers on loopback, in a process of its own.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub(super) fn start(brokers: i32) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot start the mock cluster: {error}");
        let mut command = Command::new(program().map_err(failed)?);
        command.args(["mock-cluster", &brokers.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Ctrl-C is for the harness
        command.process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (deeds, todo) = mpsc::channel();
        let (ready, told) = mpsc::sync_channel(1);
        // from here on whatever goes wrong ends the process
        let mut mock = Self { addresses: Vec::new(), deeds: Some(deeds), thread: None, child };
        let thread = std::thread::Builder::new().name("mock cluster".to_owned());
        mock.thread = Some(thread.spawn(move || relay(pipes, &ready, &todo)).map_err(failed)?);
        let said = told.recv_timeout(SOON);
        let servers = said.map_err(|_| "the mock cluster does not come up".to_owned())??;
        mock.addresses = servers.split(',').map(str::to_owned).collect();
        Ok(mock)
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
        // before the thread, which may wait for a word of it
        drop(self.child.kill());
        drop(self.child.wait());
        if let Some(thread) = self.thread.take() {
            // It panicked, then: what it was asked meanwhile was answered with an error.
            let _ = thread.join();
        }
    }
}

/// Passes deeds to the process and its answers back, until nobody asks any more.
fn relay(
    pipes: (Option<ChildStdin>, Option<ChildStdout>),
    ready: &mpsc::SyncSender<Result<String, String>>,
    todo: &mpsc::Receiver<(Deed, Done)>,
) {
    if let (Some(mut input), Some(output)) = pipes {
        let mut lines = BufReader::new(output).lines();
        let mut next = || lines.next().and_then(Result::ok).unwrap_or_default();
        let failed = |error: serde_json::Error| format!("the mock cluster ended: {error}");
        let said = serde_json::from_str(&next()).map_err(failed);
        // Who asked may have given up, here and below.
        drop(ready.send(said.and_then(|said| said)));
        for (deed, done) in todo {
            let asked = serde_json::to_string(&deed).map_err(failed);
            let asked = asked.map(|line| drop(writeln!(input, "{line}")));
            let answer = asked.and_then(|()| serde_json::from_str(&next()).map_err(failed));
            drop(done.send(answer.and_then(|answer| answer)));
        }
    }
}

/// Serves a mock cluster of so many brokers: a line with its addresses, then a line for each deed
/// on stdin. Ends when stdin does.
///
/// # Errors
/// The pipes'.
pub fn serve(brokers: i32) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let cluster = match MockCluster::new(brokers) {
        Ok(cluster) => cluster,
        Err(error) => {
            let text = Err::<String, _>(format!("no mock cluster: {error}"));
            return writeln!(out, "{}", serde_json::to_string(&text)?);
        }
    };
    let servers = Ok::<_, String>(cluster.bootstrap_servers());
    writeln!(out, "{}", serde_json::to_string(&servers)?)?;
    for line in io::stdin().lines() {
        let done = serde_json::from_str(&line?).map_err(|error| error.to_string());
        let done = done.and_then(|deed| carry_out(&cluster, deed));
        writeln!(out, "{}", serde_json::to_string(&done)?)?;
    }
    Ok(())
}

fn carry_out(
    cluster: &MockCluster<'static, DefaultProducerContext>,
    deed: Deed,
) -> Result<(), String> {
    let done: KafkaResult<()> = match deed {
        Deed::Down(broker) => cluster.broker_down(broker),
        Deed::Up(broker) => cluster.broker_up(broker),
        Deed::Slow(broker, by) => cluster.broker_round_trip_time(broker, by),
        Deed::Refuse(code, times) => {
            let error = RDKafkaRespErr::try_from(i32::from(code));
            let error = error.map_err(|_| format!("librdkafka knows no Kafka error {code}"))?;
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
    done.map_err(|error| error.to_string())
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
