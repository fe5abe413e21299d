//! The model broker against librdkafka over real sockets: what it says must be Kafka to a client
//! that knows nothing of us.

#![cfg(test)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dashproof::broker::{Cluster, ClusterConfig, accept_loop, bind_loopback};
use dashproof::fault::FaultPlan;
use dashproof::history::{Clock, EventId, FaultPhase, Kind, Recorder, Route};
use dashproof::scenario::model::{At, Brokers, Fault, FaultKind, Scenario, TopicSel};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Runtime;

const RUN: [u8; 10] = [9; 10];

struct Wall(Instant);

impl Clock for Wall {
    fn now_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// A cluster of three brokers on loopback, served by a runtime of its own.
struct Rig {
    cluster: Arc<Cluster>,
    recorder: Recorder,
    bootstrap: String,
    runtime: Runtime,
}

fn rig() -> Rig {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listeners: Vec<_> = (0..3).map(|_| runtime.block_on(bind_loopback()).unwrap()).collect();
    let advertised: Vec<(String, u16)> =
        listeners.iter().map(|(_, port)| ("127.0.0.1".to_owned(), *port)).collect();
    let bootstrap: Vec<String> = advertised.iter().map(|(h, p)| format!("{h}:{p}")).collect();
    let config = ClusterConfig {
        brokers: 3,
        partitions: 3,
        main_topic: "events".to_owned(),
        dlq_topic: "dead".to_owned(),
        advertised,
        min_insync: 2,
        auto_create: false,
        message_max_bytes: 1 << 20,
        run: RUN,
    };
    let recorder = Recorder::new(Arc::new(Wall(Instant::now())));
    let cluster = Cluster::new(config, recorder.clone(), 1);
    for (broker, (listener, _)) in (1..).zip(listeners) {
        runtime.spawn(accept_loop(Arc::clone(&cluster), broker, listener));
    }
    Rig { cluster, recorder, bootstrap: bootstrap.join(","), runtime }
}

/// Deliveries as reported: event number, and the offset or the error.
#[derive(Default)]
struct Reports(Mutex<Vec<(usize, Result<i64, String>)>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Box<usize>) {
        let report = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.to_string()),
        };
        self.0.lock().unwrap().push((*opaque, report));
    }
}

impl Rig {
    fn producer(&self, settings: &[(&str, &str)]) -> BaseProducer<Reports> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("reconnect.backoff.max.ms", "500");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config.create_with_context(Reports::default()).unwrap()
    }

    fn plan(&self, kind: FaultKind) -> FaultPlan {
        let fault = Fault::new(At::Time(Duration::ZERO), None, kind);
        let scenario = Scenario { faults: vec![fault], ..Scenario::default() };
        FaultPlan::new(&scenario, Arc::clone(&self.cluster))
    }

    fn effects(&self) -> usize {
        let effect = |kind: &Kind| matches!(kind, Kind::Fault { phase: FaultPhase::Effect, .. });
        self.recorder.lines().iter().filter(|line| effect(&line.kind)).count()
    }

    /// Events in the main log, from the snapshot that the oracle would read.
    fn logged(&self) -> Vec<EventId> {
        self.cluster.snapshot_logs();
        let mut events = Vec::new();
        for line in self.recorder.take() {
            if let Kind::Log { route: Some(Route::Main), records, .. } = line.kind {
                events.extend(records.into_iter().flat_map(|r| r.events));
            }
        }
        events.sort();
        events
    }
}

