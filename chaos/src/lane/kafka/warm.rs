//! Work for a fresh cluster, and for fresh topics, before anything is judged on them.
//!
//! A broker answers its first requests slowly: its code is not compiled yet, the coordinator of
//! producer ids loads its state, a first append makes files. A second of this would look like an
//! outage that no scenario asked for.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, InitProducerIdRequest, MetadataResponse, ProducerId, TopicName,
    TransactionalId,
};
use kafka_protocol::records::Record;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::admin::{Admin, NewTopic, TIMEOUT_MS, all_well, led};
use crate::broker::client::Client;
use crate::broker::{codes, outgoing};

/// Versions that every Kafka since 2.4 serves.
const INIT_PRODUCER_ID: i16 = 2;
const PRODUCE: i16 = 8;
const DELETE_RECORDS: i16 = 1;
/// Requests to each broker of a fresh cluster.
const ROUNDS: i32 = 100;
/// Bytes of a record.
const BYTES: usize = 64;
/// How long a partition may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Where it goes.
pub(super) const TOPIC: &str = "dashproof-warm";

/// Produces to a topic of its own, to every broker.
///
/// # Errors
/// A broker does not take records.
pub(super) async fn warm(admin: &Admin, brokers: i16) -> Result<(), String> {
    let new = NewTopic {
        name: TOPIC.to_owned(),
        partitions: i32::from(brokers),
        replicas: brokers,
        settings: Vec::new(),
    };
    make(admin, &[new], ROUNDS).await
}

/// Makes topics that take records at once, and hold none: followers begin to fetch a fresh
/// partition up to a second after its leader is known, and until then no append is confirmed.
///
/// # Errors
/// A broker refuses, or does not take records.
pub(super) async fn make(admin: &Admin, topics: &[NewTopic], rounds: i32) -> Result<(), String> {
    let failed = |error: io::Error| format!("fresh topics take no records: {error}");
    admin.create(topics).await.map_err(|error| format!("cannot make topics: {error}"))?;
    led(admin, topics).await?;
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let metadata = admin.metadata(&names).await.map_err(failed)?;
    for (port, name, index) in leaders(admin, &metadata)? {
        let made = timeout(LIMIT, used(port, name, index, rounds)).await;
        made.map_err(|_| format!("fresh topics take no records within {LIMIT:?}"))?
            .map_err(failed)?;
    }
    Ok(())
}

/// Every partition, with the port of its leader.
pub(super) fn leaders<'m>(
    admin: &Admin,
    metadata: &'m MetadataResponse,
) -> Result<Vec<(u16, &'m TopicName, i32)>, String> {
    let mut all = Vec::new();
    for found in &metadata.topics {
        let Some(name) = &found.name else { continue };
        for partition in &found.partitions {
            let leader = metadata.brokers.iter().find(|b| b.node_id == partition.leader_id);
            let port = leader.and_then(|broker| u16::try_from(broker.port).ok());
            let port = admin.behind.port(port.ok_or("a partition has no leader")?);
            all.push((port, name, partition.partition_index));
        }
    }
    Ok(all)
}

/// Produces to a partition through its leader at this port, and empties it.
async fn used(port: u16, name: &TopicName, index: i32, rounds: i32) -> io::Result<()> {
    let mut client = Client::new(TcpStream::connect(("127.0.0.1", port)).await?);
    produce(&mut client, name, index, rounds).await?;
    empty(&mut client, name, index, -1).await
}

/// Takes the records that [`make`] has made away once more: a broker that is killed within a minute
/// forgets that they were. A leader that was started a moment ago refuses that until it knows again
/// how far its followers are.
///
/// # Errors
/// A broker still refuses after [`LIMIT`].
pub(super) async fn forget(admin: &Admin, topics: &[&str], rounds: i32) -> Result<(), String> {
    let until = Instant::now() + LIMIT;
    loop {
        let gone = timeout(LIMIT, forgotten(admin, topics, rounds)).await;
        match gone.unwrap_or_else(|_| Err(format!("no broker answers within {LIMIT:?}"))) {
            Err(_) if Instant::now() < until => sleep(Duration::from_millis(100)).await,
            Err(error) => return Err(format!("topics keep what is none of the run's: {error}")),
            Ok(()) => return Ok(()),
        }
    }
}

async fn forgotten(admin: &Admin, topics: &[&str], rounds: i32) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let metadata = admin.metadata(topics).await.map_err(failed)?;
    for (port, name, index) in leaders(admin, &metadata)? {
        let leader = TcpStream::connect(("127.0.0.1", port)).await.map_err(failed)?;
        let mut client = Client::new(leader);
        empty(&mut client, name, index, i64::from(rounds)).await.map_err(failed)?;
    }
    Ok(())
}

/// Takes the records of a partition before an offset away; -1: all that there are.
async fn empty(
    client: &mut Client<TcpStream>,
    name: &TopicName,
    index: i32,
    before: i64,
) -> io::Result<()> {
    let all = DeleteRecordsPartition::default().with_partition_index(index).with_offset(before);
    let of = DeleteRecordsTopic::default().with_name(name.clone()).with_partitions(vec![all]);
    let request = DeleteRecordsRequest::default().with_topics(vec![of]).with_timeout_ms(TIMEOUT_MS);
    let answer = client.call(DELETE_RECORDS, &request).await?;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    all_well(partitions.map(|partition| partition.error_code))
}

/// Produces so many records to a partition through its leader, each as often as it takes.
///
/// # Errors
/// The broker does not take them within 30 seconds.
pub(in crate::lane) async fn produce(
    client: &mut Client<TcpStream>,
    name: &TopicName,
    partition: i32,
    rounds: i32,
) -> io::Result<()> {
    let until = Instant::now() + LIMIT;
    let refused = |code| io::Error::other(format!("Kafka error {code}"));
    let id = loop {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None::<TransactionalId>)
            .with_transaction_timeout_ms(60_000);
        let answer = client.call(INIT_PRODUCER_ID, &request).await?;
        match answer.error_code {
            codes::NONE => break answer.producer_id,
            code if Instant::now() > until => return Err(refused(code)),
            // the coordinator is loading
            _ => sleep(Duration::from_millis(20)).await,
        }
    };
    let mut round = 0;
    while round < rounds {
        match appended(client, name, partition, batch(id, round)?).await? {
            codes::NONE => round += 1,
            code if Instant::now() > until => return Err(refused(code)),
            // the leader does not know yet that it is one, or waits for its followers
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
    Ok(())
}

/// Appends a record of no producer, confirmed by all replicas.
///
/// # Errors
/// The broker does not take it.
pub(super) async fn append(
    client: &mut Client<TcpStream>,
    name: &TopicName,
    partition: i32,
) -> io::Result<()> {
    all_well([appended(client, name, partition, batch(ProducerId(-1), -1)?).await?].into_iter())
}

/// Produces a batch; the answer's code.
async fn appended(
    client: &mut Client<TcpStream>,
    name: &TopicName,
    partition: i32,
    batch: Bytes,
) -> io::Result<i16> {
    let request = outgoing::produce(name, partition, batch, Duration::from_secs(10));
    let answer = client.call(PRODUCE, &request).await?;
    let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
    Ok(partition.map_or(codes::NONE, |partition| partition.error_code))
}

fn batch(id: ProducerId, round: i32) -> io::Result<Bytes> {
    outgoing::batch(&[Record {
        producer_id: *id,
        producer_epoch: if *id < 0 { -1 } else { 0 },
        sequence: round,
        ..outgoing::record(0, Bytes::from(vec![0; BYTES]))
    }])
}
