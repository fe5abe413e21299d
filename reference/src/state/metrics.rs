//! What became of the states, counted and exported.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts, Registry};

use super::error::DegradeReason;
use super::tracker::Diffed;

/// Counters of one tracker, or of several that share them. They never go back.
#[derive(Debug, Default)]
pub struct DiffCounters {
    patch: AtomicU64,
    full: AtomicU64,
    unchanged: AtomicU64,
    degraded: [AtomicU64; DegradeReason::ALL.len()],
}

impl DiffCounters {
    pub(super) fn count(&self, diffed: &Diffed) {
        let counter = match diffed {
            Diffed::Patch { .. } => Some(&self.patch),
            Diffed::Full { .. } => Some(&self.full),
            Diffed::Unchanged => Some(&self.unchanged),
            Diffed::Degraded(error) => self.of(error.reason()),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, reason: DegradeReason) -> Option<&AtomicU64> {
        self.degraded.get(reason as usize)
    }

    /// States that became patches.
    #[must_use]
    pub fn patches(&self) -> u64 {
        self.patch.load(Ordering::Relaxed)
    }

    /// States that were sent whole.
    #[must_use]
    pub fn fulls(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// States that were those sent last.
    #[must_use]
    pub fn unchanged(&self) -> u64 {
        self.unchanged.load(Ordering::Relaxed)
    }

    /// States that have no diff for this reason.
    #[must_use]
    pub fn degraded(&self, reason: DegradeReason) -> u64 {
        self.of(reason).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

type Samples = Vec<(&'static str, u64)>;

/// A series: name, label, help, and its samples.
pub(super) type Series = (&'static str, &'static str, &'static str, fn(&DiffCounters) -> Samples);

pub(super) const SERIES: [Series; 2] = [
    (
        "dashstream_state_diff_degraded_total",
        "reason",
        "States that have no diff, by reason",
        |counters| {
            DegradeReason::ALL.map(|reason| (reason.as_str(), counters.degraded(reason))).into()
        },
    ),
    (
        "dashstream_state_diffs_total",
        "kind",
        "States that have a diff, by kind of diff",
        |counters| {
            vec![
                ("full", counters.fulls()),
                ("patch", counters.patches()),
                ("unchanged", counters.unchanged()),
            ]
        },
    ),
];

/// The registry has metrics of state diffs already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the registry has metrics of state diffs already ({0}); register once and give \
     DiffMetrics::counters to every tracker, or use a registry each"
)]
pub struct DiffMetricsInUse(String);

/// The exporter: `dashstream_state_diff_degraded_total` and `dashstream_state_diffs_total`, every
/// label at zero from the start.
#[derive(Clone)]
pub struct DiffMetrics {
    counters: Arc<DiffCounters>,
    descs: Vec<Desc>,
}

impl fmt::Debug for DiffMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiffMetrics").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl DiffMetrics {
    /// Registers both series, at zero.
    ///
    /// # Errors
    /// [`DiffMetricsInUse`] when the registry has these names already.
    pub fn register(registry: &Registry) -> Result<Self, DiffMetricsInUse> {
        let counters = Arc::<DiffCounters>::default();
        let families = SERIES.iter().filter_map(|series| family(series, &counters));
        let descs = families.flat_map(|f| f.desc().into_iter().cloned().collect::<Vec<_>>());
        let metrics = Self { descs: descs.collect(), counters };
        let registered = registry.register(Box::new(metrics.clone()));
        registered.map_err(|error| DiffMetricsInUse(error.to_string()))?;
        Ok(metrics)
    }

    /// The counters to give to [`DiffTracker::with_counters`](super::DiffTracker::with_counters).
    #[must_use]
    pub fn counters(&self) -> Arc<DiffCounters> {
        Arc::clone(&self.counters)
    }
}

/// A series with its present values, or `None` if the table's own names were not legal.
fn family(series: &Series, counters: &DiffCounters) -> Option<IntCounterVec> {
    let (name, label, help, samples) = series;
    let family = IntCounterVec::new(Opts::new(*name, *help), &[label]).ok()?;
    for (value, count) in samples(counters) {
        family.get_metric_with_label_values(&[value]).ok()?.inc_by(count);
    }
    Some(family)
}

impl Collector for DiffMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = SERIES.iter().filter_map(|series| family(series, &self.counters));
        families.flat_map(|family| family.collect()).collect()
    }
}
