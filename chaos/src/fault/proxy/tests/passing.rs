use kafka_protocol::messages::{ApiKey, FindCoordinatorRequest};
use proptest::prelude::*;

use super::*;
use crate::fault::proxy::frame::PRODUCE;
use crate::fault::proxy::site::{Sender, Told};

/// A broker of no kind: takes frames, keeps them, and answers each with its correlation id and the
/// bytes after it.
async fn echo(listener: TcpListener, kept: Arc<std::sync::Mutex<Vec<u8>>>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    while let Ok(length) = stream.read_i32().await {
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut frame).await.unwrap();
        kept.lock().unwrap().extend_from_slice(&[&length.to_be_bytes()[..], &frame[..]].concat());
        let mut answer = BytesMut::new();
        answer.put_i32(length - 4);
        answer.extend_from_slice(&frame[4..]);
        stream.write_all(&answer).await.unwrap();
    }
}

pub(super) async fn alone() -> (Proxy, TcpListener, Recorder) {
    let recorder = wall();
    let proxy = Proxy::bind(proxy_config(Mode::Frames), recorder.clone(), 1).await.unwrap();
    let (listener, port) = bind_loopback().await.unwrap();
    proxy.connect_to(1, "127.0.0.1", port);
    (proxy, listener, recorder)
}

/// Sends frames and returns what the broker got and what the client got.
async fn through(sent: &[u8], answers: usize) -> (Vec<u8>, Vec<u8>) {
    let (proxy, listener, _) = alone().await;
    let kept = Arc::default();
    tokio::spawn(echo(listener, Arc::clone(&kept)));
    let mut client = client(&proxy, 1).await;
    client.stream().write_all(sent).await.unwrap();
    let mut got = vec![0; answers];
    client.stream().read_exact(&mut got).await.unwrap();
    let kept = kept.lock().unwrap().clone();
    (kept, got)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn frames_of_any_other_api_pass_byte_for_byte_in_order(
        frames in prop::collection::vec(
            (100_i16..200, any::<i16>(), any::<i32>(), prop::collection::vec(any::<u8>(), 0..300)),
            1..12,
        )
    ) {
        let (mut sent, mut back) = (BytesMut::new(), BytesMut::new());
        for (key, version, correlation, body) in frames {
            sent.put_i32(i32::try_from(8 + body.len()).unwrap());
            sent.put_i16(key);
            sent.put_i16(version);
            sent.put_i32(correlation);
            sent.extend_from_slice(&body);
            back.put_i32(i32::try_from(4 + body.len()).unwrap());
            back.put_i32(correlation);
            back.extend_from_slice(&body);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (kept, got) = runtime.block_on(through(&sent, back.len()));
        prop_assert_eq!(kept, &sent[..]);
        prop_assert_eq!(got, &back[..]);
    }

    #[test]
    fn hostile_bytes_end_their_connection_and_nothing_else(
        bytes in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let served = runtime.block_on(async {
            let mut rig = rig(none()).await;
            rig.client.stream().write_all(&bytes).await.unwrap();
            rig.client.stream().shutdown().await.unwrap();
            let mut rest = Vec::new();
            let end = rig.client.stream().read_to_end(&mut rest);
            let ended = timeout(Duration::from_secs(5), end).await.is_ok();
            rig.reconnect().await;
            (ended, rig.offer(0).await)
        });
        prop_assert_eq!(served, (true, Some((0, 0))));
    }
}

#[tokio::test]
async fn a_request_stands_in_the_history_with_what_its_broker_did() {
    let mut rig = rig(none()).await;
    assert_eq!(rig.offer(5).await, Some((0, 0)));
    let lines = rig.recorder.lines();
    let line = lines.iter().find(|line| matches!(line.kind, Kind::Request { .. })).unwrap();
    assert_eq!(line.src, Src::Proxy);
    let truth = &truths(&lines)[0];
    assert_eq!((&*truth.topic, truth.partition, truth.appended), ("telemetry", 0, Some(0)));
    assert_eq!((truth.answered, truth.unknown), (Some(0), false));
    assert_eq!(truth.events, [Some(id(5))]);
}

#[tokio::test]
async fn a_batch_that_comes_twice_is_appended_once() {
    let mut rig = rig(none()).await;
    let (code, producer, epoch) = pid_through(&mut rig).await;
    assert_eq!(code, 0);
    let of = Batched { pid: producer, epoch, sequence: 0 };
    for _ in 0..2 {
        let response = rig.client.call(9, &produce(batch(of, &[1, 2], b"x"))).await.unwrap();
        assert_eq!(answer(&response), (0, 0));
    }
    let truths = rig.truths();
    assert_eq!(truths.iter().map(|t| t.appended).collect::<Vec<_>>(), [Some(0), None]);
    assert!(truths.iter().all(|truth| !truth.unknown));
    assert_eq!(rig.logged().await, 2);
}

async fn pid_through(rig: &mut Rig) -> (i16, i64, i16) {
    let request = kafka_protocol::messages::InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id(kafka_protocol::messages::ProducerId(-1))
        .with_producer_epoch(-1);
    let given = rig.client.call(4, &request).await.unwrap();
    (given.error_code, *given.producer_id, given.producer_epoch)
}

#[tokio::test]
async fn a_broker_that_dies_without_an_answer_leaves_it_unknown_whether_it_appended() {
    let (proxy, listener, recorder) = alone().await;
    let mut client = client(&proxy, 1).await;
    client.send(9, &produce(batch(PLAIN, &[1], b"x"))).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let length = stream.read_i32().await.unwrap();
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.unwrap();
    drop(stream);
    assert!(client.frame().await.is_err());
    let truth = &truths(&recorder.lines())[0];
    assert_eq!((truth.unknown, truth.appended, truth.answered), (true, None, None));
    assert_eq!(truth.events, [Some(id(1))]);
}

#[tokio::test]
async fn a_broker_that_is_nowhere_appended_nothing() {
    let recorder = wall();
    let proxy = Proxy::bind(proxy_config(Mode::Frames), recorder.clone(), 1).await.unwrap();
    let mut client = client(&proxy, 1).await;
    let sent = client.send(9, &produce(batch(PLAIN, &[1], b"x"))).await;
    assert!(sent.is_err() || client.frame().await.is_err());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(truths(&recorder.lines()).iter().all(|truth| !truth.unknown));
}

#[tokio::test]
async fn an_answer_to_something_else_ends_the_connection() {
    let (proxy, listener, _) = alone().await;
    let mut client = client(&proxy, 1).await;
    client.send(0, &ApiVersionsRequest::default()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 9, 9]).await.unwrap();
    let end = timeout(Duration::from_secs(2), client.frame()).await;
    assert!(end.unwrap().is_err());
}

