//! What the witness asks of the mock itself.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use indexmap::IndexMap;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiVersionsRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::net::TcpStream;

use crate::broker::client::Client;
use crate::broker::codes;

/// The topic that only the witness writes to.
pub(super) const TOPIC: &str = "dashproof-witness";
/// Version that the mock and every broker since 2.4 serve.
const PRODUCE: i16 = 7;
/// Requests written at a time.
const AT_ONCE: usize = 100;

/// Time that an answer of the broker takes.
pub(super) async fn round_trip(address: &str) -> io::Result<Duration> {
    let mut client = Client::new(TcpStream::connect(address).await?);
    let begin = Instant::now();
    client.call(0, &ApiVersionsRequest::default()).await?;
    Ok(begin.elapsed())
}

/// Uses up the errors that wait for Produce requests, and says how many there were.
pub(super) async fn errors_left(address: &str) -> io::Result<usize> {
    let mut left = 0;
    loop {
        let refused = refused(address, AT_ONCE).await?;
        left += refused;
        if refused < AT_ONCE {
            return Ok(left);
        }
    }
}

/// Sends so many Produce requests, one behind the other, and says how many were refused.
pub(super) async fn refused(address: &str, requests: usize) -> io::Result<usize> {
    let mut client = Client::new(TcpStream::connect(address).await?);
    let request = request().ok_or_else(|| io::Error::other("a record that cannot be encoded"))?;
    for _ in 0..requests {
        client.send(PRODUCE, &request).await?;
    }
    let mut refused = 0;
    for _ in 0..requests {
        let answer = client.receive::<ProduceRequest>(PRODUCE).await?;
        let found = answer.responses.first().and_then(|t| t.partition_responses.first());
        refused += usize::from(found.is_some_and(|p| p.error_code != codes::NONE));
    }
    Ok(refused)
}

fn request() -> Option<ProduceRequest> {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp: 0,
        key: None,
        value: Some(Bytes::from_static(b"witness")),
        headers: IndexMap::new(),
    };
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut batch = BytesMut::new();
    RecordBatchEncoder::encode(&mut batch, [&record], &options).ok()?;
    let data = PartitionProduceData::default().with_index(0).with_records(Some(batch.freeze()));
    let data = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(1_000);
    Some(request.with_topic_data(vec![data]))
}
