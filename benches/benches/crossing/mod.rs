//! Records of a bare librdkafka on their way to brokers, through a proxy or not.
//!
//! Moments are taken where a delivery is reported, on a thread that polls: `poll` and `flush` of
//! rdkafka return up to their whole time-out later, and turn in circles through its last millisecond.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use dashproof::fault::proxy::{Mode, ProxyConfig, TopicNames};
use dashproof::history::EventId;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

use crate::cluster::{RUN, Ratios, in_turns};

/// Records of one throughput.
const COUNT: u32 = 100_000;
/// Records that are sent one after the other.
const SINGLES: u32 = 300;
/// How long deliveries may take.
const LIMIT: Duration = Duration::from_secs(120);
const PAYLOAD: [u8; 1000] = [b'x'; 1000];

/// What a proxy in front of these brokers is told.
pub(crate) fn config(brokers: Vec<i32>, topic: &str) -> ProxyConfig {
    ProxyConfig {
        brokers,
        main: TopicNames::same(topic),
        dlq: TopicNames::same("dashstream-dlq"),
        run: RUN,
        mode: Mode::Frames,
    }
}

/// How many were delivered, of how many that are waited for, and when the last was.
struct Seen {
    count: u32,
    wanted: u32,
    last: Instant,
}

#[derive(Clone)]
struct Watch(Arc<(Mutex<Seen>, Condvar)>);

impl ClientContext for Watch {}

impl ProducerContext for Watch {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        result.as_ref().map_err(|(error, _)| error).unwrap();
        let (seen, all) = &*self.0;
        let mut seen = seen.lock().unwrap();
        seen.count += 1;
        seen.last = Instant::now();
        if seen.count == seen.wanted {
            all.notify_one();
        }
    }
}

/// A bare client for one topic.
struct Bare {
    producer: ThreadedProducer<Watch>,
    watch: Watch,
    topic: String,
    sent: u32,
}

impl Bare {
    fn open(bootstrap: &str, topic: &str, linger: &str) -> Self {
        let seen = Seen { count: 0, wanted: u32::MAX, last: Instant::now() };
        let watch = Watch(Arc::new((Mutex::new(seen), Condvar::new())));
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", linger)
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "2147483647");
        let producer = ThreadedProducer::from_config_and_context(&config, watch.clone()).unwrap();
        Self { producer, watch, topic: topic.to_owned(), sent: 0 }
    }

    fn send(&mut self) {
        let id = EventId { load: 0, n: self.sent }.message_id(RUN);
        let header = Header { key: "dashstream-message-id", value: Some(&id) };
        let key = (self.sent % 16).to_be_bytes();
        let record = BaseRecord::to(&self.topic).key(&key[..]).payload(&PAYLOAD[..]);
        let record = record.headers(OwnedHeaders::new().insert(header));
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.sent += 1;
    }

    /// Ends when all are delivered; the moment when the last was.
    fn delivered(&self) -> Instant {
        let (seen, all) = &*self.watch.0;
        let mut seen = seen.lock().unwrap();
        seen.wanted = self.sent;
        let missing = |seen: &mut Seen| seen.count < seen.wanted;
        let (mut seen, late) = all.wait_timeout_while(seen, LIMIT, missing).unwrap();
        assert!(!late.timed_out(), "{} of {} are delivered", seen.count, self.sent);
        seen.wanted = u32::MAX;
        seen.last
    }
}

/// Records per second of a fresh client that has connected.
pub(crate) fn throughput(bootstrap: &str, topic: &str) -> f64 {
    let mut client = Bare::open(bootstrap, topic, "5");
    // every partition, so that no leader has to be found
    (0..16).for_each(|_| client.send());
    client.delivered();
    let begin = Instant::now();
    (0..COUNT).for_each(|_| client.send());
    f64::from(COUNT) / (client.delivered() - begin).as_secs_f64()
}

/// What single records take, from the hand-over to the delivery.
fn latencies(bootstrap: &str, topic: &str) -> Vec<Duration> {
    let mut client = Bare::open(bootstrap, topic, "0");
    (0..16).for_each(|_| client.send());
    client.delivered();
    let one = |_| {
        let begin = Instant::now();
        client.send();
        client.delivered() - begin
    };
    (0..SINGLES).map(one).collect()
}

/// Sends through a proxy and without one, in turns, and prints what it costs. `place` is called for
/// each side of each round: where to send to, a topic of its own, and what must live as long.
pub(crate) fn compare<P>(
    title: &str,
    rounds: usize,
    mut place: impl FnMut(bool) -> (String, String, P),
) {
    let [through, direct] = in_turns(rounds, |side| {
        let (bootstrap, topic, _alive) = place(side == 0);
        (throughput(&bootstrap, &topic), latencies(&bootstrap, &topic))
    });
    let rates = |side: &[(f64, _)]| side.iter().map(|(rate, _)| *rate).collect::<Vec<_>>();
    let p50 = |side: &[(_, Vec<Duration>)]| {
        let mut all: Vec<Duration> = side.iter().flat_map(|(_, took)| took).copied().collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    let (ours, theirs) = (p50(&through), p50(&direct));
    println!(
        "{title}: {}; one record p50 {ours:?} against {theirs:?}: {:?} added",
        Ratios::of(&rates(&through), &rates(&direct), "records/s"),
        ours.saturating_sub(theirs),
    );
}
