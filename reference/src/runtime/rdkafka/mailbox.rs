//! Deliveries on their way from the client's thread to the driver.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use crate::core::Delivery;

/// Filled one by one, emptied at once: the two sides meet at the lock once per batch, and nothing
/// is allocated per delivery.
#[derive(Default)]
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Delivery>,
    waker: Option<Waker>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a delivery in; wakes who waits.
    pub(super) fn put(&self, delivery: Delivery) {
        let mut inner = self.lock();
        inner.waiting.push_back(delivery);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes everything out, into `taken`, which is empty; if there is nothing, the task is woken
    /// when there is.
    pub(super) fn take(&self, taken: &mut VecDeque<Delivery>, cx: &Context<'_>) {
        let mut inner = self.lock();
        std::mem::swap(&mut inner.waiting, taken);
        if taken.is_empty() {
            inner.waker = Some(cx.waker().clone());
        }
    }
}
