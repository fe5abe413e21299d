//! The spool itself: opened once, then appended to in groups and drained in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::{self, Body};
use super::recovery::{self, LOCK, Live, READ_LIMIT, Recovery, Segment};
use super::{Damage, epoch, segment};
use crate::core::{PerRoute, Persistence, Recovered, SpoolEntry, SpoolFault, SpoolId};
use crate::fs::{Fs, FsError, FsFile, FsLock, LockError};

/// A segment this long is full; the next batch begins another.
const SEGMENT: u64 = 8 << 20;
/// What the end of a record takes, in a segment of its own if need be.
const END: u64 = (segment::HEADER + entry::RESOLVED_LEN) as u64;
/// What its claims take, when it is sent again.
const CLAIM: u64 = (segment::HEADER + entry::CLAIMS_LEN) as u64;
/// Most bytes of entries in one append: a segment must stay short enough to be read as a whole.
const APPEND: usize = 32 << 20;
/// Most ends of earlier failures that go with one append.
const OWED: usize = 1 << 16;

/// Where a spool is and how large it may become.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Its directory, made when it is missing. One producer at a time.
    pub directory: PathBuf,
    /// Most bytes of all segments; a record that would exceed it, with what its own end will take,
    /// is not taken. On top of it may come what failed writes left on the disk, and 55 bytes for a
    /// record that turned out to be persisted.
    pub max_bytes: u64,
    /// A segment of this many bytes is full; one of 64 MiB is in any case.
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
    /// A segment has the last generation there is.
    #[error(
        "the spool in {} has used up its generations; take a new directory", directory.display()
    )]
    Generations {
        /// The directory.
        directory: PathBuf,
    },
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
    /// Unresolved records that later entries may speak of, with the least that the disk says.
    claims: BTreeMap<SpoolId, PerRoute<Persistence>>,
    current: Option<Current>,
    next_generation: u64,
    /// Ends that are not known to be durable, to go with the next append: those of an append that
    /// failed, and those of its records, which may be on the disk all the same.
    owed: BTreeSet<SpoolId>,
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
        let Some(next_generation) = recovery.last_generation.checked_add(1) else {
            return Err(SpoolError::Generations { directory: dir });
        };
        epoch::begin(fs.as_ref(), &dir, epoch, recovery.epochs.iter().copied())?;
        let Recovery { segments, live, damage, other_bytes, .. } = recovery;
        let mut spool = Self {
            fs,
            options,
            epoch,
            used: other_bytes + segments.values().map(|s| s.bytes).sum::<u64>(),
            reserved: live.iter().map(|live| reserve(live.claims)).sum(),
            segments,
            claims: live.iter().map(|live| (live.id, live.claims)).collect(),
            pending: live.into(),
            current: None,
            next_generation,
            owed: BTreeSet::new(),
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
            let known = self.claims.get(&live.id).copied().unwrap_or(live.claims);
            if !is_begun(known) {
                begun.push(SpoolEntry::Claims(live.id, begin(known)));
            }
            out.push(recovered);
        }
        for part in parts(&begun, APPEND) {
            self.append(part)?;
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

    /// Makes entries durable, with one sync for up to 32 MiB. Each is answered: the record's id, or
    /// why it is not on the spool. Ends are taken also when the spool is full; of claims only those
    /// that make a record possibly persisted are, and others that do not fit are left out: what the
    /// disk says is then more than is so, never less. An end that fails is tried again with the
    /// next write, and by [`Spool::settle`].
    pub fn write(&mut self, entries: &[SpoolEntry]) -> Vec<Result<SpoolId, SpoolFault>> {
        let mut room = self.options.max_bytes.saturating_sub(self.used + self.reserved);
        let mut answers: Vec<Result<SpoolId, SpoolFault>> = Vec::with_capacity(entries.len());
        let (mut kept, mut places) = (Vec::with_capacity(entries.len()), Vec::new());
        for (place, entry) in entries.iter().enumerate() {
            let (need, otherwise) = self.need(entry);
            answers.push(otherwise);
            if need.is_none_or(|need| need > room) {
                continue;
            }
            room -= need.unwrap_or(0);
            places.push(place);
            kept.push(entry.clone());
        }
        let mut places = places.into_iter();
        let mut all = true;
        for part in parts(&kept, APPEND) {
            let written = self.write_part(part);
            for (place, result) in places.by_ref().zip(written) {
                all &= result.is_ok();
                if let Some(answer) = answers.get_mut(place) {
                    *answer = result;
                }
            }
        }
        if all {
            self.sweep();
        }
        answers
    }

    /// The room that an entry must find to be written, none when it need not be, and the answer when
    /// it is not.
    fn need(&self, entry: &SpoolEntry) -> (Option<u64>, Result<SpoolId, SpoolFault>) {
        match entry {
            SpoolEntry::Record(record) => {
                let len = entry::len_of(entry);
                let need = (segment::HEADER + len) as u64 + reserve(record.claims);
                let is_readable = len <= entry::HEAD + entry::MAX_BODY;
                (is_readable.then_some(need), Err(SpoolFault::Full))
            }
            SpoolEntry::Claims(id, claims) => {
                let known = self.claims.get(id).filter(|known| *known != claims);
                let need = known.map(|known| match is_more(*claims, *known) {
                    true => 0,
                    false => CLAIM + reserve(*claims),
                });
                (need, Ok(*id))
            }
            SpoolEntry::Resolved(id) => {
                let is_known = self.claims.contains_key(id) || self.owed.contains(id);
                (is_known.then_some(0), Ok(*id))
            }
        }
    }

    /// Appends entries. Where that fails, nobody knows which of their records are on the disk: they
    /// are ended at once, in another segment.
    fn write_part(&mut self, part: &[SpoolEntry]) -> Vec<Result<SpoolId, SpoolFault>> {
        let error = match self.append(part) {
            Ok(ids) => return ids.into_iter().map(Ok).collect(),
            Err(error) => error,
        };
        tracing::error!(%error, entries = part.len(), "the spool did not take entries");
        let fault = match self.settle() {
            Ok(()) => SpoolFault::Failed,
            Err(_) => SpoolFault::Unsure,
        };
        let answer = |entry: &SpoolEntry| match entry {
            SpoolEntry::Resolved(id) if !self.owed.contains(id) => Ok(*id),
            _ => Err(fault),
        };
        part.iter().map(answer).collect()
    }

    /// Ends are left that no write has made durable yet.
    #[must_use]
    pub fn is_owing(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Makes the ends durable that earlier writes could not: for whoever lets the spool go.
    ///
    /// # Errors
    /// [`SpoolError`]; the records of those ends may come back at the next open.
    pub fn settle(&mut self) -> Result<(), SpoolError> {
        if self.is_owing() {
            self.sweep();
        }
        while self.is_owing() {
            self.append(&[])?;
            self.sweep();
        }
        Ok(())
    }

    /// Appends and syncs; returns an id for each entry.
    fn append(&mut self, entries: &[SpoolEntry]) -> Result<Vec<SpoolId>, FsError> {
        let owed: Vec<SpoolEntry> =
            self.owed.iter().take(OWED).copied().map(SpoolEntry::Resolved).collect();
        let size: usize = owed.iter().chain(entries).map(entry::len_of).sum();
        let mut current = self.room_for(size as u64).inspect_err(|_| self.owe(entries, &[]))?;
        let (from, mut bytes) = (current.bytes, Vec::new());
        if current.is_new {
            bytes.extend(segment::header(current.generation, self.epoch));
        }
        let mut ids = Vec::with_capacity(owed.len() + entries.len());
        for entry in owed.iter().chain(entries) {
            let (segment, ordinal) = (current.generation, current.ordinal);
            let at = from + bytes.len() as u64;
            entry::encode(&mut bytes, at, segment, ordinal, entry);
            ids.push(SpoolId { segment, ordinal });
            current.ordinal += 1;
        }
        let ids = ids.split_off(owed.len());
        let result = self.commit(&mut current, &bytes);
        self.used += bytes.len() as u64;
        let place = self.segments.entry(current.generation).or_default();
        place.bytes += bytes.len() as u64;
        if let Err(error) = result {
            // nothing is known of this file any more: what may be in it must not come back
            self.owe(entries, &ids);
            if current.is_new {
                self.discard(current.generation);
            }
            return Err(error);
        }
        current.bytes += bytes.len() as u64;
        current.is_new = false;
        self.current = Some(current);
        for entry in &owed {
            self.end(entry);
        }
        entries.iter().zip(&ids).for_each(|(entry, id)| self.apply(entry, *id));
        Ok(ids)
    }

    /// An append failed: its ends are owed, and those of its records, which may come to the disk.
    /// Owed ends that were in it stay owed. Of claims the disk says the old ones or the new.
    fn owe(&mut self, entries: &[SpoolEntry], ids: &[SpoolId]) {
        for entry in entries {
            match entry {
                SpoolEntry::Record(_) => {}
                SpoolEntry::Claims(id, claims) => {
                    if let Some(known) = self.claims.get(id).copied() {
                        self.know(*id, least(known, *claims));
                    }
                }
                SpoolEntry::Resolved(id) => {
                    self.owed.insert(*id);
                }
            }
        }
        let written = entries.iter().zip(ids);
        let records = written.filter(|(entry, _)| matches!(entry, SpoolEntry::Record(_)));
        self.owed.extend(records.map(|(_, id)| *id));
    }

    /// The segment that takes so many bytes of entries.
    fn room_for(&mut self, size: u64) -> Result<Current, FsError> {
        match self.current.take() {
            Some(current)
                if current.bytes < self.options.segment_bytes
                    && current.bytes + size <= READ_LIMIT =>
            {
                Ok(current)
            }
            _ => self.create(),
        }
    }

    fn create(&mut self) -> Result<Current, FsError> {
        let generation = self.next_generation;
        let path = self.path(generation);
        let next = generation.checked_add(1).ok_or_else(|| {
            FsError::new("create", &path, io::Error::other("its generations are used up"))
        })?;
        self.next_generation = next;
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
                self.reserved += reserve(record.claims);
                if let Some(segment) = self.segments.get_mut(&at.segment) {
                    segment.live += 1;
                }
            }
            SpoolEntry::Claims(id, claims) => self.know(*id, *claims),
            SpoolEntry::Resolved(_) => self.end(entry),
        }
    }

    /// The disk says this of a record.
    fn know(&mut self, id: SpoolId, claims: PerRoute<Persistence>) {
        if let Some(known) = self.claims.get_mut(&id) {
            self.reserved = self.reserved.saturating_sub(reserve(*known)) + reserve(claims);
            *known = claims;
        }
    }

    /// An end is durable.
    fn end(&mut self, entry: &SpoolEntry) {
        let SpoolEntry::Resolved(id) = entry else { return };
        self.owed.remove(id);
        if let Some(known) = self.claims.remove(id) {
            self.reserved = self.reserved.saturating_sub(reserve(known));
            if let Some(segment) = self.segments.get_mut(&id.segment) {
                segment.live = segment.live.saturating_sub(1);
            }
        }
    }

    /// Removes a segment whose one append failed. Its ends are owed: nothing depends on it.
    fn discard(&mut self, generation: u64) {
        if self.remove(generation).is_ok() {
            let bytes = self.segments.remove(&generation).map_or(0, |segment| segment.bytes);
            self.forget(generation, bytes);
        }
    }

    /// Removes a segment durably.
    fn remove(&self, generation: u64) -> io::Result<()> {
        match self.fs.remove(&self.path(generation)) {
            // an earlier attempt removed it, and could not make that durable
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => result?,
        }
        self.fs.sync_dir(&self.options.directory)
    }

    /// A segment is gone for good.
    fn forget(&mut self, generation: u64, bytes: u64) {
        self.owed.retain(|id| id.segment != generation);
        self.used = self.used.saturating_sub(bytes);
    }

    /// Removes segments that hold nothing live, from the oldest on. In this order, and each durably
    /// before the next: an end must not go before the record that it is about. Nobody knows what a
    /// segment holds that was not read: it stays, and so does all that may be about its records.
    fn sweep(&mut self) {
        while let Some((&generation, &Segment { bytes, live: 0, unread: false })) =
            self.segments.first_key_value()
        {
            if self.current.as_ref().is_some_and(|current| current.generation == generation) {
                return;
            }
            if let Err(error) = self.remove(generation) {
                let path = self.path(generation);
                tracing::warn!(path = %path.display(), %error, "a used segment stays for now");
                return;
            }
            self.segments.pop_first();
            self.forget(generation, bytes);
        }
    }
}

