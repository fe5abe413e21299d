//! What goes out on a connection: records, a batch of them, a Produce, and the frame around a
//! request or an answer.

use std::io;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use indexmap::IndexMap;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

/// What cannot be written, or was not written by a broker.
pub(crate) fn invalid(what: impl std::fmt::Display) -> io::Error {
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
        // where this does not count up with the offset, the encoder begins another batch
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
/// `InvalidData` for no records, and for such as the encoder puts into several batches or none.
pub fn batch(records: &[Record]) -> io::Result<Bytes> {
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, records, &options).map_err(invalid)?;
    // a base offset, the length of what follows, and that
    let length = out.get(8..12).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
    if length.is_none_or(|length| length as usize + 12 != out.len()) {
        return Err(invalid("records that do not make one batch"));
    }
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
/// `InvalidData` when the request does not exist in this version, or is over 2 GiB.
pub fn framed<R: Request>(
    client_id: &'static str,
    correlation: i32,
    version: i16,
    request: &R,
) -> io::Result<BytesMut> {
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str(client_id)))
        .encode(&mut out, R::header_version(version))
        .map_err(invalid)?;
    request.encode(&mut out, version).map_err(invalid)?;
    sealed(out).ok_or_else(|| invalid("a request over 2 GiB"))
}

/// An answer with its header, and its length in front. `None` when it does not exist in this
/// version, or is over 2 GiB.
pub(crate) fn answered<R>(correlation: i32, version: i16, answer: &R) -> Option<Bytes>
where
    R: Encodable + HeaderVersion,
{
    let mut out = BytesMut::new();
    out.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut out, R::header_version(version)).ok()?;
    answer.encode(&mut out, version).ok()?;
    Some(sealed(out)?.freeze())
}

/// Writes the length of what follows it into the first four bytes. `None` where there is no room
/// for it, or it is over 2 GiB.
pub(crate) fn sealed(mut out: BytesMut) -> Option<BytesMut> {
    let length = i32::try_from(out.len().checked_sub(4)?).ok()?;
    out.get_mut(..4)?.copy_from_slice(&length.to_be_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(i: i32) -> Record {
        record(i, Bytes::from_static(b"x"))
    }

    #[test]
    fn records_that_count_up_are_one_batch() {
        let bytes = batch(&[plain(0), plain(1), plain(2)]).unwrap();
        assert_eq!(bytes[57..61], 3_u32.to_be_bytes());
    }

    #[test]
    fn records_of_two_producers_are_no_batch() {
        let other = Record { producer_id: 7, producer_epoch: 0, ..plain(1) };
        assert_eq!(batch(&[plain(0), other]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn no_records_are_no_batch() {
        assert_eq!(batch(&[]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
