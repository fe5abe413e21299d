//! What becomes of a batch: answers, lost connections, purges, and the change of epoch.

use std::collections::BTreeSet;
use std::sync::Arc;

use dashproof_reference::core::{ErrorClass, Failure, Persistence};
use tokio::time::{Duration, Instant};

use super::codes;
use super::state::{Batch, Identity, Partition, Stage, State, backoff};

/// How long healthy connections may still answer before an epoch change gives their batches up.
const DRAIN: Duration = Duration::from_millis(200);

/// Metadata of the topic as a broker told it.
pub(super) struct TopicView {
    pub(super) error: i16,
    /// Leader of each partition that was listed.
    pub(super) leaders: Vec<(usize, Option<i32>)>,
}

impl State {
    fn take_sent(&mut self, index: usize, connection: u64, correlation: i32) -> Option<Batch> {
        let is_it = |batch: &mut Batch| {
            matches!(batch.stage, Stage::Sent { connection: conn, correlation: corr, .. }
                if conn == connection && corr == correlation)
        };
        self.partitions.get_mut(index)?.batch.take_if(is_it)
    }

    /// The broker answered. An answer to a batch that was given up changes nothing.
    pub(super) fn answered(
        &mut self,
        (partition, connection, correlation): (i32, u64, i32),
        (code, base_offset): (i16, i64),
        now: Instant,
    ) {
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let Some(batch) = self.take_sent(index, connection, correlation) else { return };
        let code = i32::from(code);
        let duplicate = code == codes::DUPLICATE_SEQUENCE && self.config.idempotence;
        if code == 0 || duplicate {
            self.succeed(index, &batch, if duplicate { -1 } else { base_offset });
        } else {
            self.refused(index, batch, code, now);
        }
        self.finish_drain(now);
    }

    /// acks=0: the request is out, and nobody will ever say more.
    pub(super) fn written(&mut self, partition: i32, connection: u64, correlation: i32) {
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        if self.config.acks == 0
            && let Some(batch) = self.take_sent(index, connection, correlation)
        {
            for pending in &batch.records {
                self.deliver(pending, Persistence::Possibly, (partition, -1), Ok(()));
            }
        }
    }

    fn succeed(&mut self, index: usize, batch: &Batch, base_offset: i64) {
        let partition = i32::try_from(index).unwrap_or(-1);
        for (pending, i) in batch.records.iter().zip(0_i64..) {
            let offset = if base_offset < 0 { -1 } else { base_offset + i };
            self.deliver(pending, Persistence::Persisted, (partition, offset), Ok(()));
        }
    }

    fn refused(&mut self, index: usize, mut batch: Batch, code: i32, now: Instant) {
        batch.stage = Stage::Resend { not_before: now };
        let first = batch.resends == 0 && !batch.doubt;
        batch.doubt |= codes::may_follow_append(code);
        if codes::stale_metadata(code) {
            self.metadata_stale = true;
        }
        let class = (self.config.classify)(code);
        let again = if self.config.idempotence {
            class == ErrorClass::Retryable
        } else {
            codes::resent_without_idempotence(code)
        };
        if again {
            return self.resend_later(index, batch, now);
        }
        if self.config.idempotence && code == codes::UNKNOWN_PRODUCER_ID && first {
            // Nothing of it was appended and nothing is unanswered: a new id loses no guarantee.
            if let Some(partition) = self.partitions.get_mut(index) {
                partition.dissolve(batch);
            }
            return self.change_epoch(now);
        }
        let failure = codes::failure(&self.config, code);
        if self.config.idempotence && class == ErrorClass::Fatal {
            let reason = failure.reason.clone();
            let persistence = batch.persistence().max(codes::fatal_persistence(code));
            self.end_batch(index, batch, persistence, &failure);
            return self.fail_for_good(&reason);
        }
        let persistence = batch.persistence();
        if persistence == Persistence::Not && batch.base_sequence >= 0 {
            // Nothing was appended, and nothing else is on the way: no gap in the sequence.
            if let Some(partition) = self.partitions.get_mut(index) {
                partition.next_sequence = batch.base_sequence;
            }
        } else {
            self.change_epoch(now);
        }
        self.end_batch(index, batch, persistence, &failure);
    }

    fn resend_later(&mut self, index: usize, mut batch: Batch, now: Instant) {
        let not_before = now + backoff(batch.resends, &mut self.rng);
        batch.resends += 1;
        batch.stage = Stage::Resend { not_before };
        if let Some(partition) = self.partitions.get_mut(index) {
            partition.batch = Some(batch);
        }
    }

    /// Not a byte of this request was written: it was no transmission.
    pub(super) fn unwritten(&mut self, partition: i32, connection: u64, corr: i32, now: Instant) {
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        if let Some(batch) = self.take_sent(index, connection, corr) {
            self.resend_later(index, batch, now);
        }
    }

