//! Saboteurs that sit between the producer core and its transport.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use dashproof_reference::core::{
    AttemptId, BoxFuture, ConnectionProblem, Delivery, ErrorClass, Persistence, Record, Refused,
    Transport,
};

/// What a saboteur does to the traffic of one route.
pub(super) trait Trick: Send {
    /// Takes a hand-over; may hold it, change it, multiply it or answer it at once.
    fn submit(&mut self, record: Record, to: &mut Hands<'_>) -> Result<(), Refused> {
        to.inner.submit(record)
    }
    /// Changes or swallows (`None`) an answer.
    fn delivery(&mut self, delivery: Delivery) -> Option<Delivery> {
        Some(delivery)
    }
    /// Lets go of what it holds: a flush, purge or shutdown has begun.
    fn release(&mut self, _to: &mut Hands<'_>) {}
}

/// What a trick can reach.
pub(super) struct Hands<'a> {
    inner: &'a dyn Transport,
    invented: &'a mut VecDeque<Delivery>,
}

/// A transport in the hands of a saboteur.
pub(super) struct Meddled {
    inner: Arc<dyn Transport>,
    state: Mutex<State>,
}

struct State {
    trick: Box<dyn Trick>,
    invented: VecDeque<Delivery>,
    waker: Option<Waker>,
}

