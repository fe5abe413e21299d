//! The spool itself: opened once, then appended to in groups and drained in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use super::append::{Current, Unwritten};
use super::entry::{self, Body};
use super::recovery::{self, LOCK, Live, Recovery, Segment};
use super::{Damage, epoch, segment};
use crate::core::{PerRoute, Persistence, Recovered, SpoolEntry, SpoolFault, SpoolId};
use crate::fs::{Fs, FsError, FsLock, LockError};

/// A segment this long is full; the next batch begins another.
const SEGMENT: u64 = 8 << 20;
/// What the end of a record takes, in a segment of its own if need be.
const END: u64 = (segment::HEADER + entry::RESOLVED_LEN) as u64;
/// What its claims take, when it is sent again.
const CLAIM: u64 = (segment::HEADER + entry::CLAIMS_LEN) as u64;
/// Most bytes of entries in one append: a segment must stay short enough to be read as a whole.
const APPEND: usize = 32 << 20;

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

/// A spool. Its directory is locked as long as it lives.
pub struct Spool {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) options: SpoolOptions,
    pub(super) epoch: u32,
    pub(super) segments: BTreeMap<u64, Segment>,
    /// Recovered and not taken yet.
    pending: VecDeque<Live>,
    /// Unresolved records that later entries may speak of, with the least that the disk says.
    pub(super) claims: BTreeMap<SpoolId, PerRoute<Persistence>>,
    pub(super) current: Option<Current>,
    pub(super) next_generation: u64,
    /// Ends that are not known to be durable, to go with the next append: those of an append that
    /// failed, and those of its records, which may be on the disk all the same.
    pub(super) owed: BTreeSet<SpoolId>,
    /// Bytes of segments, of what other versions left, and kept free for the records' own ends.
    pub(super) used: u64,
    pub(super) reserved: u64,
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
            self.append(part).map_err(|unwritten| unwritten.error)?;
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

    pub(super) fn path(&self, generation: u64) -> PathBuf {
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
            let Some(need) = need.filter(|need| *need <= room) else { continue };
            room -= need;
            places.push(place);
            kept.push(entry.clone());
        }
        let mut places = places.into_iter();
        let mut all = true;
        for part in parts(&kept, APPEND) {
            let written = self.write_part(part);
            for (result, place) in written.into_iter().zip(places.by_ref()) {
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

    /// The room that an entry must find to be written, none when it need not be, and the answer
    /// when it is not.
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
                let lowered = CLAIM + reserve(*claims);
                let need = known.map(|known| if is_more(*claims, *known) { 0 } else { lowered });
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
        let Unwritten { error, left } = match self.append(part) {
            Ok(ids) => return ids.into_iter().map(Ok).collect(),
            Err(unwritten) => unwritten,
        };
        tracing::error!(%error, entries = part.len(), "the spool did not take entries");
        if let Err(error) = self.settle() {
            tracing::error!(%error, "what it may have taken all the same is not ended yet");
        }
        let mut left = left.into_iter();
        let answer = |entry: &SpoolEntry| {
            let own = left.next();
            let is_owed = |id: &SpoolId| self.owed.contains(id);
            match entry {
                SpoolEntry::Resolved(id) if !is_owed(id) => Ok(*id),
                SpoolEntry::Record(_) if own.as_ref().is_some_and(is_owed) => {
                    Err(SpoolFault::Unsure)
                }
                _ => Err(SpoolFault::Failed),
            }
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
            self.append(&[]).map_err(|unwritten| unwritten.error)?;
            self.sweep();
        }
        Ok(())
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

/// The less of both, route by route.
pub(super) fn least(
    one: PerRoute<Persistence>,
    other: PerRoute<Persistence>,
) -> PerRoute<Persistence> {
    PerRoute { main: one.main.min(other.main), dlq: one.dlq.min(other.dlq) }
}

/// Bytes that a record with these claims will still take: its end, and once that it is begun.
pub(super) fn reserve(claims: PerRoute<Persistence>) -> u64 {
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
