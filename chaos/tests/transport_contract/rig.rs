//! A model cluster on loopback TCP, one client, and the truth about what it did.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dashproof::broker::{self, Cluster, ClusterConfig};
use dashproof::fault::FaultPlan;
use dashproof::history::{Clock, EventId, Kind, ProduceTruth, Recorder};
use dashproof::lane::sim::client::{ClientConnect, TcpDial};
use dashproof::scenario::model::{At, Fault, FaultKind, Scenario, TopicSel};
use dashproof_reference::config::ProducerConfig;
use dashproof_reference::core::{
    AttemptId, Connect, Delivery, HeaderValue, Headers, MESSAGE_ID_HEADER, Record, Refused, Route,
    Transport,
};
use dashproof_reference::runtime::rdkafka::RdkafkaConnect;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const RUN: [u8; 10] = [7; 10];
/// librdkafka reports time-outs up to two seconds late.
const PATIENCE: Duration = Duration::from_secs(15);
/// Attempt that [`Rig::warm`] makes.
const WARM: u64 = 9_999;

/// Makes clients of one kind.
pub(crate) type Make = fn(&ProducerConfig) -> Arc<dyn Connect>;

pub(crate) fn sim(config: &ProducerConfig) -> Arc<dyn Connect> {
    Arc::new(ClientConnect::new(config, &config.bootstrap, 1, TcpDial))
}

