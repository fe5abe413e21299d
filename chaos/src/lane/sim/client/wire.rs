//! Kafka frames: versions, requests, record batches, and one connection.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::{
    ApiVersionsRequest, InitProducerIdRequest, MetadataRequest, ProduceRequest, ResponseHeader,
    TopicName, metadata_request::MetadataRequestTopic,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::Record as WireRecord;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::state::{Identity, Pending};
use super::{Config, Dial};
use crate::broker::outgoing::{self, invalid};

/// What this client can speak, per API: lowest and highest version.
const METADATA: (i16, i16) = (4, 12);
const INIT_PRODUCER_ID: (i16, i16) = (0, 4);
const PRODUCE: (i16, i16) = (3, 9);
/// An answer larger than this is a broken stream, not an answer.
const FRAME_MAX: usize = 16 << 20;

/// Versions agreed with one broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Versions {
    pub(super) metadata: i16,
    pub(super) init_producer_id: i16,
    pub(super) produce: i16,
}

/// One request as a frame with its length in front.
pub(super) fn frame<R: Request>(
    correlation: i32,
    version: i16,
    request: &R,
) -> io::Result<BytesMut> {
    outgoing::framed("dashproof-sim", correlation, version, request)
}

/// Decodes the answer to an `R`; the frame's length is already taken off.
pub(super) fn answer<R: Request>(version: i16, frame: &mut Bytes) -> io::Result<R::Response> {
    ResponseHeader::decode(frame, R::Response::header_version(version)).map_err(invalid)?;
    R::Response::decode(frame, version).map_err(invalid)
}

/// Metadata of one topic.
pub(super) fn metadata_request(topic: &str) -> MetadataRequest {
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    MetadataRequest::default()
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name))]))
        .with_allow_auto_topic_creation(true)
}

/// A new producer id, or the next epoch of `prior` where the broker's version can bump it.
pub(super) fn init_producer_id(prior: Option<(i64, i16)>, version: i16) -> InitProducerIdRequest {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000);
    match prior.filter(|_| version >= 3) {
        Some((pid, epoch)) => request.with_producer_id(pid.into()).with_producer_epoch(epoch),
        None => request.with_producer_id((-1).into()).with_producer_epoch(-1),
    }
}

/// A Produce of one batch for one partition.
pub(super) fn produce(config: &Config, partition: i32, records: Bytes) -> ProduceRequest {
    let topic = TopicName(StrBytes::from_string(config.topic.to_string()));
    outgoing::produce(&topic, partition, records, config.attempt_timeout).with_acks(config.acks)
}

/// Encodes one record batch (format v2).
pub(super) fn batch(
    records: &[Pending],
    identity: &Identity,
    base_sequence: i32,
) -> io::Result<Bytes> {
    let (producer_id, producer_epoch) = identity.held().unwrap_or((-1, -1));
    let encoded = records.iter().zip(0_i32..).map(|(pending, i)| {
        let record = &pending.record;
        let headers: IndexMap<_, _> = record
            .headers
            .iter()
            .map(|(name, value)| {
                (StrBytes::from_static_str(name), Some(Bytes::copy_from_slice(value)))
            })
            .collect();
        WireRecord {
            producer_id,
            producer_epoch,
            sequence: base_sequence.wrapping_add(i),
            timestamp: record.timestamp_ms,
            key: record.key.clone(),
            headers,
            ..outgoing::record(i, record.value.clone())
        }
    });
    let encoded: Vec<WireRecord> = encoded.collect();
    outgoing::batch(&encoded)
}

/// A write that failed: whether any byte had gone out by then.
pub(super) struct WriteFailed {
    pub(super) touched: bool,
}

/// One connection, versions agreed.
pub(super) struct Connection<S> {
    stream: S,
    inbox: BytesMut,
    correlation: i32,
    pub(super) versions: Versions,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Connects and agrees on versions, within `limit` in all.
    pub(super) async fn open<D: Dial<Stream = S>>(
        dial: &D,
        (host, port): &(String, u16),
        limit: Duration,
    ) -> io::Result<Self> {
        let opening = async {
            let stream = dial.dial(host, *port).await?;
            let versions = Versions { metadata: 0, init_producer_id: 0, produce: 0 };
            let mut this = Self { stream, inbox: BytesMut::new(), correlation: 0, versions };
            this.versions = this.agree(limit).await?;
            Ok(this)
        };
        timeout(limit, opening).await?
    }

    async fn agree(&mut self, limit: Duration) -> io::Result<Versions> {
        let offered = self.call(0, &ApiVersionsRequest::default(), limit).await?;
        let pick = |key: i16, (low, high): (i16, i16)| {
            let theirs = offered.api_keys.iter().find(|api| api.api_key == key);
            theirs
                .map(|api| (low.max(api.min_version), high.min(api.max_version)))
                .filter(|(low, high)| low <= high)
                .map(|(_, high)| high)
                .ok_or_else(|| invalid(format!("no common version of api {key}")))
        };
        Ok(Versions {
            metadata: pick(MetadataRequest::KEY, METADATA)?,
            init_producer_id: pick(InitProducerIdRequest::KEY, INIT_PRODUCER_ID)?,
            produce: pick(ProduceRequest::KEY, PRODUCE)?,
        })
    }

    /// A correlation id never used on this connection.
    pub(super) fn next_correlation(&mut self) -> i32 {
        self.correlation = self.correlation.wrapping_add(1);
        self.correlation
    }

    /// Sends a request and waits for its answer; nothing else may be outstanding.
    pub(super) async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        limit: Duration,
    ) -> io::Result<R::Response> {
        let correlation = self.next_correlation();
        let frame = frame(correlation, version, request)?;
        let exchange = async {
            self.stream.write_all(&frame).await?;
            let (answered, mut body) = self.read_frame().await?;
            if answered != correlation {
                return Err(invalid("the answer is to another request"));
            }
            answer::<R>(version, &mut body)
        };
        timeout(limit, exchange).await?
    }

    /// Writes a whole frame within `limit`.
    pub(super) async fn write(
        &mut self,
        mut frame: BytesMut,
        limit: Duration,
    ) -> Result<(), WriteFailed> {
        let whole = frame.len();
        let writing = async {
            while frame.has_remaining() {
                if self.stream.write_buf(&mut frame).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::WriteZero));
                }
            }
            self.stream.flush().await
        };
        let done = timeout(limit, writing).await;
        match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(WriteFailed { touched: frame.len() < whole }),
        }
    }

    /// The next answer: its correlation id, and the frame from its header on. Cancelling the
    /// future loses nothing.
    pub(super) async fn read_frame(&mut self) -> io::Result<(i32, Bytes)> {
        loop {
            if let Some(length) = self.inbox.first_chunk::<4>() {
                let length = usize::try_from(i32::from_be_bytes(*length)).map_err(invalid)?;
                if !(4..=FRAME_MAX).contains(&length) {
                    return Err(invalid(format!("a frame of {length} bytes")));
                }
                if self.inbox.len() >= 4 + length {
                    self.inbox.advance(4);
                    let body = self.inbox.split_to(length).freeze();
                    let correlation = body.first_chunk::<4>().map_or(0, |c| i32::from_be_bytes(*c));
                    return Ok((correlation, body));
                }
            }
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
