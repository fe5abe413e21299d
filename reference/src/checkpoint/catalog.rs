//! What is in the directory: the truth while the lock is held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::damage::Fault;
use super::format::Header;
use super::name::{Digest, FileName};
use super::v1::OldFile;

/// A place in the order of all files: version 1 before version 2, then by generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat {
    /// 0 for version-1 files.
    pub(super) generation: u64,
    /// Tells apart what a foreign hand put on one place; the rank of version-1 files.
    tie: u64,
}

/// What a file is called, which is all that an unreadable one tells.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    New(FileName),
    Old(OldFile),
}

/// What is known of a file's header.
#[derive(Clone, Debug)]
pub(super) enum Head {
    /// Its own, or an equal one from the index.
    Known(Arc<Header>),
    /// The system would not let it be read; tried again at each use.
    Unread,
    /// It is not what was saved, or newer than this reader.
    Bad(Fault),
}

/// One file.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) kind: Kind,
    pub(super) head: Head,
    /// `None` when it cannot be known any more, in version 1.
    pub(super) thread: Option<Digest>,
    pub(super) id: Digest,
    /// Its damage was counted and told.
    pub(super) told: bool,
}

impl File {
    /// The file's name in the directory.
    pub(super) fn name(&self) -> String {
        match &self.kind {
            Kind::New(name) => name.text(),
            Kind::Old(old) => old.name.clone(),
        }
    }

    pub(super) fn header(&self) -> Option<&Arc<Header>> {
        match &self.head {
            Head::Known(header) => Some(header),
            Head::Unread | Head::Bad(_) => None,
        }
    }
}

/// Every checkpoint file, found by order, thread and id.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    files: BTreeMap<Seat, File>,
    threads: BTreeMap<Digest, BTreeSet<Seat>>,
    ids: BTreeMap<Digest, BTreeSet<Seat>>,
    unread: BTreeSet<Seat>,
}

impl Catalog {
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Adds a file behind those of its generation.
    pub(super) fn insert(&mut self, file: File) -> Seat {
        let generation = match &file.kind {
            Kind::New(name) => name.generation,
            Kind::Old(_) => 0,
        };
        let last = Seat { generation, tie: u64::MAX };
        let before = self.files.range(..=last).next_back().map(|(seat, _)| *seat);
        let tie = before.filter(|s| s.generation == generation).map_or(0, |s| s.tie + 1);
        let seat = Seat { generation, tie };
        if let Some(thread) = file.thread {
            self.threads.entry(thread).or_default().insert(seat);
        }
        self.ids.entry(file.id).or_default().insert(seat);
        if matches!(file.head, Head::Unread) {
            self.unread.insert(seat);
        }
        self.files.insert(seat, file);
        seat
    }

    pub(super) fn get(&self, seat: Seat) -> Option<&File> {
        self.files.get(&seat)
    }

    pub(super) fn remove(&mut self, seat: Seat) -> Option<File> {
        let file = self.files.remove(&seat)?;
        let leave = |map: &mut BTreeMap<Digest, BTreeSet<Seat>>, key: Digest| {
            if let Some(seats) = map.get_mut(&key) {
                seats.remove(&seat);
                if seats.is_empty() {
                    map.remove(&key);
                }
            }
        };
        if let Some(thread) = file.thread {
            leave(&mut self.threads, thread);
        }
        leave(&mut self.ids, file.id);
        self.unread.remove(&seat);
        Some(file)
    }

    /// Replaces what is known of a file's header.
    pub(super) fn learn(&mut self, seat: Seat, head: Head) {
        let Some(file) = self.files.get_mut(&seat) else { return };
        if matches!(head, Head::Unread) {
            self.unread.insert(seat);
        } else {
            self.unread.remove(&seat);
        }
        file.head = head;
    }

    /// Notes that a file's damage is told; false when it was before.
    pub(super) fn tell(&mut self, seat: Seat) -> bool {
        self.files.get_mut(&seat).is_some_and(|file| !std::mem::replace(&mut file.told, true))
    }

    /// The files whose headers the system would not give.
    pub(super) fn unread(&self) -> Vec<(Seat, File)> {
        let seats = self.unread.iter();
        seats.filter_map(|seat| Some((*seat, self.files.get(seat)?.clone()))).collect()
    }

    /// All files, oldest first.
    pub(super) fn files(&self) -> impl DoubleEndedIterator<Item = (Seat, &File)> {
        self.files.iter().map(|(seat, file)| (*seat, file))
    }

    /// Every thread's digest.
    pub(super) fn threads(&self) -> impl Iterator<Item = Digest> {
        self.threads.keys().copied()
    }

    /// A thread's files, oldest first; those of a damaged header included, as their names tell.
    pub(super) fn of_thread(
        &self,
        thread: Digest,
    ) -> impl DoubleEndedIterator<Item = (Seat, &File)> {
        let seats = self.threads.get(&thread).into_iter().flatten();
        seats.filter_map(|seat| Some((*seat, self.files.get(seat)?)))
    }

    /// The thread's newest file that is older than a seat.
    pub(super) fn before(&self, thread: Digest, seat: Option<Seat>) -> Option<(Seat, &File)> {
        let seats = self.threads.get(&thread)?;
        let seat = match seat {
            Some(seat) => seats.range(..seat).next_back()?,
            None => seats.last()?,
        };
        Some((*seat, self.files.get(seat)?))
    }

    /// The files of one id, oldest first.
    pub(super) fn of_id(&self, id: Digest) -> impl DoubleEndedIterator<Item = (Seat, &File)> {
        let seats = self.ids.get(&id).into_iter().flatten();
        seats.filter_map(|seat| Some((*seat, self.files.get(seat)?)))
    }

    /// A younger file has the same id and a good header, so that this one no longer counts.
    pub(super) fn is_superseded(&self, seat: Seat, file: &File) -> bool {
        self.of_id(file.id).any(|(other, f)| other > seat && f.header().is_some())
    }

    /// The next free generation, or `None` when they are used up.
    pub(super) fn next_generation(&self) -> Option<u64> {
        let last = self.files.keys().next_back().map_or(0, |seat| seat.generation);
        Some(last + 1).filter(|g| *g < super::name::GENERATIONS)
    }
}
