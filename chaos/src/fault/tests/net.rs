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

#[tokio::test(start_paused = true)]
async fn a_flapping_broker_goes_down_and_up_in_turns_and_stays_up_after_the_end() {
    let (down, up) = (Duration::from_millis(300), Duration::from_millis(200));
    let rig = rig(FaultKind::BrokerFlap { brokers: Brokers::Ids(vec![1]), down, up });
    rig.plan.begin(0);
    let mut seen = Vec::new();
    for _ in 0..10 {
        sleep(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
        seen.push(rig.cluster.is_up(1));
    }
    let turn = [false, false, true, true, false];
    assert_eq!(seen, [turn, turn].concat());
    rig.plan.end(0);
    sleep(Duration::from_secs(2)).await;
    assert!(rig.cluster.is_up(1));
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_takes_one_broker_after_the_other_moves_leaders_and_ends_by_itself() {
    let (down, up) = (Duration::from_millis(500), Duration::from_millis(500));
    let mut rig = rig(FaultKind::BrokerRollingRestart { down, up });
    rig.plan.begin(0);
    for broker in 1..=3 {
        sleep(Duration::from_millis(100)).await;
        let live: Vec<_> = (1..=3).filter(|id| rig.cluster.is_up(*id)).collect();
        assert_eq!(live.len(), 2);
        assert!(!live.contains(&broker));
        assert!((0..3).all(|p| live.contains(&rig.cluster.leader("events", p).unwrap())));
        sleep(Duration::from_millis(900)).await;
    }
    sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    rig.reconnect();
    rig.plan.end(0);
    assert_eq!(rig.phases().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_every_open_connection_and_is_over_at_once() {
    let mut rig = rig(FaultKind::NetReset { brokers: Brokers::All });
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.plan.begin(0);
    assert!(rig.closed().await);
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    rig.reconnect();
    assert_eq!(rig.offer(1).await, Some((0, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_finds_no_connection_is_not_met() {
    let rig = rig(FaultKind::NetReset { brokers: Brokers::Ids(vec![3]) });
    rig.plan.begin(0);
    assert_eq!(rig.phases(), [BEGIN, END]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_cut_after_so_many_bytes_as_often_as_asked() {
    use tokio::io::AsyncReadExt;
    let mut rig = rig(FaultKind::NetCutFrame { brokers: Brokers::All, bytes: 7, count: 2 });
    rig.plan.begin(0);
    for n in 0..2 {
        rig.client.send(9, &produce(batch(PLAIN, &[n], b"x"))).await.unwrap();
        let mut out = Vec::new();
        rig.client.stream().read_to_end(&mut out).await.unwrap();
        assert_eq!(out.len(), 7);
        rig.reconnect();
    }
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    assert_eq!(rig.offer(2).await, Some((0, 2)));
    let answered: Vec<_> = truths(&rig.recorder.lines()).iter().map(|t| t.answered).collect();
    assert_eq!(answered, [None, None, Some(0)]);
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_takes_new_connections_and_spares_open_ones() {
    let mut rig = rig(FaultKind::NetConnectBlackhole { brokers: Brokers::All });
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.plan.begin(0);
    assert_eq!(rig.offer(1).await, Some((0, 1)));
    assert_eq!(rig.phases(), [BEGIN]);
    rig.reconnect();
    assert_eq!(rig.offer(2).await, None);
    assert_eq!(rig.phases(), [BEGIN, EFFECT]);
    rig.plan.end(0);
    assert!(rig.closed().await);
    assert_eq!(rig.appended(), 2);
    rig.reconnect();
    assert_eq!(rig.offer(3).await, Some((0, 2)));
}

#[tokio::test(start_paused = true)]
async fn latency_delays_answers_by_base_jitter_and_tail_and_keeps_their_order() {
    let ms = Duration::from_millis;
    let (base, jitter, tail) = (ms(100), ms(50), ms(1000));
    let brokers = Brokers::All;
    let mut rig = rig(FaultKind::NetLatency { brokers, base, jitter, tail, tail_share: 0.5 });
    rig.plan.begin(0);
    let (mut short, mut long) = (0, 0);
    for n in 0..20 {
        let start = tokio::time::Instant::now();
        assert_eq!(rig.offer(n).await, Some((0, n.into())));
        let took = start.elapsed();
        assert!((took >= ms(100) && took <= ms(151)) || (took >= ms(1100) && took <= ms(1151)));
        if took < ms(1000) { short += 1 } else { long += 1 }
    }
    assert!(short > 2 && long > 2, "{short} short, {long} long");
    for n in 20..30 {
        rig.client.send(9, &produce(batch(PLAIN, &[n], b"x"))).await.unwrap();
    }
    for n in 20..30 {
        let next = rig.client.receive::<kafka_protocol::messages::ProduceRequest>(9).await;
        assert_eq!(answer(&next.unwrap()), (0, n));
    }
    rig.plan.end(0);
    let start = tokio::time::Instant::now();
    rig.offer(30).await;
    assert!(start.elapsed() < ms(5));
}

#[tokio::test(start_paused = true)]
async fn sliced_answers_come_byte_by_byte_and_whole() {
    use tokio::io::AsyncReadExt as _;
    let mut rig = rig(FaultKind::Link(LinkFault::Slice { brokers: Brokers::All }));
    rig.plan.begin(0);
    rig.client.send(9, &produce(batch(PLAIN, &[0], b"x"))).await.unwrap();
    let mut first = [0; 64];
    assert_eq!(rig.client.stream().read(&mut first).await.unwrap(), 1);
    rig.plan.end(0);
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
    rig.reconnect();
    assert_eq!(rig.offer(1).await, Some((0, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_narrow_link_takes_the_time_that_the_bytes_need_and_lets_go_at_its_end() {
    let brokers = Brokers::All;
    let narrow = LinkFault::Bandwidth { brokers, bytes_per_second: 1000 };
    let mut rig = rig(FaultKind::Link(narrow));
    rig.plan.begin(0);
    let large = || produce(batch(PLAIN, &[0], &[b'x'; 2000]));
    let start = tokio::time::Instant::now();
    rig.client.call(9, &large()).await.unwrap();
    let took = start.elapsed();
    assert!((2.0..2.6).contains(&took.as_secs_f64()), "{took:?}");
    rig.client.send(9, &large()).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    rig.plan.end(0);
    let start = tokio::time::Instant::now();
    rig.client.receive::<kafka_protocol::messages::ProduceRequest>(9).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
}

#[tokio::test(start_paused = true)]
async fn the_nth_request_flips_a_bit_and_is_refused_for_its_checksum() {
    let brokers = Brokers::All;
    let flip = LinkFault::Flip { brokers, request: true, nth: 2, count: 2 };
    let mut rig = rig(FaultKind::Link(flip));
    rig.plan.begin(0);
    let mut codes_ = Vec::new();
    for n in 0..4 {
        codes_.push(rig.offer(n).await.unwrap().0);
    }
    assert_eq!(codes_, [0, codes::CORRUPT_MESSAGE, codes::CORRUPT_MESSAGE, 0]);
    assert_eq!((rig.appended(), rig.phases()), (2, vec![BEGIN, EFFECT, END]));
}

#[tokio::test(start_paused = true)]
async fn a_flipped_answer_is_lost_and_its_records_are_not() {
    let brokers = Brokers::All;
    let flip = LinkFault::Flip { brokers, request: false, nth: 1, count: 1 };
    let mut rig = rig(FaultKind::Link(flip));
    rig.plan.begin(0);
    assert_eq!(metadata(&mut rig.client, "events").await.topics[0].error_code, 0);
    assert_eq!(rig.offer(0).await, None);
    let truth = &truths(&rig.recorder.lines())[0];
    assert_eq!((truth.appended, truth.answered), (Some(0), None));
    assert_eq!(rig.phases(), [BEGIN, EFFECT, END]);
}

#[tokio::test(start_paused = true)]
async fn overlapping_faults_cannot_undo_each_other() {
    let (cluster, recorder) = cluster();
    let down = |ids: &[i32]| {
        let kind = FaultKind::BrokerDown { brokers: Brokers::Ids(ids.to_vec()) };
        Fault::new(At::Time(Duration::ZERO), None, kind)
    };
    let scenario = Scenario { faults: vec![down(&[1, 2]), down(&[2, 3])], ..Scenario::default() };
    let plan = FaultPlan::new(&scenario, Arc::clone(&cluster));
    let live = || -> Vec<i32> { (1..=3).filter(|id| cluster.is_up(*id)).collect() };
    plan.begin(0);
    plan.begin(1);
    plan.begin(1);
    assert!(live().is_empty());
    plan.end(0);
    plan.end(0);
    assert_eq!(live(), [1]);
    plan.end_all();
    assert_eq!(live(), [1, 2, 3]);
    assert_eq!(phases(&recorder, 1), [BEGIN, END]);
}

#[tokio::test(start_paused = true)]
async fn unanswered_records_are_counted_and_can_be_waited_for() {
    let mut rig = rig(partition(false, true));
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.plan.begin(0);
    let cluster = Arc::clone(&rig.cluster);
    let waiter = tokio::spawn(async move { cluster.until_unanswered(5).await });
    rig.client.send(9, &produce(batch(PLAIN, &[1, 2, 3], b"x"))).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    assert_eq!((rig.cluster.unanswered(), waiter.is_finished()), (3, false));
    rig.client.send(9, &produce(batch(PLAIN, &[4, 5], b"x"))).await.unwrap();
    timeout(Duration::from_secs(1), waiter).await.unwrap().unwrap();
}
