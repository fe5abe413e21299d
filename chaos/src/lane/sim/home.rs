//! Where the subject of a simulated run lives: a host that can be killed and started anew.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashproof_reference::core::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};

use super::disk::SimDisk;
use crate::history::{Kind, Recorder, Src};
use crate::lane::watchdog::Watched;
use crate::scenario::model::{FsFault, SpoolDamage};
use crate::subject::protocol::{Answer, Message, Op, OpError, Request};
use crate::subject::runner::Control;
use crate::subject::{Subject, driver};

type CallResult = Result<Answer, OpError>;

/// Requests that may wait for the driver loop; far more than a scenario has threads.
const READ_AHEAD: usize = 1 << 16;

/// What the step loop is asked to do between two steps.
pub(super) enum Order {
    /// Kill the subject's host.
    Crash(oneshot::Sender<()>),
    /// Start it again.
    Restart,
}

/// The subject's host, as the rest of the simulation sees it.
pub(super) struct Home {
    recorder: Recorder,
    watched: Arc<Watched>,
    disk: SimDisk,
    inside: Mutex<Option<Inside>>,
    pending: Mutex<BTreeMap<u64, oneshot::Sender<CallResult>>>,
    next: AtomicU64,
    orders: Mutex<Vec<Order>>,
    arrived: Notify,
}

/// What is there while the host lives.
#[derive(Clone)]
struct Inside {
    runtime: Handle,
    requests: mpsc::Sender<Request>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Home {
    pub(super) fn new(recorder: Recorder, watched: Arc<Watched>, disk: SimDisk) -> Arc<Self> {
        Arc::new(Self {
            recorder,
            watched,
            disk,
            inside: Mutex::default(),
            pending: Mutex::default(),
            next: AtomicU64::new(1),
            orders: Mutex::default(),
            arrived: Notify::new(),
        })
    }

    /// The host's software: the same request loop as in a child process.
    pub(super) async fn live(self: Arc<Self>, subject: Arc<dyn Subject>) {
        let (requests, to_serve) = mpsc::channel(READ_AHEAD);
        let (messages, mut replies) = mpsc::unbounded_channel();
        self.watched.host("implementation");
        *lock(&self.inside) = Some(Inside { runtime: Handle::current(), requests });
        self.arrived.notify_waiters();
        let answer = async {
            while let Some(message) = replies.recv().await {
                self.route(message);
            }
        };
        tokio::join!(driver::serve(subject, to_serve, messages), answer);
    }

    fn route(&self, message: Message) {
        match message {
            Message::Reply { id, ok, error } => {
                // No caller: the send was cancelled, and its future is gone.
                if let Some(caller) = lock(&self.pending).remove(&id) {
                    let result = error.map_or_else(|| Ok(ok.unwrap_or_default()), Err);
                    drop(caller.send(result));
                }
            }
            Message::Claim { claim } => {
                self.recorder.record(Src::Subject, claim);
            }
        }
    }

    /// Takes what the step loop is asked to do.
    pub(super) fn orders(&self) -> Vec<Order> {
        std::mem::take(&mut *lock(&self.orders))
    }

    /// The host is about to be killed: calls under way get no answer.
    pub(super) fn depart(&self) {
        let inside = lock(&self.inside).take();
        let pending = std::mem::take(&mut *lock(&self.pending));
        drop((inside, pending));
    }

    fn inside(&self) -> Option<Inside> {
        lock(&self.inside).clone()
    }
}

/// Takes a call back whose future is dropped.
struct Calling<'h> {
    home: &'h Home,
    id: u64,
    is_send: bool,
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        let unanswered = lock(&self.home.pending).remove(&self.id).is_some();
        if unanswered
            && self.is_send
            && let Some(inside) = self.home.inside()
        {
            let id = self.home.next.fetch_add(1, Ordering::Relaxed);
            // A full queue or a dead host: there is nothing left to cancel in time.
            drop(inside.requests.try_send(Request { id, op: Op::Cancel { request: self.id } }));
        }
    }
}

fn gone() -> OpError {
    OpError::new("exited", "the subject was killed".to_owned(), false)
}

impl Subject for Home {
    fn call(&self, op: Op) -> BoxFuture<'_, CallResult> {
        Box::pin(async move {
            let inside = self.inside().ok_or_else(gone)?;
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let is_send = matches!(op, Op::Send { .. });
            let (caller, answer) = oneshot::channel();
            lock(&self.pending).insert(id, caller);
            let _calling = Calling { home: self, id, is_send };
            inside.requests.send(Request { id, op }).await.map_err(|_| gone())?;
            answer.await.unwrap_or_else(|_| Err(gone()))
        })
    }
}

impl Control for Home {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        if let Some(inside) = self.inside() {
            inside.runtime.spawn(task);
        }
    }

    fn crash(&self) -> BoxFuture<'_, ()> {
        let (dead, is_dead) = oneshot::channel();
        lock(&self.orders).push(Order::Crash(dead));
        Box::pin(async move { drop(is_dead.await) })
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        lock(&self.orders).push(Order::Restart);
        Box::pin(async move {
            loop {
                let arrived = self.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                if self.inside().is_some() {
                    return;
                }
                arrived.await;
            }
        })
    }

    fn spool(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.disk.segments()
    }

    fn damage_spool(&self, what: SpoolDamage) -> bool {
        self.disk.damage(what)
    }

    fn break_disk(&self, fault: usize, what: &FsFault) {
        self.disk.break_by(fault, what);
    }

    fn mend_disk(&self, fault: usize) {
        self.disk.mend(fault);
    }

    fn observe(&self, when: &'static str) -> BoxFuture<'_, ()> {
        let (counted, is_counted) = oneshot::channel();
        let recorder = self.recorder.clone();
        self.spawn(Box::pin(async move {
            // This task is one of them.
            let tasks = Handle::current().metrics().num_alive_tasks().saturating_sub(1);
            let value = i64::try_from(tasks).unwrap_or(i64::MAX);
            let (what, text) = ("tasks".to_owned(), when.to_owned());
            recorder.record(Src::Os, Kind::Proc { what, value, text });
            let _ = counted.send(());
        }));
        Box::pin(async move { drop(is_counted.await) })
    }
}
