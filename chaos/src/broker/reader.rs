//! Reads whole logs over the wire, without any client library: the independent witness of what a
//! broker, ours or a real one, really holds.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, FetchRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::batch::Batch;
use super::client::Client;
use super::inspect::Inspector;
use super::{Identity, codes};
use crate::history::{Kind, Recorder, Route, Src};

/// Versions that every Kafka since 2.4 serves.
const METADATA: i16 = 9;
const LIST_OFFSETS: i16 = 5;
const FETCH: i16 = 11;
/// Bytes asked for at a time.
const FETCH_BYTES: i32 = 8 << 20;

/// Makes connections to brokers.
pub trait Dial {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin;
    /// Connects to a broker.
    fn dial(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// Dials over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Dial for Tcp {
    type Stream = tokio::net::TcpStream;

    async fn dial(&self, host: &str, port: u16) -> io::Result<Self::Stream> {
        tokio::net::TcpStream::connect((host, port)).await
    }
}

/// A log cannot be read: nothing that was read of it may be judged.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The network failed, or an answer was none.
    #[error("cannot read the log of `{topic}`: {source}; is the broker up?")]
    Io {
        /// Topic.
        topic: String,
        /// What failed.
        source: io::Error,
    },
    /// The broker answered an error.
    #[error("cannot read the log of `{topic}`: the broker answers Kafka error {code}")]
    Kafka {
        /// Topic.
        topic: String,
        /// Kafka error code.
        code: i16,
    },
    /// The broker dropped what was not read yet.
    #[error("`{topic}` partition {partition} begins behind offset {offset}, where reading goes on")]
    Forgotten {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Where.
        offset: i64,
    },
    /// A batch in the log is not whole or not sound.
    #[error("`{topic}` partition {partition} holds no sound batch at offset {offset}")]
    Corrupt {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Where.
        offset: i64,
    },
}

/// A partition as it was read: its batches with their base offsets.
#[derive(Debug)]
pub struct PartitionLog {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Batches in offset order.
    pub batches: Vec<(i64, Batch)>,
    /// Offset that was read up to.
    pub next: i64,
}

/// Reads logs through the leaders of their partitions.
pub struct Reader<D: Dial> {
    dial: D,
    bootstrap: (String, u16),
    leaders: BTreeMap<i32, Client<D::Stream>>,
}

impl<D: Dial> Reader<D> {
    /// Begins at this broker.
    pub fn new(dial: D, host: &str, port: u16) -> Self {
        Self { dial, bootstrap: (host.to_owned(), port), leaders: BTreeMap::new() }
    }

    /// Reads every partition of a topic from its beginning to the end that it has now.
    ///
    /// # Errors
    /// When any part of it cannot be read. A topic that does not exist has no partitions.
    pub async fn topic(&mut self, topic: &str) -> Result<Vec<PartitionLog>, ReadError> {
        let mut logs = BTreeMap::new();
        self.on(topic, &mut logs).await?;
        Ok(logs.into_values().collect())
    }

    /// Reads every partition of a topic on from where it was read before to the end that it has
    /// now.
    ///
    /// # Errors
    /// As [`Reader::topic`], and when the broker has dropped what was not read yet. What was read
    /// before that is in `logs`.
    pub async fn on(
        &mut self,
        topic: &str,
        logs: &mut BTreeMap<i32, PartitionLog>,
    ) -> Result<(), ReadError> {
        let failed = |source| ReadError::Io { topic: topic.to_owned(), source };
        let metadata = self.metadata(topic).await.map_err(failed)?;
        let Some(found) = metadata.topics.first() else { return Ok(()) };
        match found.error_code {
            codes::NONE => {}
            codes::UNKNOWN_TOPIC_OR_PARTITION => return Ok(()),
            code => return Err(ReadError::Kafka { topic: topic.to_owned(), code }),
        }
        let mut leaders: Vec<(i32, i32)> =
            found.partitions.iter().map(|p| (p.partition_index, *p.leader_id)).collect();
        leaders.sort_unstable();
        for (partition, leader) in leaders {
            self.connect(&metadata, leader).await.map_err(failed)?;
            let client = self.leaders.get_mut(&leader);
            let client = client.ok_or_else(|| failed(io::ErrorKind::NotConnected.into()))?;
            let log = logs.entry(partition).or_insert_with(|| PartitionLog {
                topic: Arc::from(topic),
                partition,
                batches: Vec::new(),
                next: -1,
            });
            Whole { client, topic, partition }.read(log).await?;
        }
        Ok(())
    }

