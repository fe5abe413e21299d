//! The metrics: one table of series, read from the core's counters at each scrape.
//!
//! Nothing is counted twice and nothing is copied on the way: a scrape locks the core for the
//! moment of one copy, so that it never shows an event in two places or in none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::shared::Shared;
use crate::core::{Allowance, Counters, Gauges, PerRoute, Reason, Route, Tally};
use crate::spool::{Damage, SpoolStatus};

/// Counter or gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Never goes back.
    Counter,
    /// Goes both ways, or is a high-water mark.
    Gauge,
}

/// Labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricLabels {
    /// None.
    None,
    /// `outcome` and `reason`, in every legal combination.
    Ledger,
    /// `route`: `main`, `dlq`.
    Route,
    /// `reason`: what is wrong with a file or an entry of the spool.
    Damage,
    /// `tenant_id`: the configured tenant from the start, others when they are seen.
    Tenant,
}

impl MetricLabels {
    /// Names of the labels.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Ledger => &["outcome", "reason"],
            Self::Route => &["route"],
            Self::Damage => &["reason"],
            Self::Tenant => &["tenant_id"],
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Metric {
    /// Name.
    pub name: &'static str,
    /// Kind.
    pub kind: MetricKind,
    /// Labels.
    pub labels: MetricLabels,
    /// What it counts; the help text of the export.
    pub help: &'static str,
    read: Read,
}

#[derive(Clone, Copy)]
enum Read {
    One(fn(&Snapshot) -> u64),
    PerRoute(fn(&Snapshot) -> PerRoute<u64>),
    Damage,
    Tenant(fn(&Allowance) -> u64),
    Ledger,
}

/// The numbers of one or several incarnations at one moment.
#[derive(Clone, Debug, Default)]
struct Snapshot {
    counters: Counters,
    gauges: Gauges,
    tenants: BTreeMap<Arc<str>, Allowance>,
    callback_panics: u64,
    outcomes_lagged: u64,
    spool: SpoolStatus,
}

const fn counter(name: &'static str, help: &'static str, read: fn(&Snapshot) -> u64) -> Metric {
    let (kind, labels) = (MetricKind::Counter, MetricLabels::None);
    Metric { name, kind, labels, help, read: Read::One(read) }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&Snapshot) -> u64) -> Metric {
    let (kind, labels) = (MetricKind::Gauge, MetricLabels::None);
    Metric { name, kind, labels, help, read: Read::One(read) }
}

const fn per_route(
    name: &'static str,
    kind: MetricKind,
    help: &'static str,
    read: fn(&Snapshot) -> PerRoute<u64>,
) -> Metric {
    Metric { name, kind, labels: MetricLabels::Route, help, read: Read::PerRoute(read) }
}

const fn per_tenant(name: &'static str, help: &'static str, read: fn(&Allowance) -> u64) -> Metric {
    let (kind, labels) = (MetricKind::Counter, MetricLabels::Tenant);
    Metric { name, kind, labels, help, read: Read::Tenant(read) }
}

