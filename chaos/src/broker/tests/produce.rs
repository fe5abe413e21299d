use bytes::BytesMut;
use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest};

use crate::broker::tests::kit::*;
use crate::broker::{SERVED, codes};

fn seq(pid: i64, epoch: i16, sequence: i32) -> Batched {
    Batched { pid, epoch, sequence }
}

#[tokio::test]
async fn api_versions_lists_what_is_served_in_every_version() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    for version in 0..=3 {
        let answer = client.call(version, &ApiVersionsRequest::default()).await.unwrap();
        assert_eq!((answer.error_code, answer.api_keys.len()), (0, SERVED.len()));
    }
}

#[tokio::test]
async fn metadata_names_brokers_leaders_and_replicas() {
    let (cluster, _) = cluster();
    let answer = metadata(&mut connect(&cluster, 2), "events").await;
    let ports: Vec<_> = answer.brokers.iter().map(|b| (*b.node_id, b.host.to_string())).collect();
    assert_eq!(ports.len(), 3);
    assert_eq!(ports[0], (1, "broker1".to_owned()));
    let leaders: Vec<_> = answer.topics[0].partitions.iter().map(|p| *p.leader_id).collect();
    assert_eq!(leaders, [1, 2, 3]);
    assert_eq!(answer.topics[0].partitions[0].isr_nodes.len(), 3);
}

