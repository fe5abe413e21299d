//! What a store did to its disk: names of files (K4), temporary files and syncs (K9).

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Kind, Src, StoreAnswer, StoreCall};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, Index};
use crate::oracle::laws::LawId::{K4, K9};

/// Characters in which two temporary names differ at least, unless one can be told from the other.
const APART: usize = 8;
/// Names that a new one is compared with.
const COMPARED: usize = 64;
/// Names that some system keeps for devices, with any extension.
const DEVICES: &[&str] = &["con", "prn", "aux", "nul"];

/// A file that a call has made.
#[derive(Clone, Copy, Debug, Default)]
struct Made {
    unsynced: bool,
    sync_failed: bool,
}

/// What a call did.
#[derive(Debug, Default)]
struct Call<'a> {
    files: BTreeMap<&'a str, Made>,
    /// Files got a name since the directory was last synced.
    named: bool,
    /// Files lost their name since the directory was last synced.
    removed: bool,
    /// A sync of the directory failed. That the next one says Ok proves nothing.
    sync_dir_failed: bool,
    /// Files that got their name before they were durable.
    early: Vec<&'a str>,
    /// Files that got their name although a sync of them had failed.
    doubtful: Vec<&'a str>,
}

#[derive(Default)]
struct Names<'a> {
    /// In lower case, with the name.
    all: BTreeMap<String, &'a str>,
    temporary: Vec<&'a str>,
    seen: BTreeSet<&'a str>,
}

