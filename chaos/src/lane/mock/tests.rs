use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cluster::Mock;
use super::probe;
use super::tail::Tail;
use super::target::{Led, MockTarget};
use crate::fault::{Target as _, can_inject};
use crate::history::{FaultPhase, Kind, Recorder};
use crate::lane::child::RealClock;
use crate::scenario::model::{Brokers, FaultKind, LaneName, TopicSel};

const BEGIN: FaultPhase = FaultPhase::Begin;
const EFFECT: FaultPhase = FaultPhase::Effect;
const END: FaultPhase = FaultPhase::End;

async fn target(brokers: i32) -> (MockTarget, Recorder) {
    let recorder = Recorder::new(Arc::new(RealClock(Instant::now())));
    let mock = Mock::start(brokers).unwrap();
    let topic = || probe::TOPIC.to_owned();
    let create = super::cluster::Deed::Create { topic: topic(), partitions: 1, replicas: 1 };
    mock.carry_out(create).unwrap();
    let leader = super::cluster::Deed::Lead { topic: topic(), partition: 0, broker: 1 };
    mock.carry_out(leader).unwrap();
    let led = vec![Led { topic: topic(), partition: 0, leader: 1 }];
    (MockTarget::new(mock, led, recorder.clone()).await, recorder)
}

fn phases(recorder: &Recorder) -> Vec<FaultPhase> {
    let lines = recorder.lines();
    let of = lines.iter().filter_map(|line| match line.kind {
        Kind::Fault { phase, .. } => Some(phase),
        _ => None,
    });
    of.collect()
}

fn refusal() -> FaultKind {
    FaultKind::RequestError {
        api: "Produce".to_owned(),
        code: 19,
        count: None,
        topic: TopicSel::Both,
        after_append: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_down_ends_connections_and_another_leads_until_it_is_back() {
    let (target, recorder) = target(2).await;
    let kind = FaultKind::BrokerDown { brokers: Brokers::Ids(vec![1]) };
    target.arm(0, &kind, &[1]);
    target.settled().await.unwrap();
    assert_eq!(phases(&recorder), [BEGIN, EFFECT]);
    assert_eq!(target.first_leader(), Some(2), "after the election");
    let refused = tokio::net::TcpStream::connect(&target.addresses()[0]).await;
    assert!(refused.is_err());
    assert!(target.disarm(0, &kind, &[1]));
    assert!(!target.disarm(0, &kind, &[1]));
    assert!(tokio::net::TcpStream::connect(&target.addresses()[0]).await.is_ok());
    assert_eq!(phases(&recorder), [BEGIN, EFFECT, END]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_that_nobody_met_are_taken_back_and_told_as_such() {
    let (target, recorder) = target(1).await;
    target.arm(0, &refusal(), &[]);
    target.disarm(0, &refusal(), &[]);
    target.settled().await.unwrap();
    assert_eq!(phases(&recorder), [BEGIN, END]);
    assert_eq!(probe::errors_left(&target.addresses()[0]).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_that_somebody_met_are_told() {
    let (target, recorder) = target(1).await;
    target.arm(0, &refusal(), &[]);
    // somebody else's requests
    assert_eq!(probe::refused(&target.addresses()[0], 3).await.unwrap(), 3);
    target.disarm(0, &refusal(), &[]);
    target.settled().await.unwrap();
    assert_eq!(phases(&recorder), [BEGIN, EFFECT, END]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_answers_are_timed_and_fast_again_afterwards() {
    let (target, recorder) = target(1).await;
    let kind = FaultKind::NetLatency {
        brokers: Brokers::All,
        base: Duration::from_millis(150),
        jitter: Duration::ZERO,
        tail: Duration::ZERO,
        tail_share: 0.0,
    };
    target.arm(0, &kind, &[1]);
    target.settled().await.unwrap();
    target.disarm(0, &kind, &[1]);
    assert_eq!(phases(&recorder), [BEGIN, EFFECT, END]);
    let took = probe::round_trip(&target.addresses()[0]).await.unwrap();
    assert!(took < Duration::from_millis(150), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_reads_on_and_holds_what_it_has_read() {
    let (target, _) = target(1).await;
    let address = &target.addresses()[0];
    let topics = [probe::TOPIC.to_owned()];
    let tail = Tail::new(target.addresses(), &topics);
    for written in [100, 200] {
        assert_eq!(probe::refused(address, 100).await.unwrap(), 0);
        tail.finish().await.unwrap();
        assert_eq!(tail.read(probe::TOPIC), written);
    }
    let log = tail.take(probe::TOPIC).pop().unwrap();
    let offsets: Vec<i64> = log.batches.iter().map(|(base, _)| *base).collect();
    assert_eq!(offsets, (0..200).collect::<Vec<_>>());
}

#[test]
fn what_the_mock_cannot_do_is_said_with_a_reason() {
    let narrow = FaultKind::RequestError {
        api: "Produce".to_owned(),
        code: 19,
        count: None,
        topic: TopicSel::Main,
        after_append: false,
    };
    let why = can_inject(LaneName::Mock, &narrow).unwrap_err();
    assert_eq!(why, "the mock cluster refuses requests whatever their topic");
    assert_eq!(can_inject(LaneName::Mock, &refusal()), Ok(()));
}
