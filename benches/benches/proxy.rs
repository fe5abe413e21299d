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

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{NoClock, Process, RUN, TOPIC, forget, ports, runtime, say, serve, servers};
use dashproof::fault::proxy::{Mode, Proxy, ProxyConfig, TopicNames};
use dashproof::history::{EventId, Recorder};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const ROUNDS: usize = 5;
const COUNT: u32 = 100_000;
const SINGLES: u32 = 300;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("broker") => serve(args.get(1).map(String::as_str)),
        Some("proxy") => stand_between(),
        // `cargo test --benches` only looks whether it starts
        Some("--test") => {}
        _ => compare(),
    }
}

fn compare() {
    let (mut ratios, mut direct, mut through) = (Vec::new(), Vec::new(), Vec::new());
    let mut best = (0.0, 0.0);
    for round in 0..ROUNDS {
        let mut rates = [0.0; 2];
        for side in [round % 2, 1 - round % 2] {
            let cluster = Side::start(side == 1);
            rates[side] = throughput(&cluster.bootstrap);
            let singles = if side == 1 { &mut through } else { &mut direct };
            singles.extend(latencies(&cluster.bootstrap));
        }
        ratios.push(rates[1] / rates[0]);
        best = (f64::max(best.0, rates[0]), f64::max(best.1, rates[1]));
    }
    ratios.sort_unstable_by(f64::total_cmp);
    direct.sort_unstable();
    through.sort_unstable();
    let p50 = |sorted: &[Duration]| sorted[sorted.len() / 2];
    println!(
        "proxy, 1 KB: ratio {:.2} (rounds {:.2} to {:.2}); best {:.0} records/s against {:.0}; one \
         record p50 {:?} against {:?}: {:?} added",
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1],
        best.1,
        best.0,
        p50(&through),
        p50(&direct),
        p50(&through).saturating_sub(p50(&direct)),
    );
}

fn producer(bootstrap: &str, linger: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", linger)
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "2147483647")
        .create()
        .unwrap()
}

fn send(producer: &BaseProducer, n: u32, payload: &[u8]) {
    let id = EventId { load: 0, n }.message_id(RUN);
    let header = Header { key: "dashstream-message-id", value: Some(&id) };
    let key = (n % 16).to_be_bytes();
    let record = BaseRecord::to(TOPIC).key(&key[..]).payload(payload);
    let record = record.headers(OwnedHeaders::new().insert(header));
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

fn throughput(bootstrap: &str) -> f64 {
    let producer = producer(bootstrap, "5");
    let payload = [b'x'; 1000];
    send(&producer, 0, &payload);
    producer.flush(Duration::from_secs(30)).unwrap();
    let begin = Instant::now();
    for n in 1..=COUNT {
        send(&producer, n, &payload);
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    f64::from(COUNT) / begin.elapsed().as_secs_f64()
}

fn latencies(bootstrap: &str) -> Vec<Duration> {
    let producer = producer(bootstrap, "0");
    let payload = [b'x'; 1000];
    for n in 0..16 {
        send(&producer, n, &payload);
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let one = |n| {
        let begin = Instant::now();
        send(&producer, n, &payload);
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::from_millis(10));
        }
        begin.elapsed()
    };
    (0..SINGLES).map(one).collect()
}

/// A fresh model cluster, behind a proxy or not.
struct Side {
    bootstrap: String,
    _processes: Vec<Process>,
}

impl Side {
    fn start(proxied: bool) -> Self {
        if !proxied {
            let (broker, ports) = Process::start(&["broker"]);
            return Self { bootstrap: servers(&ports), _processes: vec![broker] };
        }
        let (mut proxy, ports) = Process::start(&["proxy"]);
        let (broker, behind) = Process::start(&["broker", &ports]);
        writeln!(proxy.0.stdin.as_mut().unwrap(), "{behind}").unwrap();
        Self { bootstrap: servers(&ports), _processes: vec![broker, proxy] }
    }
}

/// A proxy; where the brokers are comes on standard input.
fn stand_between() {
    runtime().block_on(async {
        let recorder = Recorder::new(Arc::new(NoClock));
        let config = ProxyConfig {
            brokers: vec![1, 2, 3],
            main: TopicNames::same(TOPIC),
            dlq: TopicNames::same("dashstream-dlq"),
            run: RUN,
            mode: Mode::Frames,
        };
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
