//! The pump: carries out what the core wants done, outside its lock.
//!
//! One thread pumps at a time, so that records reach the transports in the core's order; nobody
//! waits for it but the drop of the last handle. Whatever is foreign (transports, wakers, the
//! application's callback, a tracing subscriber) may panic: a turn that is cut short leaves the
//! rest to the next one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::desk::{Done, Job};
use super::shared::{Client, Shared, State};
use crate::core::{
    AttemptId, Core, Delivery, DlqFailure, Effect, ErrorClass, Failure, HandOver, OutcomeRecord,
    PerRoute, Persistence, Refused, Route, Transport,
};

/// Effects that are carried out between two looks at the core.
const BATCH: usize = 256;
/// librdkafka's number for "it failed, and that is all that is known".
const FAILED: i32 = -196;

/// What became of an effect.
pub(super) enum Report {
    Submitted(AttemptId),
    Refused(AttemptId, Refused),
    HandedBack(AttemptId),
    /// The transport panicked: nobody knows what became of the record.
    Broken(AttemptId),
    Spool(Done),
}

/// What is carried out between two looks at the core, and what came of it.
#[derive(Default)]
pub(super) struct Turn {
    effects: VecDeque<Effect>,
    reports: Vec<Report>,
    jobs: Vec<Job>,
    /// Outcomes told.
    told: u64,
}

/// The right to pump. Given back however the turn ends.
struct Pumping<'a> {
    shared: &'a Shared,
    turn: Turn,
    finished: bool,
}

impl Drop for Pumping<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut state = self.shared.lock();
        state.pumper = None;
        state.turn = std::mem::take(&mut self.turn);
        self.shared.release(state);
        // the driver takes up what is left
        self.shared.driver.notify_one();
    }
}

impl Shared {
    /// Carries out everything that the core wants done, unless somebody else is at it.
    pub(super) fn pump(&self) {
        self.pump_from(self.lock());
    }

