//! What the reference producer costs over bare librdkafka: events per second ÷ events per second.
//!
//! The bare side is what a user of rdkafka writes who wants no ledger: the same messages through the
//! same codec call, the same bytes, key and headers, a `FutureProducer` with the same settings, every
//! delivery awaited. Both sides talk to the same model broker, in a process of its own, and run in
//! interleaved rounds, so that a busy machine slows both; the ratio printed is the median of the
//! rounds' ratios (above 1: faster than bare).
//!
//! `cargo bench -p dashproof-benches --bench producer`; `-- memory` sends a million events instead
//! and prints the peak memory of the producer's process.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench prints, and fails loudly"
)]

mod cluster;

use std::process::Command;
use std::time::{Duration, Instant};

use cluster::{Process, RUN, TOPIC, runtime, serve, servers};
use dashproof::history::EventId;
use dashproof::subject::message;
use dashproof::subject::process::facts::Facts;
use dashproof::subject::protocol::EventSpec;
use dashproof_reference::codec::{CodecConfig, Encoder, crc32_header, header_mut};
use dashproof_reference::config::ProducerConfig;
use dashproof_reference::proto::DashStreamMessage;
use dashproof_reference::runtime::Producer;
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use rdkafka::util::AsyncRuntime;

const THREADS: u32 = 16;
const ROUNDS: usize = 7;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    match args.next().as_deref() {
        Some("broker") => serve(None),
        Some("memory") => memory(),
        Some("million") => million(&args.next().unwrap()),
        // `cargo test --benches` only looks whether it starts
        Some("--test") => {}
        _ => compare(),
    }
}

/// The tokio of the bench, for an rdkafka that was built without one.
struct Tokio;

impl AsyncRuntime for Tokio {
    type Delay = tokio::time::Sleep;

    fn spawn<T: Future<Output = ()> + Send + 'static>(task: T) {
        tokio::spawn(task);
    }

    fn delay_for(duration: Duration) -> Self::Delay {
        tokio::time::sleep(duration)
    }
}

/// Events of one size, numbered from 0.
fn events(count: u32, size: usize) -> impl Iterator<Item = DashStreamMessage> {
    const TEXT: &str =
        "the tool returned {\"tokens\": 4711, \"plan\": \"answer the question\"} and ";
    let fill: String = TEXT.chars().cycle().take(size).collect();
    (0..count).map(move |n| {
        let event = EventId { load: 0, n };
        let id = event.message_id(RUN);
        let spec = EventSpec {
            event,
            message_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            thread: format!("t{}", n % THREADS),
            message: "event".to_owned(),
            fill: fill.clone(),
        };
        message::build(&spec).unwrap()
    })
}

/// What one side of a round took.
struct Took {
    per_second: f64,
    /// Time of one hand-over to the producer, sorted.
    enqueue: Vec<Duration>,
}

impl Took {
    fn new(count: u32, took: Duration, mut enqueue: Vec<Duration>) -> Self {
        enqueue.sort_unstable();
        Self { per_second: f64::from(count) / took.as_secs_f64(), enqueue }
    }

    fn percentile(&self, permille: usize) -> Duration {
        self.enqueue[(self.enqueue.len() - 1) * permille / 1000]
    }
}

async fn reference(bootstrap: &str, events: Vec<DashStreamMessage>) -> Took {
    let config = ProducerConfig::default().bootstrap(bootstrap);
    let producer = Producer::builder(config).seed(1).open().await.unwrap();
    producer.send(self::events(1, 10).next().unwrap()).await.unwrap();
    producer.flush(Duration::from_secs(10)).await.unwrap();
    let count = u32::try_from(events.len()).unwrap();
    let mut enqueue = Vec::with_capacity(events.len());
    let begin = Instant::now();
    for event in events {
        let before = Instant::now();
        producer.send(event).await.unwrap();
        enqueue.push(before.elapsed());
    }
    let report = producer.flush(Duration::from_secs(120)).await.unwrap();
    let took = begin.elapsed();
    let report = (report, producer.close(Duration::from_secs(10)).await.counts);
    assert_eq!(report.1[&("acked", "")], u64::from(count) + 1, "{report:?}");
    Took::new(count, took, enqueue)
}

/// The settings that the reference gives its main client, where they differ from librdkafka's.
fn bare_settings(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("max.in.flight.requests.per.connection", "5")
        .set("linger.ms", "5")
        .set("message.timeout.ms", "30000")
        .set("message.max.bytes", "1114112")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "2147483647");
    config
}

