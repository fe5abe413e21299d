//! Saving: the order of steps that makes an `Ok` true after any crash.

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::catalog::{File, Head, Kind};
use super::counters;
use super::error::{CheckpointError, ErrorKind};
use super::format::{Encoded, Header, Known};
use super::model::{Draft, Info};
use super::name::{self, Digest};
use super::payload::{self, Payload};
use super::store::Store;

/// From this size on a payload is decoded on a thread of its own, while it is written.
const APART: usize = 64 << 10;
/// The largest buffer that is kept for the next save.
const KEPT_BUFFER: usize = 16 << 20;

/// What a writer must know beyond the catalog.
#[derive(Debug, Default)]
pub(super) struct Writer {
    next_generation: Option<u64>,
    /// Files whose save said `Err` at or after their rename: gone before the next `Ok`.
    limbo: Vec<PathBuf>,
    /// A directory sync failed or is still wanted: what it should cover is not durable yet.
    pub(super) unsynced: bool,
    /// Changes since the index was written.
    pub(super) changes: usize,
}

impl Writer {
    pub(super) fn new(next_generation: Option<u64>, unsynced: bool) -> Self {
        Self { next_generation, unsynced, ..Self::default() }
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
    /// `AlreadyExists`, `InvalidId`, `Oversize` and `SerializationFailed`; `StorageFull`,
    /// `PermissionDenied` and `Io` as the system answers. After any of them every earlier
    /// checkpoint is intact and this one is in no answer of this store; only a crash, or a later
    /// open, before the next successful change may bring it back. No change succeeds while the file
    /// of an earlier failed save cannot be removed; the error then names that file.
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
        let buffer = std::mem::take(&mut *self.buffer());
        let (compression, limit) = (options.compression, options.max_state);
        let payload = payload::encode(&draft.state, compression, limit, buffer)?;
        let mut writer = self.writer();
        let generation = writer.take_generation()?;
        let id = self.new_id(draft, generation)?;
        self.empty_limbo(&mut writer)?;
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
        let temp = self.checked(&header, &payload, || self.stage(&encoded, &payload.bytes))?;
        self.publish(&mut writer, &temp, &encoded)?;
        let written = (encoded.bytes.len() + payload.bytes.len()) as u64;
        options.counters.add(counters::BYTES, "", written);
        if payload.bytes.capacity() <= KEPT_BUFFER {
            *self.buffer() = payload.bytes;
        }
        let info = header.info.clone();
        let seat = self.catalog().insert(File {
            name: encoded.name.text().into(),
            kind: Kind::New(encoded.name),
            thread: Some(encoded.name.thread),
            id: encoded.name.id,
            head: Head::Known(Arc::new(Known { header, bytes: encoded.bytes.into() })),
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

    fn buffer(&self) -> MutexGuard<'_, Vec<u8>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a file that has no name yet, and decodes what is written if saves are verified: at
    /// the same time when the payload is large.
    fn checked(
        &self,
        header: &Header,
        payload: &Payload,
        stage: impl FnOnce() -> Result<PathBuf, CheckpointError>,
    ) -> Result<PathBuf, CheckpointError> {
        if !self.options.verify {
            return stage();
        }
        if payload.bytes.len() < APART {
            self.verify_saved(header, payload)?;
            return stage();
        }
        let (staged, verified) = std::thread::scope(|scope| {
            let verify = || self.verify_saved(header, payload);
            let running = std::thread::Builder::new().spawn_scoped(scope, verify);
            let staged = stage();
            let verified = match running {
                Ok(running) => running.join().unwrap_or_else(|_| {
                    let message = "decoding the state panicked";
                    Err(CheckpointError::new(ErrorKind::SerializationFailed, message))
                }),
                Err(_) => verify(),
            };
            (staged, verified)
        });
        let temp = staged?;
        verified.inspect_err(|_| drop(self.fs.remove(&temp)))?;
        Ok(temp)
    }

    /// Decodes what is written, as a load will.
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

    /// Writes and syncs a file under a temporary name.
    fn stage(&self, encoded: &Encoded, payload: &[u8]) -> Result<PathBuf, CheckpointError> {
        let temp = self.temporary()?;
        let mut file = self.fs.create_new(&temp).map_err(failed("create", &temp))?;
        let written = file
            .write_all(&encoded.bytes)
            .and_then(|()| file.write_all(payload))
            .map_err(failed("write", &temp))
            .and_then(|()| file.sync().map_err(failed("sync", &temp)));
        drop(file);
        match written {
            Ok(()) => Ok(temp),
            Err(error) => {
                let _ = self.fs.remove(&temp);
                Err(error)
            }
        }
    }

    /// Gives a staged file its name, durably.
    fn publish(
        &self,
        writer: &mut Writer,
        temp: &Path,
        encoded: &Encoded,
    ) -> Result<(), CheckpointError> {
        let path = self.dir.join(encoded.name.text());
        if let Err(error) = self.fs.rename(temp, &path) {
            let _ = self.fs.remove(temp);
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
        // even a change that finds nothing to do makes the removal durable before its Ok
        writer.unsynced = true;
    }

    /// Removes again what may not have been removed; the next directory sync makes it durable.
    ///
    /// Fails when one stays: a sync would make that durable, and an open would show it.
    pub(super) fn empty_limbo(&self, writer: &mut Writer) -> Result<(), CheckpointError> {
        while let Some(path) = writer.limbo.last() {
            match self.fs.remove(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(CheckpointError::io("remove of a rejected save", path, error));
                }
                Ok(()) | Err(_) => drop(writer.limbo.pop()),
            }
        }
        Ok(())
    }

    pub(super) fn sync(&self, writer: &mut Writer) -> Result<(), CheckpointError> {
        let synced = self.fs.sync_dir(&self.dir).map_err(failed("sync_dir", &self.dir));
        writer.unsynced = synced.is_err();
        synced
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
        let bytes = {
            let catalog = self.catalog();
            let known = catalog.files().filter_map(|(_, file)| file.known());
            let headers = known.map(|known| &*known.bytes).filter(|bytes| !bytes.is_empty());
            super::index::encode(self.identity, headers)
        };
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