/// Every metric of a producer.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "dashstream_events_total",
        kind: MetricKind::Counter,
        labels: MetricLabels::Ledger,
        help: "Events by outcome and reason: the ledger",
        read: Read::Ledger,
    },
    counter("dashstream_messages_sent_total", "Events acked", |s| s.counters.tally.total("acked")),
    counter(
        "dashstream_send_failures_total",
        "Accepted events whose main ended without success",
        |s| s.counters.send_failures,
    ),
    counter("dashstream_send_retries_total", "Main attempts beyond the first of each event", |s| {
        s.counters.send_retries
    }),
    counter(
        "dashstream_compression_failures_total",
        "Payloads sent plain because their compression failed",
        |s| s.counters.compression_failures,
    ),
    counter("dashstream_dlq_sends_total", "Events dead-lettered", |s| {
        s.counters.tally.total("dead_lettered")
    }),
    counter(
        "dashstream_dlq_send_failures_total",
        "DLQ deliveries with an error that were not late",
        |s| s.counters.dlq_send_failures,
    ),
    counter(
        "dashstream_dlq_send_retries_total",
        "DLQ attempts beyond the first of each event",
        |s| s.counters.dlq_send_retries,
    ),
    counter(
        "dashstream_dlq_dropped_total",
        "Events that the DLQ should have taken and that ended dropped or in doubt",
        |s| s.counters.dlq_dropped,
    ),
    counter("dashstream_dlq_over_limit_total", "Events that had to wait for a DLQ permit", |s| {
        s.counters.dlq_over_limit
    }),
    counter(
        "dashstream_spool_recovered_total",
        "Events that the spool gave back to be sent again",
        |s| s.counters.recovered,
    ),
    counter("dashstream_spool_full_total", "Events that found the spool full", |s| {
        s.counters.spool_full
    }),
    counter(
        "dashstream_spool_failures_total",
        "Entries that the file system of the spool did not take, and reads back that failed",
        |s| s.counters.spool_failures,
    ),
    Metric {
        name: "dashstream_spool_damage_total",
        kind: MetricKind::Counter,
        labels: MetricLabels::Damage,
        help: "Entries of the spool that were lost, and files that are not its own, by reason",
        read: Read::Damage,
    },
    gauge("dashstream_spool_bytes", "Bytes of the spool's files", |s| s.spool.bytes),
    gauge("dashstream_spool_records", "Events on the spool", |s| s.spool.live),
    per_route(
        "dashstream_late_deliveries_total",
        MetricKind::Counter,
        "Deliveries after close or drop had resolved their event",
        |s| s.counters.late_deliveries,
    ),
    counter(
        "dashstream_callback_panics_total",
        "Panics of the outcome callback, each caught",
        |s| s.callback_panics,
    ),
    counter(
        "dashstream_outcomes_lagged_total",
        "Outcomes that slow readers of the outcome stream missed",
        |s| s.outcomes_lagged,
    ),
    per_route(
        "dashstream_client_rebuilds_total",
        MetricKind::Counter,
        "Clients rebuilt after a fatal error",
        |s| s.counters.client_rebuilds,
    ),
    per_tenant(
        "dashstream_rate_limit_allowed_total",
        "Events that the tenant's rate limit let through",
        |a| a.allowed,
    ),
    per_tenant(
        "dashstream_rate_limit_exceeded_total",
        "Events that the tenant's rate limit stopped",
        |a| a.exceeded,
    ),
    gauge("dashstream_queue_events", "Accepted and unresolved events", |s| s.gauges.queue_events),
    gauge("dashstream_queue_bytes", "Protobuf bytes of accepted and unresolved events", |s| {
        s.gauges.queue_bytes
    }),
    per_route("dashstream_open_attempts", MetricKind::Gauge, "Open attempts", |s| {
        s.gauges.open_attempts
    }),
    gauge(
        "dashstream_queue_events_max",
        "Most accepted and unresolved events at a time since open",
        |s| s.counters.queue_events_max,
    ),
    gauge("dashstream_open_attempts_max", "Most open main attempts at a time since open", |s| {
        s.counters.open_attempts_max
    }),
];

/// The registry holds metrics of a producer, or of checkpointers, already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the registry has these metrics already ({0}); register once with ProducerMetrics::register or \
     CheckpointMetrics::register and share what it gives, or use a registry each"
)]
pub struct RegistryInUse(String);

impl RegistryInUse {
    pub(super) fn new(error: &prometheus::Error) -> Self {
        Self(error.to_string())
    }
}

/// The metrics of one producer, or of several that share them. Lives as long as its registry.
#[derive(Clone)]
pub struct ProducerMetrics {
    inner: Arc<Inner>,
}

impl fmt::Debug for ProducerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerMetrics").finish_non_exhaustive()
    }
}

struct Inner {
    descs: Vec<Desc>,
    book: Mutex<Book>,
    callback_panics: AtomicU64,
    outcomes_lagged: AtomicU64,
}

/// Incarnations that are over, summed up, and those that are not.
#[derive(Default)]
struct Book {
    past: Snapshot,
    present: Vec<Present>,
}

struct Present {
    shared: Arc<Shared>,
    /// The driver and the handles: when both are gone nothing can change any more.
    holders: u8,
}

