//! The spool itself: opened once, then appended to in groups and drained in order.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::{self, Body};
use super::recovery::{self, LOCK, Live, Recovery, Segment};
use super::{Damage, epoch, segment};
use crate::core::{PerRoute, Persistence, Recovered, SpoolEntry, SpoolFault, SpoolId};
use crate::fs::{Fs, FsError, FsFile, FsLock, LockError};

/// A segment this long is full; the next batch begins another.
const SEGMENT: u64 = 8 << 20;
/// What a record's own later entries take: claims when it is sent again, and its end.
const RESERVE: u64 = 64;

/// Where a spool is and how large it may become.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Its directory, made when it is missing. One producer at a time.
    pub directory: PathBuf,
    /// Most bytes of all segments; a record that would exceed it is not taken.
    pub max_bytes: u64,
    /// A segment of this many bytes is full.
    pub segment_bytes: u64,
}

impl SpoolOptions {
    /// A spool of at most 256 MiB in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), max_bytes: 256 << 20, segment_bytes: SEGMENT }
    }
}

/// Why a spool could not be opened, or a part of it not given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Somebody else has the directory.
    #[error(
        "the spool in {} is in use by {holder}; close that producer, or give this one a directory \
         of its own", directory.display()
    )]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// The file system refused.
    #[error("{0}; make the spool's directory usable, or leave `spool.directory` out")]
    Fs(#[from] FsError),
    /// The directory was opened 2^24 times.
    #[error("the spool in {} has used up its epochs; take a new directory", directory.display())]
    Epochs {
        /// The directory.
        directory: PathBuf,
    },
}

/// What is so of a spool, and what was found when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolStatus {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Records that will be sent again, in this life or the next.
    pub live: u64,
    /// Damage by kind: entries, and files that are not the spool's.
    pub damage: BTreeMap<Damage, u64>,
}

/// The segment that is written to.
struct Current {
    generation: u64,
    file: Box<dyn FsFile>,
    bytes: u64,
    ordinal: u32,
    is_new: bool,
}

/// A spool. Its directory is locked as long as it lives.
pub struct Spool {
    fs: Arc<dyn Fs>,
    options: SpoolOptions,
    epoch: u32,
    segments: BTreeMap<u64, Segment>,
    /// Recovered and not taken yet.
    pending: VecDeque<Live>,
    /// Unresolved records that later entries may speak of.
    claims: BTreeMap<SpoolId, PerRoute<Persistence>>,
    current: Option<Current>,
    next_generation: u64,
    /// Records that may be on the disk although their append failed: to be resolved with the next.
    voids: Vec<SpoolId>,
    /// Bytes of segments, of what other versions left, and kept free for the records' own ends.
    used: u64,
    reserved: u64,
    damage: BTreeMap<Damage, u64>,
    _lock: Box<dyn FsLock>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool")
            .field("directory", &self.options.directory)
            .field("epoch", &self.epoch)
            .field("live", &self.claims.len())
            .finish_non_exhaustive()
    }
}

impl Spool {
    /// Takes a directory, begins a new epoch durably, and reads what is live. `holder` is told to
    /// whoever finds the directory taken.
    ///
    /// # Errors
    /// [`SpoolError`]; damage is none, it is counted in [`Spool::status`].
    pub fn open(fs: Arc<dyn Fs>, options: SpoolOptions, holder: &str) -> Result<Self, SpoolError> {
        let dir = options.directory.clone();
        fs.create_dir(&dir).map_err(|e| FsError::new("create", &dir, e))?;
        let lock = fs.lock(&dir.join(LOCK), holder).map_err(|error| match error {
            LockError::Held { holder } => SpoolError::Locked { directory: dir.clone(), holder },
            LockError::Io(error) => FsError::new("lock", &dir.join(LOCK), error).into(),
        })?;
        let recovery = recovery::recover(fs.as_ref(), &dir)?;
        let epoch = recovery.seen_epoch.map_or(0, |seen| seen + 1);
        if epoch > epoch::LAST {
            return Err(SpoolError::Epochs { directory: dir });
        }
        epoch::begin(fs.as_ref(), &dir, epoch, recovery.epochs.iter().copied())?;
        let Recovery { segments, live, damage, last_generation, other_bytes, .. } = recovery;
        let mut spool = Self {
            fs,
            options,
            epoch,
            used: other_bytes + segments.values().map(|s| s.bytes).sum::<u64>(),
            reserved: live.len() as u64 * RESERVE,
            segments,
            claims: live.iter().map(|live| (live.id, live.claims)).collect(),
            pending: live.into(),
            current: None,
            next_generation: last_generation.saturating_add(1),
            voids: Vec::new(),
            damage,
            _lock: lock,
        };
        spool.sweep();
        Ok(spool)
    }

