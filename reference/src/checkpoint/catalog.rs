//! What is in the directory: the truth while the lock is held.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::damage::Fault;
use super::format::Known;
use super::name::{Digest, FileName};
use super::v1::OldFile;

/// More saves in a row than ever leave no file behind that can be read.
const REACH: u64 = 1 << 32;

/// A place in the order of all files: version 1 before version 2, then by generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat {
    /// 0 for version-1 files.
    pub(super) generation: u64,
    /// Tells apart what a foreign hand put on one place; the rank of version-1 files.
    tie: u64,
}

impl Seat {
    const FIRST: Self = Self { generation: 0, tie: 0 };
    const LAST: Self = Self { generation: u64::MAX, tie: u64::MAX };
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
    Known(Arc<Known>),
    /// The system would not let it be read; tried again at each use.
    Unread,
    /// It is not what was saved, or newer than this reader.
    Bad(Fault),
}

/// One file.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Its name in the directory.
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    pub(super) head: Head,
    /// `None` when it cannot be known any more, in version 1.
    pub(super) thread: Option<Digest>,
    pub(super) id: Digest,
    /// Its damage was counted and told.
    pub(super) told: bool,
}

impl File {
    /// 0 for version 1.
    pub(super) fn generation(&self) -> u64 {
        match &self.kind {
            Kind::New(name) => name.generation,
            Kind::Old(_) => 0,
        }
    }

    pub(super) fn known(&self) -> Option<&Known> {
        match &self.head {
            Head::Known(known) => Some(known),
            Head::Unread | Head::Bad(_) => None,
        }
    }
}

/// Every checkpoint file, found by order, thread and id.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    files: BTreeMap<Seat, File>,
    threads: BTreeSet<(Digest, Seat)>,
    ids: BTreeSet<(Digest, Seat)>,
    unread: BTreeSet<Seat>,
}

impl Catalog {
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// A catalog of files that come in the order of their generations.
    pub(super) fn of(files: Vec<File>) -> Self {
        let mut seat = Seat::FIRST;
        let seated = files.into_iter().map(|file| {
            let generation = file.generation();
            let tie = if generation == seat.generation { seat.tie + 1 } else { 0 };
            seat = Seat { generation, tie };
            (seat, file)
        });
        // made from sorted lists: much cheaper than one by one when there are many
        let files: BTreeMap<Seat, File> = seated.collect();
        let threads = files.iter().filter_map(|(seat, file)| Some((file.thread?, *seat)));
        let ids = files.iter().map(|(seat, file)| (file.id, *seat));
        let unread = files.iter().filter(|(_, file)| matches!(file.head, Head::Unread));
        Self {
            threads: threads.collect(),
            ids: ids.collect(),
            unread: unread.map(|(seat, _)| *seat).collect(),
            files,
        }
    }

    /// Adds a file behind those of its generation.
    pub(super) fn insert(&mut self, file: File) -> Seat {
        let generation = file.generation();
        let last = Seat { generation, tie: u64::MAX };
        let before = self.files.range(..=last).next_back().map(|(seat, _)| *seat);
        let tie = before.filter(|s| s.generation == generation).map_or(0, |s| s.tie + 1);
        let seat = Seat { generation, tie };
        if let Some(thread) = file.thread {
            self.threads.insert((thread, seat));
        }
        self.ids.insert((file.id, seat));
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
        if let Some(thread) = file.thread {
            self.threads.remove(&(thread, seat));
        }
        self.ids.remove(&(file.id, seat));
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
        let first = self.threads.first().map(|(thread, _)| *thread);
        std::iter::successors(first, |thread| {
            let behind = (Bound::Excluded((*thread, Seat::LAST)), Bound::Unbounded);
            self.threads.range(behind).next().map(|(thread, _)| *thread)
        })
    }

    fn seated<'a>(
        &'a self,
        seats: &'a BTreeSet<(Digest, Seat)>,
        digest: Digest,
    ) -> impl DoubleEndedIterator<Item = (Seat, &'a File)> {
        let range = seats.range((digest, Seat::FIRST)..=(digest, Seat::LAST));
        range.filter_map(|(_, seat)| Some((*seat, self.files.get(seat)?)))
    }

    /// A thread's files, oldest first; those of a damaged header included, as their names tell.
    pub(super) fn of_thread(
        &self,
        thread: Digest,
    ) -> impl DoubleEndedIterator<Item = (Seat, &File)> {
        self.seated(&self.threads, thread)
    }

    /// The thread's newest file that is older than a seat.
    pub(super) fn before(&self, thread: Digest, seat: Option<Seat>) -> Option<(Seat, &File)> {
        let end = match seat {
            Some(seat) => Bound::Excluded((thread, seat)),
            None => Bound::Included((thread, Seat::LAST)),
        };
        let mut range = self.threads.range((Bound::Included((thread, Seat::FIRST)), end));
        let (_, seat) = range.next_back()?;
        Some((*seat, self.files.get(seat)?))
    }

    /// The files of one id, oldest first.
    pub(super) fn of_id(&self, id: Digest) -> impl DoubleEndedIterator<Item = (Seat, &File)> {
        self.seated(&self.ids, id)
    }

    /// A younger file has the same id and a good header, so that this one no longer counts.
    pub(super) fn is_superseded(&self, seat: Seat, file: &File) -> bool {
        self.of_id(file.id).any(|(other, f)| other > seat && f.known().is_some())
    }

    /// The next free generation, or `None` when they are used up.
    ///
    /// Behind the last intact header names alone count, but none that is out of reach of the one
    /// before: a stray file must not end the order. Saves then come before it, as it is damaged.
    pub(super) fn next_generation(&self) -> Option<u64> {
        let intact = self.files.iter().rev().find(|(_, file)| file.known().is_some());
        let intact = intact.map_or(0, |(seat, _)| seat.generation);
        let mut last = intact;
        for (seat, _) in self.files.range(Seat { generation: intact, tie: 0 }..) {
            if seat.generation - last > REACH {
                break;
            }
            last = seat.generation;
        }
        Some(last + 1).filter(|g| *g < super::name::GENERATIONS)
    }
}
