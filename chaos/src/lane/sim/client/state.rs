//! What the client knows: queues, batches, sequences, who leads, and what is owed to the caller.
//!
//! No I/O happens here. The tasks next door ask what to send and tell what came back, so that every
//! decision about a record is taken under one lock, and a claim about it can never race a write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use dashproof_reference::core::{Delivery, ErrorClass, Failure, Persistence, Record, Refused};
use tokio::time::{Duration, Instant};

use super::{BATCH_MAX, Config, codes, partitioner, wire};

/// librdkafka's `queue.buffering.max.messages`.
const QUEUE_MAX: usize = 100_000;
/// Bytes around a record on the wire at most: librdkafka's own figure for format v2.
pub(super) const RECORD_OVERHEAD: usize = 36;
/// First and longest pause before something is tried again inside an attempt.
pub(super) const BACKOFF: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(1));

/// Exponential pause with a fifth of jitter, after `tries` failures before this one.
pub(super) fn backoff(tries: u32, rng: &mut fastrand::Rng) -> Duration {
    let (first, most) = BACKOFF;
    let pause = first.saturating_mul(1 << tries.min(8)).min(most);
    pause.mul_f64(0.8 + 0.2 * rng.f64()).max(first)
}

/// A record that was taken and not yet delivered.
pub(super) struct Pending {
    pub(super) record: Record,
    deadline: Instant,
    linger_until: Instant,
    bytes: usize,
}

/// Records that go out together, under one base sequence, until they are answered.
pub(super) struct Batch {
    pub(super) records: Vec<Pending>,
    pub(super) encoded: Bytes,
    pub(super) base_sequence: i32,
    pub(super) stage: Stage,
    /// A transmission that no answer settled: the batch may be in the log.
    pub(super) doubt: bool,
    pub(super) resends: u32,
}

impl Batch {
    /// The claim if it ended now.
    pub(super) fn persistence(&self) -> Persistence {
        if self.doubt || matches!(self.stage, Stage::Sent { .. }) {
            Persistence::Possibly
        } else {
            Persistence::Not
        }
    }
}

/// Where a batch is.
pub(super) enum Stage {
    /// Not on the way; goes out when its time has come.
    Resend { not_before: Instant },
    /// Handed to a connection, wholly or in part.
    Sent { broker: i32, connection: u64, correlation: i32 },
}

impl Stage {
    /// The connection that it is on.
    pub(super) fn connection(&self) -> Option<u64> {
        match self {
            Self::Sent { connection, .. } => Some(*connection),
            Self::Resend { .. } => None,
        }
    }
}

/// One partition: at most one batch is on the way.
#[derive(Default)]
pub(super) struct Partition {
    pub(super) leader: Option<i32>,
    pub(super) queue: VecDeque<Pending>,
    pub(super) batch: Option<Batch>,
    pub(super) next_sequence: i32,
}

impl Partition {
    fn has_work(&self) -> bool {
        self.batch.is_some() || !self.queue.is_empty()
    }

    /// Takes a batch apart that is certainly in no log; its records go first again.
    pub(super) fn dissolve(&mut self, batch: Batch) {
        if batch.base_sequence >= 0 {
            self.next_sequence = batch.base_sequence;
        }
        for pending in batch.records.into_iter().rev() {
            self.queue.push_front(pending);
        }
    }
}

/// The producer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Idempotence is off.
    Off,
    /// To be asked for; `prior` is bumped where there was one.
    Wanted { prior: Option<(i64, i16)> },
    /// In use.
    Held { pid: i64, epoch: i16 },
}

impl Identity {
    /// Producer id and epoch, when there is one.
    pub(super) fn held(&self) -> Option<(i64, i16)> {
        match *self {
            Self::Held { pid, epoch } => Some((pid, epoch)),
            Self::Off | Self::Wanted { .. } => None,
        }
    }
}

/// What a broker's connection should do now.
pub(super) enum Next {
    /// Write this at once: it counts as transmitted from here on.
    Send { partition: i32, records: Bytes },
    /// Nothing, until then.
    Wait(Option<Instant>),
}

/// Everything behind the lock.
pub(super) struct State {
    pub(super) config: Arc<Config>,
    pub(super) rng: fastrand::Rng,
    pub(super) brokers: BTreeMap<i32, (String, u16)>,
    pub(super) partitions: Vec<Partition>,
    /// Partitions the topic has by the last metadata; 0 while it is not known to exist.
    pub(super) known_partitions: usize,
    pub(super) metadata_stale: bool,
    pub(super) unassigned: VecDeque<Pending>,
    pub(super) identity: Identity,
    /// An epoch change is due: nothing is sent, answers are waited for until then.
    pub(super) drain_until: Option<Instant>,
    /// Connections to be given up: something on them was not answered in time.
    pub(super) suspects: BTreeSet<i32>,
    pub(super) fatal: Option<Arc<str>>,
    /// Shut down: nothing is taken any more.
    pub(super) closed: bool,
    outbox: VecDeque<Delivery>,
    waker: Option<Waker>,
    open: usize,
}

