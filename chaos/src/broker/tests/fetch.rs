use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{CreateTopicsRequest, FetchRequest, ListOffsetsRequest};
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep};

use crate::broker::batch::Batch;
use crate::broker::client::Client;
use crate::broker::codes;
use crate::broker::tests::kit::*;

fn fetch(offset: i64, wait_ms: i32, max_bytes: i32) -> FetchRequest {
    let wanted = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(max_bytes);
    let wanted = FetchTopic::default().with_topic(topic("events")).with_partitions(vec![wanted]);
    FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(max_bytes)
        .with_topics(vec![wanted])
}

/// Error code, high watermark and base offsets of what was fetched.
async fn read(client: &mut Client<DuplexStream>, request: FetchRequest) -> (i16, i64, Vec<i64>) {
    let answer = client.call(11, &request).await.unwrap();
    let only = &answer.responses[0].partitions[0];
    let batches = Batch::split(only.records.clone().unwrap_or_default());
    let bases = batches.into_iter().map(|(base, _)| base).collect();
    (only.error_code, only.high_watermark, bases)
}

#[tokio::test(start_paused = true)]
async fn a_fetch_gives_whole_batches_from_the_one_that_holds_the_offset() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    for n in 0..3 {
        offer(&mut client, batch(PLAIN, &[n, n + 10], b"x")).await;
    }
    assert_eq!(read(&mut client, fetch(0, 0, 1 << 20)).await, (0, 6, vec![0, 2, 4]));
    assert_eq!(read(&mut client, fetch(3, 0, 1 << 20)).await, (0, 6, vec![2, 4]));
    assert_eq!(read(&mut client, fetch(0, 0, 1)).await, (0, 6, vec![0]));
    assert_eq!(read(&mut client, fetch(6, 0, 1 << 20)).await, (0, 6, vec![]));
    assert_eq!(read(&mut client, fetch(7, 0, 1)).await, (codes::OFFSET_OUT_OF_RANGE, -1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_at_the_end_waits_for_data_or_for_its_time() {
    let (cluster, _) = cluster();
    let (mut reader, mut writer) = (connect(&cluster, 1), connect(&cluster, 1));
    let start = Instant::now();
    assert_eq!(read(&mut reader, fetch(0, 300, 1 << 20)).await, (0, 0, vec![]));
    assert!(start.elapsed() >= Duration::from_millis(300));
    let write = async {
        sleep(Duration::from_millis(100)).await;
        offer(&mut writer, batch(PLAIN, &[0], b"x")).await
    };
    let start = Instant::now();
    let (read, _) = tokio::join!(read(&mut reader, fetch(0, 5000, 1 << 20)), write);
    assert_eq!(read, (0, 1, vec![0]));
    assert!(start.elapsed() < Duration::from_millis(200));
}

#[tokio::test]
async fn offsets_are_listed_for_both_ends_and_for_a_time() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    offer(&mut client, batch(PLAIN, &[0, 1], b"x")).await;
    for (timestamp, offset) in [(-2, 0), (-1, 2), (1_700_000_000_000, 0), (1_700_000_000_001, -1)] {
        let wanted = ListOffsetsPartition::default().with_timestamp(timestamp);
        let wanted =
            ListOffsetsTopic::default().with_name(topic("events")).with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default().with_topics(vec![wanted]);
        let answer = client.call(5, &request).await.unwrap();
        assert_eq!(answer.topics[0].partitions[0].offset, offset, "{timestamp}");
    }
}

#[tokio::test]
async fn a_topic_is_created_once_with_a_legal_name_and_numbers() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    let topics = [
        ("fresh", 2, 3, codes::NONE),
        ("events", 2, 3, codes::TOPIC_ALREADY_EXISTS),
        ("no/slash", 2, 3, codes::INVALID_TOPIC),
        ("many", 1001, 3, codes::INVALID_PARTITIONS),
        ("wide", 2, 4, codes::INVALID_REPLICATION_FACTOR),
    ];
    let wanted = topics.map(|(name, partitions, factor, _)| {
        CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(partitions)
            .with_replication_factor(factor)
    });
    let request = CreateTopicsRequest::default().with_topics(wanted.to_vec());
    let created = client.call(5, &request).await.unwrap();
    let codes: Vec<_> = created.topics.iter().map(|t| t.error_code).collect();
    assert_eq!(codes, topics.map(|(.., code)| code));
    assert_eq!(metadata(&mut client, "fresh").await.topics[0].partitions.len(), 2);
    let value: Bytes = batch(PLAIN, &[0], b"x");
    let there = client.call(9, &produce_to("fresh", 0, -1, value)).await.unwrap();
    assert_eq!(answer(&there).0, 0);
}

#[tokio::test]
async fn the_offset_for_a_time_is_a_records_own_and_the_newest_record_is_found() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    offer(&mut client, batch(PLAIN, &[0, 1], b"x")).await;
    offer(&mut client, timed(&[1_700_000_000_005, 1_700_000_000_009, 1_700_000_000_007])).await;
    for (timestamp, found) in [
        (1_700_000_000_006, (3, 1_700_000_000_009)),
        (1_700_000_000_005, (2, 1_700_000_000_005)),
        (-3, (3, 1_700_000_000_009)),
    ] {
        let wanted = ListOffsetsPartition::default().with_timestamp(timestamp);
        let wanted =
            ListOffsetsTopic::default().with_name(topic("events")).with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default().with_topics(vec![wanted]);
        let answer = client.call(7, &request).await.unwrap();
        let only = &answer.topics[0].partitions[0];
        assert_eq!((only.offset, only.timestamp), found, "{timestamp}");
    }
}