    /// Epoch of this life's sequences: 0 in a new directory, then one more each time.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Records of earlier lives that were not taken yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What is so now.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        let (bytes, live) = (self.used, self.claims.len() as u64);
        SpoolStatus { bytes, live, damage: self.damage.clone() }
    }

    /// Gives back records of earlier lives, in order: as many as fit into so many events and
    /// protobuf bytes. A record that cannot be read any more is counted as damage and left.
    ///
    /// What is given back counts as possibly persisted on both routes, durably, until a later entry
    /// knows better: whoever is killed while it sends it again has told the truth.
    ///
    /// # Errors
    /// [`SpoolError`] when that could not be made durable; nothing is given back then.
    pub fn take(&mut self, events: usize, bytes: usize) -> Result<Vec<Recovered>, SpoolError> {
        let (mut out, mut begun, mut size, mut taken) = (Vec::new(), Vec::new(), 0, 0);
        for live in &self.pending {
            if out.len() >= events || size + live.bytes > bytes {
                break;
            }
            taken += 1;
            let Some(recovered) = self.read(live) else {
                *self.damage.entry(Damage::Unreadable).or_default() += 1;
                continue;
            };
            size += live.bytes;
            let claims = PerRoute {
                main: live.claims.main.max(Persistence::Possibly),
                dlq: live.claims.dlq.max(Persistence::Possibly),
            };
            if claims != live.claims {
                begun.push(SpoolEntry::Claims(live.id, claims));
            }
            out.push(recovered);
        }
        if !begun.is_empty() {
            self.append(&begun)?;
        }
        self.pending.drain(..taken);
        Ok(out)
    }

    /// Protobuf bytes of the record that [`Spool::take`] would give back first.
    #[must_use]
    pub fn next_bytes(&self) -> Option<usize> {
        self.pending.front().map(|live| live.bytes)
    }

    fn read(&self, live: &Live) -> Option<Recovered> {
        let path = self.path(live.id.segment);
        let bytes = self.fs.read_at(&path, live.offset, live.len);
        let bytes = bytes
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "not read"))
            .ok()?;
        let found = entry::decode(live.id.segment, live.offset, &bytes, true)?;
        let Body::Record(mut record) = found.body else { return None };
        record.claims = live.claims;
        Some(Recovered { id: live.id, record })
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.options.directory.join(segment::name(generation))
    }

    /// Makes entries durable, all with one sync. Each is answered: the record's id, or why it is
    /// not on the spool. Claims and ends are taken also when the spool is full.
    pub fn write(&mut self, entries: &[SpoolEntry]) -> Vec<Result<SpoolId, SpoolFault>> {
        let mut room = self.options.max_bytes.saturating_sub(self.used + self.reserved);
        let fits: Vec<bool> = entries
            .iter()
            .map(|entry| {
                let SpoolEntry::Record(record) = entry else { return true };
                let need = entry::len_of(entry) as u64 + RESERVE;
                let fits = need <= room && record.frame.len() <= entry::MAX_BODY / 2;
                room -= if fits { need } else { 0 };
                fits
            })
            .collect();
        let kept: Vec<SpoolEntry> =
            entries.iter().zip(&fits).filter(|(_, fits)| **fits).map(|(e, _)| e.clone()).collect();
        let written = if kept.is_empty() { Ok(Vec::new()) } else { self.append(&kept) };
        let mut ids = match written {
            Ok(ids) => ids.into_iter(),
            Err(error) => {
                tracing::error!(%error, "the spool took nothing");
                let answer = |fits: bool| if fits { SpoolFault::Failed } else { SpoolFault::Full };
                return fits.into_iter().map(|fits| Err(answer(fits))).collect();
            }
        };
        self.sweep();
        fits.into_iter()
            .map(
                |fits| {
                    if fits { ids.next().ok_or(SpoolFault::Failed) } else { Err(SpoolFault::Full) }
                },
            )
            .collect()
    }

    /// Appends and syncs; returns an id for each entry.
    fn append(&mut self, entries: &[SpoolEntry]) -> Result<Vec<SpoolId>, FsError> {
        let voids = std::mem::take(&mut self.voids);
        let voids: Vec<SpoolEntry> = voids.into_iter().map(SpoolEntry::Resolved).collect();
        let mut current = match self.current.take() {
            Some(current) if current.bytes < self.options.segment_bytes => current,
            _ => self.create()?,
        };
        let (from, mut bytes) = (current.bytes, Vec::new());
        if current.is_new {
            bytes.extend(segment::header(current.generation, self.epoch));
        }
        let mut ids = Vec::with_capacity(entries.len());
        for entry in voids.iter().chain(entries) {
            let (segment, ordinal) = (current.generation, current.ordinal);
            let at = from + bytes.len() as u64;
            entry::encode(&mut bytes, at, segment, ordinal, entry);
            ids.push(SpoolId { segment, ordinal });
            current.ordinal += 1;
        }
        let ids = ids.split_off(voids.len());
        let result = self.commit(&mut current, &bytes);
        self.used += bytes.len() as u64;
        let place = self.segments.entry(current.generation).or_default();
        place.bytes += bytes.len() as u64;
        if let Err(error) = result {
            // nothing is known of this file any more: what may be in it must not come back
            self.voids = resolved(&voids);
            self.voids.extend(records(entries, &ids));
            return Err(error);
        }
        current.bytes += bytes.len() as u64;
        current.is_new = false;
        self.current = Some(current);
        entries.iter().zip(&ids).for_each(|(entry, id)| self.apply(entry, *id));
        Ok(ids)
    }

    fn create(&mut self) -> Result<Current, FsError> {
        let generation = self.next_generation;
        self.next_generation += 1;
        let path = self.path(generation);
        let file = self.fs.create_new(&path).map_err(|e| FsError::new("create", &path, e))?;
        Ok(Current { generation, file, bytes: 0, ordinal: 0, is_new: true })
    }

    fn commit(&self, current: &mut Current, bytes: &[u8]) -> Result<(), FsError> {
        let path = self.path(current.generation);
        current.file.write_all(bytes).map_err(|e| FsError::new("write", &path, e))?;
        current.file.sync().map_err(|e| FsError::new("sync", &path, e))?;
        if current.is_new {
            let dir: &Path = &self.options.directory;
            self.fs.sync_dir(dir).map_err(|e| FsError::new("sync_dir", dir, e))?;
        }
        Ok(())
    }

    /// The entry is durable: what follows for the books.
    fn apply(&mut self, entry: &SpoolEntry, at: SpoolId) {
        match entry {
            SpoolEntry::Record(record) => {
                self.claims.insert(at, record.claims);
                self.reserved += RESERVE;
                if let Some(segment) = self.segments.get_mut(&at.segment) {
                    segment.live += 1;
                }
            }
            SpoolEntry::Claims(id, claims) => {
                if let Some(known) = self.claims.get_mut(id) {
                    *known = *claims;
                }
            }
            SpoolEntry::Resolved(id) => {
                if self.claims.remove(id).is_some() {
                    self.reserved = self.reserved.saturating_sub(RESERVE);
                    if let Some(segment) = self.segments.get_mut(&id.segment) {
                        segment.live = segment.live.saturating_sub(1);
                    }
                }
            }
        }
    }

    /// Removes segments that hold nothing live, from the oldest on. In this order, and each durably
    /// before the next: an end must not go before the record that it is about.
    fn sweep(&mut self) {
        while let Some((&generation, &Segment { bytes, live: 0 })) = self.segments.first_key_value()
        {
            if self.current.as_ref().is_some_and(|current| current.generation == generation) {
                return;
            }
            let path = self.path(generation);
            let gone = match self.fs.remove(&path) {
                // an earlier sweep removed it, and could not make that durable
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                result => result,
            };
            if let Err(error) = gone.and_then(|()| self.fs.sync_dir(&self.options.directory)) {
                tracing::warn!(path = %path.display(), %error, "a used segment stays for now");
                return;
            }
            self.segments.pop_first();
            self.used = self.used.saturating_sub(bytes);
        }
    }
}

fn resolved(entries: &[SpoolEntry]) -> Vec<SpoolId> {
    let id = |entry: &SpoolEntry| match entry {
        SpoolEntry::Resolved(id) => Some(*id),
        _ => None,
    };
    entries.iter().filter_map(id).collect()
}

fn records<'a>(
    entries: &'a [SpoolEntry],
    ids: &'a [SpoolId],
) -> impl Iterator<Item = SpoolId> + 'a {
    let pairs = entries.iter().zip(ids);
    pairs.filter(|(entry, _)| matches!(entry, SpoolEntry::Record(_))).map(|(_, id)| *id)
}