impl State {
    pub(super) fn new(config: Arc<Config>) -> Self {
        let identity =
            if config.idempotence { Identity::Wanted { prior: None } } else { Identity::Off };
        Self {
            rng: fastrand::Rng::with_seed(config.seed),
            config,
            brokers: BTreeMap::new(),
            partitions: Vec::new(),
            known_partitions: 0,
            metadata_stale: true,
            unassigned: VecDeque::new(),
            identity,
            drain_until: None,
            suspects: BTreeSet::new(),
            fatal: None,
            closed: false,
            outbox: VecDeque::new(),
            waker: None,
            open: 0,
        }
    }

    /// Takes a record, or says why not.
    pub(super) fn submit(&mut self, record: Record, now: Instant) -> Result<(), Refused> {
        let refuse = Refused::new;
        if self.closed {
            let reason = "the transport was shut down";
            return Err(refuse(codes::DESTROY, ErrorClass::Retryable, reason));
        }
        if let Some(fatal) = &self.fatal {
            return Err(refuse(codes::FATAL, ErrorClass::Retryable, fatal));
        }
        if record.topic != self.config.topic {
            let reason = format!("this client serves topic {} only", self.config.topic);
            return Err(refuse(codes::UNKNOWN_TOPIC, ErrorClass::Permanent, &reason));
        }
        let bytes = record.size() + RECORD_OVERHEAD;
        if bytes > self.config.max_message_bytes {
            let reason = format!("{bytes} bytes are over max_message_bytes");
            return Err(refuse(codes::MSG_SIZE_TOO_LARGE, ErrorClass::Permanent, &reason));
        }
        if self.open >= QUEUE_MAX {
            let reason = "the client's queue is full";
            return Err(refuse(codes::QUEUE_FULL, ErrorClass::Retryable, reason));
        }
        self.open += 1;
        let deadline = now + self.config.attempt_timeout;
        let linger_until = now + self.config.linger;
        self.unassigned.push_back(Pending { record, deadline, linger_until, bytes });
        self.assign();
        Ok(())
    }

    /// Gives unassigned records their partitions, once the topic is known.
    pub(super) fn assign(&mut self) {
        let Some(known) = self.partitions.get(..self.known_partitions).filter(|p| !p.is_empty())
        else {
            return;
        };
        let key = |pending: &Pending| pending.record.key.clone();
        let keys: Vec<Option<Bytes>> = self.unassigned.iter().map(key).collect();
        let rng = &mut self.rng;
        let chosen: Vec<usize> =
            keys.iter().map(|key| partitioner::choose(key.as_deref(), known, rng)).collect();
        for (index, pending) in chosen.into_iter().zip(self.unassigned.drain(..)) {
            if let Some(partition) = self.partitions.get_mut(index) {
                partition.queue.push_back(pending);
            }
        }
    }

