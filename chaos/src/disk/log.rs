//! What was done to a disk, and what of it is durable at which point.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::crash;
use super::image::{self, Image};
use crate::history::{Kind, Recorder, Src};

/// An operation as it is seen from outside.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its name.
    pub op: &'static str,
    /// The file or directory; both names of a rename, with ` -> ` between them.
    pub path: &'a str,
    /// The error's name.
    pub error: Option<&'static str>,
    /// The [`Break`](super::Break) that was met.
    pub fault: Option<usize>,
}

impl Seen<'_> {
    /// Writes it into a history.
    pub(crate) fn record(&self, recorder: &Recorder) {
        // the write that took less is told by its own name besides
        if self.op != "short_write" {
            let (op, path) = (self.op.to_owned(), self.path.to_owned());
            let error = self.error.map(str::to_owned);
            recorder.record(Src::Fs, Kind::Fs { op, path, error });
        }
    }
}

/// An operation that changes a disk. Failed ones have a place in the log too, so that their number
/// is the same for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// It failed and changed nothing.
    Nothing,
    /// A directory is made; durable at once, as the seam promises.
    Dir(PathBuf),
    /// A file is made and named.
    Create(PathBuf, u64),
    /// Bytes are appended.
    Write(u64, Arc<[u8]>),
    /// What was written is durable.
    Sync(u64),
    /// What was written and not synced will never be.
    Lose(u64),
    /// A sync failed: what was written may be there, and no later sync proves it.
    Doubt(u64),
    /// A file has another name.
    Rename(PathBuf, PathBuf),
    /// A name is gone.
    Remove(PathBuf),
    /// Names in this directory are durable.
    SyncDir(PathBuf),
    /// A sync of this directory failed: its names may have changed, and no later sync proves it.
    DoubtDir(PathBuf),
    /// Somebody takes a directory away with all that is in it, durably.
    Gone(PathBuf),
    /// Somebody puts a file there, or with `None` takes it away, and all of that is durable.
    Rest(PathBuf, Option<(u64, Arc<[u8]>)>),
}

/// Operations in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log(pub Vec<Op>);

/// A change of names that is not durable yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    Add(PathBuf, u64),
    Move(PathBuf, PathBuf, u64),
    Drop(PathBuf),
}

impl Naming {
    /// The name that it is about, which of a move is the new one.
    fn path(&self) -> &Path {
        match self {
            Self::Add(path, _) | Self::Move(_, path, _) | Self::Drop(path) => path,
        }
    }

    /// What is left of it when a directory is gone.
    fn outside(self, dir: &Path) -> Option<Self> {
        let inside = |path: &PathBuf| path.starts_with(dir);
        match self {
            Self::Move(from, to, number) => match (inside(&from), inside(&to)) {
                (true, true) => None,
                (true, false) => Some(Self::Add(to, number)),
                (false, true) => Some(Self::Drop(from)),
                (false, false) => Some(Self::Move(from, to, number)),
            },
            change => (!change.path().starts_with(dir)).then_some(change),
        }
    }

    /// What is left of it when something later is durable about this name.
    fn without(self, path: &Path) -> Option<Self> {
        match self {
            Self::Move(from, to, _) if to == path && from != to => Some(Self::Drop(from)),
            Self::Move(from, to, number) if from == path && from != to => {
                Some(Self::Add(to, number))
            }
            change if change.path() == path => None,
            change => Some(change),
        }
    }
}

/// A change of names, and whether a sync of its directory has failed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) naming: Naming,
    doubtful: bool,
}

/// What a file can hold after a crash.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) bytes: Arc<[u8]>,
    pub(super) digest: [u8; 32],
}

/// A file's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) durable: Vec<u8>,
    /// Appended since.
    pub(super) pending: Vec<Arc<[u8]>>,
    /// A sync failed, so that the next one proves nothing.
    doubtful: bool,
    /// Made when they are asked for; empty again after each change.
    versions: OnceCell<Vec<Version>>,
}

impl Content {
    /// What it can be after a crash, the whole last.
    pub(super) fn versions(&self) -> &[Version] {
        let version = |bytes: Arc<[u8]>| Version { digest: image::sha(&bytes), bytes };
        self.versions.get_or_init(|| crash::versions(self).into_iter().map(version).collect())
    }
}

/// A disk in operation: what is durable, and what is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Medium {
    pub(super) dirs: std::collections::BTreeSet<PathBuf>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) naming: Vec<Changed>,
    pub(super) files: BTreeMap<u64, Content>,
    /// Names as programs see them.
    live: BTreeMap<PathBuf, u64>,
}