pub(super) fn judge(index: &Index<'_>, f: &mut Findings) {
    let mut names = Names::default();
    let mut call: Option<(&StoreCall, Call<'_>)> = None;
    // saves that are under way at once are judged as one, when the last is answered
    let mut beside = 0_u32;
    for (n, line) in index.lines.iter().enumerate() {
        let at = At { line: n, t_us: line.t_us };
        match (&line.kind, line.src) {
            (Kind::StoreCall(new), Src::Harness) => match &call {
                Some((old, _)) if old.op == "save" && new.op == "save" => beside += 1,
                _ => (call, beside) = (Some((new, Call::default())), 0),
            },
            (Kind::StoreAnswer(_), _) if beside > 0 => beside -= 1,
            (Kind::StoreAnswer(answer), _) => {
                if let Some((asked, done)) = call.take() {
                    answered(asked, answer, &done, at, f);
                }
            }
            (Kind::Fs { op, path, error }, Src::Fs) => {
                match op.as_str() {
                    "left" => left(path, at, f),
                    "public" => public(path, at, f),
                    _ => {}
                }
                if let Some((_, done)) = &mut call {
                    done.operation(op, path, error.is_some());
                    if error.is_none() {
                        names.operation(op, path, at, f);
                    }
                }
            }
            _ => {}
        }
    }
}

fn left(path: &str, at: At, f: &mut Findings) {
    f.broken(K9, "swept", Evidence::line(at), || {
        let expected = "temporary files of an interrupted save are removed at the next open";
        (expected.to_owned(), format!("{path} is still there"))
    });
}

fn public(path: &str, at: At, f: &mut Findings) {
    f.broken(K9, "private", Evidence::line(at), || {
        let expected = "files of a store are its owner's: nobody else can read them";
        (expected.to_owned(), format!("{path} can be read by others"))
    });
}

/// The two names of a rename.
fn both(path: &str) -> (&str, &str) {
    path.split_once(" -> ").unwrap_or((path, path))
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Nothing depends on these, so that they may be lost.
fn is_cache(path: &str) -> bool {
    let name = name(path);
    name.contains("index") || name.contains("identity") || name.contains("lock")
}

impl<'a> Call<'a> {
    fn operation(&mut self, op: &str, path: &'a str, failed: bool) {
        match op {
            "create" if !failed => {
                self.files.insert(path, Made { unsynced: true, sync_failed: false });
                self.named |= !is_cache(path);
            }
            "write" => {
                if let Some(file) = self.files.get_mut(path) {
                    file.unsynced = true;
                }
            }
            "sync" => {
                if let Some(file) = self.files.get_mut(path) {
                    file.unsynced = failed;
                    file.sync_failed |= failed;
                }
            }
            "rename" if !failed => {
                let (from, to) = both(path);
                let file = self.files.remove(from).unwrap_or_default();
                if !is_cache(to) {
                    self.named = true;
                    self.early.extend(file.unsynced.then_some(to));
                    self.doubtful.extend(file.sync_failed.then_some(to));
                }
                self.files.insert(to, file);
            }
            "remove" if !failed => {
                let temporary = self.files.remove(path).is_some();
                self.removed |= !temporary;
            }
            "sync_dir" => {
                self.named &= failed;
                self.removed &= failed;
                self.sync_dir_failed |= failed;
            }
            _ => {}
        }
    }
}

fn answered(asked: &StoreCall, answer: &StoreAnswer, done: &Call<'_>, at: At, f: &mut Findings) {
    let changes = matches!(asked.op.as_str(), "save" | "delete" | "delete_thread" | "retain");
    if !changes || answer.error.is_some() {
        return;
    }
    f.checked(K9, 1);
    // A retention that goes with a save may wait for the next change.
    let may_wait = asked.op == "save" && asked.keep.is_some();
    let sync_dir = done.named || (done.removed && !may_wait);
    let wrong = [
        (!done.doubtful.is_empty() || done.sync_dir_failed, "ignored", "a sync failed"),
        (!done.early.is_empty(), "sync_before_rename", "a file got its name before its sync"),
        (sync_dir, "sync_dir", "the directory was changed and not synced after it"),
        (
            done.files
                .iter()
                .any(|(path, file)| file.unsynced && !is_cache(path) && !done.early.contains(path)),
            "sync",
            "a file was written and not synced",
        ),
    ];
    for (_, rule, what) in wrong.into_iter().filter(|(is_wrong, ..)| *is_wrong) {
        f.broken(K9, rule, Evidence::line(at), || {
            let files: Vec<&str> = done.doubtful.iter().chain(&done.early).copied().collect();
            let expected = "Ok is said when everything is durable, and no sync has failed";
            (expected.to_owned(), format!("{what}: {} said Ok {}", asked.op, files.join(", ")))
        });
    }
}

impl<'a> Names<'a> {
    fn operation(&mut self, op: &str, path: &'a str, at: At, f: &mut Findings) {
        match op {
            "create" => self.named(path, at, f),
            "rename" => {
                let (from, to) = both(path);
                self.named(to, at, f);
                self.renamed(from, at, f);
            }
            _ => {}
        }
    }

    /// A name that any file system takes as it is, and tells from any other.
    fn named(&mut self, path: &'a str, at: At, f: &mut Findings) {
        if !self.seen.insert(path) {
            return;
        }
        f.checked(K4, 1);
        let name = name(path);
        let safe = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let numbered = |device: &str| {
            let number = stem.strip_prefix(device);
            number.is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()))
        };
        let device = DEVICES.contains(&stem.as_str()) || numbered("com") || numbered("lpt");
        let inside = path.strip_prefix(crate::lane::disk::DIR).and_then(|p| p.strip_prefix('/'));
        let twin = self.all.insert(name.to_ascii_lowercase(), name).filter(|twin| *twin != name);
        let good = inside == Some(name)
            && (1..=255).contains(&name.len())
            && name.bytes().all(safe)
            && !name.ends_with('.')
            && !device;
        if good && twin.is_none() {
            return;
        }
        f.broken(K4, "names", Evidence::line(at), || {
            let expected = format!(
                "files are in {}, under names of A-Z a-z 0-9 . _ - that are no device's and differ \
                 by more than case",
                crate::lane::disk::DIR
            );
            (expected, format!("{path:?}{}", twin.map_or("", |_| ", which has a twin by case")))
        });
    }

    /// Whoever had this name was temporary.
    fn renamed(&mut self, from: &'a str, at: At, f: &mut Findings) {
        f.checked(K9, 1);
        let new = name(from);
        let like =
            self.temporary.iter().rev().take(COMPARED).find(|old| distance(old, new) < APART);
        if let Some(old) = like {
            f.broken(K9, "predictable", Evidence::line(at), || {
                let expected = format!("temporary names that differ in {APART} characters or more");
                (expected, format!("{new} after {old}"))
            });
        }
        self.temporary.push(new);
    }
}

fn distance(a: &str, b: &str) -> usize {
    let differing = a.bytes().zip(b.bytes()).filter(|(a, b)| a != b).count();
    differing + a.len().abs_diff(b.len())
}
