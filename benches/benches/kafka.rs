//! What the lane `kafka` costs, and what parts of this project cost in front of real brokers.
//!
//! * `start`: from nothing to the first acknowledged record of the reference, through the proxy, on
//!   the clusters that the lane's cells share. The baseline is a goal: 10 s for one broker, 25 s for
//!   three (above 1: slower than the goal). The median of three starts.
//! * `producer`: the reference ÷ codec and bare rdkafka, as the bench `producer` does it, in rounds
//!   that are five times as long.
//! * `proxy`: through the proxy ÷ without it, as the bench `proxy` does it.
//! * `model`: the model broker ÷ Apache Kafka, one broker each, the same client (above 1: the model
//!   broker takes more records per second), each behind a forwarder, as Docker has one: requests that
//!   were encoded before, five in flight on one connection; and the bare client, which then limits
//!   both. Apache Kafka has the heap that it has in the lane.
//!
//! The last three share one broker in a container, which is warmed up before anything counts. Each
//! side of each round has a topic of its own with three partitions; the ratio printed is the median
//! of the rounds' ratios.
//!
//! `cargo bench -p dashproof-benches --bench kafka`, or one of them: `-- proxy`. Without Docker or
//! the image nothing is run, which is told, and is an error where something was named (`all` names
//! everything).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench prints, and fails loudly"
)]

mod cluster;
mod crossing;
mod pipeline;
mod prepared;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Broker, NoClock, Process, Ratios, TOPIC, forget, in_turns, serve, servers};
use dashproof::exit;
use dashproof::fault::proxy::Proxy;
use dashproof::history::Recorder;
use dashproof::lane::kafka::{NotStarted, OpenCluster, abandon, look};
use dashproof_reference::config::ProducerConfig;
use dashproof_reference::runtime::Producer;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

const ROUNDS: usize = 5;
/// Events of a round of the producer, which takes some two seconds: over the 0.4 s of 40 000 events
/// a ratio is about the broker's and the allocator's warming up, and swings by a third.
const KILOBYTE: pipeline::Size = ("1 KB", 200_000, 900);
/// More than of the others: both sides share two cores with the broker, and their ratio swings.
const PRODUCER_ROUNDS: usize = 9;
/// Starts of each cluster.
const STARTS: usize = 3;
/// Brokers, and the seconds within which they are wanted.
const GOALS: [(usize, f64); 2] = [(1, 10.0), (3, 25.0)];
const PARTITIONS: i32 = 3;
const PARTS: [&str; 4] = ["start", "producer", "proxy", "model"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let named = args.first().map(String::as_str);
    let parts: Vec<&str> = match named {
        Some("broker") => {
            serve(&args[1..]);
            return ExitCode::SUCCESS;
        }
        Some("forward") => {
            prepared::forward(&args[1]);
            return ExitCode::SUCCESS;
        }
        // `cargo test --benches` only looks whether it starts
        Some("--test") => return ExitCode::SUCCESS,
        None | Some("all") => PARTS.to_vec(),
        Some(part) if PARTS.contains(&part) => vec![part],
        Some(other) => {
            println!("no part {other}: all, {}", PARTS.join(", "));
            return ExitCode::from(exit::USAGE);
        }
    };
    let runtime =
        Arc::new(tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());
    if let Err(missing) = runtime.block_on(look()) {
        println!("NOT RUN: kafka {}: {missing}", parts.join(", "));
        return ExitCode::from(if named.is_some() { exit::INCONCLUSIVE } else { exit::PROVEN });
    }
    runtime.spawn(leave());
    if parts.contains(&"start") {
        for (brokers, goal) in GOALS {
            start(&runtime, brokers, goal);
        }
    }
    if parts == ["start"] {
        return ExitCode::SUCCESS;
    }
    let kafka = Kafka::start(&runtime, || OpenCluster::direct(1));
    kafka.warm();
    for part in parts {
        match part {
            "producer" => producer(&kafka),
            "proxy" => proxy(&kafka),
            "model" => model(&kafka),
            _ => {}
        }
    }
    ExitCode::SUCCESS
}

/// On a signal what was started is removed.
async fn leave() {
    tokio::signal::ctrl_c().await.unwrap();
    abandon().await;
    std::process::exit(exit::INTERRUPTED.into());
}

/// A cluster in containers; it ends with this, on a panic too.
struct Kafka {
    runtime: Arc<Runtime>,
    cluster: Option<OpenCluster>,
    /// Numbers topics.
    topics: std::cell::Cell<u32>,
}

impl Kafka {
    fn start<F>(runtime: &Arc<Runtime>, start: impl FnOnce() -> F) -> Self
    where
        F: Future<Output = Result<OpenCluster, NotStarted>>,
    {
        let cluster = runtime.block_on(start()).unwrap();
        Self { runtime: Arc::clone(runtime), cluster: Some(cluster), topics: 0.into() }
    }

