//! The producer's state machine: all sub-machines put together.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::attempts::Attempts;
use super::close::Closing;
use super::dlq::DeadLetters;
use super::effect::{Effect, OutcomeRecord};
use super::flush::Flushes;
use super::ledger::{Counters, Gauges, PerRoute};
use super::limiter::{Allowance, Limiter};
use super::line::Line;
use super::link::Link;
use super::recovered::Recall;
use super::retry::Policy;
use super::sequence::Threads;
use super::store::{Key, Store};
use super::{Cause, MessageId, Outcome, Route};
use crate::config::{Acks, Order, ProducerConfig, WhenFull};

/// What a core draws on that is not in the settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Seed of the jitter.
    pub seed: u64,
    /// Wall time of the producer's own zero, microseconds since the Unix epoch.
    pub wall_us: i64,
    /// Sequences start at `epoch · 2^40 + 1`.
    pub epoch: u32,
}

/// The settings the core looks at on every step, ready for use.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(super) struct Rules {
    pub(super) topic: Arc<str>,
    pub(super) dlq_topic: Arc<str>,
    pub(super) consumer: Arc<str>,
    pub(super) delivery_timeout: Duration,
    pub(super) max_in_flight: usize,
    pub(super) max_message_bytes: usize,
    pub(super) max_events: usize,
    pub(super) max_bytes: usize,
    pub(super) reject_when_full: bool,
    pub(super) acks_0: bool,
    pub(super) strict: bool,
    pub(super) dlq: bool,
    pub(super) spool: bool,
    pub(super) dlq_timeout: Duration,
    pub(super) payload_cut: usize,
    pub(super) max_record_bytes: usize,
    pub(super) policy: PerRoute<Policy>,
}

impl Rules {
    fn new(config: &ProducerConfig) -> Self {
        let (retry, dlq) = (&config.retry, &config.dlq);
        let retry_possibly_persisted = !config.idempotence || retry.retry_possibly_persisted;
        let policy = PerRoute {
            main: Policy {
                max_attempts: retry.max_attempts,
                base: retry.base,
                cap: retry.cap,
                jitter: retry.jitter,
                retry_possibly_persisted,
            },
            dlq: Policy {
                max_attempts: dlq.max_attempts,
                base: dlq.base,
                cap: dlq.cap,
                jitter: dlq.jitter,
                retry_possibly_persisted,
            },
        };
        Self {
            topic: Arc::from(config.topic.as_str()),
            dlq_topic: Arc::from(dlq.topic.as_str()),
            consumer: Arc::from(format!("producer:{}", config.tenant)),
            delivery_timeout: config.delivery_timeout,
            max_in_flight: config.max_in_flight,
            max_message_bytes: config.max_message_bytes,
            max_events: config.queue.max_events,
            max_bytes: config.queue.max_bytes,
            reject_when_full: config.queue.when_full == WhenFull::Reject,
            acks_0: config.acks == Acks::None,
            strict: config.order == Order::Strict,
            dlq: dlq.enabled,
            spool: config.spool.directory.is_some(),
            dlq_timeout: dlq.timeout,
            payload_cut: dlq.payload_cut,
            max_record_bytes: dlq.max_record_bytes,
            policy,
        }
    }
}

/// The producer without its I/O. Every call takes the time since the producer's origin; every call
/// may leave effects, which [`Core::poll`] hands out in order.
#[derive(Debug)]
pub struct Core {
    pub(super) rules: Rules,
    pub(super) wall_us: i64,
    pub(super) now: Duration,
    pub(super) rng: fastrand::Rng,
    pub(super) threads: Threads,
    pub(super) limiter: Limiter,
    pub(super) line: Line,
    pub(super) store: Store,
    pub(super) attempts: Attempts,
    /// First attempts in acceptance order.
    pub(super) fifo: VecDeque<Key>,
    /// Events whose back-off is over, and parked ones whose turn has come: before the first.
    pub(super) due: VecDeque<Key>,
    pub(super) back_offs: BTreeSet<(Duration, Key)>,
    pub(super) dead_letters: DeadLetters,
    pub(super) links: PerRoute<Link>,
    pub(super) flushes: Flushes,
    pub(super) closing: Closing,
    pub(super) recall: Recall,
    /// Entries that the spool has not answered.
    pub(super) spool_open: usize,
    pub(super) counters: Counters,
    pub(super) effects: VecDeque<Effect>,
    /// Outcomes that were put into `effects`.
    pub(super) resolved: u64,
}

