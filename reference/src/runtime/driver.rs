//! The one task of a producer: deliveries and timers, and the end of the clients.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::shared::{Client, Shared};
use crate::core::{Delivery, Route};

/// Deliveries taken between two looks at the core.
const BATCH: usize = 512;
/// How long late deliveries are awaited after everything is resolved.
const LATE_GRACE: Duration = Duration::from_secs(2);
/// Time a client gets to shut down.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Runs until the producer is closed or abandoned and its clients are gone.
pub(super) async fn drive(shared: Arc<Shared>) {
    let (clients, ends, rebuilds) = (Vec::new(), Vec::new(), Vec::new());
    let mut driver = Driver { shared, clients, version: 0, ends, rebuilds };
    let mut deliveries = Vec::with_capacity(BATCH);
    let mut over = None;
    loop {
        driver.rebuild();
        let timer = driver.refresh();
        if driver.shared.lock().core.is_closed() {
            let until = *over.get_or_insert_with(|| Instant::now() + LATE_GRACE);
            if Instant::now() >= until || !driver.clients.iter().any(Client::owes) {
                break;
            }
        }
        let timer = timer.map(|at| driver.shared.instant(at));
        driver.wait(timer.into_iter().chain(over).min(), &mut deliveries).await;
        let full = deliveries.len() >= BATCH;
        // foreign code that panics under it must not end the one task that keeps the deadlines
        let stepped = catch_unwind(AssertUnwindSafe(|| driver.step(&mut deliveries)));
        if stepped.is_err() {
            deliveries.clear();
        }
        if full {
            // a flood of deliveries must not starve the application's own tasks
            tokio::task::yield_now().await;
        }
    }
    driver.end().await;
}

struct Driver {
    shared: Arc<Shared>,
    clients: Vec<Client>,
    version: u64,
    /// Clients that are shutting down.
    ends: Vec<JoinHandle<()>>,
    /// Clients that are being made.
    rebuilds: Vec<JoinHandle<()>>,
}

impl Driver {
    /// Has clients made anew, beside everything else: a slow one holds nothing up.
    fn rebuild(&mut self) {
        let routes = std::mem::take(&mut self.shared.lock().rebuilds);
        for route in routes {
            let shared = Arc::clone(&self.shared);
            self.rebuilds.push(tokio::spawn(async move { shared.rebuild(route).await }));
        }
        self.rebuilds.retain(|task| !task.is_finished());
    }

    /// Takes over changed clients; says when time alone asks for the next step.
    fn refresh(&mut self) -> Option<Duration> {
        let mut state = self.shared.lock();
        let before = state.retired.len();
        let mut done = Vec::new();
        state.retired.retain(|client| {
            let owes = client.owes();
            if !owes {
                done.push(client.clone());
            }
            owes
        });
        if state.retired.len() != before {
            state.clients_version += 1;
        }
        if state.clients_version != self.version {
            self.version = state.clients_version;
            let current = [Route::Main, Route::Dlq].into_iter();
            self.clients = current.filter_map(|r| state.clients.of(r).clone()).collect();
            self.clients.extend(state.retired.iter().cloned());
        }
        let timer = state.core.next_timeout();
        state.timer = timer;
        drop(state);
        for client in done {
            self.ends.push(tokio::spawn(async move { shut_down(&client).await }));
        }
        timer
    }

    /// Waits for deliveries, a call, or the time. Deliveries come first: what they tell must not be
    /// overtaken by a deadline that they met.
    async fn wait(&self, timer: Option<Instant>, deliveries: &mut Vec<Delivery>) {
        let sleep = async {
            match timer {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = poll_fn(|cx| self.collect(cx, deliveries)) => {}
            () = self.shared.driver.notified() => {}
            () = sleep => {}
        }
    }

    fn collect(&self, cx: &mut Context<'_>, deliveries: &mut Vec<Delivery>) -> Poll<()> {
        for client in self.clients.iter().filter(|client| !client.is_broken()) {
            while deliveries.len() < BATCH {
                let poll = AssertUnwindSafe(|| client.transport.poll_delivery(cx));
                match catch_unwind(poll) {
                    Ok(Poll::Ready(delivery)) => {
                        client.open.fetch_sub(1, Ordering::AcqRel);
                        deliveries.push(delivery);
                    }
                    Ok(Poll::Pending) => break,
                    Err(_) => {
                        self.shared.transport_broke(client);
                        break;
                    }
                }
            }
        }
        if deliveries.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    fn step(&self, deliveries: &mut Vec<Delivery>) {
        let mut state = self.shared.lock();
        let now = self.shared.now();
        deliveries.retain(|delivery| !state.core.delivered(now, delivery));
        state.core.handle_timeout(now);
        self.shared.pump_at(state, now);
        for delivery in deliveries.drain(..) {
            tracing::error!(
                attempt = delivery.attempt.0,
                "a transport delivered an attempt that is not open; ignored"
            );
        }
    }

    /// Ends the clients and the spool off the application's path.
    async fn end(&mut self) {
        if let Some(desk) = &self.shared.desk {
            desk.end(&self.shared.me);
            desk.ended().await;
        }
        for task in self.rebuilds.drain(..) {
            task.abort();
            // made in time or not at all: what was made is shut down with the others
            let _ = task.await;
        }
        self.refresh();
        for client in self.clients.drain(..) {
            shut_down(&client).await;
        }
        for end in self.ends.drain(..) {
            // a client that panicked while it shut down is gone all the same
            let _ = end.await;
        }
    }
}

async fn shut_down(client: &Client) {
    client.transport.shutdown(SHUTDOWN).await;
    tracing::debug!(route = client.route.as_str(), "a client was shut down");
}

impl Drop for Driver {
    /// Also when the runtime drops the task: the counts outlive it.
    fn drop(&mut self) {
        self.shared.metrics.part(&self.shared);
    }
}
