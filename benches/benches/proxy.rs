//! What the proxy costs: records per second through it ÷ records per second without it, and the
//! time that it adds to one record.
//!
//! The same bare librdkafka, the same batches and the same model broker, in a process of its own; the
//! proxy is in another one. Both sides run in interleaved rounds; the ratio printed is the median
//! of the rounds' ratios (below 1: slower through the proxy).
//!
//! `cargo bench -p dashproof-benches --bench proxy`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench prints, and fails loudly"
)]

mod cluster;
mod crossing;

use std::io::Write as _;
use std::sync::Arc;

use cluster::{Broker, NoClock, Process, TOPIC, forget, ports, runtime, say, serve, servers};
use dashproof::fault::proxy::Proxy;
use dashproof::history::Recorder;

const ROUNDS: usize = 5;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("broker") => serve(&args[1..]),
        Some("proxy") => stand_between(),
        // `cargo test --benches` only looks whether it starts
        Some("--test") => {}
        _ => crossing::compare("proxy, 1 KB", ROUNDS, |proxied| {
            let side = Side::start(proxied);
            (side.bootstrap.clone(), TOPIC.to_owned(), side)
        }),
    }
}

/// A fresh model cluster, behind a proxy or not.
struct Side {
    bootstrap: String,
    _processes: (Broker, Option<Process>),
}

impl Side {
    fn start(proxied: bool) -> Self {
        if !proxied {
            let broker = Broker::start(3, None);
            return Self { bootstrap: broker.bootstrap(), _processes: (broker, None) };
        }
        let (mut proxy, ports) = Process::start(&["proxy"]);
        let broker = Broker::start(3, Some(&ports));
        writeln!(proxy.0.stdin.as_mut().unwrap(), "{}", broker.ports).unwrap();
        Self { bootstrap: servers(&ports), _processes: (broker, Some(proxy)) }
    }
}

/// A proxy; where the brokers are comes on standard input.
fn stand_between() {
    runtime().block_on(async {
        let recorder = Recorder::new(Arc::new(NoClock));
        let config = crossing::config(vec![1, 2, 3], TOPIC);
        let proxy = Proxy::bind(config, recorder.clone(), 1).await.unwrap();
        say(&proxy.ports().iter().map(|(_, port)| *port).collect::<Vec<_>>());
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        for (id, port) in (1..).zip(ports(&line)) {
            proxy.connect_to(id, "127.0.0.1", port);
        }
        forget(recorder).await;
    });
}
