//! Changing the directory: the order of steps that makes an `Ok` true after any crash.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::catalog::{File, Head, Kind, Seat};
use super::counters;
use super::damage::Fault;
use super::error::{CheckpointError, ErrorKind};
use super::format::{Encoded, Header};
use super::model::{Draft, Info};
use super::name::{self, Digest};
use super::payload::{self, Payload};
use super::store::Store;

/// What a writer must know beyond the catalog.
#[derive(Debug, Default)]
pub(super) struct Writer {
    next_generation: Option<u64>,
    /// Files whose save said `Err` after their rename: gone before the next `Ok`.
    limbo: Vec<PathBuf>,
    /// A directory sync failed: what it should have covered is not durable yet.
    unsynced: bool,
    /// Changes since the index was written.
    pub(super) changes: usize,
}

impl Writer {
    pub(super) fn new(next_generation: Option<u64>) -> Self {
        Self { next_generation, ..Self::default() }
    }

    /// A generation that no file had or will have, used up even if its save fails.
    fn take_generation(&mut self) -> Result<u64, CheckpointError> {
        let next = self.next_generation.ok_or_else(|| {
            CheckpointError::new(
                ErrorKind::Io,
                "the generations of this directory are used up: start a new one",
            )
        })?;
        self.next_generation = Some(next + 1).filter(|g| *g < name::GENERATIONS);
        Ok(next)
    }
}

