//! Checkpointers on an async path, and their metrics.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RegistryInUse;
use crate::checkpoint::{
    CHECKPOINT_METRICS, Checkpoint, CheckpointError, Counters, Draft, ErrorKind, FileReport, Info,
    Options, Series, Store, ThreadInfo,
};
use crate::fs::Fs;

/// A [`Store`] for async code: every call runs where it may block, never on the caller's task.
///
/// A call whose future is dropped still takes effect.
pub struct Checkpoints<S> {
    store: Arc<Store<S>>,
    within: Option<Duration>,
}

impl<S> Clone for Checkpoints<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), within: self.within }
    }
}

impl<S> fmt::Debug for Checkpoints<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoints").field("dir", &self.store.dir()).finish_non_exhaustive()
    }
}

/// Runs a call where it may block.
async fn blocking<T: Send + 'static>(
    within: Option<Duration>,
    call: impl FnOnce() -> Result<T, CheckpointError> + Send + 'static,
) -> Result<T, CheckpointError> {
    let running = tokio::task::spawn_blocking(call);
    let ended = match within {
        None => running.await,
        Some(within) => tokio::time::timeout(within, running).await.map_err(|_| {
            let message = format!("no answer within {within:?}; the call may still take effect");
            CheckpointError::new(ErrorKind::Timeout, message)
        })?,
    };
    ended.unwrap_or_else(|error| {
        let message = format!("the state's own code panicked, or the runtime ended: {error}");
        Err(CheckpointError::new(ErrorKind::SerializationFailed, message))
    })
}

impl<S: Serialize + DeserializeOwned + Send + Sync + 'static> Checkpoints<S> {
    /// Opens a directory as [`Store::open`] does.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open(
        fs: Arc<dyn Fs>,
        dir: impl Into<PathBuf>,
        options: Options,
    ) -> Result<Self, CheckpointError> {
        let dir = dir.into();
        let store = blocking(None, move || Store::open(fs, dir, options)).await?;
        Ok(Self { store: Arc::new(store), within: None })
    }

    /// Bounds every later call of this handle: after that time it ends with
    /// [`ErrorKind::Timeout`], while the work goes on and may still take effect.
    #[must_use]
    pub fn within(mut self, bound: Duration) -> Self {
        self.within = Some(bound);
        self
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Store<S>) -> Result<T, CheckpointError> + Send + 'static,
    ) -> Result<T, CheckpointError> {
        let store = Arc::clone(&self.store);
        blocking(self.within, move || call(&store)).await
    }

    /// As [`Store::save`].
    pub async fn save(&self, draft: Draft<S>) -> Result<Info, CheckpointError> {
        self.call(move |store| store.save(&draft)).await
    }

    /// As [`Store::load`].
    pub async fn load(&self, id: impl Into<String>) -> Result<Checkpoint<S>, CheckpointError> {
        let id = id.into();
        self.call(move |store| store.load(&id)).await
    }

    /// As [`Store::latest`].
    pub async fn latest(
        &self,
        thread_id: impl Into<String>,
    ) -> Result<Option<Checkpoint<S>>, CheckpointError> {
        let thread_id = thread_id.into();
        self.call(move |store| store.latest(&thread_id)).await
    }

    /// As [`Store::list`].
    pub async fn list(&self, thread_id: impl Into<String>) -> Result<Vec<Info>, CheckpointError> {
        let thread_id = thread_id.into();
        self.call(move |store| Ok(store.list(&thread_id))).await
    }

    /// As [`Store::list_threads`].
    pub async fn list_threads(&self) -> Result<Vec<ThreadInfo>, CheckpointError> {
        self.call(|store| Ok(store.list_threads())).await
    }

    /// As [`Store::delete`].
    pub async fn delete(&self, id: impl Into<String>) -> Result<bool, CheckpointError> {
        let id = id.into();
        self.call(move |store| store.delete(&id)).await
    }

    /// As [`Store::delete_thread`].
    pub async fn delete_thread(
        &self,
        thread_id: impl Into<String>,
    ) -> Result<usize, CheckpointError> {
        let thread_id = thread_id.into();
        self.call(move |store| store.delete_thread(&thread_id)).await
    }

    /// As [`Store::retain`].
    pub async fn retain(&self, keep: NonZeroUsize) -> Result<usize, CheckpointError> {
        self.call(move |store| store.retain(keep)).await
    }

    /// As [`Store::verify`].
    pub async fn verify(&self) -> Result<Vec<FileReport>, CheckpointError> {
        self.call(Store::verify).await
    }

    /// As [`Store::close`], once every other handle and call has ended; until then this only drops
    /// the handle. True when the directory is free.
    pub async fn close(self) -> bool {
        let Some(store) = Arc::into_inner(self.store) else { return false };
        let closed = blocking(None, move || {
            store.close();
            Ok(())
        });
        closed.await.is_ok()
    }
}

/// The metrics of stores that count into [`CheckpointMetrics::counters`]. Lives as long as its
/// registry.
#[derive(Clone, Debug)]
pub struct CheckpointMetrics {
    counters: Counters,
    shown: Arc<Mutex<Vec<Family>>>,
    descs: Arc<Vec<Desc>>,
}