/// It may have been sent again.
fn is_begun(claims: PerRoute<Persistence>) -> bool {
    claims.main > Persistence::Not && claims.dlq > Persistence::Not
}

/// The same, of a record that is about to be sent again.
fn begin(claims: PerRoute<Persistence>) -> PerRoute<Persistence> {
    PerRoute {
        main: claims.main.max(Persistence::Possibly),
        dlq: claims.dlq.max(Persistence::Possibly),
    }
}

/// Of a route more is known than the other says.
fn is_more(claims: PerRoute<Persistence>, than: PerRoute<Persistence>) -> bool {
    claims.main > than.main || claims.dlq > than.dlq
}

fn least(one: PerRoute<Persistence>, other: PerRoute<Persistence>) -> PerRoute<Persistence> {
    PerRoute { main: one.main.min(other.main), dlq: one.dlq.min(other.dlq) }
}

/// Bytes that a record with these claims will still take: its end, and once that it is begun.
fn reserve(claims: PerRoute<Persistence>) -> u64 {
    END + if is_begun(claims) { 0 } else { CLAIM }
}

/// Entries in runs that take at most so many bytes; one that takes more is alone.
fn parts(entries: &[SpoolEntry], most: usize) -> impl Iterator<Item = &[SpoolEntry]> {
    let mut size = 0;
    entries.chunk_by(move |one, next| {
        if size == 0 {
            size = entry::len_of(one);
        }
        size += entry::len_of(next);
        let fits = size <= most;
        size = if fits { size } else { 0 };
        fits
    })
}
