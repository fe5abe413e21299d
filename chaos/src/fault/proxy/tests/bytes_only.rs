use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::fault::proxy::applies_to_bytes;

#[tokio::test]
async fn bytes_pass_unseen_and_no_request_is_on_record() {
    let mut rig = rig_in(Mode::Bytes, none()).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    assert!(rig.truths().is_empty());
    assert_eq!(rig.logged().await, 1);
}

#[tokio::test]
async fn logs_are_read_when_what_is_under_way_has_arrived() {
    let narrow = LinkFault::Bandwidth { brokers: Brokers::All, bytes_per_second: 300 };
    let mut rig = rig_in(Mode::Bytes, FaultKind::Link(narrow)).await;
    rig.world.begin(0);
    rig.client.send(9, &produce(batch(PLAIN, &[0], b"x"))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // the application is gone, and its record not yet with the broker
    rig.reconnect().await;
    assert_eq!(rig.logged().await, 1);
}

#[tokio::test]
async fn a_connection_that_the_broker_ends_has_ended_for_the_client() {
    let mut rig = rig_in(Mode::Bytes, none()).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.client.stream().write_all(&i32::MAX.to_be_bytes()).await.unwrap();
    assert!(timeout(Duration::from_secs(1), rig.client.frame()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_partition_stops_bytes_one_way() {
    for (requests, appended) in [(true, 1), (false, 2)] {
        let brokers = Brokers::All;
        let cut = FaultKind::NetPartition { brokers, requests, responses: !requests };
        let mut rig = rig_in(Mode::Bytes, cut).await;
        assert_eq!(rig.offer(0).await, Some((0, 0)));
        rig.world.begin(0);
        assert_eq!(rig.offer(1).await, None);
        rig.world.end(0);
        assert!(timeout(Duration::from_secs(1), rig.client.frame()).await.unwrap().is_err());
        assert_eq!((phases(&rig.recorder, 0).len(), rig.logged().await), (3, appended));
    }
}

#[tokio::test]
async fn a_reset_and_a_black_hole_need_no_frames() {
    let mut rig = rig_in(Mode::Bytes, FaultKind::NetReset { brokers: Brokers::All }).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.world.begin(0);
    assert!(timeout(Duration::from_secs(1), rig.client.frame()).await.unwrap().is_err());
    let hole = FaultKind::NetConnectBlackhole { brokers: Brokers::All };
    let mut rig = rig_in(Mode::Bytes, hole).await;
    assert_eq!(rig.offer(0).await, Some((0, 0)));
    rig.world.begin(0);
    assert_eq!(rig.offer(1).await, Some((0, 1)));
    rig.reconnect().await;
    assert_eq!(rig.offer(2).await, None);
    assert_eq!(rig.logged().await, 2);
}

#[tokio::test]
async fn a_narrow_link_and_single_bytes_make_it_slow_and_not_wrong() {
    for mode in [Mode::Bytes, Mode::Frames] {
        let brokers = Brokers::All;
        let narrow = LinkFault::Bandwidth { brokers, bytes_per_second: 500 };
        let mut rig = rig_in(mode, FaultKind::Link(narrow)).await;
        rig.world.begin(0);
        let start = Instant::now();
        assert_eq!(rig.offer(0).await, Some((0, 0)));
        assert!(start.elapsed() >= Duration::from_millis(300), "{mode:?}: {:?}", start.elapsed());
        let slices = LinkFault::Slice { brokers: Brokers::All };
        let mut rig = rig_in(mode, FaultKind::Link(slices)).await;
        rig.world.begin(0);
        assert_eq!(rig.offer(0).await, Some((0, 0)));
        assert_eq!(phases(&rig.recorder, 0).len(), 2);
    }
}

#[test]
fn faults_of_requests_do_not_apply_to_bytes() {
    assert!(applies_to_bytes(&FaultKind::NetReset { brokers: Brokers::All }).is_ok());
    assert!(applies_to_bytes(&none()).is_err());
    let brokers = Brokers::All;
    let flip = LinkFault::Flip { brokers, request: true, nth: 1, count: 1 };
    assert!(applies_to_bytes(&FaultKind::Link(flip)).is_err());
}
