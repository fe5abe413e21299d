//! What was done to a disk, and what of it is durable at which point.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::image::Image;

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

/// A file's bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) durable: Vec<u8>,
    /// Appended since.
    pub(super) pending: Vec<Arc<[u8]>>,
    /// A sync failed, so that the next one proves nothing.
    doubtful: bool,
}

/// A disk in operation: what is durable, and what is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Medium {
    pub(super) dirs: std::collections::BTreeSet<PathBuf>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) naming: Vec<Naming>,
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
                self.naming.push(Naming::Add(path.clone(), *number));
            }
            Op::Write(number, bytes) => {
                self.files.entry(*number).or_default().pending.push(bytes.clone());
            }
            Op::Sync(number) => {
                let content = self.files.entry(*number).or_default();
                if content.doubtful {
                    return;
                }
                for bytes in std::mem::take(&mut content.pending) {
                    content.durable.extend_from_slice(&bytes);
                }
            }
            Op::Lose(number) => {
                let content = self.files.entry(*number).or_default();
                let lost: usize = content.pending.iter().map(|bytes| bytes.len()).sum();
                content.pending = vec![vec![0; lost].into()];
            }
            Op::Doubt(number) => self.files.entry(*number).or_default().doubtful = true,
            Op::Rename(from, to) => {
                if let Some(number) = self.live.remove(from) {
                    self.live.insert(to.clone(), number);
                    self.naming.push(Naming::Move(from.clone(), to.clone(), number));
                }
            }
            Op::Remove(path) => {
                if self.live.remove(path).is_some() {
                    self.naming.push(Naming::Drop(path.clone()));
                }
            }
            Op::SyncDir(dir) => {
                let here = |naming: &Naming| match naming {
                    Naming::Add(path, _) | Naming::Move(path, ..) | Naming::Drop(path) => {
                        path.parent() == Some(dir)
                    }
                };
                let (done, rest) = std::mem::take(&mut self.naming).into_iter().partition(here);
                self.naming = rest;
                let done: Vec<Naming> = done;
                self.names = named(&self.names, done.iter());
            }
        }
    }
}

/// Names after some changes. A change whose ground was lost does what is left of it.
pub(super) fn named<'n>(
    names: &BTreeMap<PathBuf, u64>,
    changes: impl Iterator<Item = &'n Naming>,
) -> BTreeMap<PathBuf, u64> {
    let mut names = names.clone();
    for change in changes {
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
    names
}