fn failed(op: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CheckpointError {
    move |error| CheckpointError::io(op, path, error)
}

impl<S: Serialize + DeserializeOwned> Store<S> {
    /// Saves a checkpoint. `Ok` means: durable, complete, readable, and the thread's latest.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidId`, `Oversize` and `SerializationFailed` before anything is
    /// written; `StorageFull`, `PermissionDenied` and `Io` as the system answers. After any of them
    /// every earlier checkpoint is intact and this one is in no answer; only a crash before the
    /// next successful change may bring it back.
    pub fn save(&self, draft: &Draft<S>) -> Result<Info, CheckpointError> {
        let result = self.try_save(draft).map_err(|error| match &draft.id {
            Some(id) => error.thread(&draft.thread_id).id(id),
            None => error.thread(&draft.thread_id),
        });
        if result.is_ok() {
            self.count(counters::SAVES, "");
        }
        self.counted(counters::SAVE_FAILURES, result)
    }

    fn try_save(&self, draft: &Draft<S>) -> Result<Info, CheckpointError> {
        let options = &self.options;
        let payload = payload::encode(&draft.state, options.compression, options.max_state)?;
        let mut writer = self.writer();
        let generation = writer.take_generation()?;
        let id = self.new_id(draft, generation)?;
        let header = Header {
            info: Info {
                id,
                thread_id: draft.thread_id.clone(),
                node: draft.node.clone(),
                timestamp: draft.timestamp.unwrap_or_else(|| options.clock.now()),
                parent_id: draft.parent_id.clone(),
                metadata: draft.metadata.clone(),
                generation,
                schema: options.schema.version(),
            },
            stored: payload.stored,
            state_len: payload.state_len,
            payload_len: payload.bytes.len() as u64,
            payload_crc: payload.crc,
        };
        let encoded = header.encode()?;
        if options.verify {
            self.verify_saved(&header, &payload)?;
        }
        self.place(&mut writer, &encoded, &payload.bytes)?;
        let written = (encoded.bytes.len() + payload.bytes.len()) as u64;
        options.counters.add(counters::BYTES, "", written);
        let info = header.info.clone();
        let seat = self.catalog().insert(File {
            kind: Kind::New(encoded.name),
            thread: Some(encoded.name.thread),
            id: encoded.name.id,
            head: Head::Known(Arc::new(header)),
            told: false,
        });
        writer.changes += 1;
        if let Some(keep) = options.keep {
            self.retain_saved(&mut writer, encoded.name.thread, seat, keep);
        }
        // rarely enough that its cost per save stays bounded
        if writer.changes >= self.catalog().len().max(1024) {
            self.write_index(&mut writer);
        }
        Ok(info)
    }

    /// The caller's id if it is free, or a new one.
    fn new_id(&self, draft: &Draft<S>, generation: u64) -> Result<String, CheckpointError> {
        let id = if let Some(id) = &draft.id {
            id.clone()
        } else {
            let mut random = [0; 8];
            let filled = self.options.entropy.fill(&mut random);
            filled.map_err(failed("entropy", &self.dir))?;
            format!("{generation:016x}-{:016x}", u64::from_be_bytes(random))
        };
        if self.catalog().of_id(Digest::id(&id)).next().is_some() {
            let message = "a checkpoint has this id: delete it first, or use another id";
            return Err(CheckpointError::new(ErrorKind::AlreadyExists, message).id(&id));
        }
        Ok(id)
    }

    /// Decodes what is about to be written, as a load will.
    fn verify_saved(&self, header: &Header, payload: &Payload) -> Result<(), CheckpointError> {
        let options = &self.options;
        let read = payload::with_state(header, &payload.bytes, options.max_state, |encoded| {
            payload::decode::<S>(encoded, header.info.schema, &options.schema)
        });
        read.map(drop).map_err(|fault| {
            let message =
                format!("the state's type does not read what it writes: {}", fault.into_error());
            CheckpointError::new(ErrorKind::SerializationFailed, message)
        })
    }

    /// Writes a file under a temporary name, syncs it, renames it, syncs the directory.
    fn place(
        &self,
        writer: &mut Writer,
        encoded: &Encoded,
        payload: &[u8],
    ) -> Result<(), CheckpointError> {
        let temp = self.temporary()?;
        let mut file = self.fs.create_new(&temp).map_err(failed("create", &temp))?;
        let written = file
            .write_all(&encoded.bytes)
            .and_then(|()| file.write_all(payload))
            .map_err(failed("write", &temp))
            .and_then(|()| file.sync().map_err(failed("sync", &temp)));
        drop(file);
        if let Err(error) = written {
            let _ = self.fs.remove(&temp);
            return Err(error);
        }
        self.empty_limbo(writer);
        let path = self.dir.join(encoded.name.text());
        if let Err(error) = self.fs.rename(&temp, &path) {
            let _ = self.fs.remove(&temp);
            self.abandon(writer, path.clone());
            return Err(CheckpointError::io("rename", &path, error));
        }
        self.sync(writer).inspect_err(|_| self.abandon(writer, path))
    }

    fn temporary(&self) -> Result<PathBuf, CheckpointError> {
        let mut entropy = [0; 16];
        self.options.entropy.fill(&mut entropy).map_err(failed("entropy", &self.dir))?;
        Ok(self.dir.join(name::temporary(entropy)))
    }

    /// A file that was not acknowledged must not come to light in a later answer.
    fn abandon(&self, writer: &mut Writer, path: PathBuf) {
        let _ = self.fs.remove(&path);
        writer.limbo.push(path);
    }

    /// Removes again what may not have been removed; the next directory sync makes it durable.
    fn empty_limbo(&self, writer: &mut Writer) {
        writer.limbo.retain(|path| match self.fs.remove(path) {
            Ok(()) => false,
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        });
    }

    fn sync(&self, writer: &mut Writer) -> Result<(), CheckpointError> {
        let synced = self.fs.sync_dir(&self.dir).map_err(failed("sync_dir", &self.dir));
        writer.unsynced = synced.is_err();
        synced
    }

    /// Deletes a checkpoint, in whatever state it is. False when there is none with this id. After
    /// `Ok` it does not come back.
    ///
    /// # Errors
    /// `SchemaMismatch`, with nothing deleted, when a newer format wrote it; what the system
    /// answers: then the checkpoint is gone or not, as `load` tells, and a crash may bring it back.
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
        choose: impl FnOnce(&super::catalog::Catalog) -> Vec<(Seat, File)>,
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
            self.empty_limbo(writer);
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
    fn retain_saved(&self, writer: &mut Writer, thread: Digest, saved: Seat, keep: NonZeroUsize) {
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
            let newest_first =
                catalog.of_thread(thread).rev().filter(|(_, f)| f.header().is_some());
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

    /// Writes the index and gives the directory free. Dropping a store does the second only, which
    /// loses nothing: the index is a cache.
    pub fn close(self) {
        let mut writer = self.writer();
        if writer.changes > 0 {
            self.write_index(&mut writer);
        }
    }

    /// Writes the index, as well as it can be.
    pub(super) fn write_index(&self, writer: &mut Writer) {
        let headers: Vec<Vec<u8>> = {
            let catalog = self.catalog();
            let known = catalog.files().filter_map(|(_, file)| match (&file.kind, &file.head) {
                (Kind::New(name), Head::Known(header)) => Some((name, header.encode().ok()?)),
                _ => None,
            });
            known.filter(|(name, made)| made.name == **name).map(|(_, made)| made.bytes).collect()
        };
        let bytes = super::index::encode(self.identity, headers.iter().map(Vec::as_slice));
        writer.changes = 0;
        if let Err(error) = self.write_cache(name::INDEX, &bytes) {
            self.count(counters::INDEX_WRITE_FAILURES, "");
            tracing::warn!(%error, "the index was not written; the next open reads the headers");
        }
    }

    /// Writes a file that may be lost: whole or not at all as long as nothing crashes.
    pub(super) fn write_cache(&self, file_name: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
        let temp = self.temporary()?;
        let path = self.dir.join(file_name);
        let mut file = self.fs.create_new(&temp).map_err(failed("create", &temp))?;
        let written = file.write_all(bytes).map_err(failed("write", &temp));
        drop(file);
        let result =
            written.and_then(|()| self.fs.rename(&temp, &path).map_err(failed("rename", &path)));
        if result.is_err() {
            let _ = self.fs.remove(&temp);
        }
        result
    }
}
