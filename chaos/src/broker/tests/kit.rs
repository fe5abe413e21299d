//! What tests of the broker and of its faults share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    InitProducerIdRequest, MetadataRequest, ProduceRequest, ProducerId, TopicName,
};
use kafka_protocol::messages::{MetadataResponse, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Record;
use tokio::io::DuplexStream;

use crate::broker::client::Client;
use crate::broker::{Cluster, ClusterConfig, outgoing, serve};
use crate::history::{Clock, EventId, FaultPhase, Kind, Line, ProduceTruth, Recorder};

/// Counts up at every look, and follows tokio's clock.
pub(crate) struct TestClock {
    start: tokio::time::Instant,
    last: AtomicU64,
}

impl Clock for TestClock {
    fn now_us(&self) -> u64 {
        let now = u64::try_from(self.start.elapsed().as_micros()).unwrap();
        self.last.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

pub(crate) fn recorder() -> Recorder {
    let start = tokio::time::Instant::now();
    Recorder::new(Arc::new(TestClock { start, last: AtomicU64::new(0) }))
}

pub(crate) fn config() -> ClusterConfig {
    ClusterConfig {
        brokers: 3,
        partitions: 3,
        main_topic: "events".to_owned(),
        dlq_topic: "dead".to_owned(),
        advertised: (1..=3).map(|id| (format!("broker{id}"), 9092)).collect(),
        min_insync: 2,
        auto_create: true,
        message_max_bytes: 1 << 20,
        run: [7; 10],
    }
}

pub(crate) fn cluster() -> (Arc<Cluster>, Recorder) {
    let recorder = recorder();
    (Cluster::new(config(), recorder.clone(), 42), recorder)
}

pub(crate) fn connect(cluster: &Arc<Cluster>, broker: i32) -> Client<DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let cluster = Arc::clone(cluster);
    tokio::spawn(async move {
        let _guard = Loud;
        serve(cluster, broker, theirs).await;
    });
    Client::new(ours)
}

/// A panic in a connection must not look like a connection that was closed.
struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

pub(crate) fn id(n: u32) -> EventId {
    EventId { load: 0, n }
}

/// A batch of a producer, one record per event.
#[derive(Clone, Copy)]
pub(crate) struct Batched {
    pub(crate) pid: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
}

pub(crate) const PLAIN: Batched = Batched { pid: -1, epoch: -1, sequence: -1 };

pub(crate) fn batch(of: Batched, events: &[u32], value: &[u8]) -> Bytes {
    let records: Vec<Record> =
        (0..).zip(events).map(|(i, n)| record(of, i, id(*n), value)).collect();
    outgoing::batch(&records).unwrap()
}

fn record(of: Batched, i: i32, event: EventId, value: &[u8]) -> Record {
    let message_id = Bytes::copy_from_slice(&event.message_id([7; 10]));
    let key = StrBytes::from_static_str("dashstream-message-id");
    let plain = outgoing::record(i, Bytes::copy_from_slice(value));
    Record {
        producer_id: of.pid,
        producer_epoch: of.epoch,
        sequence: if of.pid < 0 { plain.sequence } else { of.sequence.wrapping_add(i) },
        timestamp: 1_700_000_000_000,
        key: Some(Bytes::from_static(b"t0")),
        headers: IndexMap::from([(key, Some(message_id))]),
        ..plain
    }
}

/// A batch of records with these timestamps.
pub(crate) fn timed(timestamps: &[i64]) -> Bytes {
    let at = |(i, timestamp): (i32, &i64)| Record {
        timestamp: *timestamp,
        ..record(PLAIN, i, id(0), b"x")
    };
    let records: Vec<Record> = (0..).zip(timestamps).map(at).collect();
    outgoing::batch(&records).unwrap()
}

/// A batch of one record with these headers; the event's id among them, where one is given.
pub(crate) fn one(event: Option<u32>, headers: &[(&'static str, Bytes)], value: &[u8]) -> Bytes {
    let mut record = record(PLAIN, 0, id(event.unwrap_or(0)), value);
    if event.is_none() {
        record.headers.clear();
    }
    for (key, value) in headers {
        record.headers.insert(StrBytes::from_static_str(key), Some(value.clone()));
    }
    outgoing::batch(&[record]).unwrap()
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

pub(crate) fn produce_to(name: &str, partition: i32, acks: i16, records: Bytes) -> ProduceRequest {
    let limit = Duration::from_secs(1);
    outgoing::produce(&topic(name), partition, records, limit).with_acks(acks)
}

/// To partition 0 of the main topic, whose leader is broker 1, with acks=all.
pub(crate) fn produce(records: Bytes) -> ProduceRequest {
    produce_to("events", 0, -1, records)
}

/// Error code and base offset of the only partition.
pub(crate) fn answer(response: &ProduceResponse) -> (i16, i64) {
    let only = &response.responses[0].partition_responses[0];
    (only.error_code, only.base_offset)
}

pub(crate) async fn offer(client: &mut Client<DuplexStream>, records: Bytes) -> (i16, i64) {
    answer(&client.call(9, &produce(records)).await.unwrap())
}

pub(crate) async fn pid(
    client: &mut Client<DuplexStream>,
    pid: i64,
    epoch: i16,
) -> (i16, i64, i16) {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id(ProducerId(pid))
        .with_producer_epoch(epoch);
    let given = client.call(4, &request).await.unwrap();
    (given.error_code, *given.producer_id, given.producer_epoch)
}

pub(crate) async fn metadata(client: &mut Client<DuplexStream>, name: &str) -> MetadataResponse {
    let wanted = MetadataRequestTopic::default().with_name(Some(topic(name)));
    client.call(9, &MetadataRequest::default().with_topics(Some(vec![wanted]))).await.unwrap()
}

/// Every Produce on record.
pub(crate) fn truths(lines: &[Line]) -> Vec<ProduceTruth> {
    let produce = lines.iter().filter_map(|line| match &line.kind {
        Kind::Request { produce, .. } => Some(produce.clone()),
        _ => None,
    });
    produce.flatten().collect()
}

/// Phases on record of the fault with this index.
pub(crate) fn phases(recorder: &Recorder, index: usize) -> Vec<FaultPhase> {
    let lines = recorder.lines();
    let of = lines.iter().filter_map(|line| match line.kind {
        Kind::Fault { fault, phase, .. } if fault == index => Some(phase),
        _ => None,
    });
    of.collect()
}