/// A family as Prometheus shows it, with the cell of each label.
#[derive(Debug)]
struct Family {
    name: &'static str,
    cells: Vec<(&'static str, IntCounter)>,
    shown: IntCounterVec,
}

impl Family {
    /// At zero; `None` if the table's own names were not legal.
    fn of(series: &Series) -> Option<Self> {
        let names: &[&str] = if series.label.is_empty() { &[] } else { &[series.label] };
        let family = IntCounterVec::new(Opts::new(series.name, series.help), names).ok()?;
        let cell = |label: &'static str| {
            let labels: &[&str] = if series.label.is_empty() { &[] } else { &[label] };
            Some((label, family.get_metric_with_label_values(labels).ok()?))
        };
        let cells = series.labels().into_iter().map(cell).collect::<Option<_>>()?;
        Some(Self { name: series.name, cells, shown: family })
    }
}

impl CheckpointMetrics {
    /// Registers every series, at zero.
    ///
    /// # Errors
    /// [`RegistryInUse`] when the registry has these names already.
    pub fn register(registry: &Registry) -> Result<Self, RegistryInUse> {
        let shown: Vec<_> = CHECKPOINT_METRICS.iter().filter_map(Family::of).collect();
        let descs = shown.iter().flat_map(|f| f.shown.desc()).cloned().collect();
        let metrics = Self {
            counters: Counters::default(),
            shown: Arc::new(Mutex::new(shown)),
            descs: Arc::new(descs),
        };
        let registered = registry.register(Box::new(metrics.clone()));
        registered.map_err(|error| RegistryInUse::new(&error))?;
        Ok(metrics)
    }

    /// For [`Options::counters`] of every store that these metrics are to count.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }
}

impl Collector for CheckpointMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // two scrapes at a time would both bring the cells up to date
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for (family, (label, cell)) in
            shown.iter().flat_map(|f| f.cells.iter().map(move |c| (f, c)))
        {
            cell.inc_by(self.counters.get(family.name, label).saturating_sub(cell.get()));
        }
        shown.iter().flat_map(|f| f.shown.collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::MemoryFs;

    async fn open(metrics: &CheckpointMetrics) -> Checkpoints<u32> {
        let options = Options::new().counters(metrics.counters());
        Checkpoints::open(Arc::new(MemoryFs::new()), "/c", options).await.unwrap()
    }

    fn value(registry: &Registry, name: &str, label: &str) -> String {
        let families = registry.gather();
        let family = families.iter().find(|f| f.name() == name).unwrap();
        let metrics = family.get_metric().iter();
        let mut found = metrics.filter(|m| m.get_label().iter().all(|l| l.value() == label));
        found.next().unwrap().get_counter().get_value().to_string()
    }

    #[tokio::test]
    async fn a_checkpoint_goes_through_the_async_handle_and_is_counted() {
        let registry = Registry::new();
        let metrics = CheckpointMetrics::register(&registry).unwrap();
        let store = open(&metrics).await;
        let saved = store.save(Draft::new("t", 5)).await.unwrap();
        assert_eq!(store.load(&saved.id).await.unwrap().state, 5);
        assert_eq!(store.latest("t").await.unwrap().unwrap().info, saved);
        assert_eq!(store.list("t").await.unwrap().first(), Some(&saved));
        assert_eq!(store.list_threads().await.unwrap().len(), 1);
        assert!(store.load("none").await.is_err());
        assert!(store.delete(saved.id).await.unwrap());
        assert_eq!(value(&registry, "dashstream_checkpoint_saves_total", ""), "1");
        assert_eq!(value(&registry, "dashstream_checkpoint_loads_total", ""), "2");
        let failures = "dashstream_checkpoint_load_failures_total";
        assert_eq!(value(&registry, failures, "not_found"), "1");
        assert_eq!(value(&registry, failures, "io"), "0");
        assert_eq!(value(&registry, "dashstream_checkpoint_deletes_total", "request"), "1");
        let other = store.clone();
        assert!(!store.close().await, "a handle is left");
        assert!(other.close().await);
    }

    #[tokio::test]
    async fn every_series_and_label_is_there_at_zero_from_the_start() {
        let registry = Registry::new();
        CheckpointMetrics::register(&registry).unwrap();
        let samples: usize = registry.gather().iter().map(|f| f.get_metric().len()).sum();
        let rows: usize = CHECKPOINT_METRICS.iter().map(|s| s.labels().len()).sum();
        assert_eq!((registry.gather().len(), samples), (CHECKPOINT_METRICS.len(), rows));
        assert!(CheckpointMetrics::register(&registry).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_over_its_bound_times_out() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let slow = blocking(Some(Duration::from_secs(1)), move || {
            let _ = wait.recv();
            Ok(())
        });
        // the paused clock does not move while a blocking task runs, so that time must be pushed
        let pushed = async {
            tokio::time::advance(Duration::from_secs(2)).await;
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            biased;
            result = slow => result.unwrap_err(),
            () = pushed => unreachable!(),
        };
        assert_eq!(error.kind(), &ErrorKind::Timeout);
        drop(release);
    }
}
