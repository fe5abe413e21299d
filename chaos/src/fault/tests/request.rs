use kafka_protocol::messages::{
    ApiVersionsRequest, FindCoordinatorRequest, MetadataRequest, ProduceRequest,
};

use super::*;

fn error(code: i16, count: Option<u32>, after_append: bool) -> FaultKind {
    let api = "Produce".to_owned();
    FaultKind::RequestError { api, code, count, topic: TopicSel::Main, after_append }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_answered_k_times_without_an_append_and_then_lifted() {
    let mut rig = rig(error(7, Some(2), false));
    rig.plan.begin(0);
    assert_eq!(rig.offer(0).await, Some((7, -1)));
    assert_eq!(rig.phases(), [BEGIN, EFFECT]);
    assert_eq!(rig.offer(1).await, Some((7, -1)));
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    assert_eq!(rig.offer(2).await, Some((0, 0)));
    rig.plan.end(0);
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
}

#[tokio::test(start_paused = true)]
async fn an_error_after_append_leaves_the_records_in_the_log() {
    let mut rig = rig(error(codes::NOT_LEADER_OR_FOLLOWER, None, true));
    rig.plan.begin(0);
    assert_eq!(rig.offer(0).await, Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
    let truth = &truths(&rig.recorder.lines())[0];
    assert_eq!((truth.appended, truth.answered), (Some(0), Some(codes::NOT_LEADER_OR_FOLLOWER)));
    rig.plan.end(0);
    assert_eq!(rig.offer(1).await, Some((0, 1)));
}

#[tokio::test(start_paused = true)]
async fn an_error_for_one_topic_spares_the_other_and_is_not_met_by_it() {
    let mut rig = rig(error(7, None, false));
    rig.plan.begin(0);
    let dead = produce_to("dead", 0, -1, batch(PLAIN, &[0], b"x"));
    let response = rig.client.call(9, &dead).await.unwrap();
    assert_eq!(answer(&response), (0, 0));
    assert_eq!(rig.phases(), [BEGIN]);
}

#[tokio::test(start_paused = true)]
async fn errors_of_other_apis_are_answered_where_those_apis_have_them() {
    for api in ["InitProducerId", "Metadata", "FindCoordinator", "ApiVersions"] {
        let mut rig = rig(FaultKind::RequestError {
            api: api.to_owned(),
            code: 15,
            count: Some(1),
            topic: TopicSel::Both,
            after_append: false,
        });
        rig.plan.begin(0);
        let coordinator = rig.client.call(0, &FindCoordinatorRequest::default()).await;
        let coordinator = coordinator.unwrap().error_code;
        let versions = rig.client.call(0, &ApiVersionsRequest::default()).await;
        let versions = versions.unwrap().error_code;
        let pid = pid(&mut rig.client, -1, -1).await.0;
        let metadata = metadata(&mut rig.client, "events").await.topics[0].error_code;
        let codes = [pid, metadata, coordinator, versions];
        assert_eq!(codes.iter().filter(|code| **code == 15).count(), 1, "{api}");
        assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_answer_is_held_for_its_time_and_the_count_ends_when_it_has_left() {
    let (api, delay) = ("Produce".to_owned(), Duration::from_secs(2));
    let topic = TopicSel::Main;
    let mut rig = rig(FaultKind::RequestDelay { api, delay, count: Some(1), topic });
    rig.plan.begin(0);
    let start = tokio::time::Instant::now();
    rig.client.send(9, &produce(batch(PLAIN, &[0], b"x"))).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((rig.appended(), rig.phases()), (1, vec![BEGIN, EFFECT]));
    rig.client.receive::<ProduceRequest>(9).await.unwrap();
    assert!(start.elapsed() >= delay);
    tokio::task::yield_now().await;
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    let start = tokio::time::Instant::now();
    rig.offer(1).await;
    assert!(start.elapsed() < Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn a_moved_leader_is_met_by_the_client_that_asks_the_old_one() {
    let mut rig = rig(FaultKind::LeaderMoved { topic: TopicSel::Main });
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.plan.begin(0);
    assert_eq!(rig.phases(), [BEGIN, END]);
    assert_eq!(rig.offer(1).await, Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
    assert_eq!(rig.offer(2).await, Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
    assert_eq!(rig.phases(), [BEGIN, END, EFFECT]);
    let told = metadata(&mut rig.client, "events").await;
    let partition = &told.topics[0].partitions[0];
    assert_eq!((*partition.leader_id, partition.leader_epoch), (2, 1));
    rig.client = connect(&rig.cluster, 2);
    assert_eq!(rig.offer(3).await, Some((0, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_leaderless_topic_takes_nothing_until_its_leader_is_back() {
    let mut rig = rig(FaultKind::Leaderless { topic: TopicSel::Main });
    rig.plan.begin(0);
    assert_eq!(rig.phases(), [BEGIN]);
    let partition = metadata(&mut rig.client, "events").await.topics[0].partitions[0].clone();
    assert_eq!((partition.error_code, *partition.leader_id), (codes::LEADER_NOT_AVAILABLE, -1));
    assert_eq!(rig.offer(0).await, Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
    let dead = metadata(&mut rig.client, "dead").await;
    assert_eq!(dead.topics[0].partitions[0].error_code, 0);
    rig.plan.end(0);
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    assert_eq!(rig.offer(1).await, Some((0, 0)));
}

#[tokio::test(start_paused = true)]
async fn too_few_replicas_refuse_acks_all_before_or_after_the_append_and_spare_acks_1() {
    for (after_append, code, appended) in
        [(false, codes::NOT_ENOUGH_REPLICAS, 0), (true, codes::NOT_ENOUGH_REPLICAS_AFTER_APPEND, 1)]
    {
        let mut rig = rig(FaultKind::NotEnoughReplicas { topic: TopicSel::Main, after_append });
        rig.plan.begin(0);
        let one = produce_to("events", 0, 1, batch(PLAIN, &[9], b"x"));
        assert_eq!(answer(&rig.client.call(9, &one).await.unwrap()).0, 0);
        assert_eq!(rig.phases(), [BEGIN]);
        assert_eq!(rig.offer(0).await, Some((code, -1)));
        assert_eq!((rig.appended(), rig.phases()), (1 + appended, vec![BEGIN, EFFECT]));
        let told = metadata(&mut rig.client, "events").await;
        assert_eq!(told.topics[0].partitions[0].isr_nodes.len(), 1);
        rig.plan.end(0);
        assert_eq!(rig.offer(1).await.unwrap().0, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn two_brokers_of_three_down_leave_too_few_replicas_for_acks_all() {
    let mut rig = rig(FaultKind::BrokerDown { brokers: Brokers::Ids(vec![2, 3]) });
    rig.plan.begin(0);
    assert_eq!(rig.offer(0).await, Some((codes::NOT_ENOUGH_REPLICAS, -1)));
    rig.plan.end(0);
    assert_eq!(rig.offer(1).await, Some((0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_missing_topic_is_unknown_and_not_created_and_keeps_its_records() {
    let mut rig = rig(FaultKind::TopicMissing { topic: TopicSel::Main });
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.plan.begin(0);
    let told = metadata(&mut rig.client, "events").await;
    assert_eq!(told.topics[0].error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(rig.offer(1).await, Some((codes::UNKNOWN_TOPIC_OR_PARTITION, -1)));
    let all = MetadataRequest::default().with_topics(None);
    let all = rig.client.call(9, &all).await.unwrap().topics;
    assert_eq!(
        all.iter().map(|t| t.name.clone().unwrap().to_string()).collect::<Vec<_>>(),
        ["dead"]
    );
    rig.plan.end(0);
    assert_eq!(rig.offer(2).await, Some((0, 1)));
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
}

#[tokio::test(start_paused = true)]
async fn a_lowered_limit_refuses_what_is_over_it_and_is_met_only_then() {
    let mut rig = rig(FaultKind::MessageMaxBytes { topic: TopicSel::Main, bytes: 300 });
    rig.plan.begin(0);
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    assert_eq!(rig.phases(), [BEGIN]);
    let large = || batch(PLAIN, &[1], &[b'x'; 400]);
    assert_eq!(offer(&mut rig.client, large()).await, (codes::MESSAGE_TOO_LARGE, -1));
    assert_eq!(rig.phases(), [BEGIN, EFFECT]);
    rig.plan.end(0);
    assert_eq!(offer(&mut rig.client, large()).await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_produce_says_so_and_mutes_its_connection() {
    let delay = Duration::from_millis(700);
    let mut rig = rig(FaultKind::Throttle { delay });
    rig.plan.begin(0);
    let start = tokio::time::Instant::now();
    let response = rig.client.call(9, &produce(batch(PLAIN, &[0], b"x"))).await.unwrap();
    assert_eq!((response.throttle_time_ms, answer(&response)), (700, (0, 0)));
    assert!(start.elapsed() < Duration::from_millis(5));
    metadata(&mut rig.client, "events").await;
    assert!(start.elapsed() >= delay);
    rig.plan.end(0);
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_the_subject_is_met_when_the_caller_says_so() {
    let rig = rig(FaultKind::SubjectCrash(crate::scenario::model::Crash::default()));
    rig.plan.begin(0);
    assert_eq!(rig.phases(), [BEGIN]);
    rig.plan.met(0);
    rig.plan.met(0);
    rig.plan.end(0);
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
}