impl Core {
    /// A running producer with nothing in it. The settings are taken as valid.
    #[must_use]
    pub fn new(config: &ProducerConfig, origin: Origin) -> Self {
        let limit = &config.rate_limit;
        Self {
            rules: Rules::new(config),
            wall_us: origin.wall_us,
            now: Duration::ZERO,
            rng: fastrand::Rng::with_seed(origin.seed),
            threads: Threads::new(origin.epoch),
            limiter: Limiter::new(limit.rate, limit.burst, &config.tenant),
            line: Line::default(),
            store: Store::new(),
            attempts: Attempts::default(),
            fifo: VecDeque::new(),
            due: VecDeque::new(),
            back_offs: BTreeSet::new(),
            dead_letters: DeadLetters::new(config.dlq.max_concurrent),
            links: PerRoute { main: Link::new(), dlq: Link::new() },
            flushes: Flushes::default(),
            closing: Closing::new(config.spool.directory.is_some()),
            recall: Recall::default(),
            spool_open: 0,
            counters: Counters::default(),
            effects: VecDeque::new(),
            resolved: 0,
        }
    }

    /// Everything counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What is so now.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            queue_events: self.store.len() as u64,
            queue_bytes: self.store.bytes() as u64,
            open_attempts: PerRoute {
                main: self.links.main.open as u64,
                dlq: self.links.dlq.open as u64,
            },
        }
    }

    /// Rate-limit counts by tenant.
    pub fn allowances(&self) -> impl Iterator<Item = (&Arc<str>, Allowance)> {
        self.limiter.counts()
    }

    /// Outcomes put into effects so far: a shell that has told as many has told them all.
    #[must_use]
    pub const fn resolved(&self) -> u64 {
        self.resolved
    }

    /// True when `close` or [`Core::abandon`] has begun and nothing is left to resolve, nor to be
    /// noted on the spool, for which `close` waits no longer than its time.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closing.has_begun()
            && self.store.len() == 0
            && (self.spool_open == 0 || self.closing.is_over())
    }

    /// True from the call of `close` or [`Core::abandon`] on.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.has_begun()
    }

    /// Time goes on; a caller that read its clock earlier does not turn it back.
    pub(super) fn advance(&mut self, now: Duration) -> Duration {
        self.now = self.now.max(now);
        self.now
    }

    /// Microseconds since the Unix epoch at a time of the producer.
    pub(super) fn wall(&self, at: Duration) -> i64 {
        self.wall_us.saturating_add(i64::try_from(at.as_micros()).unwrap_or(i64::MAX))
    }

    /// Tells the outcome of an event and counts it.
    pub(super) fn tell(
        &mut self,
        message_id: MessageId,
        thread: Arc<str>,
        sequence: Option<u64>,
        outcome: Outcome,
        cause: Option<Box<Cause>>,
    ) {
        self.counters.tally.add(&outcome);
        self.resolved += 1;
        let record = OutcomeRecord { message_id, thread, sequence, outcome, cause };
        self.effects.push_back(Effect::Resolved(record));
    }

    /// The next thing to do, or `None` when nothing can be done before something else happens.
    pub fn poll(&mut self, now: Duration) -> Option<Effect> {
        let now = self.advance(now);
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            if let Some(recall) = self.next_recall() {
                return Some(recall);
            }
            let hand_over = self.next_hand_over(Route::Main, now);
            let hand_over = hand_over.or_else(|| self.next_hand_over(Route::Dlq, now));
            if let Some(hand_over) = hand_over {
                // what came up on the way (an expired event) happened before it
                self.effects.push_back(Effect::HandOver(hand_over));
            } else if self.effects.is_empty() {
                return None;
            }
        }
    }
}
