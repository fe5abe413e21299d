//! Deletes and retention: what is gone stays gone, and nothing older becomes the latest on the way.

use std::num::NonZeroUsize;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::catalog::{Catalog, File, Head, Seat};
use super::counters;
use super::damage::Fault;
use super::error::CheckpointError;
use super::name::Digest;
use super::store::Store;
use super::write::Writer;

impl<S: Serialize + DeserializeOwned> Store<S> {
    /// Deletes a checkpoint, in whatever state it is. False when there is none with this id. After
    /// `Ok` it does not come back.
    ///
    /// # Errors
    /// `SchemaMismatch`, with nothing deleted, when a newer format wrote it; what the system
    /// answers: then the checkpoint is gone or not, as `load` tells, and a crash may bring it back.
    /// It fails as [`Store::save`] does while the file of a failed save cannot be removed.
    pub fn delete(&self, id: &str) -> Result<bool, CheckpointError> {
        let mut writer = self.writer();
        let seats = self.deletable(|catalog| {
            catalog.of_id(Digest::id(id)).map(|(s, f)| (s, f.clone())).collect()
        });
        let result = seats.and_then(|seats| self.remove(&mut writer, &seats, "request"));
        self.counted(counters::DELETE_FAILURES, result.map_err(|e| e.id(id))).map(|n| n > 0)
    }

    /// Deletes all of a thread's checkpoints, damaged ones included; says how many. A crash on the
    /// way never leaves an older one as the latest.
    ///
    /// # Errors
    /// As [`Store::delete`].
    pub fn delete_thread(&self, thread_id: &str) -> Result<usize, CheckpointError> {
        let thread = Digest::thread(thread_id);
        let mut writer = self.writer();
        let result = self
            .deletable(|c| c.of_thread(thread).map(|(s, f)| (s, f.clone())).collect())
            .and_then(|seats| {
                let (newest, older) = seats
                    .split_last()
                    .map_or((&[][..], &[][..]), |(n, o)| (std::slice::from_ref(n), o));
                let removed =
                    if older.is_empty() { 0 } else { self.remove(&mut writer, older, "request")? };
                Ok(removed + self.remove(&mut writer, newest, "request")?)
            });
        self.counted(counters::DELETE_FAILURES, result.map_err(|e| e.thread(thread_id)))
    }

    /// The chosen files, unless a newer format wrote one of them.
    fn deletable(
        &self,
        choose: impl FnOnce(&Catalog) -> Vec<(Seat, File)>,
    ) -> Result<Vec<(Seat, File)>, CheckpointError> {
        let files = choose(&self.catalog());
        for (_, file) in &files {
            if let Head::Bad(fault @ Fault::Newer(_)) = self.head(file) {
                return Err(fault.into_error().at(&self.path(file)));
            }
        }
        Ok(files)
    }

    /// Removes files durably, in their order.
    fn remove(
        &self,
        writer: &mut Writer,
        files: &[(Seat, File)],
        by: &'static str,
    ) -> Result<usize, CheckpointError> {
        if !files.is_empty() || writer.unsynced {
            self.empty_limbo(writer)?;
            writer.unsynced = true;
            for (seat, file) in files {
                self.unlink(*seat, file, by)?;
                writer.changes += 1;
            }
            self.sync(writer)?;
        }
        Ok(files.len())
    }

    fn unlink(&self, seat: Seat, file: &File, by: &'static str) -> Result<(), CheckpointError> {
        let path = self.path(file);
        match self.fs.remove(&path) {
            Ok(()) => {}
            // somebody else was faster; the directory sync that follows makes it durable
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(CheckpointError::io("remove", &path, error)),
        }
        self.catalog().remove(seat);
        self.count(counters::DELETES, by);
        Ok(())
    }

    /// Removes all but the newest `keep` checkpoints of each thread; says how many went. The newest
    /// one that can be loaded stays, however old it is; damaged files and those of a newer format
    /// stay too.
    ///
    /// # Errors
    /// What the system answers; what was removed until then is removed.
    pub fn retain(&self, keep: NonZeroUsize) -> Result<usize, CheckpointError> {
        let mut writer = self.writer();
        let threads: Vec<Digest> = self.catalog().threads().collect();
        let victims = threads.into_iter().flat_map(|thread| self.victims(thread, keep, None));
        let victims: Vec<(Seat, File)> = victims.collect();
        let result = self.remove(&mut writer, &victims, "retention");
        self.counted(counters::DELETE_FAILURES, result)
    }

    /// Retention behind a save, which is acknowledged already: a failure is counted, not returned,
    /// and durability may wait for the next change.
    pub(super) fn retain_saved(
        &self,
        writer: &mut Writer,
        thread: Digest,
        saved: Seat,
        keep: NonZeroUsize,
    ) {
        for (seat, file) in self.victims(thread, keep, Some(saved)) {
            let removed = self.unlink(seat, &file, "retention");
            if let Err(error) = self.counted(counters::DELETE_FAILURES, removed) {
                tracing::warn!(%error, "retention goes on with the next save");
                return;
            }
            writer.changes += 1;
        }
    }

    /// What retention removes of a thread, oldest first. `sound` is known to be loadable.
    fn victims(
        &self,
        thread: Digest,
        keep: NonZeroUsize,
        sound: Option<Seat>,
    ) -> Vec<(Seat, File)> {
        let (kept, mut victims) = {
            let catalog = self.catalog();
            let newest_first = catalog.of_thread(thread).rev().filter(|(_, f)| f.known().is_some());
            let mut all: Vec<(Seat, File)> = newest_first.map(|(s, f)| (s, f.clone())).collect();
            let victims = all.split_off(keep.get().min(all.len()));
            (all, victims)
        };
        if victims.is_empty() {
            return victims;
        }
        let is_sound =
            |(seat, file): &(Seat, File)| Some(*seat) == sound || self.read(*seat, file).is_ok();
        if !kept.iter().any(is_sound)
            && let Some(at) = victims.iter().position(is_sound)
        {
            victims.remove(at);
        }
        // the index may have known an older file of that name
        victims.retain(|(_, file)| !matches!(self.head(file), Head::Bad(Fault::Newer(_))));
        victims.reverse();
        victims
    }
}