pub(crate) fn rdkafka(config: &ProducerConfig) -> Arc<dyn Connect> {
    Arc::new(RdkafkaConnect::new(config))
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The next Produce requests are answered with this error, nothing appended.
pub(crate) fn error(code: i16, count: u32) -> FaultKind {
    FaultKind::RequestError {
        api: "Produce".to_owned(),
        code,
        count: Some(count),
        topic: TopicSel::Main,
        after_append: false,
    }
}

struct Wall(Instant);

impl Clock for Wall {
    fn now_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

pub(crate) struct Rig {
    pub(crate) transport: Arc<dyn Transport>,
    connect: Arc<dyn Connect>,
    config: ProducerConfig,
    faults: FaultPlan,
    recorder: Recorder,
    _listeners: JoinSet<()>,
}

pub(crate) async fn delivery_of(transport: &dyn Transport) -> Delivery {
    let delivery = poll_fn(|cx| transport.poll_delivery(cx));
    timeout(PATIENCE, delivery).await.expect("no delivery came")
}

impl Rig {
    pub(crate) async fn new(
        make: Make,
        settings: impl FnOnce(&mut ProducerConfig),
        faults: Vec<FaultKind>,
    ) -> Self {
        let mut config = ProducerConfig::default();
        settings(&mut config);
        let mut listeners = Vec::new();
        let mut advertised = Vec::new();
        for _ in 0..3 {
            let (listener, port) = broker::bind_loopback().await.unwrap();
            listeners.push(listener);
            advertised.push(("127.0.0.1".to_owned(), port));
        }
        let servers: Vec<String> = advertised.iter().map(|(h, p)| format!("{h}:{p}")).collect();
        config.bootstrap = servers.join(",");
        let recorder = Recorder::new(Arc::new(Wall(Instant::now())));
        let cluster = Cluster::new(cluster_config(&config, advertised), recorder.clone(), 1);
        let mut tasks = JoinSet::new();
        for (id, listener) in (1..).zip(listeners) {
            tasks.spawn(broker::accept_loop(cluster.clone(), id, listener));
        }
        let at = At::Time(Duration::ZERO);
        let faults = faults.into_iter().map(|kind| Fault::new(at.clone(), None, kind));
        let scenario = Scenario { faults: faults.collect(), ..Scenario::default() };
        let faults = FaultPlan::new(&scenario, cluster);
        let connect = make(&config);
        let transport = connect.connect(Route::Main).await.unwrap();
        Self { transport, connect, config, faults, recorder, _listeners: tasks }
    }

    pub(crate) async fn client(&self, route: Route) -> Arc<dyn Transport> {
        self.connect.connect(route).await.unwrap()
    }

    pub(crate) fn begin(&self, fault: usize) {
        self.faults.begin(fault);
    }

    pub(crate) fn end(&self, fault: usize) {
        self.faults.end(fault);
    }

    /// One record for each partition goes through: connections stand, a producer id is held.
    pub(crate) async fn warm(&self) {
        for attempt in 0..8 {
            let key = format!("t{attempt}");
            self.offer_as(WARM, key.as_bytes(), 10).unwrap();
            self.transport.flush_hint();
            self.delivery().await.result.unwrap();
        }
        // The hint holds for a moment longer than the records it was for.
        sleep(ms(300)).await;
    }

    pub(crate) fn submit(&self, attempt: u64, key: &[u8]) {
        self.offer(attempt, key, 100).unwrap();
    }

    pub(crate) fn offer(&self, attempt: u64, key: &[u8], size: usize) -> Result<(), Refused> {
        self.offer_as(attempt, key, size)
    }

    fn offer_as(&self, attempt: u64, key: &[u8], size: usize) -> Result<(), Refused> {
        self.transport.submit(record(&self.config.topic, attempt, key, size))
    }

    pub(crate) fn submit_to(&self, transport: &Arc<dyn Transport>, attempt: u64, key: &[u8]) {
        transport.submit(record(&self.config.dlq.topic, attempt, key, 100)).unwrap();
    }

    pub(crate) async fn delivery(&self) -> Delivery {
        delivery_of(self.transport.as_ref()).await
    }

    pub(crate) async fn deliveries(&self, count: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while deliveries.len() < count {
            deliveries.push(self.delivery().await);
        }
        deliveries
    }

    /// A delivery, if one comes in this time.
    pub(crate) async fn within(&self, time: Duration) -> Option<Delivery> {
        timeout(time, poll_fn(|cx| self.transport.poll_delivery(cx))).await.ok()
    }

    /// Nothing is delivered for this long.
    pub(crate) async fn silence(&self, time: Duration) {
        let delivery = self.within(time).await;
        assert_eq!(delivery, None, "a delivery came too early");
        sleep(ms(1)).await;
    }

    /// Every time that a request carried this attempt to the broker, with what became of it.
    fn truths(&self, attempt: u32) -> Vec<ProduceTruth> {
        let event = Some(EventId { load: 0, n: attempt });
        self.recorder.read(|lines| {
            let produced = lines.iter().filter_map(|line| match &line.kind {
                Kind::Request { produce, .. } => Some(produce),
                _ => None,
            });
            produced.flatten().filter(|truth| truth.events.contains(&event)).cloned().collect()
        })
    }

    pub(crate) fn transmissions(&self, attempt: u32) -> usize {
        self.truths(attempt).len()
    }

    /// Copies of it in the logs.
    pub(crate) fn appended(&self, attempt: u32) -> usize {
        self.truths(attempt).iter().filter(|truth| truth.appended.is_some()).count()
    }

    /// Partition and offset of each copy.
    pub(crate) fn places(&self, attempt: u32) -> Vec<(i32, i64)> {
        let event = Some(EventId { load: 0, n: attempt });
        let place = |truth: &ProduceTruth| {
            let at = truth.events.iter().position(|found| *found == event)?;
            Some((truth.partition, truth.appended? + i64::try_from(at).ok()?))
        };
        self.truths(attempt).iter().filter_map(place).collect()
    }

    /// Producer id and epoch under which it was appended.
    pub(crate) fn producer_of(&self, attempt: u32) -> (i64, i16) {
        let truths = self.truths(attempt);
        let appended = truths.iter().find(|truth| truth.appended.is_some());
        appended.map(|truth| (truth.pid, truth.epoch)).unwrap()
    }

    /// Attempts below the warm-up's in the order of the log of this key's partition.
    pub(crate) fn order(&self, key: &[u8]) -> Vec<u32> {
        let partition = i32::try_from(crc32fast::hash(key) % 3).unwrap();
        self.recorder.read(|lines| {
            let mut batches: Vec<(i64, Vec<u32>)> = lines
                .iter()
                .filter_map(|line| match &line.kind {
                    Kind::Request { produce, .. } => Some(produce),
                    _ => None,
                })
                .flatten()
                .filter(|truth| truth.partition == partition)
                .filter_map(|truth| {
                    let events = truth.events.iter().flatten().map(|event| event.n);
                    Some((truth.appended?, events.collect()))
                })
                .collect();
            batches.sort();
            let events = batches.into_iter().flat_map(|(_, events)| events);
            events.filter(|n| u64::from(*n) != WARM).collect()
        })
    }
}

fn record(topic: &str, attempt: u64, key: &[u8], size: usize) -> Record {
    let event = EventId { load: 0, n: u32::try_from(attempt).unwrap() };
    let id = event.message_id(RUN);
    Record {
        attempt: AttemptId(attempt),
        topic: topic.into(),
        key: Some(Bytes::copy_from_slice(key)),
        value: Bytes::from(vec![b'x'; size]),
        headers: Headers::one(MESSAGE_ID_HEADER, HeaderValue::new(&id)),
        timestamp_ms: 1_735_689_600_000,
    }
}

fn cluster_config(config: &ProducerConfig, advertised: Vec<(String, u16)>) -> ClusterConfig {
    ClusterConfig {
        brokers: 3,
        partitions: 3,
        main_topic: config.topic.clone(),
        dlq_topic: config.dlq.topic.clone(),
        advertised,
        min_insync: 2,
        auto_create: true,
        message_max_bytes: 1 << 20,
        run: RUN,
    }
}