    async fn metadata(&self, topic: &str) -> io::Result<MetadataResponse> {
        let (host, port) = &self.bootstrap;
        let mut client = Client::new(self.dial.dial(host, *port).await?);
        let wanted = MetadataRequestTopic::default().with_name(Some(name(topic)));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![wanted]))
            .with_allow_auto_topic_creation(false);
        client.call(METADATA, &request).await
    }

    async fn connect(&mut self, metadata: &MetadataResponse, leader: i32) -> io::Result<()> {
        if self.leaders.contains_key(&leader) {
            return Ok(());
        }
        let broker = metadata.brokers.iter().find(|b| *b.node_id == leader);
        let broker = broker.ok_or_else(|| io::Error::other("a partition has no leader"))?;
        let port = u16::try_from(broker.port).map_err(io::Error::other)?;
        let stream = self.dial.dial(&broker.host, port).await?;
        self.leaders.insert(leader, Client::new(stream));
        Ok(())
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// One partition, read through its leader.
struct Whole<'a, S> {
    client: &'a mut Client<S>,
    topic: &'a str,
    partition: i32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Whole<'_, S> {
    async fn read(mut self, log: &mut PartitionLog) -> Result<(), ReadError> {
        let (first, end) = (self.offset(-2).await?, self.offset(-1).await?);
        let (topic, partition) = (self.topic.to_owned(), self.partition);
        if log.next < 0 {
            log.next = first;
        } else if log.next < first {
            return Err(ReadError::Forgotten { topic, partition, offset: log.next });
        }
        while log.next < end {
            let fetched = self.fetch(log.next).await?;
            let from = log.next;
            for (base, batch) in Batch::split(fetched) {
                // A fetch begins with the whole batch that holds the offset.
                let after = base + batch.offsets();
                if after > log.next {
                    log.next = after;
                    log.batches.push((base, batch));
                }
            }
            if log.next == from {
                return Err(ReadError::Corrupt { topic, partition, offset: from });
            }
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> ReadError {
        ReadError::Io { topic: self.topic.to_owned(), source }
    }

    fn answered(&self, code: Option<i16>) -> Result<(), ReadError> {
        match code {
            Some(codes::NONE) => Ok(()),
            Some(code) => Err(ReadError::Kafka { topic: self.topic.to_owned(), code }),
            None => Err(self.failed(io::Error::other("the answer leaves the partition out"))),
        }
    }

    /// First (-2) or next (-1) offset.
    async fn offset(&mut self, timestamp: i64) -> Result<i64, ReadError> {
        let wanted = ListOffsetsPartition::default().with_partition_index(self.partition);
        let wanted = wanted.with_timestamp(timestamp).with_current_leader_epoch(-1);
        let topic = ListOffsetsTopic::default().with_name(name(self.topic));
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic.with_partitions(vec![wanted])]);
        let answer = self.client.call(LIST_OFFSETS, &request).await.map_err(|e| self.failed(e))?;
        let found = answer.topics.first().and_then(|t| t.partitions.first());
        self.answered(found.map(|p| p.error_code))?;
        Ok(found.map_or(0, |p| p.offset))
    }

    async fn fetch(&mut self, offset: i64) -> Result<bytes::Bytes, ReadError> {
        let wanted = FetchPartition::default()
            .with_partition(self.partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(FETCH_BYTES);
        let topic = FetchTopic::default().with_topic(name(self.topic));
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(1000)
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES)
            .with_session_epoch(-1)
            .with_topics(vec![topic.with_partitions(vec![wanted])]);
        let answer = self.client.call(FETCH, &request).await.map_err(|e| self.failed(e))?;
        let found =
            answer.responses.into_iter().next().and_then(|t| t.partitions.into_iter().next());
        self.answered(found.as_ref().map(|p| p.error_code))?;
        Ok(found.and_then(|p| p.records).unwrap_or_default())
    }
}

/// Records the logs of a run's two topics, as [`Cluster::snapshot_logs`](super::Cluster) does for
/// the model broker. `main` and `dlq` are what a [`Reader`] read; `name` gives the topics' names in
/// the scenario.
pub fn record_logs(
    recorder: &Recorder,
    identity: &mut Identity,
    main: &[PartitionLog],
    dlq: &[PartitionLog],
    name: impl Fn(Route) -> Arc<str>,
) {
    let dlq_topic = dlq.first().map(|log| Arc::clone(&log.topic)).unwrap_or_default();
    let mut inspector = Inspector::new(identity, &dlq_topic);
    let main = main.iter().map(|log| (Route::Main, log));
    for (route, log) in main.chain(dlq.iter().map(|log| (Route::Dlq, log))) {
        let PartitionLog { partition, batches, .. } = log;
        let (topic, partition, route) = (name(route), *partition, Some(route));
        let data = batches.iter().filter(|(_, batch)| !batch.is_control());
        let read = data.flat_map(|(base, batch)| inspector.batch(route, partition, *base, batch));
        let records = read.collect();
        recorder.record(Src::Broker, Kind::Log { topic, route, partition, records });
    }
}
