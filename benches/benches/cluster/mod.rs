//! Model brokers in a process of their own, for the benches that need some.

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

/// Three model brokers that advertise these ports, or their own.
pub(crate) fn serve(advertised: Option<&str>) {
    runtime().block_on(async {
        let (mut sockets, mut own) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (socket, port) = broker::bind_loopback().await.unwrap();
            sockets.push(socket);
            own.push(port);
        }
        let told = advertised.map_or_else(|| own.clone(), ports);
        let recorder = Recorder::new(Arc::new(NoClock));
        let config = ClusterConfig {
            brokers: 3,
            partitions: 3,
            main_topic: TOPIC.to_owned(),
            dlq_topic: "dashstream-dlq".to_owned(),
            advertised: told.into_iter().map(|port| ("127.0.0.1".to_owned(), port)).collect(),
            min_insync: 2,
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