#[tokio::test]
async fn an_unknown_topic_is_created_only_where_the_cluster_and_the_request_allow_it() {
    let (open, recorder) = cluster();
    assert_eq!(metadata(&mut connect(&open, 1), "new").await.topics[0].error_code, 0);
    let shy = MetadataRequest::default().with_allow_auto_topic_creation(false);
    let asked = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(topic("other")));
    let answer = connect(&open, 1).call(9, &shy.with_topics(Some(vec![asked]))).await.unwrap();
    assert_eq!(answer.topics[0].error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    let mut strict = config();
    strict.auto_create = false;
    let strict = crate::broker::Cluster::new(strict, recorder, 1);
    let answer = metadata(&mut connect(&strict, 1), "new").await;
    assert_eq!(answer.topics[0].error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
}

#[tokio::test]
async fn an_acked_batch_is_appended_and_on_record_with_its_events_and_its_answer() {
    let (cluster, recorder) = cluster();
    let mut client = connect(&cluster, 1);
    assert_eq!(offer(&mut client, batch(PLAIN, &[0, 1], b"x")).await, (0, 0));
    assert_eq!(offer(&mut client, batch(PLAIN, &[2], b"x")).await, (0, 2));
    let truths = truths(&recorder.lines());
    assert_eq!(truths[0].events, [Some(id(0)), Some(id(1))]);
    assert_eq!((truths[1].appended, truths[1].answered), (Some(2), Some(0)));
}

#[tokio::test]
async fn acks_0_is_appended_and_never_answered() {
    let (cluster, recorder) = cluster();
    let mut client = connect(&cluster, 1);
    let silent = produce_to("events", 0, 0, batch(PLAIN, &[0], b"x"));
    client.send(9, &silent).await.unwrap();
    let next = client.stream();
    let _ = next;
    let mut other = connect(&cluster, 1);
    while truths(&recorder.lines()).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(offer(&mut other, batch(PLAIN, &[1], b"x")).await, (0, 1));
    assert_eq!(truths(&recorder.lines())[0].answered, None);
}

#[tokio::test]
async fn acks_that_do_not_exist_are_refused() {
    let (cluster, _) = cluster();
    let odd = produce_to("events", 0, 7, batch(PLAIN, &[0], b"x"));
    let response = connect(&cluster, 1).call(9, &odd).await.unwrap();
    assert_eq!(answer(&response), (codes::INVALID_REQUIRED_ACKS, -1));
}

#[tokio::test]
async fn a_broker_that_does_not_lead_says_so() {
    let (cluster, recorder) = cluster();
    let mut client = connect(&cluster, 2);
    let refused = (codes::NOT_LEADER_OR_FOLLOWER, -1);
    assert_eq!(offer(&mut client, batch(PLAIN, &[0], b"x")).await, refused);
    assert_eq!(truths(&recorder.lines())[0].appended, None);
    let hint = client.call(10, &produce(batch(PLAIN, &[0], b"x"))).await.unwrap();
    assert_eq!(*hint.responses[0].partition_responses[0].current_leader.leader_id, 1);
    assert_eq!(hint.node_endpoints.len(), 3);
}

#[tokio::test]
async fn a_repeated_sequence_is_answered_with_the_first_offset_and_appended_once() {
    let (cluster, recorder) = cluster();
    let mut client = connect(&cluster, 1);
    let (_, pid, epoch) = pid(&mut client, -1, -1).await;
    for n in 0..5 {
        let one = batch(seq(pid, epoch, n), &[n.cast_unsigned()], b"x");
        assert_eq!(offer(&mut client, one).await, (0, n.into()));
    }
    for n in 0..5 {
        let again = batch(seq(pid, epoch, n), &[n.cast_unsigned()], b"x");
        assert_eq!(offer(&mut client, again).await, (0, n.into()));
    }
    let appended = truths(&recorder.lines()).iter().filter(|t| t.appended.is_some()).count();
    assert_eq!(appended, 5);
}

#[tokio::test]
async fn a_repetition_older_than_five_batches_is_out_of_order() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    let (_, pid, epoch) = pid(&mut client, -1, -1).await;
    for n in 0..6 {
        offer(&mut client, batch(seq(pid, epoch, n), &[n.cast_unsigned()], b"x")).await;
    }
    let old = offer(&mut client, batch(seq(pid, epoch, 0), &[0], b"x")).await;
    assert_eq!(old, (codes::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
}

#[tokio::test]
async fn a_gap_in_the_sequence_is_refused() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    let (_, pid, epoch) = pid(&mut client, -1, -1).await;
    offer(&mut client, batch(seq(pid, epoch, 0), &[0], b"x")).await;
    let gap = offer(&mut client, batch(seq(pid, epoch, 2), &[2], b"x")).await;
    assert_eq!(gap, (codes::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
}

#[tokio::test]
async fn sequences_wrap_from_the_largest_to_zero() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    let (_, pid, epoch) = pid(&mut client, -1, -1).await;
    // A partition that does not know the producer lets it begin anywhere.
    let last = batch(seq(pid, epoch, i32::MAX), &[0], b"x");
    assert_eq!(offer(&mut client, last).await, (0, 0));
    assert_eq!(offer(&mut client, batch(seq(pid, epoch, 0), &[1], b"x")).await, (0, 1));
}

#[tokio::test]
async fn a_newer_epoch_begins_at_zero_and_fences_the_older() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    let (_, pid_, epoch) = pid(&mut client, -1, -1).await;
    offer(&mut client, batch(seq(pid_, epoch, 0), &[0], b"x")).await;
    let (code, same, raised) = pid(&mut client, pid_, epoch).await;
    assert_eq!((code, same, raised), (0, pid_, epoch + 1));
    let midway = offer(&mut client, batch(seq(pid_, raised, 1), &[1], b"x")).await;
    assert_eq!(midway, (codes::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    assert_eq!(offer(&mut client, batch(seq(pid_, raised, 0), &[1], b"x")).await, (0, 1));
    let old = offer(&mut client, batch(seq(pid_, epoch, 1), &[2], b"x")).await;
    assert_eq!(old, (codes::INVALID_PRODUCER_EPOCH, -1));
}

#[tokio::test]
async fn an_epoch_is_raised_once_when_the_answer_was_lost_and_never_for_a_stranger() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    let (_, given, _) = pid(&mut client, -1, -1).await;
    assert_eq!(pid(&mut client, given, 0).await, (0, given, 1));
    assert_eq!(pid(&mut client, given, 0).await, (0, given, 1));
    assert_eq!(pid(&mut client, given, 1).await, (0, given, 2));
    assert_eq!(pid(&mut client, given, 0).await.0, codes::PRODUCER_FENCED);
    assert_eq!(pid(&mut client, 5, 0).await.0, codes::PRODUCER_FENCED);
}

#[tokio::test]
async fn a_flipped_bit_is_a_corrupt_message() {
    let (cluster, recorder) = cluster();
    let mut flipped = BytesMut::from(&batch(PLAIN, &[0], b"value")[..]);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let answer = offer(&mut connect(&cluster, 1), flipped.freeze()).await;
    assert_eq!(answer, (codes::CORRUPT_MESSAGE, -1));
    assert_eq!(truths(&recorder.lines())[0].appended, None);
}

#[tokio::test]
async fn a_batch_over_the_limit_is_too_large_and_one_at_the_limit_is_not() {
    let recorder = recorder();
    let exact = batch(PLAIN, &[0], &[b'x'; 1000]);
    let mut small = config();
    small.message_max_bytes = exact.len();
    let cluster = crate::broker::Cluster::new(small, recorder, 1);
    let mut client = connect(&cluster, 1);
    assert_eq!(offer(&mut client, exact).await, (0, 0));
    let larger = batch(PLAIN, &[0], &[b'x'; 1001]);
    assert_eq!(offer(&mut client, larger).await, (codes::MESSAGE_TOO_LARGE, -1));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    for n in 0..20 {
        client.send(9, &produce(batch(PLAIN, &[n], b"x"))).await.unwrap();
    }
    for n in 0..20 {
        let response = client.receive::<kafka_protocol::messages::ProduceRequest>(9).await.unwrap();
        assert_eq!(answer(&response), (0, n));
    }
}
