//! How a spool writes: one append at a time, what a failed one leaves, and what is swept.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::entry;
use super::recovery::{READ_LIMIT, Segment};
use super::segment;
use super::store::{Spool, least, reserve};
use crate::core::{PerRoute, Persistence, SpoolEntry, SpoolId};
use crate::fs::{FsError, FsFile};

/// Most ends of earlier failures that go with one append.
const OWED: usize = 1 << 16;

/// The segment that is written to.
pub(super) struct Current {
    generation: u64,
    file: Box<dyn FsFile>,
    bytes: u64,
    ordinal: u32,
    is_new: bool,
}

/// An append that failed.
pub(super) struct Unwritten {
    pub(super) error: FsError,
    /// Ids of its first entries, those that the file may hold all the same.
    pub(super) left: Vec<SpoolId>,
}

impl Spool {
    /// Appends and syncs; returns an id for each entry.
    pub(super) fn append(&mut self, entries: &[SpoolEntry]) -> Result<Vec<SpoolId>, Unwritten> {
        let owed: Vec<SpoolEntry> =
            self.owed.iter().take(OWED).copied().map(SpoolEntry::Resolved).collect();
        let size: usize = owed.iter().chain(entries).map(entry::len_of).sum();
        let mut current = self.room_for(size as u64).map_err(|error| {
            self.owe(entries, &[]);
            Unwritten { error, left: Vec::new() }
        })?;
        let (from, mut bytes) = (current.bytes, Vec::new());
        if current.is_new {
            bytes.extend(segment::header(current.generation, self.epoch));
        }
        let mut ids = Vec::with_capacity(owed.len() + entries.len());
        let mut ends = Vec::with_capacity(ids.capacity());
        for entry in owed.iter().chain(entries) {
            let (segment, ordinal) = (current.generation, current.ordinal);
            let at = from + bytes.len() as u64;
            entry::encode(&mut bytes, at, segment, ordinal, entry);
            ids.push(SpoolId { segment, ordinal });
            ends.push(bytes.len());
            current.ordinal += 1;
        }
        let (ids, ends) = (ids.split_off(owed.len()), ends.split_off(owed.len()));
        let result = self.commit(&mut current, &bytes);
        let taken = result.as_ref().map_or_else(|(taken, _)| *taken, |()| bytes.len());
        self.used += taken as u64;
        let place = self.segments.entry(current.generation).or_default();
        place.bytes += taken as u64;
        if let Err((_, error)) = result {
            // of what was taken nothing is known any more, and it must not come back
            let whole = ends.partition_point(|end| *end <= taken);
            let left = ids.get(..whole).unwrap_or_default().to_vec();
            self.owe(entries, &left);
            if current.is_new {
                self.discard(current.generation);
            }
            return Err(Unwritten { error, left });
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

    /// Where it fails it says how many bytes the file has taken.
    fn commit(&self, current: &mut Current, bytes: &[u8]) -> Result<(), (usize, FsError)> {
        let path = self.path(current.generation);
        let written = current.file.write_counted(bytes);
        written.map_err(|(taken, error)| (taken, FsError::new("write", &path, error)))?;
        let all = |op, path: &Path, error| (bytes.len(), FsError::new(op, path, error));
        current.file.sync().map_err(|error| all("sync", &path, error))?;
        if current.is_new {
            let dir: &Path = &self.options.directory;
            self.fs.sync_dir(dir).map_err(|error| all("sync_dir", dir, error))?;
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
    pub(super) fn sweep(&mut self) {
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