    /// As [`Shared::pump`], in a section that is locked already.
    pub(super) fn pump_from<'a>(&'a self, state: MutexGuard<'a, State>) {
        if state.pumper.is_none() {
            self.pump_at(state, self.now());
        }
    }

    /// As [`Shared::pump_from`], for one who has just looked at the clock.
    pub(super) fn pump_at<'a>(&'a self, mut state: MutexGuard<'a, State>, mut now: Duration) {
        if state.pumper.is_some() {
            return;
        }
        state.pumper = Some(std::thread::current().id());
        let turn = std::mem::take(&mut state.turn);
        let mut pumping = Pumping { shared: self, turn, finished: false };
        loop {
            let turn = &mut pumping.turn;
            while turn.effects.len() < BATCH
                && let Some(effect) = state.core.poll(now)
            {
                turn.effects.push_back(effect);
            }
            if turn.effects.is_empty() && turn.reports.is_empty() {
                break;
            }
            let first = turn.effects.front();
            let one = turn.effects.len() == 1
                && matches!(first, Some(Effect::HandOver(h)) if h.route == Route::Main);
            let clients = Arc::clone(&state.clients);
            drop(state);
            self.carry_out(&clients, turn);
            // may be the last that holds a client: it does not end under the lock
            drop(clients);
            state = self.lock();
            // what most sends come to: it takes no time worth another look at the clock
            let brief = one && matches!(turn.reports.as_slice(), [Report::Submitted(_)]);
            take_reports(&mut state.core, now, &mut turn.reports);
            if !brief {
                now = self.now();
            }
        }
        pumping.finished = true;
        let told = std::mem::take(&mut pumping.turn.told);
        state.turn = std::mem::take(&mut pumping.turn);
        state.pumper = None;
        let due = state.core.next_timeout();
        let earlier = due.is_some_and(|due| state.timer.is_none_or(|timer| due < timer));
        let over = state.core.is_closed();
        self.release(state);
        if earlier || over {
            self.driver.notify_one();
        }
        if told > 0 || over {
            self.progress.notify_waiters();
        }
    }

    /// Nobody pumps any more. Waking costs a system call, and hardly ever does anybody wait.
    fn release(&self, state: MutexGuard<'_, State>) {
        let awaited = state.idle_waiters > 0;
        drop(state);
        if awaited {
            self.idle.notify_all();
        }
    }

    /// The last handle is gone: everything gets its outcome and is told before this returns, and no
    /// record goes out any more. Waits for a pump on another thread, which is at its last turn.
    pub(super) fn abandon(&self) {
        let me = std::thread::current().id();
        let mut state = self.lock();
        while state.pumper.is_some_and(|pumper| pumper != me) {
            state.idle_waiters += 1;
            state = self.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle_waiters -= 1;
        }
        if !state.core.is_closed() {
            state.core.abandon(self.now());
        }
        self.abandoned.store(true, Ordering::Release);
        // this very thread may be pumping, further up: the handle went in the outcome callback
        let outer = state.pumper.take();
        self.pump_from(state);
        let mut state = self.lock();
        state.pumper = outer;
        drop(state);
        self.driver.notify_one();
        self.progress.notify_waiters();
    }

    /// Carries out effects outside the lock.
    fn carry_out(&self, clients: &PerRoute<Option<Client>>, turn: &mut Turn) {
        // a route whose client refused for now gets nothing more: order
        let mut refused = PerRoute { main: false, dlq: false };
        while let Some(effect) = turn.effects.pop_front() {
            match effect {
                Effect::HandOver(hand_over) => {
                    let route = hand_over.route;
                    let skip = *refused.of(route) || self.abandoned.load(Ordering::Acquire);
                    let report = hand_to(clients.of(route).as_ref(), hand_over, skip);
                    *refused.of_mut(route) |= match &report {
                        Report::Refused(_, r) => r.class != ErrorClass::Permanent,
                        Report::Broken(_) => true,
                        _ => false,
                    };
                    turn.reports.push(report);
                }
                Effect::Resolved(record) => {
                    turn.told += 1;
                    self.tell(record);
                }
                Effect::Admit(ticket) => {
                    let waker = self.lock().waiting.remove(&ticket);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
                Effect::FlushHint(route) => on(clients, route, Transport::flush_hint),
                Effect::Purge(route) => on(clients, route, Transport::purge),
                Effect::Retire(route) => self.retire(route),
                Effect::Rebuild(route) => {
                    self.lock().rebuilds.push(route);
                    self.driver.notify_one();
                }
                Effect::DlqFailed(failure) => self.log_dlq_failure(&failure),
                Effect::Spool(write) => turn.jobs.push(Job::Write(write)),
                Effect::Recall { events, bytes } => turn.jobs.push(Job::Recall { events, bytes }),
            }
        }
        if let Some(desk) = self.desk.as_ref().filter(|_| !turn.jobs.is_empty()) {
            desk.submit(&self.me, std::mem::take(&mut turn.jobs), &mut turn.reports);
        }
    }

    fn tell(&self, record: OutcomeRecord) {
        let panicked = self.on_outcome.as_ref().is_some_and(|on_outcome| {
            catch_unwind(AssertUnwindSafe(|| on_outcome(&record))).is_err()
        });
        let message_id = record.message_id;
        if self.outcomes.receiver_count() > 0 {
            // fails only when the last receiver has just gone
            let _ = self.outcomes.send(record);
        }
        self.told.fetch_add(1, Ordering::Release);
        if panicked {
            self.metrics.callback_panicked();
            tracing::error!(%message_id, "the outcome callback panicked; the outcome stands");
        }
    }

    fn retire(&self, route: Route) {
        let mut state = self.lock();
        let Some(client) = Arc::make_mut(&mut state.clients).of_mut(route).take() else { return };
        state.retired.push(client.clone());
        state.clients_version += 1;
        drop(state);
        tracing::warn!(route = route.as_str(), "the client is unusable and will be replaced");
        guarded(route, || client.transport.purge());
        self.driver.notify_one();
    }

    /// A transport panicked while it was asked for deliveries: it gives none any more. What it owes
    /// ends as possibly persisted, and the core has another made.
    pub(super) fn transport_broke(&self, broken: &Client) {
        let mut state = self.lock();
        let now = self.now();
        broken.break_off();
        let current = state.clients.of(broken.route).as_ref();
        if current.is_some_and(Client::is_broken) {
            state.core.client_broke(now, broken.route, &broken_failure());
        }
        self.pump_at(state, now);
    }

    fn log_dlq_failure(&self, failure: &DlqFailure) {
        tracing::warn!(
            topic = %failure.topic,
            partition = failure.partition,
            offset = failure.offset,
            thread = %failure.thread,
            trace_id = %failure.trace_id,
            dlq_topic = %self.config.dlq.topic,
            attempt = failure.attempt,
            code = failure.code,
            reason = %failure.reason,
            persistence = failure.persistence.as_str(),
            will_retry = failure.will_retry,
            "a dead-letter attempt failed"
        );
    }
}