    /// A connection ended; what was on it is unanswered for good.
    pub(super) fn lost(&mut self, connection: u64, now: Instant) {
        self.metadata_stale = true;
        for index in 0..self.partitions.len() {
            let on_it = |batch: &mut Batch| batch.stage.connection() == Some(connection);
            let Some(partition) = self.partitions.get_mut(index) else { continue };
            let Some(mut batch) = partition.batch.take_if(on_it) else { continue };
            batch.doubt = true;
            if self.config.idempotence {
                self.resend_later(index, batch, now);
            } else {
                let failure = codes::failure(&self.config, codes::TRANSPORT);
                self.end_batch(index, batch, Persistence::Possibly, &failure);
            }
        }
        self.finish_drain(now);
    }

    /// New metadata. Partitions never go away; while the topic is unknown they have no leader.
    pub(super) fn learned(&mut self, view: &TopicView) {
        let code = i32::from(view.error);
        if codes::topic_is_forbidden(code) {
            self.fail_queues(code);
        }
        let count = view.leaders.iter().map(|(index, _)| index + 1).max().unwrap_or(0);
        while self.partitions.len() < count {
            self.partitions.push(Partition::default());
        }
        self.known_partitions = count;
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            let listed = view.leaders.iter().find(|(listed, _)| *listed == index);
            partition.leader = listed.and_then(|(_, leader)| *leader);
        }
        self.assign();
    }

    fn fail_queues(&mut self, code: i32) {
        let queues = self.partitions.iter_mut().map(|partition| &mut partition.queue);
        let given_up: Vec<_> =
            queues.chain([&mut self.unassigned]).flat_map(std::mem::take).collect();
        for pending in given_up {
            self.fail(&pending, Persistence::Not, codes::failure(&self.config, code));
        }
    }

    /// A producer id, or its next epoch: sequences start anew.
    pub(super) fn identified(&mut self, pid: i64, epoch: i16) {
        self.identity = Identity::Held { pid, epoch };
        for partition in &mut self.partitions {
            partition.next_sequence = 0;
        }
    }

    /// Begins a change of epoch: nothing more is sent until all that is on the way is answered or
    /// given up.
    pub(super) fn change_epoch(&mut self, now: Instant) {
        if self.config.idempotence && self.fatal.is_none() && self.drain_until.is_none() {
            self.drain_until = Some(now + DRAIN);
        }
    }

    /// Ends the drain once nothing is on the way, or its time is up: every unanswered record is
    /// delivered as possibly persisted before another epoch is asked for.
    pub(super) fn finish_drain(&mut self, now: Instant) {
        let Some(until) = self.drain_until else { return };
        let sent =
            |p: &Partition| matches!(&p.batch, Some(Batch { stage: Stage::Sent { .. }, .. }));
        if now < until && self.partitions.iter().any(sent) {
            return;
        }
        self.drain_until = None;
        self.give_up_batches(&codes::failure(&self.config, codes::TIMED_OUT));
        if let Some(prior) = self.identity.held() {
            self.identity = Identity::Wanted { prior: Some(prior) };
        }
    }

    /// Delivers the unanswered batches and puts the others back into their queues.
    fn give_up_batches(&mut self, failure: &Failure) {
        for index in 0..self.partitions.len() {
            let Some(partition) = self.partitions.get_mut(index) else { continue };
            let Some(batch) = partition.batch.take() else { continue };
            match batch.persistence() {
                Persistence::Not => partition.dissolve(batch),
                persistence => self.end_batch(index, batch, persistence, failure),
            }
        }
    }

    /// Delivers everything that is open.
    pub(super) fn purge(&mut self, now: Instant) {
        self.give_up_everything(codes::PURGE_INFLIGHT, codes::PURGE_QUEUE, now);
    }

    fn give_up_everything(&mut self, transmitted: i32, queued: i32, now: Instant) {
        let unsettled = |p: &Partition| {
            p.batch.as_ref().is_some_and(|batch| batch.persistence() != Persistence::Not)
        };
        if self.partitions.iter().any(unsettled) {
            self.suspects.extend(self.sent_to());
            self.change_epoch(now);
        }
        self.give_up_batches(&codes::failure(&self.config, transmitted));
        self.fail_queues(queued);
        self.finish_drain(now);
    }

    fn sent_to(&self) -> BTreeSet<i32> {
        let batches = self.partitions.iter().filter_map(|partition| partition.batch.as_ref());
        batches
            .filter_map(|batch| match batch.stage {
                Stage::Sent { broker, .. } => Some(broker),
                Stage::Resend { .. } => None,
            })
            .collect()
    }

    /// The client is unusable from now on.
    pub(super) fn fail_for_good(&mut self, reason: &Arc<str>) {
        self.drain_until = None;
        self.fatal = Some(reason.clone());
        self.give_up_everything(codes::PURGE_INFLIGHT, codes::PURGE_QUEUE, Instant::now());
    }
}
