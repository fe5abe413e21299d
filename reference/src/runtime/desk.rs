//! The spool's desk: entries queue here and are written in groups, off the async path.
//!
//! At most one worker is at it. While it waits for a sync, whatever comes up queues and shares the
//! next one. The worker is a task of tokio's blocking pool, or, where everything must happen in
//! one order (a simulation), whoever brings the work.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::pump::Report;
use super::shared::Shared;
use crate::core::{Core, Recalled, SpoolFault, SpoolTicket, SpoolWrite};
use crate::spool::{self, Spool, SpoolStatus};

/// Entries in one write; far more bytes than a sync costs time.
const BATCH_BYTES: usize = 4 << 20;

/// Something for the spool to do.
pub(super) enum Job {
    Write(SpoolWrite),
    Recall { events: usize, bytes: usize },
}

/// What came of it.
pub(super) enum Done {
    Written(SpoolTicket, Result<crate::core::SpoolId, SpoolFault>),
    Recalled(Recalled),
}

impl Done {
    pub(super) fn tell(self, core: &mut Core, now: std::time::Duration) {
        match self {
            Self::Written(ticket, result) => core.spooled(now, ticket, result),
            Self::Recalled(recalled) => core.recalled(now, recalled),
        }
    }
}

struct Inner {
    /// Away while a worker uses it.
    spool: Option<Spool>,
    jobs: VecDeque<Job>,
    busy: bool,
    /// Nothing is to be expected any more: the spool goes when the queue is empty.
    ending: bool,
    status: SpoolStatus,
}

/// See the module.
pub(super) struct Desk {
    inner: Mutex<Inner>,
    /// `None`: jobs are done by whoever brings them.
    pool: Option<Handle>,
    idle: Notify,
}

impl Desk {
    pub(super) fn new(spool: Spool, pool: Option<Handle>) -> Self {
        let status = spool.status();
        let inner =
            Inner { spool: Some(spool), jobs: VecDeque::new(), busy: false, ending: false, status };
        Self { inner: Mutex::new(inner), pool, idle: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // nothing in a locked section calls foreign code
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> SpoolStatus {
        self.lock().status.clone()
    }

    /// Takes jobs. What is done at once is put into `reports`; the rest is told to the core by the
    /// worker.
    pub(super) fn submit(&self, owner: &Weak<Shared>, jobs: Vec<Job>, reports: &mut Vec<Report>) {
        let mut inner = self.lock();
        inner.jobs.extend(jobs);
        if inner.busy {
            return;
        }
        inner.busy = true;
        drop(inner);
        self.start(owner, reports);
    }

    /// Begins to work; `busy` is set.
    fn start(&self, owner: &Weak<Shared>, reports: &mut Vec<Report>) {
        match (&self.pool, owner.upgrade()) {
            (Some(pool), Some(owner)) => {
                pool.spawn_blocking(move || work(&owner));
            }
            _ => {
                while let Some(done) = self.next_group() {
                    reports.extend(done.into_iter().map(Report::Spool));
                }
            }
        }
    }

    /// Does the next group of jobs; `None` when there are none, and then nobody is at it.
    fn next_group(&self) -> Option<Vec<Done>> {
        let mut inner = self.lock();
        let mut group = take_group(&mut inner.jobs);
        while group.is_empty() {
            let gone = if inner.ending { inner.spool.take() } else { None };
            let Some(gone) = gone else {
                inner.busy = false;
                drop(inner);
                self.idle.notify_waiters();
                return None;
            };
            drop(inner);
            let_go(gone);
            inner = self.lock();
            group = take_group(&mut inner.jobs);
        }
        let spool = inner.spool.take();
        drop(inner);
        let (spool, done) = match spool {
            Some(mut spool) => {
                let done = perform(&mut spool, group);
                (Some(spool), done)
            }
            None => (None, group.into_iter().map(refuse).collect()),
        };
        let mut inner = self.lock();
        if let Some(spool) = &spool {
            inner.status = spool.status();
        }
        inner.spool = spool;
        Some(done)
    }

    /// The core is closed: the spool is let go as soon as nothing is left to do. Ends that it could
    /// not write are tried once more before.
    pub(super) fn end(&self, owner: &Weak<Shared>) {
        let mut inner = self.lock();
        inner.ending = true;
        if inner.busy {
            return;
        }
        if inner.spool.as_ref().is_some_and(Spool::is_owing) {
            inner.busy = true;
            drop(inner);
            // there are no jobs, so there is nothing to report
            self.start(owner, &mut Vec::new());
            return;
        }
        let gone = inner.spool.take();
        drop(inner);
        drop(gone);
    }

    /// Ends when the spool was let go.
    pub(super) async fn ended(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if !self.lock().busy {
                return;
            }
            idle.await;
        }
    }
}

/// The worker on the blocking pool.
fn work(owner: &Arc<Shared>) {
    let Some(desk) = &owner.desk else { return };
    while let Some(done) = desk.next_group() {
        let mut state = owner.lock();
        let now = owner.now();
        for done in done {
            done.tell(&mut state.core, now);
        }
        owner.pump_at(state, now);
    }
}

fn let_go(mut spool: Spool) {
    if let Err(error) = spool.settle() {
        tracing::error!(%error, "events that have ended may be sent again after the next open");
    }
}

/// Jobs that share one sync, or one recall.
pub(super) fn take_group(jobs: &mut VecDeque<Job>) -> Vec<Job> {
    let mut group = Vec::new();
    let mut bytes = 0;
    while let Some(job) = jobs.front() {
        let size = match job {
            Job::Recall { .. } => usize::MAX,
            Job::Write(write) => spool::len_of(&write.entry),
        };
        bytes = size.saturating_add(bytes);
        if !group.is_empty() && bytes > BATCH_BYTES {
            break;
        }
        group.extend(jobs.pop_front());
        if bytes > BATCH_BYTES {
            break;
        }
    }
    group
}

fn perform(spool: &mut Spool, group: Vec<Job>) -> Vec<Done> {
    let mut tickets = Vec::with_capacity(group.len());
    let mut entries = Vec::with_capacity(group.len());
    for job in group {
        match job {
            Job::Recall { events, bytes } => return vec![recall(spool, events, bytes)],
            Job::Write(SpoolWrite { ticket, entry }) => {
                tickets.push(ticket);
                entries.push(entry);
            }
        }
    }
    let answers = spool.write(&entries);
    tickets.into_iter().zip(answers).map(|(t, answer)| Done::Written(t, answer)).collect()
}

fn recall(spool: &mut Spool, events: usize, bytes: usize) -> Done {
    let events = spool.take(events, bytes).inspect_err(|error| {
        tracing::error!(%error, "the spool gives nothing back; it is tried again");
    });
    let (failed, left) = (events.is_err(), spool.pending());
    let next_bytes = spool.next_bytes().unwrap_or_default();
    Done::Recalled(Recalled { events: events.unwrap_or_default(), left, next_bytes, failed })
}

/// The spool is gone.
fn refuse(job: Job) -> Done {
    match job {
        Job::Write(write) => Done::Written(write.ticket, Err(SpoolFault::Failed)),
        Job::Recall { .. } => Done::Recalled(Recalled::default()),
    }
}
