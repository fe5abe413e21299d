//! The request loop of a driver: takes requests, carries them out on a subject, answers by id.
//!
//! The same loop runs in the child process of the real-time lanes and inside the simulation, so it
//! starts no thread, reads no clock and keeps nothing in hash order.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use dashproof_reference::core::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::Subject;
use super::protocol::{Answer, Message, Op, OpError, Request};

pub mod child;
mod kafka;
pub mod stores;
pub(crate) mod watched;

pub use kafka::main;

type CallResult = Result<Answer, OpError>;

/// A call under way. The slot is emptied by the answer or by a `cancel`, whichever comes first, so
/// that a cancelled future is dropped before the `cancel` is answered.
#[derive(Clone)]
struct Call(Arc<Mutex<Option<BoxFuture<'static, CallResult>>>>);

impl Call {
    fn start(subject: &Arc<dyn Subject>, op: Op) -> Self {
        let subject = Arc::clone(subject);
        Self(Arc::new(Mutex::new(Some(Box::pin(async move { subject.call(op).await })))))
    }

    /// `Ready(None)` when it was cancelled.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<CallResult>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(future) = slot.as_mut() else { return Poll::Ready(None) };
        let result = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result,
            Err(payload) => Err(panicked(payload.as_ref())),
        };
        *slot = None;
        Poll::Ready(Some(result))
    }

    /// Drops the future; false when it had already been answered.
    fn cancel(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    fn is_over(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

fn panicked(payload: &(dyn std::any::Any + Send)) -> OpError {
    let text = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned());
    OpError::new("panic", format!("the call panicked: {text}"), false)
}

/// Serves requests until `bye` is answered or the request channel ends; what is still under way
/// then is dropped.
///
/// Each request is polled once before the next is looked at: `send`s of one thread reach the
/// subject's accept step in the order in which they arrived. A send that waits goes on in a task of
/// its own, and so does everything else that cannot answer at once.
pub async fn serve(
    subject: Arc<dyn Subject>,
    mut requests: mpsc::Receiver<Request>,
    messages: mpsc::UnboundedSender<Message>,
) {
    let mut pending = Pending::default();
    while let Some(Request { id, op }) = requests.recv().await {
        pending.reap();
        match op {
            Op::Cancel { request } => {
                if pending.cancel(request) {
                    let text = "the send was cancelled by request".to_owned();
                    reply(&messages, request, Err(OpError::new("cancelled", text, false)));
                }
                reply(&messages, id, Ok(Answer::default()));
            }
            Op::Bye => {
                reply(&messages, id, Ok(Answer::default()));
                break;
            }
            op => {
                let is_send = matches!(op, Op::Send { .. });
                let call = Call::start(&subject, op);
                match poll_fn(|cx| Poll::Ready(call.poll(cx))).await {
                    Poll::Ready(Some(result)) => reply(&messages, id, result),
                    Poll::Ready(None) => {}
                    Poll::Pending => pending.go_on(id, call, is_send, messages.clone()),
                }
            }
        }
    }
}

/// Calls that did not answer at once.
#[derive(Default)]
struct Pending {
    tasks: JoinSet<()>,
    sends: BTreeMap<u64, (Call, AbortHandle)>,
}

impl Pending {
    fn go_on(
        &mut self,
        id: u64,
        call: Call,
        is_send: bool,
        messages: mpsc::UnboundedSender<Message>,
    ) {
        let send = is_send.then(|| call.clone());
        let task = self.tasks.spawn(async move {
            if let Some(result) = poll_fn(|cx| call.poll(cx)).await {
                reply(&messages, id, result);
            }
        });
        if let Some(send) = send {
            self.sends.insert(id, (send, task));
        }
    }

    fn cancel(&mut self, request: u64) -> bool {
        let Some((call, task)) = self.sends.remove(&request) else { return false };
        let cancelled = call.cancel();
        // Nothing wakes it any more: left alone it would stay for good, and look like a leak.
        if cancelled {
            task.abort();
        }
        cancelled
    }

    /// Forgets what has been answered.
    fn reap(&mut self) {
        let before = self.tasks.len();
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() < before {
            self.sends.retain(|_, (call, _)| !call.is_over());
        }
    }
}

fn reply(messages: &mpsc::UnboundedSender<Message>, id: u64, result: CallResult) {
    let (ok, error) = match result {
        Ok(answer) => (Some(answer), None),
        Err(error) => (None, Some(error)),
    };
    // Nobody listens only when the harness is gone, and then nobody misses the answer.
    let _ = messages.send(Message::Reply { id, ok, error });
}

#[cfg(test)]
mod tests;
