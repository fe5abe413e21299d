use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::*;
use crate::history::EventId;
use crate::subject::protocol::EventSpec;

/// Accepts `metrics` at once, lets `send`s wait until told, panics on `flush`.
#[derive(Default)]
struct Puppet {
    go: Notify,
    started: Mutex<Vec<u32>>,
    dropped: AtomicU64,
}

struct CountDrop<'a>(&'a AtomicU64);

impl Drop for CountDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Subject for Puppet {
    fn call(&self, op: Op) -> BoxFuture<'_, CallResult> {
        Box::pin(async move {
            match op {
                Op::Send { spec, .. } => {
                    self.started.lock().unwrap().push(spec.event.n);
                    let _drop = CountDrop(&self.dropped);
                    self.go.notified().await;
                    Ok(Answer { sequence: Some(u64::from(spec.event.n)), ..Answer::default() })
                }
                Op::Flush { .. } => panic!("flush fell over"),
                _ => Ok(Answer { text: "x 1".to_owned(), ..Answer::default() }),
            }
        })
    }
}

struct Rig {
    puppet: Arc<Puppet>,
    requests: mpsc::Sender<Request>,
    messages: mpsc::UnboundedReceiver<Message>,
}

fn rig() -> Rig {
    let puppet = Arc::new(Puppet::default());
    let (requests, rx) = mpsc::channel(64);
    let (tx, messages) = mpsc::unbounded_channel();
    tokio::spawn(serve(puppet.clone(), rx, tx));
    Rig { puppet, requests, messages }
}

impl Rig {
    async fn ask(&self, id: u64, op: Op) {
        self.requests.send(Request { id, op }).await.unwrap();
    }

    async fn send(&self, id: u64, n: u32) {
        let spec = EventSpec {
            event: EventId { load: 0, n },
            message_id: String::new(),
            thread: "t0".to_owned(),
            message: "event".to_owned(),
            fill: String::new(),
        };
        self.ask(id, Op::Send { handle: 0, spec }).await;
    }

    async fn reply(&mut self) -> (u64, CallResult) {
        match self.messages.recv().await.unwrap() {
            Message::Reply { id, ok, error } => (id, error.map_or_else(|| Ok(ok.unwrap()), Err)),
            Message::Claim { claim } => panic!("unexpected claim {claim:?}"),
        }
    }
}

#[tokio::test]
async fn a_waiting_send_does_not_hold_up_the_next_request() {
    let mut rig = rig();
    rig.send(1, 7).await;
    rig.ask(2, Op::Metrics).await;
    assert_eq!(rig.reply().await.0, 2);
    rig.puppet.go.notify_waiters();
    let (id, result) = rig.reply().await;
    assert_eq!((id, result.unwrap().sequence), (1, Some(7)));
}

#[tokio::test]
async fn sends_reach_the_subject_in_the_order_of_the_requests() {
    let mut rig = rig();
    for n in 0..50 {
        rig.send(u64::from(n), n).await;
    }
    rig.ask(99, Op::Metrics).await;
    rig.reply().await.1.unwrap();
    assert_eq!(*rig.puppet.started.lock().unwrap(), (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn cancel_drops_the_future_of_the_send_before_it_is_answered() {
    let mut rig = rig();
    rig.send(1, 0).await;
    rig.send(2, 1).await;
    rig.ask(3, Op::Cancel { request: 1 }).await;
    let (id, result) = rig.reply().await;
    assert_eq!((id, result.unwrap_err().code.as_str()), (1, "cancelled"));
    assert_eq!(rig.reply().await.0, 3);
    assert_eq!(rig.puppet.dropped.load(Ordering::SeqCst), 1);
    rig.puppet.go.notify_waiters();
    assert_eq!(rig.reply().await.0, 2, "the other send is untouched");
}

#[tokio::test]
async fn a_cancelled_send_leaves_no_task_behind() {
    let mut rig = rig();
    rig.send(1, 0).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    rig.ask(2, Op::Metrics).await;
    rig.reply().await.1.unwrap();
    let waiting = tasks();
    rig.ask(3, Op::Cancel { request: 1 }).await;
    assert_eq!(rig.reply().await.0, 1);
    assert_eq!(rig.reply().await.0, 3);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), waiting - 1);
}

#[tokio::test]
async fn cancel_of_an_answered_send_answers_and_changes_nothing() {
    let mut rig = rig();
    rig.send(1, 0).await;
    rig.ask(2, Op::Metrics).await;
    rig.reply().await.1.unwrap();
    rig.puppet.go.notify_waiters();
    assert_eq!(rig.reply().await.0, 1);
    rig.ask(3, Op::Cancel { request: 1 }).await;
    let (id, result) = rig.reply().await;
    assert_eq!(id, 3);
    result.unwrap();
    assert!(rig.messages.try_recv().is_err());
}

#[tokio::test]
async fn a_panic_of_the_subject_is_an_answer_and_the_loop_lives_on() {
    let mut rig = rig();
    rig.ask(1, Op::Flush { deadline_us: 1 }).await;
    let (_, result) = rig.reply().await;
    let error = result.unwrap_err();
    assert_eq!((error.code.as_str(), error.definite), ("panic", false));
    assert!(error.message.contains("flush fell over"));
    rig.ask(2, Op::Metrics).await;
    rig.reply().await.1.unwrap();
}

#[tokio::test]
async fn bye_is_answered_and_ends_the_loop_with_what_was_pending() {
    let mut rig = rig();
    rig.send(1, 0).await;
    rig.ask(2, Op::Bye).await;
    assert_eq!(rig.reply().await.0, 2);
    assert!(rig.messages.recv().await.is_none());
    assert_eq!(rig.puppet.dropped.load(Ordering::SeqCst), 1);
}
