//! Requests as a client writes them: records, a batch of them, a Produce, and the frame around it.

use std::io;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use indexmap::IndexMap;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable as _, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

fn invalid(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// The `i`-th record of a batch that no idempotent producer wrote: no key, no header, time 0.
#[must_use]
pub fn record(i: i32, value: Bytes) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: i.into(),
        // the encoder takes no batch whose records do not count up in this
        sequence: i.saturating_sub(1),
        timestamp: 0,
        key: None,
        value: Some(value),
        headers: IndexMap::new(),
    }
}

/// One batch (format v2) of these records, not compressed.
///
/// # Errors
/// `InvalidData` for records that do not fit together, or that do not fit.
pub fn batch(records: &[Record]) -> io::Result<Bytes> {
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, records, &options).map_err(invalid)?;
    Ok(out.freeze())
}

/// A Produce of one batch for one partition, to be confirmed by all replicas in sync within
/// `limit` (whole milliseconds).
#[must_use]
pub fn produce(topic: &TopicName, partition: i32, batch: Bytes, limit: Duration) -> ProduceRequest {
    let limit = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(topic.clone());
    let topic = topic.with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(limit).with_topic_data(vec![topic])
}

/// A request with its header, and its length in front.
///
/// # Errors
/// `InvalidData` when the request does not exist in this version.
pub fn framed<R: Request>(
    client_id: &'static str,
    correlation: i32,
    version: i16,
    request: &R,
) -> io::Result<BytesMut> {
    let mut out = BytesMut::with_capacity(256);
    out.put_u32(0);
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str(client_id)))
        .encode(&mut out, R::header_version(version))
        .map_err(invalid)?;
    request.encode(&mut out, version).map_err(invalid)?;
    let length = u32::try_from(out.len() - 4).map_err(invalid)?;
    if let Some(head) = out.get_mut(..4) {
        head.copy_from_slice(&length.to_be_bytes());
    }
    Ok(out)
}
