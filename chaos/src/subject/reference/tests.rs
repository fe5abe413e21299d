use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use dashproof_reference::core::{
    AttemptId, Delivery, ErrorClass, Failure, Persistence, Record, Refused, Route, Transport,
};
use serde_json::json;

use super::*;
use crate::history::{EventId, Kind, Outcome};

/// Answers each record as told, or holds it until purged.
#[derive(Default)]
struct Fake {
    state: Mutex<FakeState>,
}

#[derive(Default)]
struct FakeState {
    hold: bool,
    held: Vec<AttemptId>,
    answers: VecDeque<Delivery>,
    waker: Option<Waker>,
}

fn delivery(attempt: AttemptId, error: Option<i32>) -> Delivery {
    let class = ErrorClass::Retryable;
    Delivery {
        attempt,
        persistence: if error.is_some() { Persistence::Not } else { Persistence::Persisted },
        partition: 0,
        offset: i64::try_from(attempt.0).unwrap(),
        result: error.map_or(Ok(()), |code| Err(Failure::new(code, class, "fake"))),
    }
}

impl Transport for Fake {
    fn submit(&self, record: Record) -> Result<(), Refused> {
        let mut state = self.state.lock().unwrap();
        if state.hold {
            state.held.push(record.attempt);
        } else {
            state.answers.push_back(delivery(record.attempt, None));
        }
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn poll_delivery(&self, cx: &mut Context<'_>) -> Poll<Delivery> {
        let mut state = self.state.lock().unwrap();
        if let Some(delivery) = state.answers.pop_front() {
            return Poll::Ready(delivery);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn flush_hint(&self) {}

    fn purge(&self) {
        let mut state = self.state.lock().unwrap();
        let held = std::mem::take(&mut state.held);
        state.answers.extend(held.into_iter().map(|attempt| delivery(attempt, Some(-152))));
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    fn shutdown(&self, _: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

struct FakeConnect(Arc<Fake>);

impl Connect for FakeConnect {
    fn connect(&self, _: Route) -> BoxFuture<'_, Result<Arc<dyn Transport>, Refused>> {
        let transport: Arc<dyn Transport> = self.0.clone();
        Box::pin(async { Ok(transport) })
    }
}

struct Rig {
    subject: Arc<dyn Subject>,
    fake: Arc<Fake>,
    claims: Arc<Mutex<Vec<Kind>>>,
}

fn rig() -> Rig {
    let (fake, claims) = (Arc::new(Fake::default()), Arc::new(Mutex::new(Vec::new())));
    let (made, told) = (fake.clone(), claims.clone());
    let connect: ConnectFactory = Arc::new(move |_, _| {
        let connect: Arc<dyn Connect> = Arc::new(FakeConnect(made.clone()));
        Ok(connect)
    });
    let claim: Claims = Arc::new(move |kind| told.lock().unwrap().push(kind));
    Rig { subject: ReferenceSubject::new(connect, claim).sabotaged(None), fake, claims }
}

fn id(n: u32) -> EventId {
    EventId { load: 0, n }
}

fn spec(n: u32) -> EventSpec {
    let message_id = id(n).message_id([9; 10]).iter().map(|b| format!("{b:02x}")).collect();
    EventSpec {
        event: id(n),
        message_id,
        thread: "t0".to_owned(),
        message: "event".to_owned(),
        fill: "fill".to_owned(),
    }
}

impl Rig {
    async fn open(&self, config: serde_json::Value) -> CallResult {
        let bootstrap = "nowhere:1".to_owned();
        self.subject.call(Op::Open { bootstrap, config, seed: 1, inc: 0 }).await
    }

    async fn send(&self, n: u32) -> CallResult {
        self.subject.call(Op::Send { handle: 0, spec: spec(n) }).await
    }

    async fn close(&self) -> Answer {
        self.subject.call(Op::Close { deadline_us: 2_000_000 }).await.unwrap()
    }

    /// The claims about an event, each by its kind's name.
    fn story(&self, n: u32) -> Vec<String> {
        let attempts = |event: &EventId| *event == id(n);
        let mut own = Vec::new();
        let mut story = Vec::new();
        for claim in self.claims.lock().unwrap().iter() {
            match claim {
                Kind::Accepted { event, sequence } if *event == id(n) => {
                    story.push(format!("accepted {sequence}"));
                }
                Kind::Attempt { attempt, events, route } if events.iter().any(attempts) => {
                    own.push(*attempt);
                    story.push(format!("attempt {route:?}"));
                }
                Kind::Delivery { attempt, late, error, .. } if own.contains(attempt) => {
                    let end = if error.is_some() { "failed" } else { "ok" };
                    story.push(format!("delivery {end}{}", if *late { " late" } else { "" }));
                }
                Kind::Outcome { event, outcome, .. } if *event == id(n) => {
                    story.push(format!("{} {}", outcome.label(), outcome.reason()));
                }
                _ => {}
            }
        }
        story
    }
}

#[tokio::test(start_paused = true)]
async fn the_history_of_an_acked_event_is_told_in_order() {
    let rig = rig();
    rig.open(json!({})).await.unwrap();
    assert_eq!(rig.send(7).await.unwrap().sequence, Some(1));
    assert_eq!(rig.close().await.counts["acked"], 1);
    assert_eq!(rig.story(7), ["attempt Main", "accepted 1", "delivery ok", "acked "]);
}

#[tokio::test(start_paused = true)]
async fn settings_that_are_wrong_are_refused_with_every_problem() {
    let error = rig().open(json!({"topik": "x", "acks": "some"})).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.definite), ("config", true));
    assert!(error.message.contains("topik") && error.message.contains("acks"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rejection_is_an_answer_and_an_outcome() {
    let rig = rig();
    rig.open(json!({})).await.unwrap();
    rig.close().await;
    let error = rig.send(1).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.reason.as_str()), ("rejected", "closed"));
    assert_eq!(rig.story(1), ["rejected closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_has_told_its_outcome_and_harms_nothing() {
    let rig = rig();
    rig.open(json!({})).await.unwrap();
    rig.subject.call(Op::PanicCallback).await.unwrap();
    rig.send(1).await.unwrap();
    rig.send(2).await.unwrap();
    assert_eq!(rig.close().await.counts["acked"], 2);
    assert_eq!(rig.story(1).last().unwrap(), "acked ");
    let text = rig.subject.call(Op::Metrics).await.unwrap().text;
    assert!(text.contains("dashstream_callback_panics_total 1"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_resolves_everything_before_it_is_answered() {
    let rig = rig();
    rig.fake.state.lock().unwrap().hold = true;
    rig.open(json!({"dlq": {"enabled": false}})).await.unwrap();
    rig.subject.call(Op::Clone { handle: 1 }).await.unwrap();
    rig.send(1).await.unwrap();
    rig.subject.call(Op::Drop { handle: 0 }).await.unwrap();
    assert_eq!(rig.story(1), ["attempt Main", "accepted 1"], "a clone lives");
    rig.subject.call(Op::Drop { handle: 1 }).await.unwrap();
    assert_eq!(rig.story(1).last().unwrap(), "in_doubt abandoned");
    let text = rig.subject.call(Op::Metrics).await.unwrap().text;
    let row = r#"dashstream_events_total{outcome="in_doubt",reason="abandoned"} 1"#;
    assert!(text.contains(row), "the registry outlives the producer: {text}");
    assert_eq!(rig.send(2).await.unwrap_err().code, "no_handle");
}

#[tokio::test(start_paused = true)]
async fn a_handle_takes_the_sends_that_borrow_it_along() {
    let rig = rig();
    rig.fake.state.lock().unwrap().hold = true;
    rig.open(json!({"queue": {"max_events": 1}, "dlq": {"enabled": false}})).await.unwrap();
    rig.send(1).await.unwrap();
    let waiting = rig.send(2);
    let dropping = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        rig.subject.call(Op::Drop { handle: 0 }).await
    };
    let (waiting, dropped) = tokio::join!(waiting, dropping);
    dropped.unwrap();
    assert_eq!(waiting.unwrap_err().code, "cancelled");
    assert_eq!(rig.story(2), ["rejected cancelled"]);
    assert_eq!(rig.story(1).last().unwrap(), "in_doubt abandoned");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_after_the_outcome_is_told_as_late() {
    let rig = rig();
    rig.fake.state.lock().unwrap().hold = true;
    rig.open(json!({"dlq": {"enabled": false}})).await.unwrap();
    rig.send(1).await.unwrap();
    rig.subject.call(Op::Drop { handle: 0 }).await.unwrap();
    rig.fake.purge();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let story = rig.story(1);
    assert_eq!(story[2..], ["in_doubt abandoned", "delivery failed late"], "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn frames_go_round_and_bad_ones_are_named() {
    let rig = rig();
    let frame = rig.subject.call(Op::CodecEncode { spec: spec(3) }).await.unwrap().text;
    let digest = rig.subject.call(Op::CodecDecode { frame }).await.unwrap().text;
    assert_eq!(digest.len(), 64);
    let error = rig.subject.call(Op::CodecDecode { frame: String::new() }).await.unwrap_err();
    assert_eq!(error.code, "empty");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_operation_is_unsupported() {
    let error = rig().subject.call(Op::Unknown).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.definite), ("unsupported", true));
}

#[test]
fn every_outcome_keeps_its_reason_and_claims() {
    use dashproof_reference::core::{Outcome as Core, Reason};
    let p = Persistence::Possibly;
    let word: std::sync::Arc<str> = "deadline".into();
    let history = crate::history::Persistence::Possibly;
    let not = crate::history::Persistence::Not;
    let reason = Reason::Deadline;
    let pairs = [
        (Core::Acked { partition: 1, offset: 2 }, Outcome::Acked { partition: 1, offset: 2 }),
        (
            Core::DeadLettered { cause: reason, main: p },
            Outcome::DeadLettered { reason: word.clone(), main: history },
        ),
        (
            Core::InDoubt { reason, main: p, dlq: Persistence::Not },
            Outcome::InDoubt { reason: word.clone(), main: history, dlq: not },
        ),
        (Core::Dropped { reason }, Outcome::Dropped { reason: word }),
        (
            Core::Spooled { main: p, dlq: Persistence::Not },
            Outcome::Spooled { main: history, dlq: not },
        ),
    ];
    for (core, expected) in pairs {
        assert_eq!(ledger::claimed(&core), expected);
    }
}