    /// What the connection to `broker` should send now. A batch that is returned counts as
    /// transmitted under `correlation`.
    pub(super) fn next(
        &mut self,
        broker: i32,
        connection: u64,
        correlation: i32,
        now: Instant,
    ) -> Next {
        if self.drain_until.is_some() || self.fatal.is_some() {
            return Next::Wait(None);
        }
        let mut wait: Option<Instant> = None;
        let limit = self.config.max_message_bytes.min(BATCH_MAX);
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            if partition.leader != Some(broker) {
                continue;
            }
            let ready = match &partition.batch {
                Some(Batch { stage: Stage::Sent { .. }, .. }) => continue,
                Some(Batch { stage: Stage::Resend { not_before }, .. }) => *not_before,
                None => match due(partition, limit, now) {
                    Some(at) if self.identity.held().is_some() || !self.config.idempotence => at,
                    _ => continue,
                },
            };
            if ready > now {
                wait = Some(wait.map_or(ready, |wait| wait.min(ready)));
                continue;
            }
            let Some(batch) = form(partition, &self.identity, limit) else { continue };
            batch.stage = Stage::Sent { broker, connection, correlation };
            let records = batch.encoded.clone();
            return Next::Send { partition: i32::try_from(index).unwrap_or(-1), records };
        }
        Next::Wait(wait)
    }

    /// True when the connection to `broker` has, or will have, something to do.
    pub(super) fn wants(&self, broker: i32) -> bool {
        self.fatal.is_none()
            && self.partitions.iter().any(|p| p.leader == Some(broker) && p.has_work())
    }

    /// True when metadata should be asked for.
    pub(super) fn wants_metadata(&self) -> bool {
        let homeless = |p: &Partition| p.leader.is_none() && p.has_work();
        self.fatal.is_none()
            && (self.metadata_stale
                || !self.unassigned.is_empty()
                || self.partitions.iter().any(homeless))
    }

    /// True when a broker should be asked for metadata or a producer id.
    pub(super) fn wants_control(&self) -> bool {
        let identity = matches!(self.identity, Identity::Wanted { .. });
        self.wants_metadata() || (identity && self.fatal.is_none())
    }

    /// Delivers what ran out of time; returns when to look again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        self.expire_queues(now);
        self.expire_batches(now);
        self.finish_drain(now);
        let fronts = self.partitions.iter().flat_map(|p| {
            let batch = p.batch.as_ref().and_then(|batch| batch.records.first());
            batch.into_iter().chain(p.queue.front())
        });
        let deadlines = fronts.chain(self.unassigned.front()).map(|pending| pending.deadline);
        deadlines.chain(self.drain_until).min()
    }

    fn expire_queues(&mut self, now: Instant) {
        let queues = self.partitions.iter_mut().map(|partition| &mut partition.queue);
        let mut expired = Vec::new();
        for queue in queues.chain([&mut self.unassigned]) {
            while queue.front().is_some_and(|pending| pending.deadline <= now) {
                expired.extend(queue.pop_front());
            }
        }
        for pending in expired {
            self.fail(
                &pending,
                Persistence::Not,
                codes::failure(&self.config, codes::MSG_TIMED_OUT),
            );
        }
    }

    fn expire_batches(&mut self, now: Instant) {
        for index in 0..self.partitions.len() {
            let Some(partition) = self.partitions.get_mut(index) else { continue };
            let late = |batch: &mut Batch| batch.records.first().is_some_and(|p| p.deadline <= now);
            let Some(batch) = partition.batch.take_if(late) else { continue };
            let persistence = batch.persistence();
            if let Stage::Sent { broker, .. } = batch.stage {
                self.suspects.insert(broker);
            }
            if persistence == Persistence::Not {
                partition.dissolve(batch);
                self.expire_queues(now);
                continue;
            }
            self.end_batch(
                index,
                batch,
                persistence,
                &codes::failure(&self.config, codes::MSG_TIMED_OUT),
            );
            self.change_epoch(now);
        }
    }

    /// Delivers every record of a batch alike.
    pub(super) fn end_batch(
        &mut self,
        partition: usize,
        batch: Batch,
        persistence: Persistence,
        failure: &Failure,
    ) {
        let partition = i32::try_from(partition).unwrap_or(-1);
        for pending in batch.records {
            let result = Err(failure.clone());
            self.deliver(&pending, persistence, (partition, -1), result);
        }
    }

    /// Delivers a record that belongs to no batch.
    pub(super) fn fail(&mut self, pending: &Pending, persistence: Persistence, failure: Failure) {
        self.deliver(pending, persistence, (-1, -1), Err(failure));
    }

    /// The one place where an attempt ends.
    pub(super) fn deliver(
        &mut self,
        pending: &Pending,
        persistence: Persistence,
        (partition, offset): (i32, i64),
        result: Result<(), Failure>,
    ) {
        let attempt = pending.record.attempt;
        self.open = self.open.saturating_sub(1);
        self.outbox.push_back(Delivery { attempt, persistence, partition, offset, result });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The next delivery, oldest first.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Delivery> {
        if let Some(delivery) = self.outbox.pop_front() {
            return Poll::Ready(delivery);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends every lingering.
    pub(super) fn flush(&mut self, now: Instant) {
        let queues = self.partitions.iter_mut().map(|partition| &mut partition.queue);
        for pending in queues.chain([&mut self.unassigned]).flatten() {
            pending.linger_until = pending.linger_until.min(now);
        }
    }
}

/// When the queue's next batch is due; `None` without records.
fn due(partition: &Partition, limit: usize, now: Instant) -> Option<Instant> {
    let front = partition.queue.front()?;
    let bytes: usize = partition.queue.iter().map(|pending| pending.bytes).sum();
    Some(if bytes >= limit { now } else { front.linger_until })
}

/// The batch to send: the one to be resent, or a new one from the queue, as large as allowed.
fn form<'p>(
    partition: &'p mut Partition,
    identity: &Identity,
    limit: usize,
) -> Option<&'p mut Batch> {
    if partition.batch.is_some() {
        return partition.batch.as_mut();
    }
    let (mut bytes, mut count) = (0, 0);
    for pending in &partition.queue {
        bytes += pending.bytes;
        if count > 0 && bytes > limit {
            break;
        }
        count += 1;
    }
    let records: Vec<Pending> = partition.queue.drain(..count).collect();
    let base_sequence = if identity.held().is_some() { partition.next_sequence } else { -1 };
    // Encoding cannot fail: the sizes were checked when the records were taken.
    let encoded = wire::batch(&records, identity, base_sequence).unwrap_or_default();
    if base_sequence >= 0 {
        let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
        partition.next_sequence = base_sequence.wrapping_add(count) & i32::MAX;
    }
    let stage = Stage::Resend { not_before: Instant::now() };
    let batch = Batch { records, encoded, base_sequence, stage, doubt: false, resends: 0 };
    Some(partition.batch.insert(batch))
}