impl Medium {
    /// Files of an image have the numbers of their places in it.
    pub(super) fn new(base: &Image) -> Self {
        let mut medium = Self { dirs: base.dirs.clone(), ..Self::default() };
        for (number, (path, bytes)) in (0..).zip(&base.files) {
            medium.names.insert(path.clone(), number);
            let content = Content { durable: bytes.to_vec(), ..Content::default() };
            medium.files.insert(number, content);
        }
        medium.live = medium.names.clone();
        medium
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Nothing => {}
            Op::Dir(dir) => self.dirs.extend(dir.ancestors().map(std::path::Path::to_owned)),
            Op::Create(path, number) => {
                self.files.insert(*number, Content::default());
                self.live.insert(path.clone(), *number);
                self.changed(Naming::Add(path.clone(), *number));
            }
            Op::Write(number, bytes) => {
                self.content(*number).pending.push(bytes.clone());
            }
            Op::Sync(number) => {
                let content = self.content(*number);
                if content.doubtful {
                    return;
                }
                for bytes in std::mem::take(&mut content.pending) {
                    content.durable.extend_from_slice(&bytes);
                }
            }
            Op::Lose(number) => {
                let content = self.content(*number);
                let lost: usize = content.pending.iter().map(|bytes| bytes.len()).sum();
                content.pending = vec![vec![0; lost].into()];
            }
            Op::Doubt(number) => self.content(*number).doubtful = true,
            Op::Rename(from, to) => {
                if let Some(number) = self.live.remove(from) {
                    self.live.insert(to.clone(), number);
                    self.changed(Naming::Move(from.clone(), to.clone(), number));
                }
            }
            Op::Remove(path) => {
                if self.live.remove(path).is_some() {
                    self.changed(Naming::Drop(path.clone()));
                }
            }
            Op::SyncDir(dir) => self.sync_dir(dir),
            Op::DoubtDir(dir) => {
                let here = self.naming.iter_mut().filter(|c| c.naming.path().parent() == Some(dir));
                here.for_each(|change| change.doubtful = true);
            }
            Op::Gone(dir) => self.gone(dir),
            Op::Rest(path, left) => {
                self.forget(path);
                match left {
                    None => {
                        self.names.remove(path);
                        self.live.remove(path);
                    }
                    Some((number, bytes)) => {
                        self.names.insert(path.clone(), *number);
                        self.live.insert(path.clone(), *number);
                        let content = Content { durable: bytes.to_vec(), ..Content::default() };
                        self.files.insert(*number, content);
                    }
                }
            }
        }
    }

    fn gone(&mut self, dir: &Path) {
        let outside = |path: &PathBuf| !path.starts_with(dir);
        self.dirs.retain(outside);
        self.names.retain(|path, _| outside(path));
        self.live.retain(|path, _| outside(path));
        let all = std::mem::take(&mut self.naming).into_iter();
        let left = all.filter_map(|Changed { naming, doubtful }| {
            Some(Changed { naming: naming.outside(dir)?, doubtful })
        });
        self.naming = left.collect();
    }

    /// A file that is about to change.
    fn content(&mut self, number: u64) -> &mut Content {
        let content = self.files.entry(number).or_default();
        content.versions.take();
        content
    }

    fn changed(&mut self, naming: Naming) {
        self.naming.push(Changed { naming, doubtful: false });
    }

    /// Something is durable about this name, so that what was under way about it is over.
    fn forget(&mut self, path: &Path) {
        let all = std::mem::take(&mut self.naming).into_iter();
        let left = all.filter_map(|Changed { naming, doubtful }| {
            naming.without(path).map(|naming| Changed { naming, doubtful })
        });
        self.naming = left.collect();
    }

    /// What is in doubt stays so, unless a later change of the same name is durable now.
    fn sync_dir(&mut self, dir: &Path) {
        let here =
            |change: &Changed| !change.doubtful && change.naming.path().parent() == Some(dir);
        let all = std::mem::take(&mut self.naming).into_iter();
        for change in all {
            if !here(&change) {
                self.naming.push(change);
                continue;
            }
            rename(&mut self.names, &change.naming);
            if let Naming::Move(from, ..) = &change.naming {
                self.forget(from);
            }
            self.forget(change.naming.path());
        }
    }
}

/// Names after some changes. A change whose ground was lost does what is left of it.
pub(super) fn named<'n>(
    names: &BTreeMap<PathBuf, u64>,
    changes: impl Iterator<Item = &'n Naming>,
) -> BTreeMap<PathBuf, u64> {
    let mut names = names.clone();
    changes.for_each(|change| rename(&mut names, change));
    names
}

fn rename(names: &mut BTreeMap<PathBuf, u64>, change: &Naming) {
    match change {
        Naming::Add(path, number) => {
            names.insert(path.clone(), *number);
        }
        Naming::Move(from, to, number) => {
            names.remove(from);
            names.insert(to.clone(), *number);
        }
        Naming::Drop(path) => {
            names.remove(path);
        }
    }
}
