//! Model brokers in a process of their own, and rounds of two sides, for the benches that need some.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dashproof::broker::{self, Cluster, ClusterConfig};
use dashproof::history::{Clock, Recorder};

pub(crate) const TOPIC: &str = "dashstream-events";
pub(crate) const RUN: [u8; 10] = [7; 10];

/// A child of this program; it ends with this.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Starts it; returns the line that it prints first.
    pub(crate) fn start(args: &[&str]) -> (Self, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self(child), line.trim().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Rates of two sides in the rounds of one run, as a ratio.
pub(crate) struct Ratios {
    sorted: Vec<f64>,
    best: [f64; 2],
    unit: &'static str,
}

impl Ratios {
    /// Of what is measured, and of its baseline.
    pub(crate) fn of(ours: &[f64], theirs: &[f64], unit: &'static str) -> Self {
        let mut sorted: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let best = [ours, theirs].map(|side| side.iter().copied().fold(0.0, f64::max));
        Self { sorted, best, unit }
    }
}

impl std::fmt::Display for Ratios {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sorted, best: [ours, theirs], unit } = self;
        let last = sorted.len() - 1;
        write!(
            f,
            "ratio {:.2} (rounds {:.2} to {:.2}); best {ours:.0} {unit} against {theirs:.0}",
            sorted[sorted.len() / 2],
            sorted[0],
            sorted[last],
        )
    }
}

/// Plays two sides, 0 and 1, in rounds, so that a busy machine slows both: each begins every other
/// round.
pub(crate) fn in_turns<T>(rounds: usize, mut play: impl FnMut(usize) -> T) -> [Vec<T>; 2] {
    let mut sides = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for side in [round % 2, 1 - round % 2] {
            sides[side].push(play(side));
        }
    }
    sides
}

pub(crate) fn ports(text: &str) -> Vec<u16> {
    text.trim().split(',').map(|port| port.parse().unwrap()).collect()
}

pub(crate) fn servers(text: &str) -> String {
    let servers: Vec<String> =
        ports(text).into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
    servers.join(",")
}

pub(crate) fn say(ports: &[u16]) {
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    println!("{}", ports.join(","));
    std::io::stdout().flush().unwrap();
}

pub(crate) struct NoClock;

impl Clock for NoClock {
    fn now_us(&self) -> u64 {
        0
    }
}

/// Forgets the history: nobody looks at it, and kept whole it would outgrow the records.
pub(crate) async fn forget(recorder: Recorder) {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(recorder.take());
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A model cluster in a process of its own; it ends with this.
pub(crate) struct Broker {
    /// Ports of its brokers, as they are printed.
    pub(crate) ports: String,
    _process: Process,
}

impl Broker {
    /// So many brokers that advertise these ports, or their own.
    pub(crate) fn start(brokers: u8, advertised: Option<&str>) -> Self {
        let brokers = brokers.to_string();
        let (process, ports) =
            Process::start(&[&["broker", &brokers], advertised.as_slice()].concat());
        Self { ports, _process: process }
    }

    pub(crate) fn bootstrap(&self) -> String {
        servers(&self.ports)
    }
}

/// Model brokers for [`Broker`], which starts this program again: how many, and their ports.
pub(crate) fn serve(args: &[String]) {
    let count: u8 = args[0].parse().unwrap();
    runtime().block_on(async {
        let (mut sockets, mut own) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (socket, port) = broker::bind_loopback().await.unwrap();
            sockets.push(socket);
            own.push(port);
        }
        let told = args.get(1).map_or_else(|| own.clone(), |told| ports(told));
        let recorder = Recorder::new(Arc::new(NoClock));
        let config = ClusterConfig {
            brokers: count.into(),
            partitions: 3,
            main_topic: TOPIC.to_owned(),
            dlq_topic: "dashstream-dlq".to_owned(),
            advertised: told.into_iter().map(|port| ("127.0.0.1".to_owned(), port)).collect(),
            min_insync: count.min(2).into(),
            auto_create: true,
            message_max_bytes: 10 << 20,
            run: RUN,
        };
        let cluster = Cluster::new(config, recorder.clone(), 1);
        for (id, socket) in cluster.broker_ids().into_iter().zip(sockets) {
            tokio::spawn(broker::accept_loop(Arc::clone(&cluster), id, socket));
        }
        say(&own);
        forget(recorder).await;
    });
}
