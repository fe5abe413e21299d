use super::*;

fn partition(requests: bool, responses: bool) -> FaultKind {
    FaultKind::NetPartition { brokers: Brokers::Leader, requests, responses }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_goes_down_resets_its_connections_and_serves_again_after_the_end() {
    let mut rig = rig(FaultKind::BrokerDown { brokers: Brokers::Ids(vec![1]) });
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.plan.begin(0);
    assert!(rig.closed().await);
    rig.reconnect();
    assert_eq!(rig.offer(1).await, None);
    rig.plan.end(0);
    rig.reconnect();
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    assert!(rig.cluster.is_up(1));
}

#[tokio::test(start_paused = true)]
async fn leaders_fail_over_while_one_broker_is_down_and_not_while_all_are() {
    let mut one = rig(FaultKind::BrokerDown { brokers: Brokers::Ids(vec![1]) });
    one.plan.begin(0);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(one.cluster.leader("events", 0), Some(2));
    one.client = connect(&one.cluster, 2);
    assert_eq!(one.offer(0).await, Some((0, 0)));
    let all = rig(FaultKind::BrokerDown { brokers: Brokers::All });
    all.plan.begin(0);
    sleep(Duration::from_secs(9)).await;
    assert_eq!(all.cluster.leader("events", 0), Some(1));
}

#[tokio::test(start_paused = true)]
async fn an_outage_nobody_was_connected_to_is_met_by_the_first_client_that_comes_back() {
    let mut rig = rig(FaultKind::BrokerDown { brokers: Brokers::All });
    rig.plan.begin(0);
    sleep(Duration::from_secs(1)).await;
    rig.plan.end(0);
    assert_eq!(rig.phases(), [BEGIN, END]);
    rig.reconnect();
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    assert_eq!(rig.phases(), [BEGIN, END, EFFECT]);
}

#[tokio::test(start_paused = true)]
async fn responses_cut_append_and_lose_the_answer_even_after_the_end() {
    let mut rig = rig(partition(false, true));
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.plan.begin(0);
    assert_eq!(rig.offer(1).await, None);
    assert_eq!((rig.appended(), rig.cluster.unanswered()), (2, 1));
    rig.plan.end(0);
    assert!(rig.closed().await);
    assert_eq!(truths(&rig.recorder.lines())[1].answered, None);
    assert_eq!(rig.cluster.unanswered(), 0);
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    rig.reconnect();
    assert_eq!(rig.offer(2).await, Some((0, 2)));
}

#[tokio::test(start_paused = true)]
async fn requests_cut_append_nothing_even_after_the_end() {
    let mut rig = rig(partition(true, false));
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.plan.begin(0);
    assert_eq!(rig.offer(1).await, None);
    rig.plan.end(0);
    assert!(rig.closed().await);
    assert_eq!(rig.appended(), 1);
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_traffic_survives_a_partition_and_does_not_count_as_met() {
    let mut rig = rig(partition(true, true));
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.plan.begin(0);
    sleep(Duration::from_secs(3)).await;
    rig.plan.end(0);
    assert_eq!(rig.offer(1).await, Some((0, 1)));
    assert_eq!(rig.phases(), [BEGIN, END]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_spares_the_other_brokers() {
    let mut rig = rig(partition(true, true));
    rig.plan.begin(0);
    assert_eq!(metadata(&mut connect(&rig.cluster, 2), "events").await.topics[0].error_code, 0);
    assert_eq!(rig.offer(0).await, None);
}