    fn cluster(&self) -> &OpenCluster {
        self.cluster.as_ref().unwrap()
    }

    fn bootstrap(&self) -> String {
        self.cluster().bootstrap()
    }

    /// A fresh topic; it is deleted with what is returned.
    fn topic(&self) -> Topic<'_> {
        self.topics.set(self.topics.get() + 1);
        let name = format!("bench-{}", self.topics.get());
        self.runtime.block_on(self.cluster().topic(&name, PARTITIONS)).unwrap();
        Topic { kafka: self, name }
    }

    /// A proxy in front of the brokers.
    fn proxy(&self, topic: &str) -> Between {
        let recorder = Recorder::new(Arc::new(NoClock));
        let config = crossing::config(self.cluster().ids(), topic);
        let proxy = self.runtime.block_on(self.cluster().proxy(config, recorder.clone())).unwrap();
        Between { proxy, forgetting: self.runtime.spawn(forget(recorder)) }
    }

    /// Rounds that do not count: the broker's code is compiled, its pages are in memory.
    fn warm(&self) {
        for _ in 0..3 {
            let topic = self.topic();
            crossing::throughput(&self.bootstrap(), &topic.name);
            prepared::throughput(&self.bootstrap(), &topic.name);
            let proxy = self.proxy(&topic.name);
            crossing::throughput(&proxy.proxy.bootstrap(), &topic.name);
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Some(cluster) = self.cluster.take() {
            self.runtime.block_on(cluster.end());
        }
    }
}

struct Topic<'k> {
    kafka: &'k Kafka,
    name: String,
}

impl Drop for Topic<'_> {
    fn drop(&mut self) {
        // its brokers end soon, and it with them
        drop(self.kafka.runtime.block_on(self.kafka.cluster().delete(&self.name)));
    }
}

/// A proxy whose history nobody reads.
struct Between {
    proxy: Proxy,
    forgetting: JoinHandle<()>,
}

impl Drop for Between {
    fn drop(&mut self) {
        self.forgetting.abort();
    }
}

fn start(runtime: &Arc<Runtime>, brokers: usize, goal: f64) {
    let mut took: Vec<f64> =
        (0..STARTS).map(|_| first_ack(runtime, brokers).as_secs_f64()).collect();
    took.sort_unstable_by(f64::total_cmp);
    let median = took[took.len() / 2];
    println!(
        "kafka start to first ack, {brokers} broker(s): ratio {:.2} of the goal of {goal} s; median \
         {median:.1} s (starts {:.1} to {:.1} s)",
        median / goal,
        took[0],
        took[took.len() - 1],
    );
}

fn first_ack(runtime: &Arc<Runtime>, brokers: usize) -> Duration {
    let begin = Instant::now();
    let kafka = Kafka::start(runtime, || OpenCluster::shared(brokers));
    let topic = kafka.topic();
    let between = kafka.proxy(&topic.name);
    let config = ProducerConfig::default().bootstrap(between.proxy.bootstrap()).topic(&topic.name);
    runtime.block_on(async {
        let producer = Producer::builder(config).seed(1).open().await.unwrap();
        producer.send(pipeline::events(1, 900).next().unwrap()).await.unwrap();
        producer.flush(Duration::from_secs(30)).await.unwrap();
        let took = begin.elapsed();
        let report = producer.close(Duration::from_secs(10)).await;
        assert_eq!(report.counts[&("acked", "")], 1, "{report:?}");
        took
    })
}

fn producer(kafka: &Kafka) {
    pipeline::compare("kafka producer", PRODUCER_ROUNDS, KILOBYTE, || {
        let topic = kafka.topic();
        (kafka.bootstrap(), topic.name.clone(), topic)
    });
}

fn proxy(kafka: &Kafka) {
    crossing::compare("kafka proxy, 1 KB", ROUNDS, |proxied| {
        let topic = kafka.topic();
        let between = proxied.then(|| kafka.proxy(&topic.name));
        let through = between.as_ref().map(|between| between.proxy.bootstrap());
        let bootstrap = through.unwrap_or_else(|| kafka.bootstrap());
        (bootstrap, topic.name.clone(), (between, topic))
    });
}

fn model(kafka: &Kafka) {
    type Client = fn(&str, &str) -> f64;
    let prepared: (_, Client) = ("prepared requests", prepared::throughput);
    for (client, throughput) in [prepared, ("librdkafka", crossing::throughput)] {
        let [model, real] = in_turns(ROUNDS, |side| {
            if side == 0 {
                let broker = Broker::start(1, None);
                let (_before, port) = Process::start(&["forward", &broker.bootstrap()]);
                return throughput(&servers(&port), TOPIC);
            }
            let topic = kafka.topic();
            throughput(&kafka.bootstrap(), &topic.name)
        });
        let ratios = Ratios::of(&model, &real, "records/s");
        println!("kafka, model broker against it, {client}, 1 KB: {ratios}");
    }
}