impl ProducerMetrics {
    /// Registers every metric, at zero.
    ///
    /// # Errors
    /// [`RegistryInUse`] when the registry has these names already.
    pub fn register(registry: &Registry) -> Result<Self, RegistryInUse> {
        let empty = Snapshot::default();
        let families = METRICS.iter().filter_map(|m| m.build(&empty));
        let descs = families.flat_map(|c| c.desc().into_iter().cloned().collect::<Vec<_>>());
        let inner = Arc::new(Inner {
            descs: descs.collect(),
            book: Mutex::default(),
            callback_panics: AtomicU64::new(0),
            outcomes_lagged: AtomicU64::new(0),
        });
        let metrics = Self { inner };
        registry.register(Box::new(metrics.clone())).map_err(|error| RegistryInUse::new(&error))?;
        Ok(metrics)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An incarnation begins.
    pub(super) fn join(&self, shared: &Arc<Shared>) {
        self.book().present.push(Present { shared: Arc::clone(shared), holders: 2 });
    }

    /// The driver, or the last handle, of an incarnation is gone. After both its numbers are final
    /// and are added to the past.
    pub(super) fn part(&self, shared: &Arc<Shared>) {
        let mut book = self.book();
        let found = book.present.iter().position(|p| Arc::ptr_eq(&p.shared, shared));
        let Some((at, present)) = found.and_then(|at| Some((at, book.present.get_mut(at)?))) else {
            return;
        };
        present.holders = present.holders.saturating_sub(1);
        if present.holders == 0 {
            let over = book.present.swap_remove(at).shared;
            book.past.add(&over);
            // its gauges are of the past, too
            book.past.gauges = Gauges::default();
            book.past.spool =
                SpoolStatus { damage: book.past.spool.damage.clone(), ..SpoolStatus::default() };
            drop(book);
        }
    }

    pub(super) fn callback_panicked(&self) {
        self.inner.callback_panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lagged(&self, missed: u64) {
        self.inner.outcomes_lagged.fetch_add(missed, Ordering::Relaxed);
    }

    fn snapshot(&self) -> Snapshot {
        let book = self.book();
        let mut sum = book.past.clone();
        for present in &book.present {
            sum.add(&present.shared);
        }
        sum.callback_panics = self.inner.callback_panics.load(Ordering::Relaxed);
        sum.outcomes_lagged = self.inner.outcomes_lagged.load(Ordering::Relaxed);
        sum
    }
}

impl Snapshot {
    /// Adds an incarnation's numbers of this moment.
    fn add(&mut self, shared: &Shared) {
        let state = shared.lock();
        let counters = state.core.counters();
        let gauges = state.core.gauges();
        self.counters.add(counters);
        self.gauges.queue_events += gauges.queue_events;
        self.gauges.queue_bytes += gauges.queue_bytes;
        self.gauges.open_attempts.main += gauges.open_attempts.main;
        self.gauges.open_attempts.dlq += gauges.open_attempts.dlq;
        if let Some(desk) = &shared.desk {
            let SpoolStatus { bytes, live, damage } = desk.status();
            self.spool.bytes += bytes;
            self.spool.live += live;
            for (kind, count) in damage {
                *self.spool.damage.entry(kind).or_default() += count;
            }
        }
        for (tenant, allowance) in state.core.allowances() {
            let sum = self.tenants.entry(Arc::clone(tenant)).or_default();
            sum.allowed += allowance.allowed;
            sum.exceeded += allowance.exceeded;
        }
    }
}

impl Metric {
    /// The family with its present values, or `None` if the table's own names were not legal.
    fn build(&self, now: &Snapshot) -> Option<Box<dyn Collector>> {
        let samples = self.samples(now);
        let opts = Opts::new(self.name, self.help);
        let names = self.labels.names();
        match self.kind {
            MetricKind::Counter => {
                let family = IntCounterVec::new(opts, names).ok()?;
                for (labels, value) in &samples {
                    family.get_metric_with_label_values(labels).ok()?.inc_by(*value);
                }
                Some(Box::new(family))
            }
            MetricKind::Gauge => {
                let family = IntGaugeVec::new(opts, names).ok()?;
                for (labels, value) in &samples {
                    let value = i64::try_from(*value).unwrap_or(i64::MAX);
                    family.get_metric_with_label_values(labels).ok()?.set(value);
                }
                Some(Box::new(family))
            }
        }
    }

    fn samples<'a>(&self, now: &'a Snapshot) -> Vec<(Vec<&'a str>, u64)> {
        match self.read {
            Read::One(read) => vec![(Vec::new(), read(now))],
            Read::PerRoute(read) => {
                let values = read(now);
                let routes = [Route::Main, Route::Dlq];
                routes.map(|r| (vec![r.as_str()], *values.of(r))).into()
            }
            Read::Damage => {
                let count = |kind| now.spool.damage.get(&kind).copied().unwrap_or_default();
                Damage::ALL.map(|kind| (vec![kind.as_str()], count(kind))).into()
            }
            Read::Tenant(read) => {
                now.tenants.iter().map(|(t, a)| (vec![t.as_ref()], read(a))).collect()
            }
            Read::Ledger => {
                let tally: &Tally = &now.counters.tally;
                let reason = |r: Option<Reason>| r.map_or("", Reason::as_str);
                tally.cells().map(|(o, r, count)| (vec![o, reason(r)], count)).collect()
            }
        }
    }
}

impl Collector for ProducerMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.inner.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = self.snapshot();
        METRICS.iter().filter_map(|m| m.build(&now)).flat_map(|c| c.collect()).collect()
    }
}
