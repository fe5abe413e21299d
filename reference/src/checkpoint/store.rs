//! The store: one directory, one lock, one catalog.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::catalog::{Catalog, File, Kind, Seat};
use super::counters::{self, Counters};
use super::error::{CheckpointError, ErrorKind};
use super::model::{Checkpoint, Info, ThreadInfo};
use super::name::Digest;
use super::options::Options;
use super::write::Writer;
use crate::fs::{Fs, FsLock};

/// Checkpoints of states of one type in one directory.
///
/// All calls block, and may be made from any thread; on an async path use
/// [`Checkpoints`](crate::runtime::Checkpoints). While it lives the directory belongs to it alone.
#[derive(Debug)]
pub struct Store<S> {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) identity: [u8; 16],
    pub(super) catalog: Mutex<Catalog>,
    /// Held by whoever changes the directory; always taken before the catalog.
    pub(super) writer: Mutex<Writer>,
    /// The buffer of the last save, for the next one.
    pub(super) buffer: Mutex<Vec<u8>>,
    #[expect(dead_code, reason = "held, never asked")]
    pub(super) lock: Lock,
    pub(super) state: PhantomData<fn() -> S>,
}

/// The lock on the directory.
pub(super) struct Lock(
    #[expect(dead_code, reason = "held, never asked")] pub(super) Box<dyn FsLock>,
);

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}

impl<S> Store<S> {
    pub(super) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.options.counters
    }

    pub(super) fn count(&self, series: &'static str, label: &'static str) {
        self.options.counters.add(series, label, 1);
    }

    pub(super) fn path(&self, file: &File) -> PathBuf {
        self.dir.join(&*file.name)
    }

    /// Counts the outcome of a call in a series of failures.
    pub(super) fn counted<T>(
        &self,
        failures: &'static str,
        result: Result<T, CheckpointError>,
    ) -> Result<T, CheckpointError> {
        result.inspect_err(|error| self.count(failures, error.kind().as_str()))
    }
}

impl<S: Serialize + DeserializeOwned> Store<S> {
    /// The checkpoint with this id.
    ///
    /// # Errors
    /// `NotFound`; `IntegrityCheckFailed` when its file is damaged; `SchemaMismatch`,
    /// `MigrationFailed` or `DeserializationFailed` when it is not, but this reader cannot read it;
    /// what the system answers.
    pub fn load(&self, id: &str) -> Result<Checkpoint<S>, CheckpointError> {
        let result = self.try_load(id).map_err(|e| e.id(id));
        if result.is_ok() {
            self.count(counters::LOADS, "");
        }
        self.counted(counters::LOAD_FAILURES, result)
    }

    fn try_load(&self, id: &str) -> Result<Checkpoint<S>, CheckpointError> {
        let mut first = None;
        let files: Vec<(Seat, File)> = {
            let catalog = self.catalog();
            let files = catalog.of_id(Digest::id(id)).rev();
            files.map(|(seat, file)| (seat, file.clone())).collect()
        };
        for (seat, file) in files {
            match self.read(seat, &file) {
                Ok(checkpoint) => return Ok(checkpoint),
                Err(trouble) => {
                    if self.catalog().get(seat).is_none() {
                        continue; // deleted while it was read
                    }
                    let error = trouble.error(&file, &self.path(&file));
                    // an older file of version 1 may be a copy; of version 2 it never counts
                    if matches!(file.kind, Kind::New(_)) {
                        return Err(error);
                    }
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.unwrap_or_else(|| {
            CheckpointError::new(ErrorKind::NotFound, "no checkpoint has this id")
        }))
    }

    /// The newest valid checkpoint of a thread; `None` when the thread has none at all.
    ///
    /// Damaged files are passed over and counted. What is merely unreadable now, or only to this
    /// reader, is not passed over: the older checkpoint would be the wrong one to resume from.
    ///
    /// # Errors
    /// `IntegrityCheckFailed` when all of the thread's files are damaged; `SchemaMismatch`,
    /// `MigrationFailed` or `DeserializationFailed` when the newest undamaged file cannot be read
    /// by this reader; what the system answers.
    pub fn latest(&self, thread_id: &str) -> Result<Option<Checkpoint<S>>, CheckpointError> {
        let result = self.try_latest(Digest::thread(thread_id)).map_err(|e| e.thread(thread_id));
        if matches!(result, Ok(Some(_))) {
            self.count(counters::LOADS, "");
        }
        self.counted(counters::LOAD_FAILURES, result)
    }

    fn try_latest(&self, thread: Digest) -> Result<Option<Checkpoint<S>>, CheckpointError> {
        let mut first = None;
        let mut at = None;
        loop {
            let next = {
                let catalog = self.catalog();
                catalog
                    .before(thread, at)
                    .map(|(seat, file)| (seat, file.clone(), catalog.is_superseded(seat, file)))
            };
            let Some((seat, file, superseded)) = next else { break };
            at = Some(seat);
            if superseded {
                continue;
            }
            match self.read(seat, &file) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(_) if self.catalog().get(seat).is_none() => {
                    // deleted while it was read: a newer one may have come
                    (at, first) = (None, None);
                }
                Err(trouble) => {
                    let passed_over = trouble.is_passed_over(&file);
                    let error = trouble.error(&file, &self.path(&file));
                    if !passed_over {
                        return Err(error);
                    }
                    first.get_or_insert(error);
                }
            }
        }
        first.map_or(Ok(None), Err)
    }

    /// A thread's checkpoints, newest first, as their headers tell: whether a payload is intact is
    /// told by `load` and `verify`. A file with a damaged header is not among them.
    pub fn list(&self, thread_id: &str) -> Vec<Info> {
        self.settle();
        let catalog = self.catalog();
        listed(&catalog, Digest::thread(thread_id)).map(|(_, info)| info.clone()).collect()
    }

    /// Every thread that `list` has something of, the one with the newest checkpoint first.
    pub fn list_threads(&self) -> Vec<ThreadInfo> {
        self.settle();
        let catalog = self.catalog();
        let threads = catalog.threads().filter_map(|thread| {
            let mut list = listed(&catalog, thread);
            let (seat, newest) = list.next()?;
            let (thread_id, newest) = (newest.thread_id.clone(), newest.clone());
            let checkpoints = 1 + list.count();
            Some((seat, ThreadInfo { thread_id, newest, checkpoints }))
        });
        let mut threads: Vec<_> = threads.collect();
        threads.sort_by_key(|(seat, _)| std::cmp::Reverse(*seat));
        threads.into_iter().map(|(_, info)| info).collect()
    }

    /// Tries again the headers that the system would not give.
    fn settle(&self) {
        let unread = self.catalog().unread();
        for (seat, file) in unread {
            let head = self.head(&file);
            self.catalog().learn(seat, head);
        }
    }
}

/// A thread's files with a good header that no younger file of the same id supersedes.
pub(super) fn listed(catalog: &Catalog, thread: Digest) -> impl Iterator<Item = (Seat, &Info)> {
    catalog.of_thread(thread).rev().filter_map(|(seat, file)| {
        let header = &file.known()?.header;
        (!catalog.is_superseded(seat, file)).then_some((seat, &header.info))
    })
}