/// Tells the core what became of its effects. What goes back to the head of a queue goes back
/// in reverse order.
fn take_reports(core: &mut Core, now: Duration, reports: &mut Vec<Report>) {
    for report in reports.iter() {
        if let Report::Submitted(attempt) | Report::Broken(attempt) = report {
            core.submitted(now, *attempt);
        }
    }
    let first = reports.iter().position(|r| matches!(r, Report::Spool(_)));
    for report in reports.split_off(first.unwrap_or(reports.len())) {
        // the spool's answers come last of a batch, and in order
        if let Report::Spool(done) = report {
            done.tell(core, now);
        }
    }
    for report in reports.drain(..).rev() {
        match report {
            Report::Submitted(_) | Report::Spool(_) => {}
            Report::Broken(attempt) => {
                core.delivered(now, &broken_delivery(attempt));
            }
            Report::Refused(attempt, refused) => core.refused(now, attempt, &refused),
            Report::HandedBack(attempt) => core.handed_back(now, attempt),
        }
    }
}

/// Nobody knows what a client did before it panicked.
fn broken_failure() -> Failure {
    Failure::new(FAILED, ErrorClass::Fatal, "the transport panicked; it is replaced")
}

fn broken_delivery(attempt: AttemptId) -> Delivery {
    Delivery {
        attempt,
        persistence: Persistence::Possibly,
        partition: -1,
        offset: -1,
        result: Err(broken_failure()),
    }
}

/// Calls a transport; a panic in it is told and goes no further.
fn guarded<T>(route: Route, call: impl FnOnce() -> T) -> Option<T> {
    let called = catch_unwind(AssertUnwindSafe(call)).ok();
    if called.is_none() {
        tracing::error!(route = route.as_str(), "the transport panicked");
    }
    called
}

fn on(
    clients: &PerRoute<Option<Client>>,
    route: Route,
    act: impl FnOnce(&(dyn Transport + 'static)),
) {
    if let Some(client) = clients.of(route) {
        guarded(route, || act(client.transport.as_ref()));
    }
}

fn hand_to(client: Option<&Client>, hand_over: HandOver, skip: bool) -> Report {
    let attempt = hand_over.attempt;
    let Some(client) = client.filter(|_| !skip) else { return Report::HandedBack(attempt) };
    // counted first: the delivery may come before `submit` has returned
    client.open.fetch_add(1, Ordering::AcqRel);
    match guarded(client.route, || client.transport.submit(hand_over.into_record())) {
        Some(Ok(())) => Report::Submitted(attempt),
        Some(Err(refused)) => {
            client.open.fetch_sub(1, Ordering::AcqRel);
            Report::Refused(attempt, refused)
        }
        None => {
            client.open.fetch_sub(1, Ordering::AcqRel);
            Report::Broken(attempt)
        }
    }
}
