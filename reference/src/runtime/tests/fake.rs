//! A `Connect` whose transports do what a test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::core::{
    AttemptId, BoxFuture, Connect, Delivery, ErrorClass, Failure, Persistence, Record, Refused,
    Route, Transport,
};

/// How a transport treats a record.
#[derive(Clone, Debug)]
pub(super) enum Treat {
    /// Delivers at once.
    Ack,
    /// Keeps it open until the test delivers, or it is purged.
    Hold,
    /// Delivers this at once.
    Fail(Persistence, i32, ErrorClass),
    /// Refuses it.
    Refuse(ErrorClass),
    /// Takes it and panics.
    Panic,
}

#[derive(Default)]
struct Inner {
    treat: Option<Treat>,
    script: VecDeque<Treat>,
    records: Vec<Record>,
    open: Vec<AttemptId>,
    ready: VecDeque<Delivery>,
    waker: Option<Waker>,
    hints: usize,
    purges: usize,
    shutdowns: usize,
    next_offset: i64,
    /// Does a purge deliver?
    deaf: bool,
    /// Does asking for deliveries panic?
    mad: bool,
}

/// One fake client; the test keeps a handle to it.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Inner>>);

impl Fake {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// From now on asking for deliveries panics.
    pub(super) fn go_mad(&self) {
        let mut inner = self.lock();
        inner.mad = true;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// From now on every record is treated like this.
    pub(super) fn treat(&self, treat: Treat) {
        self.lock().treat = Some(treat);
    }

    /// The next records are treated like these, in order.
    pub(super) fn script(&self, treats: impl IntoIterator<Item = Treat>) {
        self.lock().script.extend(treats);
    }

    /// Purges are not answered.
    pub(super) fn deafen(&self) {
        self.lock().deaf = true;
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    pub(super) fn open(&self) -> Vec<AttemptId> {
        self.lock().open.clone()
    }

    pub(super) fn purges(&self) -> usize {
        self.lock().purges
    }

    pub(super) fn hints(&self) -> usize {
        self.lock().hints
    }

    pub(super) fn shutdowns(&self) -> usize {
        self.lock().shutdowns
    }

    /// Acks everything that is open.
    pub(super) fn ack_all(&self) {
        for attempt in self.open() {
            self.deliver(attempt, None);
        }
    }

    /// Ends an open attempt.
    pub(super) fn deliver(
        &self,
        attempt: AttemptId,
        failure: Option<(Persistence, i32, ErrorClass)>,
    ) {
        let mut inner = self.lock();
        inner.open.retain(|open| *open != attempt);
        inner.push(attempt, failure);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Inner {
    fn push(&mut self, attempt: AttemptId, failure: Option<(Persistence, i32, ErrorClass)>) {
        let delivery = match failure {
            None => {
                self.next_offset += 1;
                Delivery {
                    attempt,
                    persistence: Persistence::Persisted,
                    partition: 0,
                    offset: self.next_offset - 1,
                    result: Ok(()),
                }
            }
            Some((persistence, code, class)) => Delivery {
                attempt,
                persistence,
                partition: 0,
                offset: -1,
                result: Err(Failure::new(code, class, "scripted")),
            },
        };
        self.ready.push_back(delivery);
    }
}

impl Transport for Fake {
    fn submit(&self, record: Record) -> Result<(), Refused> {
        let mut inner = self.lock();
        let scripted = inner.script.pop_front();
        let treat = scripted.or_else(|| inner.treat.clone()).unwrap_or(Treat::Ack);
        let attempt = record.attempt;
        if let Treat::Refuse(class) = treat {
            return Err(Refused::new(-184, class, "scripted refusal"));
        }
        inner.records.push(record);
        match treat {
            Treat::Ack => inner.push(attempt, None),
            Treat::Fail(p, code, class) => inner.push(attempt, Some((p, code, class))),
            Treat::Hold | Treat::Refuse(_) => inner.open.push(attempt),
            Treat::Panic => {
                drop(inner);
                panic!("the fake transport panics in submit");
            }
        }
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    fn poll_delivery(&self, cx: &mut Context<'_>) -> Poll<Delivery> {
        let mut inner = self.lock();
        if inner.mad {
            drop(inner);
            panic!("the fake transport panics in poll_delivery");
        }
        if let Some(delivery) = inner.ready.pop_front() {
            return Poll::Ready(delivery);
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn flush_hint(&self) {
        self.lock().hints += 1;
    }

    fn purge(&self) {
        let open = {
            let mut inner = self.lock();
            inner.purges += 1;
            if inner.deaf { Vec::new() } else { std::mem::take(&mut inner.open) }
        };
        for attempt in open {
            self.deliver(attempt, Some((Persistence::Possibly, -151, ErrorClass::Retryable)));
        }
    }

    fn shutdown(&self, _within: Duration) -> BoxFuture<'_, ()> {
        self.lock().shutdowns += 1;
        Box::pin(std::future::ready(()))
    }
}

/// Makes fakes; the test sees each client that was made, in order.
#[derive(Clone, Default)]
pub(super) struct FakeConnect {
    made: Arc<Mutex<Vec<(Route, Fake)>>>,
    refuse: Arc<Mutex<Vec<Route>>>,
}

impl FakeConnect {
    /// The clients of a route, in the order they were made.
    pub(super) fn clients(&self, route: Route) -> Vec<Fake> {
        let made = self.made.lock().unwrap();
        made.iter().filter(|(r, _)| *r == route).map(|(_, fake)| fake.clone()).collect()
    }

    /// The next connect of this route fails.
    pub(super) fn refuse_next(&self, route: Route) {
        self.refuse.lock().unwrap().push(route);
    }
}

impl Connect for FakeConnect {
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<Arc<dyn Transport>, Refused>> {
        let made = self.make(route);
        Box::pin(async { made })
    }
}

impl FakeConnect {
    fn make(&self, route: Route) -> Result<Arc<dyn Transport>, Refused> {
        let mut refuse = self.refuse.lock().unwrap();
        if let Some(at) = refuse.iter().position(|r| *r == route) {
            refuse.remove(at);
            let reason = "`ssl.ca_location` names no file";
            return Err(Refused::new(-186, ErrorClass::Permanent, reason));
        }
        let fake = Fake::default();
        self.made.lock().unwrap().push((route, fake.clone()));
        Ok(Arc::new(fake))
    }
}