fn send(producer: &BaseProducer<Reports>, n: usize) {
    let event = EventId { load: 0, n: u32::try_from(n).unwrap() };
    let id = event.message_id(RUN);
    let headers = OwnedHeaders::new();
    let header = Header { key: "dashstream-message-id", value: Some(&id) };
    let (key, value) = (format!("t{}", n % 16), "v".repeat(200));
    let record = BaseRecord::with_opaque_to("events", Box::new(n))
        .key(&key)
        .payload(&value)
        .headers(headers.insert(header));
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

fn all(n: usize) -> Vec<EventId> {
    (0..n).map(|n| EventId { load: 0, n: u32::try_from(n).unwrap() }).collect()
}

fn acked(producer: &BaseProducer<Reports>) -> usize {
    let reports = producer.context().0.lock().unwrap();
    reports.iter().filter(|(_, result)| result.is_ok()).count()
}

/// Reads up to `wanted` records of the main topic through librdkafka; how many each partition gave.
fn read_back(rig: &Rig, wanted: usize) -> [usize; 3] {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &rig.bootstrap)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut assigned = TopicPartitionList::new();
    for partition in 0..3 {
        assigned.add_partition_offset("events", partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assigned).unwrap();
    let mut partitions = [0; 3];
    let until = Instant::now() + Duration::from_secs(10);
    while partitions.iter().sum::<usize>() < wanted && Instant::now() < until {
        if let Some(message) = consumer.poll(Duration::from_millis(200)) {
            let message = message.unwrap();
            assert_eq!(message.payload(), Some("v".repeat(200).as_bytes()));
            partitions[usize::try_from(message.partition()).unwrap()] += 1;
        }
    }
    partitions
}

const IDEMPOTENT: &[(&str, &str)] = &[("enable.idempotence", "true"), ("linger.ms", "5")];

#[test]
fn an_idempotent_producer_with_zstd_batches_is_acked_logged_and_read_back() {
    let rig = rig();
    let producer = rig.producer(&[IDEMPOTENT, &[("compression.type", "zstd")]].concat());
    (0..500).for_each(|n| send(&producer, n));
    producer.flush(Duration::from_secs(10)).unwrap();
    assert_eq!(acked(&producer), 500);

    let partitions = read_back(&rig, 500);
    assert_eq!(partitions.iter().sum::<usize>(), 500);
    assert!(partitions.iter().all(|n| *n > 0), "{partitions:?}");
    assert_eq!(rig.logged(), all(500));
}

#[test]
fn every_other_codec_passes_through_untouched() {
    let rig = rig();
    for (i, codec) in ["none", "gzip", "snappy", "lz4"].into_iter().enumerate() {
        let producer = rig.producer(&[("compression.type", codec), ("linger.ms", "50")]);
        (0..50).for_each(|n| send(&producer, i * 50 + n));
        producer.flush(Duration::from_secs(10)).unwrap();
        assert_eq!(acked(&producer), 50, "{codec}");
    }
    assert_eq!(read_back(&rig, 200).iter().sum::<usize>(), 200);
}

#[test]
fn an_ack_lost_to_a_partition_is_made_good_by_idempotence_without_a_copy() {
    let rig = rig();
    let producer = rig.producer(IDEMPOTENT);
    (0..16).for_each(|n| send(&producer, n)); // one per thread: every broker is connected
    producer.flush(Duration::from_secs(10)).unwrap();
    let cut = FaultKind::NetPartition { brokers: Brokers::All, requests: false, responses: true };
    let plan = rig.plan(cut);
    plan.begin(0);
    (16..32).for_each(|n| send(&producer, n));
    let until = Instant::now() + Duration::from_secs(5);
    while rig.cluster.unanswered() < 16 && Instant::now() < until {
        producer.poll(Duration::from_millis(20));
    }
    assert_eq!((rig.cluster.unanswered(), acked(&producer)), (16, 16));
    plan.end(0);
    producer.flush(Duration::from_secs(15)).unwrap();
    assert_eq!((acked(&producer), rig.effects()), (32, 1));
    assert_eq!(rig.logged(), all(32));
}

#[test]
fn brokers_that_go_down_refuse_connects_and_come_back_on_their_ports() {
    let rig = rig();
    let producer = rig.producer(IDEMPOTENT);
    send(&producer, 0);
    producer.flush(Duration::from_secs(10)).unwrap();
    let plan = rig.plan(FaultKind::BrokerDown { brokers: Brokers::All });
    plan.begin(0);
    std::thread::sleep(Duration::from_millis(100));
    for address in rig.bootstrap.split(',') {
        let refused = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    send(&producer, 1);
    producer.poll(Duration::from_millis(500));
    assert_eq!(acked(&producer), 1);
    plan.end(0);
    producer.flush(Duration::from_secs(15)).unwrap();
    assert_eq!((acked(&producer), rig.effects()), (2, 1));
    assert_eq!(rig.logged(), all(2));
}

#[test]
fn leaders_that_move_are_found_again() {
    let rig = rig();
    let producer = rig.producer(IDEMPOTENT);
    send(&producer, 0);
    producer.flush(Duration::from_secs(10)).unwrap();
    let plan = rig.plan(FaultKind::LeaderMoved { topic: TopicSel::Main });
    rig.runtime.block_on(async { plan.begin(0) });
    (1..50).for_each(|n| send(&producer, n));
    producer.flush(Duration::from_secs(15)).unwrap();
    assert_eq!((acked(&producer), rig.effects()), (50, 1));
    assert_eq!(rig.logged(), all(50));
}

#[test]
fn a_reset_is_a_reset_on_real_sockets() {
    use std::io::{ErrorKind, Read};
    let rig = rig();
    let address = rig.bootstrap.split(',').next().unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // Nobody speaks: by now the broker has taken the connection.
    assert!(stream.read(&mut [0]).is_err());
    rig.plan(FaultKind::NetReset { brokers: Brokers::All }).begin(0);
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(rig.effects(), 1);
}
