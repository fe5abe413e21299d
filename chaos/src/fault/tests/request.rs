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