#[tokio::test]
async fn a_broker_that_moves_is_found_by_the_next_connection() {
    let mut rig = rig(none()).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    let (listener, port) = bind_loopback().await.unwrap();
    tokio::spawn(accept_loop(Arc::clone(&rig.cluster), 1, listener));
    rig.proxy.connect_to(1, "127.0.0.1", port);
    assert_eq!(rig.offer(1).await, Some((0, 1)));
    rig.reconnect().await;
    assert_eq!(rig.offer(2).await, Some((0, 2)));
}

#[tokio::test]
async fn produce_is_offered_as_far_as_topics_have_names() {
    let (proxy, listener, _) = alone().await;
    let mut client = client(&proxy, 1).await;
    client.send(0, &ApiVersionsRequest::default()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let offered: [(ApiKey, i16); 2] = [(ApiKey::Produce, 13), (ApiKey::Fetch, 18)];
    let mut answer = BytesMut::new();
    answer.put_i32(4 + 2 + 4 + 6 * 2);
    answer.put_i32(0);
    answer.put_i16(0);
    answer.put_i32(2);
    for (key, max) in offered {
        answer.put_i16(key as i16);
        answer.put_i16(0);
        answer.put_i16(max);
    }
    stream.write_all(&answer).await.unwrap();
    let told = client.receive::<ApiVersionsRequest>(0).await.unwrap();
    let newest: Vec<i16> = told.api_keys.iter().map(|api| api.max_version).collect();
    assert_eq!(newest, [PRODUCE, 18]);
}

#[tokio::test]
async fn metadata_and_coordinators_pass_as_the_broker_says_them() {
    let mut rig = rig(none()).await;
    let direct = {
        let (listener, port) = bind_loopback().await.unwrap();
        tokio::spawn(accept_loop(Arc::clone(&rig.cluster), 1, listener));
        TcpStream::connect(("127.0.0.1", port)).await.unwrap()
    };
    let mut direct = Client::new(direct);
    for version in 0..=9 {
        let mut frames = Vec::<Bytes>::new();
        for client in [&mut direct, &mut rig.client] {
            let request = kafka_protocol::messages::MetadataRequest::default();
            client.send(version, &request.with_topics(Some(Vec::new()))).await.unwrap();
            frames.push(client.frame().await.unwrap().slice(4..));
            client.send(0, &FindCoordinatorRequest::default()).await.unwrap();
            frames.push(client.frame().await.unwrap().slice(4..));
        }
        assert_eq!(frames[..2], frames[2..], "version {version}");
    }
}

#[test]
fn only_what_was_not_answered_before_counts_as_appended() {
    let mut told = Told::default();
    let sender = |pid, epoch| Sender { topic: Arc::from("t"), partition: 0, pid, epoch };
    assert!(told.is_new(&sender(1, 0), 0, 10));
    assert!(!told.is_new(&sender(1, 0), 0, 10));
    assert!(told.is_new(&sender(1, 0), 0, 11));
    assert!(told.is_new(&sender(1, 1), 0, 10));
    assert!(told.is_new(&sender(-1, -1), -1, 5) && told.is_new(&sender(-1, -1), -1, 5));
}

#[tokio::test]
async fn logs_are_read_under_the_names_of_the_scenario() {
    let mut rig = rig(none()).await;
    rig.offer(0).await;
    rig.world.snapshot().await.unwrap();
    let names = rig.recorder.lines().into_iter().filter_map(|line| match line.kind {
        Kind::Log { topic, route, .. } => Some((topic.to_string(), route)),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.dedup();
    let expected = [("telemetry", Route::Main), ("letters", Route::Dlq)];
    assert_eq!(names, expected.map(|(name, route)| (name.to_owned(), Some(route))));
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_an_error_of_the_environment() {
    let recorder = wall();
    let proxy = Proxy::bind(proxy_config(Mode::Frames), recorder, 1).await.unwrap();
    proxy.connect_to(1, "127.0.0.1", 1);
    let world = ProxyWorld::new(&Scenario::default(), Arc::new(proxy), None);
    assert_eq!(world.snapshot().await.unwrap_err().blame, "environment");
}

#[test]
fn a_short_frame_is_no_request() {
    let mut bytes = Bytes::from_static(&[0, 0, 0, 9, 0, 0, 0]);
    assert!(crate::fault::proxy::frame::Head::read(&bytes).is_none());
    bytes.advance(1);
    assert!(crate::fault::proxy::frame::Head::read(&bytes).is_none());
}

/// A broker that answers one request and closes right behind it.
async fn answer_and_close(listener: TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let length = stream.read_i32().await.unwrap();
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.unwrap();
    let answer = [&(length - 4).to_be_bytes()[..], &frame[4..]].concat();
    stream.write_all(&answer).await.unwrap();
    stream.shutdown().await.unwrap();
}

fn any_request() -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i32(12);
    frame.put_i16(150);
    frame.put_i16(0);
    frame.put_i32(5);
    frame.put_i32(77);
    frame
}

#[tokio::test]
async fn a_late_answer_arrives_though_its_broker_closed_right_behind_it() {
    let recorder = wall();
    let proxy = Proxy::bind(proxy_config(Mode::Frames), recorder.clone(), 1).await.unwrap();
    let proxy = Arc::new(proxy);
    let (listener, port) = bind_loopback().await.unwrap();
    proxy.connect_to(1, "127.0.0.1", port);
    tokio::spawn(answer_and_close(listener));
    let kind = FaultKind::NetLatency {
        brokers: Brokers::All,
        base: Duration::from_millis(300),
        jitter: Duration::ZERO,
        tail: Duration::ZERO,
        tail_share: 0.0,
    };
    let fault = Fault::new(At::Time(Duration::ZERO), None, kind);
    let scenario = Scenario { faults: vec![fault], ..Scenario::default() };
    ProxyWorld::new(&scenario, Arc::clone(&proxy), None).begin(0);
    let mut client = client(&proxy, 1).await;
    client.stream().write_all(&any_request()).await.unwrap();
    let mut got = Vec::new();
    client.stream().read_to_end(&mut got).await.unwrap();
    assert_eq!(got, [0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 77]);
}

#[tokio::test]
async fn a_proxy_that_ends_leaves_no_connection_to_a_broker_behind() {
    let (proxy, listener, _) = alone().await;
    let mut client = client(&proxy, 1).await;
    client.stream().write_all(&any_request()).await.unwrap();
    let (mut broker, _) = listener.accept().await.unwrap();
    let mut request = [0; 16];
    broker.read_exact(&mut request).await.unwrap();
    drop(proxy);
    // the answer that it waited for never comes, and it does not wait on
    let ended = timeout(Duration::from_secs(2), broker.read(&mut [0])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
    let ended = timeout(Duration::from_secs(2), client.stream().read(&mut [0])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
}
