use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, SaslHandshakeRequest};

use super::*;
use crate::scenario::model::{ProcessFault, Strike};

const BEGIN: FaultPhase = FaultPhase::Begin;
const EFFECT: FaultPhase = FaultPhase::Effect;
const END: FaultPhase = FaultPhase::End;

fn error(code: i16, topic: TopicSel, after_append: bool) -> FaultKind {
    let api = "Produce".to_owned();
    FaultKind::RequestError { api, code, count: Some(1), topic, after_append }
}

fn partition(requests: bool, responses: bool) -> FaultKind {
    FaultKind::NetPartition { brokers: Brokers::All, requests, responses }
}

async fn told(rig: &mut Rig, name: &str) -> MetadataResponseTopic {
    let wanted = MetadataRequestTopic::default().with_name(Some(topic(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    rig.client.call(9, &request).await.unwrap().topics.remove(0)
}

#[tokio::test]
async fn an_error_is_answered_here_and_the_broker_never_sees_the_request() {
    let mut rig = rig(error(7, TopicSel::Main, false)).await;
    rig.world.begin(0);
    assert_eq!(rig.offer(0).await, Some((7, -1)));
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    let truth = &rig.truths()[0];
    assert_eq!((truth.appended, truth.answered, truth.unknown), (None, Some(7), false));
    assert_eq!(rig.offer(1).await, Some((0, 0)));
    assert_eq!(rig.logged().await, 1);
}

#[tokio::test]
async fn an_error_after_append_is_told_instead_of_the_success() {
    let mut rig = rig(error(codes::NOT_LEADER_OR_FOLLOWER, TopicSel::Main, true)).await;
    rig.world.begin(0);
    assert_eq!(rig.offer(0).await, Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
    let truth = &rig.truths()[0];
    assert_eq!((truth.appended, truth.answered), (Some(0), Some(codes::NOT_LEADER_OR_FOLLOWER)));
    assert_eq!(rig.logged().await, 1);
}

#[tokio::test]
async fn a_request_for_two_topics_is_passed_on_without_the_one_that_is_refused() {
    let mut rig = rig(error(7, TopicSel::Main, false)).await;
    rig.world.begin(0);
    let of = |name: &str, n| produce_to(name, 0, -1, batch(PLAIN, &[n], b"x"));
    let mut request = of("events", 0);
    request.topic_data.extend(of("dead", 1).topic_data);
    let response = rig.client.call(9, &request).await.unwrap();
    let codes = response.responses.iter().map(|topic| {
        let only = &topic.partition_responses[0];
        (topic.name.as_str().to_owned(), only.error_code, only.base_offset)
    });
    let mut codes: Vec<_> = codes.collect();
    codes.sort();
    assert_eq!(codes, [("dead".to_owned(), 0, 0), ("events".to_owned(), 7, -1)]);
    let truths = rig.truths();
    let seen: Vec<_> = truths.iter().map(|t| (t.appended, t.answered, t.unknown)).collect();
    assert_eq!(seen, [(None, Some(7), false), (Some(0), Some(0), false)]);
    assert_eq!(rig.logged().await, 0);
    assert_eq!(logs(&rig.recorder.lines(), Route::Dlq), 1);
}

#[tokio::test]
async fn responses_cut_lose_the_answer_and_not_the_truth() {
    let mut rig = rig(partition(false, true)).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.world.begin(0);
    assert_eq!(rig.offer(1).await, None);
    let truth = &rig.truths()[1];
    assert_eq!((truth.appended, truth.answered, truth.unknown), (Some(1), None, false));
    timeout(Duration::from_secs(1), rig.world.until_unanswered(1)).await.unwrap();
    rig.world.end(0);
    let end = timeout(Duration::from_secs(1), rig.client.frame()).await.unwrap();
    assert!(end.is_err());
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    assert_eq!(rig.logged().await, 2);
}

#[tokio::test]
async fn requests_cut_reach_nobody() {
    let mut rig = rig(partition(true, false)).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.world.begin(0);
    assert_eq!(rig.offer(1).await, None);
    rig.world.end(0);
    assert_eq!((rig.truths().len(), rig.logged().await), (1, 1));
}

#[tokio::test]
async fn a_broker_that_is_down_refuses_and_comes_back() {
    let mut rig = rig(FaultKind::BrokerDown { brokers: Brokers::Ids(vec![1]) }).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.world.begin(0);
    assert!(rig.client.frame().await.is_err());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let port = rig.proxy.ports()[0].1;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    rig.world.end(0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.reconnect().await;
    assert_eq!(rig.offer(1).await, Some((0, 1)));
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
}

#[tokio::test]
async fn a_missing_topic_is_unknown_to_metadata_and_produce() {
    let mut rig = rig(FaultKind::TopicMissing { topic: TopicSel::Main }).await;
    rig.world.begin(0);
    let topic = told(&mut rig, "events").await;
    assert_eq!((topic.error_code, topic.partitions.len()), (codes::UNKNOWN_TOPIC_OR_PARTITION, 0));
    assert_eq!(rig.offer(0).await, Some((codes::UNKNOWN_TOPIC_OR_PARTITION, -1)));
    let all = MetadataRequest::default().with_topics(None);
    let all = rig.client.call(9, &all).await.unwrap().topics;
    assert_eq!(all.len(), 1);
    rig.world.end(0);
    assert_eq!(rig.offer(1).await, Some((0, 0)));
    assert_eq!(told(&mut rig, "events").await.partitions.len(), 3);
}

#[tokio::test]
async fn a_leaderless_topic_has_no_leader_in_metadata_and_takes_nothing() {
    let mut rig = rig(FaultKind::Leaderless { topic: TopicSel::Main }).await;
    rig.world.begin(0);
    let first = told(&mut rig, "events").await.partitions.remove(0);
    assert_eq!((first.error_code, *first.leader_id), (codes::LEADER_NOT_AVAILABLE, -1));
    assert_eq!(rig.offer(0).await, Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
    assert_eq!(rig.logged().await, 0);
}

#[tokio::test]
async fn too_few_replicas_are_told_before_or_after_the_append() {
    for (after_append, code, appended) in
        [(false, codes::NOT_ENOUGH_REPLICAS, 0), (true, codes::NOT_ENOUGH_REPLICAS_AFTER_APPEND, 1)]
    {
        let mut rig =
            rig(FaultKind::NotEnoughReplicas { topic: TopicSel::Main, after_append }).await;
        rig.world.begin(0);
        assert_eq!(rig.offer(0).await, Some((code, -1)));
        assert_eq!(told(&mut rig, "events").await.partitions[0].isr_nodes.len(), 1);
        assert_eq!(rig.logged().await, appended);
    }
}

#[tokio::test]
async fn a_lowered_limit_refuses_larger_batches_here() {
    let mut rig = rig(FaultKind::MessageMaxBytes { topic: TopicSel::Main, bytes: 300 }).await;
    rig.world.begin(0);
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    assert_eq!(rig.phases(), [BEGIN]);
    let large = produce(batch(PLAIN, &[1], &[b'x'; 400]));
    let response = rig.client.call(9, &large).await.unwrap();
    assert_eq!(answer(&response), (codes::MESSAGE_TOO_LARGE, -1));
    assert_eq!(rig.logged().await, 1);
}

#[tokio::test]
async fn a_throttled_produce_says_so_and_mutes_its_connection() {
    let delay = Duration::from_millis(300);
    let mut rig = rig(FaultKind::Throttle { delay }).await;
    rig.world.begin(0);
    let start = Instant::now();
    let response = rig.client.call(9, &produce(batch(PLAIN, &[0], b"x"))).await.unwrap();
    assert_eq!((response.throttle_time_ms, answer(&response)), (300, (0, 0)));
    told(&mut rig, "events").await;
    assert!(start.elapsed() >= delay);
}

#[tokio::test]
async fn a_delayed_answer_is_held_and_what_came_of_it_is_known_meanwhile() {
    let (api, delay) = ("Produce".to_owned(), Duration::from_millis(400));
    let topic = TopicSel::Main;
    let mut rig = rig(FaultKind::RequestDelay { api, delay, count: Some(1), topic }).await;
    rig.world.begin(0);
    let start = Instant::now();
    rig.client.send(9, &produce(batch(PLAIN, &[0], b"x"))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let truth = &rig.truths()[0];
    assert_eq!((truth.appended, truth.answered), (Some(0), None));
    rig.client.receive::<ProduceRequest>(9).await.unwrap();
    assert!(start.elapsed() >= delay);
}

#[tokio::test]
async fn errors_of_other_apis_are_answered_where_those_apis_have_them() {
    for api in ["InitProducerId", "Metadata", "FindCoordinator", "ApiVersions"] {
        let mut rig = rig(FaultKind::RequestError {
            api: api.to_owned(),
            code: 15,
            count: Some(1),
            topic: TopicSel::Both,
            after_append: false,
        })
        .await;
        rig.world.begin(0);
        let coordinator = kafka_protocol::messages::FindCoordinatorRequest::default();
        let coordinator = rig.client.call(0, &coordinator).await.unwrap().error_code;
        let versions = rig.client.call(0, &ApiVersionsRequest::default()).await;
        let versions = versions.unwrap().error_code;
        let pid = kafka_protocol::messages::InitProducerIdRequest::default();
        let pid = rig.client.call(4, &pid.with_transactional_id(None)).await.unwrap().error_code;
        let metadata = told(&mut rig, "events").await.error_code;
        let codes = [pid, metadata, coordinator, versions];
        assert_eq!(codes.iter().filter(|code| **code == 15).count(), 1, "{api}");
        assert_eq!(rig.phases(), [BEGIN, EFFECT, END], "{api}");
    }
}

#[tokio::test]
async fn a_flipped_request_is_refused_for_its_checksum_and_the_next_one_is_not() {
    let brokers = Brokers::All;
    let flip = LinkFault::Flip { brokers, request: true, nth: 2, count: 1 };
    let mut rig = rig(FaultKind::Link(flip)).await;
    rig.world.begin(0);
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    assert_eq!(rig.offer(1).await, Some((codes::CORRUPT_MESSAGE, -1)));
    assert_eq!(rig.offer(1).await, Some((0, 1)));
    assert_eq!(rig.truths()[1].events, [Some(id(1))]);
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
}

#[tokio::test]
async fn a_flipped_answer_is_to_a_request_that_nobody_made() {
    let brokers = Brokers::All;
    let flip = LinkFault::Flip { brokers, request: false, nth: 1, count: 1 };
    let mut rig = rig(FaultKind::Link(flip)).await;
    rig.world.begin(0);
    assert_eq!(rig.offer(0).await, None);
    let truth = &rig.truths()[0];
    assert_eq!((truth.appended, truth.answered), (Some(0), None));
}

#[tokio::test]
async fn a_rolling_restart_takes_one_broker_after_the_other_and_ends_by_itself() {
    let (down, up) = (Duration::from_millis(100), Duration::from_millis(50));
    let mut rig = rig(FaultKind::BrokerRollingRestart { down, up }).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.world.begin(0);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
}

fn killed() -> FaultKind {
    FaultKind::Process(ProcessFault {
        strike: Strike::Kill,
        brokers: Brokers::Leader,
        partition: 0,
        rolling: None,
        spread: Duration::ZERO,
    })
}

#[tokio::test]
async fn a_fault_that_somebody_else_carries_out_is_met_by_whoever_is_connected() {
    let mut rig = rig(killed()).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    assert!(rig.proxy.is_used(&[1]) && !rig.proxy.is_used(&[2, 3]));
    rig.proxy.begun(0, &killed(), &[1]);
    rig.proxy.struck(0, &killed(), &[1], false);
    rig.proxy.ended(0, &killed(), &[1]);
    assert_eq!(rig.phases(), [FaultPhase::Begin, FaultPhase::Effect, FaultPhase::End]);
}

#[tokio::test]
async fn a_broker_that_nobody_used_is_missed_by_the_first_who_comes() {
    let mut rig = rig(killed()).await;
    rig.proxy.begun(0, &killed(), &[1]);
    rig.proxy.struck(0, &killed(), &[1], true);
    assert_eq!(rig.phases(), [FaultPhase::Begin]);
    rig.reconnect().await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    assert_eq!(rig.phases(), [FaultPhase::Begin, FaultPhase::Effect]);
}

#[tokio::test]
async fn a_broker_that_is_elsewhere_is_found_there_by_the_next_connection() {
    let mut rig = rig(none()).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    let (listener, port) = bind_loopback().await.unwrap();
    tokio::spawn(accept_loop(Arc::clone(&rig.cluster), 1, listener));
    rig.proxy.connect_to(1, "127.0.0.1", port);
    rig.reconnect().await;
    assert_eq!(rig.offer(1).await, Some((0, 1)));
    assert_eq!(rig.logged().await, 2);
}

#[tokio::test]
async fn a_broker_is_mute_when_it_was_asked_and_not_when_somebody_is_merely_connected() {
    let (proxy, listener, _) = super::passing::alone().await;
    let mut client = client(&proxy, 1).await;
    let (_broker, _) = listener.accept().await.unwrap();
    let mute = async |brokers: &[i32]| {
        let patience = Duration::from_millis(100);
        timeout(Duration::from_millis(300), proxy.until_mute(brokers, patience)).await.is_ok()
    };
    assert!(!mute(&[1]).await, "nobody has asked it anything");
    client.send(0, &ApiVersionsRequest::default()).await.unwrap();
    assert!(!mute(&[2, 3]).await, "it is about other brokers");
    assert!(mute(&[1]).await);
}

#[tokio::test]
async fn a_broker_that_answers_is_not_mute() {
    let mut rig = rig(none()).await;
    let proxy = Arc::clone(&rig.proxy);
    let asked = async {
        for n in 0..20 {
            rig.offer(n).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = proxy.until_mute(&[1], Duration::from_millis(200)) => panic!("it answers"),
        () = asked => {}
    }
}

#[tokio::test]
async fn a_broker_that_is_nowhere_is_not_looked_for_where_it_was() {
    let mut rig = rig(none()).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.proxy.nowhere(1);
    rig.reconnect().await;
    assert_eq!(rig.offer(1).await, None, "whoever listens there now is another one");
}

#[tokio::test]
async fn a_stale_token_is_met_by_who_sets_out_to_authenticate_and_by_nothing_else() {
    let mut rig = rig(FaultKind::TokenStale).await;
    rig.world.begin(0);
    rig.proxy.met_by_tokens(0, &FaultKind::TokenStale);
    rig.offer(0).await.unwrap();
    assert_eq!(rig.phases(), [BEGIN]);
    rig.client.send(1, &SaslHandshakeRequest::default()).await.unwrap();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if rig.phases() == [BEGIN, EFFECT] {
            return;
        }
    }
    panic!("{:?}", rig.phases());
}