impl Meddled {
    pub(super) fn wrap(inner: Arc<dyn Transport>, trick: Box<dyn Trick>) -> Arc<dyn Transport> {
        let state = State { trick, invented: VecDeque::new(), waker: None };
        Arc::new(Self { inner, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, f: impl FnOnce(&mut dyn Trick, &mut Hands<'_>) -> T) -> T {
        let mut guard = self.state();
        let State { trick, invented, waker } = &mut *guard;
        let mut hands = Hands { inner: &*self.inner, invented };
        let out = f(&mut **trick, &mut hands);
        if !invented.is_empty()
            && let Some(waker) = waker.take()
        {
            waker.wake();
        }
        out
    }
}

impl Transport for Meddled {
    fn submit(&self, record: Record) -> Result<(), Refused> {
        self.with(|trick, hands| trick.submit(record, hands))
    }

    fn poll_delivery(&self, cx: &mut Context<'_>) -> Poll<Delivery> {
        loop {
            if let Some(delivery) = self.state().invented.pop_front() {
                return Poll::Ready(delivery);
            }
            match self.inner.poll_delivery(cx) {
                Poll::Ready(delivery) => {
                    if let Some(delivery) = self.state().trick.delivery(delivery) {
                        return Poll::Ready(delivery);
                    }
                }
                Poll::Pending => {
                    self.state().waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    fn flush_hint(&self) {
        self.with(|trick, hands| trick.release(hands));
        self.inner.flush_hint();
    }

    fn purge(&self) {
        self.with(|trick, hands| trick.release(hands));
        self.inner.purge();
    }

    fn reach(&self, within: Duration) -> BoxFuture<'_, Result<(), ConnectionProblem>> {
        self.inner.reach(within)
    }

    fn shutdown(&self, within: Duration) -> BoxFuture<'_, ()> {
        self.with(|trick, hands| trick.release(hands));
        self.inner.shutdown(within)
    }
}

/// Says "delivered" before the broker answered.
#[derive(Default)]
pub(super) struct AckEarly {
    open: BTreeSet<AttemptId>,
}

impl Trick for AckEarly {
    fn submit(&mut self, record: Record, to: &mut Hands<'_>) -> Result<(), Refused> {
        let attempt = record.attempt;
        to.inner.submit(record)?;
        self.open.insert(attempt);
        to.invented.push_back(delivered(attempt));
        Ok(())
    }

    fn delivery(&mut self, delivery: Delivery) -> Option<Delivery> {
        (!self.open.remove(&delivery.attempt)).then_some(delivery)
    }
}

/// Says "delivered" and throws every n-th record away.
pub(super) struct Discard {
    pub(super) every: u64,
    pub(super) seen: u64,
}

impl Trick for Discard {
    fn submit(&mut self, record: Record, to: &mut Hands<'_>) -> Result<(), Refused> {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.every) {
            return to.inner.submit(record);
        }
        to.invented.push_back(delivered(record.attempt));
        Ok(())
    }
}

fn delivered(attempt: AttemptId) -> Delivery {
    let persistence = Persistence::Persisted;
    Delivery { attempt, persistence, partition: -1, offset: -1, result: Ok(()) }
}

/// Takes failures of one class for another.
pub(super) struct Reclass {
    pub(super) from: ErrorClass,
    pub(super) to: ErrorClass,
}

impl Trick for Reclass {
    fn delivery(&mut self, mut delivery: Delivery) -> Option<Delivery> {
        if let Err(failure) = &mut delivery.result
            && failure.class == self.from
        {
            failure.class = self.to;
        }
        Some(delivery)
    }
}

/// Takes "perhaps persisted" for "not persisted".
pub(super) struct ClaimNot;

impl Trick for ClaimNot {
    fn delivery(&mut self, mut delivery: Delivery) -> Option<Delivery> {
        if delivery.persistence == Persistence::Possibly {
            delivery.persistence = Persistence::Not;
        }
        Some(delivery)
    }
}

/// Hands every n-th record over twice and keeps quiet about the copy.
pub(super) struct Duplicate {
    pub(super) every: u64,
    pub(super) seen: u64,
    pub(super) copies: BTreeSet<AttemptId>,
}

impl Trick for Duplicate {
    fn submit(&mut self, record: Record, to: &mut Hands<'_>) -> Result<(), Refused> {
        self.seen += 1;
        let copy = self.seen.is_multiple_of(self.every).then(|| {
            // Numbers from the top never meet those of the core, which counts up from zero.
            let attempt = AttemptId(u64::MAX - self.seen);
            Record { attempt, ..record.clone() }
        });
        to.inner.submit(record)?;
        if let Some(copy) = copy {
            let attempt = copy.attempt;
            if to.inner.submit(copy).is_ok() {
                self.copies.insert(attempt);
            }
        }
        Ok(())
    }

    fn delivery(&mut self, delivery: Delivery) -> Option<Delivery> {
        (!self.copies.remove(&delivery.attempt)).then_some(delivery)
    }
}

/// Lets a record be overtaken by the next one of the same key.
#[derive(Default)]
pub(super) struct Reorder {
    held: Option<Record>,
    swaps: u64,
}

impl Trick for Reorder {
    fn submit(&mut self, record: Record, to: &mut Hands<'_>) -> Result<(), Refused> {
        match self.held.take() {
            None if self.swaps < 20 => {
                self.held = Some(record);
                Ok(())
            }
            None => to.inner.submit(record),
            Some(held) if held.key == record.key => {
                self.swaps += 1;
                to.inner.submit(record)?;
                Self::hand_over(held, to);
                Ok(())
            }
            // Other keys pass: only a later record of the same thread makes it a reordering.
            Some(held) => {
                self.held = Some(held);
                to.inner.submit(record)
            }
        }
    }

    fn release(&mut self, to: &mut Hands<'_>) {
        if let Some(held) = self.held.take() {
            Self::hand_over(held, to);
        }
    }
}

impl Reorder {
    /// The core was told "taken" already, so a refusal now has to come as a delivery.
    fn hand_over(record: Record, to: &mut Hands<'_>) {
        let attempt = record.attempt;
        if let Err(refused) = to.inner.submit(record) {
            to.invented.push_back(refused_late(attempt, refused));
        }
    }
}

fn refused_late(attempt: AttemptId, refused: Refused) -> Delivery {
    let Refused { code, class, reason, trouble } = refused;
    Delivery {
        attempt,
        persistence: Persistence::Not,
        partition: -1,
        offset: -1,
        result: Err(dashproof_reference::core::Failure { code, class, reason, trouble }),
    }
}

/// Edits the JSON of DLQ records.
pub(super) struct EditDlq {
    pub(super) edit: fn(&mut serde_json::Map<String, serde_json::Value>),
}

impl Trick for EditDlq {
    fn submit(&mut self, mut record: Record, to: &mut Hands<'_>) -> Result<(), Refused> {
        if let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(&record.value) {
            (self.edit)(&mut fields);
            record.value = Bytes::from(serde_json::Value::Object(fields).to_string());
        }
        to.inner.submit(record)
    }
}