async fn bare(bootstrap: &str, events: Vec<DashStreamMessage>) -> Took {
    let producer: FutureProducer<_, Tokio> =
        FutureProducer::from_config(&bare_settings(bootstrap)).unwrap();
    let mut encoder = Encoder::new(&CodecConfig::default());
    hand_over(&producer, &mut encoder, &mut self::events(1, 10).next().unwrap())
        .await
        .unwrap()
        .unwrap();
    let count = u32::try_from(events.len()).unwrap();
    let mut enqueue = Vec::with_capacity(events.len());
    let mut deliveries = Vec::with_capacity(events.len());
    let begin = Instant::now();
    for mut event in events {
        let before = Instant::now();
        deliveries.push(hand_over(&producer, &mut encoder, &mut event));
        enqueue.push(before.elapsed());
        if deliveries.len() % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for delivery in deliveries {
        delivery.await.unwrap().unwrap();
    }
    let took = begin.elapsed();
    tokio::task::spawn_blocking(move || drop(producer)).await.unwrap();
    Took::new(count, took, enqueue)
}

fn hand_over(
    producer: &FutureProducer<rdkafka::client::DefaultClientContext, Tokio>,
    encoder: &mut Encoder,
    event: &mut DashStreamMessage,
) -> DeliveryFuture {
    let frame = encoder.encode(event).unwrap().frame;
    let crc32 = crc32_header(&frame);
    let header = header_mut(event).unwrap();
    let (id, thread) = (header.message_id.clone(), std::mem::take(&mut header.thread_id));
    let headers = OwnedHeaders::new_with_capacity(2)
        .insert(Header { key: "dashstream-message-id", value: Some(&id) })
        .insert(Header { key: "dashstream-crc32", value: Some(crc32.as_ref()) });
    let record = FutureRecord::to(TOPIC)
        .key(thread.as_bytes())
        .payload(frame.as_ref())
        .timestamp(1_700_000_000_000)
        .headers(headers);
    producer.send_result(record).map_err(|(error, _)| error).unwrap()
}

/// What `#[tokio::main]` gives an application on this machine.
fn workers() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn compare() {
    compare_on("one thread", runtime);
    compare_on("workers", workers);
}

fn compare_on(flavour: &str, runtime: fn() -> tokio::runtime::Runtime) {
    for (name, count, size) in [("200 B", 40_000, 100), ("1 KB", 40_000, 900)] {
        let mut ratios = Vec::new();
        let (mut best, mut worst_p99, mut bare_p99) = ((0.0, 0.0), Duration::ZERO, Duration::ZERO);
        for round in 0..ROUNDS {
            // Each side has a broker of its own, fresh: what it keeps must not slow the other.
            let ours = || {
                let broker = Broker::start();
                let events: Vec<_> = events(count, size).collect();
                runtime().block_on(reference(&broker.bootstrap, events))
            };
            let theirs = || {
                let broker = Broker::start();
                let events: Vec<_> = events(count, size).collect();
                runtime().block_on(bare(&broker.bootstrap, events))
            };
            let (ours, theirs) = if round % 2 == 0 {
                let ours = ours();
                (ours, theirs())
            } else {
                let theirs = theirs();
                (ours(), theirs)
            };
            ratios.push(ours.per_second / theirs.per_second);
            best = (f64::max(best.0, ours.per_second), f64::max(best.1, theirs.per_second));
            worst_p99 = worst_p99.max(ours.percentile(990));
            bare_p99 = bare_p99.max(theirs.percentile(990));
        }
        ratios.sort_unstable_by(f64::total_cmp);
        println!(
            "producer, {flavour}, {name:>6}: ratio {:.2} (rounds {:.2} to {:.2}); best {:.0} events/s against \
             {:.0}; enqueue p99 at worst {worst_p99:?} against {bare_p99:?}",
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1],
            best.0,
            best.1,
        );
    }
}

/// Sends a million events from a fresh process and prints its peak memory.
fn memory() {
    let broker = Broker::start();
    let this = std::env::current_exe().unwrap();
    let status = Command::new(this).args(["million", &broker.bootstrap]).status().unwrap();
    assert!(status.success());
}

fn million(bootstrap: &str) {
    const COUNT: u32 = 1_000_000;
    let before = Facts::of(std::process::id()).memory.unwrap_or_default();
    let took = runtime().block_on(async {
        let config = ProducerConfig::default().bootstrap(bootstrap);
        let producer = Producer::builder(config).seed(1).open().await.unwrap();
        let begin = Instant::now();
        for event in events(COUNT, 100) {
            producer.send(event).await.unwrap();
        }
        let report = producer.close(Duration::from_secs(60)).await;
        assert_eq!(report.counts[&("acked", "")], u64::from(COUNT), "{report:?}");
        begin.elapsed()
    });
    let peak = Facts::of(std::process::id()).memory.unwrap_or_default();
    println!(
        "producer 1 M events of 200 B: peak memory {} MiB ({} MiB before open), {:.0} events/s",
        peak >> 20,
        before >> 20,
        f64::from(COUNT) / took.as_secs_f64()
    );
}

/// A model cluster in a process of its own; it ends with this.
struct Broker {
    bootstrap: String,
    _process: Process,
}

impl Broker {
    fn start() -> Self {
        let (process, ports) = Process::start(&["broker"]);
        Self { bootstrap: servers(&ports), _process: process }
    }
}
