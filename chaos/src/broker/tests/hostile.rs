use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, ProduceRequest,
};
use kafka_protocol::protocol::Decodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use crate::broker::tests::kit::*;
use crate::broker::{Cluster, MAX_REQUEST, SERVED, codes};
use crate::fault::Target as _;
use crate::scenario::model::{Brokers, FaultKind};

/// What the broker says to these bytes: everything until it closes, or until it waits for more.
async fn say(cluster: &std::sync::Arc<Cluster>, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut client = connect(cluster, 1);
    client.stream().write_all(bytes).await.unwrap();
    let mut out = Vec::new();
    let closed = timeout(Duration::from_millis(50), client.stream().read_to_end(&mut out)).await;
    (out, closed.is_ok())
}

fn request(key: i16, version: i16, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(i32::try_from(10 + body.len()).unwrap());
    out.put_i16(key);
    out.put_i16(version);
    out.put_i32(77);
    out.put_i16(-1);
    out.put_slice(body);
    out.freeze()
}

#[tokio::test(start_paused = true)]
async fn a_negative_or_enormous_length_closes_the_connection_without_an_answer() {
    let (cluster, _) = cluster();
    for length in [-1, i32::MIN, i32::MAX, i32::try_from(MAX_REQUEST).unwrap() + 1] {
        assert_eq!(say(&cluster, &length.to_be_bytes()).await, (Vec::new(), true), "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_api_and_a_frame_without_a_header_close_the_connection() {
    let (cluster, _) = cluster();
    for bytes in
        [request(999, 0, &[]), request(15, 0, &[]), Bytes::from_static(&[0, 0, 0, 2, 0, 3])]
    {
        assert_eq!(say(&cluster, &bytes).await, (Vec::new(), true));
    }
}

#[tokio::test(start_paused = true)]
async fn api_versions_from_the_future_is_told_in_version_0_what_is_served() {
    let (cluster, _) = cluster();
    let (answer, closed) = say(&cluster, &request(18, 99, b"who knows")).await;
    assert!(!closed);
    let mut answer = Bytes::from(answer).slice(8..);
    let answer = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(
        (answer.error_code, answer.api_keys.len()),
        (codes::UNSUPPORTED_VERSION, SERVED.len())
    );
}

#[tokio::test(start_paused = true)]
async fn another_api_in_a_version_from_the_future_closes_the_connection() {
    let (cluster, _) = cluster();
    assert_eq!(say(&cluster, &request(3, 99, &[])).await, (Vec::new(), true));
}

#[tokio::test(start_paused = true)]
async fn an_array_longer_than_its_frame_reserves_nothing_and_closes_the_connection() {
    let (cluster, _) = cluster();
    let giant = i32::MAX.to_be_bytes();
    assert_eq!(say(&cluster, &request(3, 1, &giant)).await, (Vec::new(), true));
    let mut produce = BytesMut::new();
    produce.put_i16(-1);
    produce.put_i16(1);
    produce.put_i32(1000);
    produce.put_i32(i32::MAX - 1);
    assert_eq!(say(&cluster, &request(0, 8, &produce)).await, (Vec::new(), true));
}

#[tokio::test(start_paused = true)]
async fn a_record_count_that_lies_is_refused_without_reserving_for_it() {
    let (cluster, recorder) = cluster();
    let mut lie = BytesMut::from(&batch(PLAIN, &[0], b"x")[..]);
    lie[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    lie[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    let crc = crc(&lie[21..]);
    lie[17..21].copy_from_slice(&crc.to_be_bytes());
    let answer = offer(&mut connect(&cluster, 1), lie.freeze()).await;
    assert_eq!(answer.0, codes::INVALID_RECORD);
    assert_eq!(truths(&recorder.lines())[0].appended, None);
}

/// CRC-32C, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, b| (0..8).fold(crc ^ u32::from(*b), |c, _| bit(c)))
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_is_waited_for_and_a_slow_one_is_served() {
    let (cluster, _) = cluster();
    let whole = request(18, 0, &[]);
    assert_eq!(say(&cluster, &whole[..9]).await, (Vec::new(), false));
    let mut client = connect(&cluster, 1);
    for byte in &whole {
        client.stream().write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_secs(5)).await;
    }
    assert!(client.frame().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_in_the_middle_of_a_frame_leaves_nothing_behind() {
    let (cluster, recorder) = cluster();
    let mut client = connect(&cluster, 1);
    client.stream().write_all(&request(18, 0, &[])[..9]).await.unwrap();
    drop(client);
    let fine = connect(&cluster, 1).call(0, &ApiVersionsRequest::default()).await;
    assert!(fine.is_ok());
    assert_eq!(recorder.lines().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_gets_whole_ends_its_connection_after_two_minutes() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    let (start, loris) = (Instant::now(), request(18, 0, &[0; 200]));
    for byte in &loris {
        if client.stream().write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert!((120..=123).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_left_alone() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    for _ in 0..2 {
        sleep(Duration::from_secs(3600)).await;
        assert!(client.call(0, &ApiVersionsRequest::default()).await.is_ok());
    }
}

/// Answers take two seconds from now on.
fn slow(cluster: &std::sync::Arc<Cluster>) {
    let kind = FaultKind::NetLatency {
        brokers: Brokers::All,
        base: Duration::from_secs(2),
        jitter: Duration::ZERO,
        tail: Duration::ZERO,
        tail_share: 0.0,
    };
    cluster.arm(0, &kind, &[1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_on_its_way_arrives_though_the_broker_closes_right_behind_it() {
    let (cluster, recorder) = cluster();
    slow(&cluster);
    let mut client = connect(&cluster, 1);
    client.send(9, &produce(batch(PLAIN, &[0], b"x"))).await.unwrap();
    client.stream().write_all(&(-1_i32).to_be_bytes()).await.unwrap();
    let answered = client.receive::<ProduceRequest>(9).await.unwrap();
    assert_eq!(answer(&answered), (codes::NONE, 0));
    assert_eq!(client.stream().read(&mut [0]).await.unwrap(), 0, "it closes");
    assert_eq!(truths(&recorder.lines())[0].answered, Some(codes::NONE));
    assert_eq!(cluster.unanswered(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_peer_that_leaves_is_not_said_to_have_left() {
    let (cluster, recorder) = cluster();
    slow(&cluster);
    let mut client = connect(&cluster, 1);
    client.send(9, &produce(batch(PLAIN, &[0], b"x"))).await.unwrap();
    client.stream().write_all(&(-1_i32).to_be_bytes()).await.unwrap();
    drop(client);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(truths(&recorder.lines())[0].answered, None);
    assert_eq!(cluster.unanswered(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_full_gives_the_place_of_who_never_asked_to_who_comes() {
    let (cluster, _) = cluster();
    let mut first = connect(&cluster, 1);
    first.call(0, &ApiVersionsRequest::default()).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..1_005 {
        silent.push(connect(&cluster, 1));
        tokio::task::yield_now().await;
    }
    sleep(Duration::from_millis(10)).await;
    assert!(first.call(0, &ApiVersionsRequest::default()).await.is_ok());
    let mut gone = 0;
    for client in &mut silent {
        let read = timeout(Duration::from_millis(1), client.stream().read(&mut [0])).await;
        gone += usize::from(read.is_ok());
    }
    assert_eq!(gone, 6, "1006 came, and 1000 have a place");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_half_requests_is_bounded_and_the_oldest_half_goes_first() {
    const HALF: usize = 200 << 10;
    let (cluster, _) = cluster();
    cluster.state().links.halves.most = 5 * HALF;
    let whole = request(18, 0, &vec![0; 2 * HALF]);
    let mut halves = Vec::new();
    for _ in 0..8 {
        let mut client = connect(&cluster, 1);
        for chunk in whole[..HALF].chunks(4 << 10) {
            client.stream().write_all(chunk).await.unwrap();
        }
        halves.push(client);
    }
    sleep(Duration::from_millis(10)).await;
    let mut gone = Vec::new();
    for client in &mut halves {
        let read = timeout(Duration::from_millis(1), client.stream().read(&mut [0])).await;
        gone.push(read.is_ok());
    }
    assert_eq!(gone, [true, true, true, false, false, false, false, false]);
    // whoever completes its request is served, and its bytes are no longer counted
    let mut last = halves.pop().unwrap();
    for chunk in whole[HALF..].chunks(4 << 10) {
        last.stream().write_all(chunk).await.unwrap();
    }
    assert!(last.frame().await.is_ok());
    assert!(connect(&cluster, 1).call(0, &ApiVersionsRequest::default()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn topics_are_created_until_there_are_too_many_partitions() {
    let (cluster, _) = cluster();
    let mut client = connect(&cluster, 1);
    let mut codes_seen = Vec::new();
    for n in 0..101 {
        let name = topic(&format!("t{n}"));
        let wanted = CreatableTopic::default().with_name(name).with_num_partitions(1_000);
        let wanted = wanted.with_replication_factor(3);
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]);
        codes_seen.push(client.call(5, &request).await.unwrap().topics[0].error_code);
    }
    assert_eq!(codes_seen.iter().filter(|code| **code == codes::NONE).count(), 99);
    assert_eq!(codes_seen.last(), Some(&codes::POLICY_VIOLATION));
}
