//! Batches that were encoded before the clock starts: what is left is what a broker takes.
//!
//! librdkafka spends more on a record than a broker does, so that a ratio of two brokers behind it
//! says little about them.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use dashproof::broker::client::Client;
use dashproof::history::EventId;
use indexmap::IndexMap;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::net::TcpStream;

use crate::cluster::{RUN, runtime};

/// A version that every Kafka since 2.4 serves.
const PRODUCE: i16 = 8;
const PARTITIONS: u32 = 3;
/// Records of a batch, as many as librdkafka puts into one at full speed.
const BATCH: u32 = 500;
const BATCHES: u32 = 400;
/// Requests without an answer, as many as an idempotent librdkafka allows itself.
const OPEN: usize = 5;
const PAYLOAD: [u8; 1000] = [b'x'; 1000];

fn batch(first: u32) -> Bytes {
    let header = StrBytes::from_static_str("dashstream-message-id");
    let record = |i: u32| {
        let id = EventId { load: 0, n: first + i }.message_id(RUN);
        Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: i.into(),
            sequence: i.cast_signed() - 1,
            timestamp: 1_700_000_000_000,
            key: Some(Bytes::copy_from_slice(&(i % 16).to_be_bytes())),
            value: Some(Bytes::from_static(&PAYLOAD)),
            headers: IndexMap::from([(header.clone(), Some(Bytes::copy_from_slice(&id)))]),
        }
    };
    let records: Vec<Record> = (0..BATCH).map(record).collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.freeze()
}

fn requests(topic: &str) -> Vec<ProduceRequest> {
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let request = |n: u32| {
        let data = PartitionProduceData::default()
            .with_index((n % PARTITIONS).cast_signed())
            .with_records(Some(batch(n * BATCH)));
        let data =
            TopicProduceData::default().with_name(name.clone()).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000);
        request.with_topic_data(vec![data])
    };
    (0..BATCHES).map(request).collect()
}

async fn confirmed(client: &mut Client<TcpStream>) {
    let answer = client.receive::<ProduceRequest>(PRODUCE).await.unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
}

/// Records per second over one connection to one broker, which leads every partition.
pub(crate) fn throughput(bootstrap: &str, topic: &str) -> f64 {
    let requests = requests(topic);
    runtime().block_on(async {
        let stream = TcpStream::connect(bootstrap).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client::new(stream);
        let begin = Instant::now();
        for (n, request) in requests.iter().enumerate() {
            if n >= OPEN {
                confirmed(&mut client).await;
            }
            client.send(PRODUCE, request).await.unwrap();
        }
        for _ in 0..OPEN {
            confirmed(&mut client).await;
        }
        f64::from(BATCH * BATCHES) / begin.elapsed().as_secs_f64()
    })
}
