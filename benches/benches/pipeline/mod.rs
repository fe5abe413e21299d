//! The reference producer, and what a user of rdkafka writes who wants no ledger: the same messages
//! through the same codec call, the same bytes, key and headers, a `FutureProducer` with the same
//! settings, every delivery awaited.

use std::time::{Duration, Instant};

use dashproof::history::EventId;
use dashproof::subject::message;
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

use crate::cluster::{RUN, Ratios, runtime};

const THREADS: u32 = 16;

/// The tokio of the bench, for an rdkafka that was built without one.
pub(crate) struct Tokio;

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
pub(crate) fn events(count: u32, size: usize) -> impl Iterator<Item = DashStreamMessage> {
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
pub(crate) struct Took {
    pub(crate) per_second: f64,
    /// Time of one hand-over to the producer, sorted.
    enqueue: Vec<Duration>,
}

impl Took {
    fn new(count: u32, took: Duration, mut enqueue: Vec<Duration>) -> Self {
        enqueue.sort_unstable();
        Self { per_second: f64::from(count) / took.as_secs_f64(), enqueue }
    }

    pub(crate) fn percentile(&self, permille: usize) -> Duration {
        self.enqueue[(self.enqueue.len() - 1) * permille / 1000]
    }
}

pub(crate) async fn reference(
    bootstrap: &str,
    topic: &str,
    events: Vec<DashStreamMessage>,
) -> Took {
    let config = ProducerConfig::default().bootstrap(bootstrap).topic(topic);
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

pub(crate) async fn bare(bootstrap: &str, topic: &str, events: Vec<DashStreamMessage>) -> Took {
    let producer: FutureProducer<_, Tokio> =
        FutureProducer::from_config(&bare_settings(bootstrap)).unwrap();
    let mut encoder = Encoder::new(&CodecConfig::default());
    hand_over(&producer, topic, &mut encoder, &mut self::events(1, 10).next().unwrap())
        .await
        .unwrap()
        .unwrap();
    let count = u32::try_from(events.len()).unwrap();
    let mut enqueue = Vec::with_capacity(events.len());
    let mut deliveries = Vec::with_capacity(events.len());
    let begin = Instant::now();
    for mut event in events {
        let before = Instant::now();
        deliveries.push(hand_over(&producer, topic, &mut encoder, &mut event));
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
    topic: &str,
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
    let record = FutureRecord::to(topic)
        .key(thread.as_bytes())
        .payload(frame.as_ref())
        .timestamp(1_700_000_000_000)
        .headers(headers);
    producer.send_result(record).map_err(|(error, _)| error).unwrap()
}

/// What `#[tokio::main]` gives an application on this machine.
pub(crate) fn workers() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// Sizes that are measured: name, events, bytes of filling.
pub(crate) type Size = (&'static str, u32, usize);

/// Lets both send in turns, in a runtime of one thread and in one of many, and prints what it
/// gave. `place` is called for each side of each round: where to send to, a topic of its own, and
/// what must live as long.
pub(crate) fn compare<P>(
    title: &str,
    rounds: usize,
    size: Size,
    mut place: impl FnMut() -> (String, String, P),
) {
    let flavours: [(_, fn() -> _); 2] = [("one thread", runtime), ("workers", workers)];
    let (name, count, bytes) = size;
    for (flavour, runtime) in flavours {
        let [ours, theirs] = crate::cluster::in_turns(rounds, |side| {
            let (bootstrap, topic, _alive) = place();
            let events: Vec<_> = events(count, bytes).collect();
            if side == 0 {
                runtime().block_on(reference(&bootstrap, &topic, events))
            } else {
                runtime().block_on(bare(&bootstrap, &topic, events))
            }
        });
        let rates = |side: &[Took]| side.iter().map(|took| took.per_second).collect::<Vec<_>>();
        let worst = |side: &[Took]| side.iter().map(|took| took.percentile(990)).max().unwrap();
        println!(
            "{title}, {flavour}, {name:>6}: {}; enqueue p99 at worst {:?} against {:?}",
            Ratios::of(&rates(&ours), &rates(&theirs), "events/s"),
            worst(&ours),
            worst(&theirs),
        );
    }
}
