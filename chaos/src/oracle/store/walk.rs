//! One pass over a store's calls and answers.

use std::collections::{BTreeMap, BTreeSet};

use super::answers;
use super::cause::{Met, Past};
use super::crash::{self, Moment};
use super::model::{File, Model, Places, Saved, Stands};
use crate::history::{AtRest, DamageSeen, FaultPhase, Kind, Src, StoreAnswer, StoreCall};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, Index};
use crate::oracle::laws::LawId::{K1, K4, K11};

/// A failed file operation: its name, and what the system said.
pub(super) struct Failed<'a> {
    pub(super) op: &'a str,
    pub(super) path: &'a str,
    pub(super) error: &'a str,
}

/// Why the system can refuse what a store asks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The disk is full.
    Full,
    /// The directory was deleted under the store.
    Gone,
}

impl Trouble {
    /// An answer that it excuses.
    pub(super) fn excuses(self, kind: &str) -> bool {
        match self {
            Self::Full => kind == "storage_full",
            Self::Gone => kind == "io",
        }
    }
}

/// Where the pass stands.
pub(super) struct Walk<'a, 'f> {
    pub(super) f: &'f mut Findings,
    pub(super) model: Model,
    pub(super) places: Places,
    pub(super) past: Past,
    /// The call that is under way; of saves there may be several.
    calls: Vec<(At, &'a StoreCall)>,
    /// File operations that failed during it.
    pub(super) failed: Vec<Failed<'a>>,
    /// Opens so far.
    pub(super) opens: u64,
    /// Operations that changed this disk.
    ops: u64,
    /// What is known at which operation of this disk.
    moments: Vec<Moment>,
    /// Moments are kept: there are crash states to be judged.
    keeps: bool,
    /// The first open after a crash settles what was in doubt, by what its lists show.
    unsettled: bool,
    pub(super) listed: super::Listing,
    /// Retention of the store that is open.
    keep: Option<usize>,
    /// The variant of the run.
    variant: Option<&'a str>,
    /// Damaged files that are there.
    pub(super) ill: BTreeSet<&'a str>,
    /// Ids that stores made themselves, with their call.
    made: BTreeMap<&'a str, At>,
    /// The name that a file was last given in this call.
    renamed: Option<&'a str>,
    /// By file: the id that its save told.
    pub(super) files: BTreeMap<&'a str, &'a str>,
    /// The process that was started last, where subjects are processes.
    started: Option<i64>,
    /// The one that has the directory.
    pub(super) holder: Option<i64>,
    /// What fails in the file system is seen.
    pub(super) sees: bool,
    /// What a driver, whose file operations nobody sees, may be in trouble with.
    pub(super) trouble: Option<Trouble>,
}

/// Operations that change a disk; `rest` is what somebody else does to a file at rest.
pub(crate) const CHANGES: &[&str] =
    &["create_dir", "create", "write", "sync", "rename", "remove", "sync_dir", "rest"];

pub(super) fn walk(index: &Index<'_>, f: &mut Findings) {
    let keeps = index.lines.iter().any(|line| matches!(line.kind, Kind::CrashState(_)));
    let mut walk = Walk {
        f,
        model: Model::default(),
        places: Places::default(),
        past: Past::default(),
        calls: Vec::new(),
        failed: Vec::new(),
        opens: 0,
        ops: 0,
        moments: Vec::new(),
        keeps,
        unsettled: false,
        listed: super::Listing::new(),
        keep: None,
        variant: None,
        ill: BTreeSet::new(),
        made: BTreeMap::new(),
        renamed: None,
        files: BTreeMap::new(),
        started: None,
        holder: None,
        sees: index.shows_files(),
        trouble: None,
    };
    walk.moment();
    for law in super::CAUSES {
        walk.f.checked(law, 0);
    }
    for (n, line) in index.lines.iter().enumerate() {
        let at = At { line: n, t_us: line.t_us };
        match (&line.kind, line.src) {
            (Kind::StoreCall(call), Src::Harness) => walk.called(at, call),
            (Kind::StoreAnswer(answer), _) => walk.answered(at, answer),
            (Kind::Fs { op, path, error }, Src::Fs) => walk.operation(op, path, error.as_deref()),
            (Kind::AtRest(there), Src::Fs) => walk.there(there),
            (Kind::DamageSeen(damage), Src::Fs) => walk.damaged(damage),
            (Kind::Fault { name, phase: FaultPhase::Begin, .. }, _) if name == "fs.full" => {
                walk.trouble = Some(Trouble::Full);
            }
            (Kind::Fault { name, phase: FaultPhase::End, .. }, _) if name == "fs.full" => {
                walk.trouble = walk.trouble.filter(|trouble| *trouble != Trouble::Full);
            }
            (Kind::Fault { name, phase: FaultPhase::Effect, .. }, _) => match name.as_str() {
                "fs.index" => walk.past.add(Met::Index),
                "clock.back" | "clock.forward" => walk.past.add(Met::Clock),
                "fs.error" | "fs.full" => walk.past.add(Met::Error),
                _ => {}
            },
            (Kind::Proc { what, .. }, _) if what == "crash" => walk.crashed(),
            (Kind::Proc { what, value, .. }, Src::Os) if what == "start" => {
                walk.started = Some(*value);
            }
            (Kind::CrashState(state), Src::Fs) => {
                let moment = crash::at(&walk.moments, state.ops);
                crash::judge(moment, state, at, walk.f);
            }
            _ => {}
        }
    }
}

/// Its Ok ends what failed before it.
fn is_change(op: &str) -> bool {
    matches!(op, "save" | "delete" | "delete_thread" | "retain")
}

impl<'a> Walk<'a, '_> {
    fn moment(&mut self) {
        if self.keeps {
            let known = Moment { ops: self.ops, model: self.model.clone() };
            self.moments.push(known);
        }
    }

    fn operation(&mut self, op: &'a str, path: &'a str, error: Option<&'a str>) {
        if CHANGES.contains(&op) {
            self.ops += 1;
        }
        if op == "remove" && error.is_none() {
            self.ill.remove(path);
            self.files.remove(path);
        }
        if op == "rename" && error.is_none() {
            let data = |to: &&str| !to.contains("index");
            self.renamed = path.split_once(" -> ").map(|(_, to)| to).filter(data).or(self.renamed);
        }
        if op == "rest" {
            if path == crate::lane::disk::DIR {
                self.trouble = Some(Trouble::Gone);
            }
            self.moment();
        }
        if let Some(error) = error.filter(|_| !self.calls.is_empty()) {
            self.failed.push(Failed { op, path, error });
        }
    }

    /// A checkpoint that was saved before anybody watched.
    fn there(&mut self, there: &'a AtRest) {
        if there.by.starts_with("v1") {
            self.past.add(Met::Older);
        }
        let mut saved = Saved::new(Some(there.id.clone()), there.sha.clone());
        saved.stands = Stands::Held;
        self.places.push(&mut self.model, &there.thread, saved);
        self.files.insert(&there.path, &there.id);
        if let Some(moment) = self.moments.last_mut() {
            moment.model = self.model.clone();
        }
    }

    fn damaged(&mut self, damage: &'a DamageSeen) {
        if damage.how == "deleted" {
            self.ill.remove(damage.path.as_str());
        } else {
            self.ill.insert(&damage.path);
        }
        let file = match damage.how.as_str() {
            "deleted" => File::Deleted,
            "newer_version" => File::Newer,
            _ => File::Damaged,
        };
        self.places.each(&mut self.model, &damage.id, |saved| saved.file = file);
        self.moment();
    }

    /// The disk goes on from one of its crash states.
    fn crashed(&mut self) {
        self.calls.clear();
        self.failed.clear();
        self.moments.clear();
        self.ops = 0;
        self.unsettled = true;
        self.listed.clear();
        self.moment();
    }

    fn called(&mut self, at: At, call: &'a StoreCall) {
        if !answers::is_question(&call.op) && self.unsettled && call.op != "open" {
            self.settle();
        }
        let beside = call.op == "save" && self.calls.iter().all(|(_, other)| other.op == "save");
        if !beside {
            self.calls.clear();
        }
        if self.calls.is_empty() {
            self.failed.clear();
        }
        self.calls.push((at, call));
        self.renamed = None;
        let thread = call.thread.clone().unwrap_or_default();
        match call.op.as_str() {
            "open" => {
                self.trouble = self.trouble.filter(|trouble| *trouble != Trouble::Gone);
                self.past.set(Met::Reopened, self.opens > 0);
                self.opens += 1;
                self.keep = call.keep.and_then(|keep| usize::try_from(keep).ok());
                let variant = call.variant.as_deref();
                self.variant = self.variant.or(variant);
                self.past.set(Met::Switched, variant != self.variant);
            }
            "save" => {
                let sha = call.sha.clone().unwrap_or_default();
                let saved = Saved::new(call.id.clone(), sha);
                self.places.push(&mut self.model, &thread, saved);
                if let Some(keep) = self.keep {
                    self.model.retain(&thread, keep.saturating_sub(1), Stands::Held);
                    if keep == 1 {
                        let all = self.model.threads.get_mut(&thread).into_iter().flatten();
                        all.for_each(|saved| saved.optional = true);
                    }
                }
            }
            "delete" => {
                let id = call.id.as_deref().unwrap_or_default();
                self.places.each(&mut self.model, id, |saved| {
                    if saved.stands == Stands::Held {
                        saved.stands = Stands::Doubt;
                    }
                });
            }
            "delete_thread" => {
                let all = self.model.threads.entry(thread).or_default();
                let there = all.iter_mut().rev().filter(|saved| saved.stands != Stands::Gone);
                let mut newest = true;
                for saved in there {
                    saved.shadowed = !newest && saved.stands == Stands::Held;
                    newest &= saved.stands != Stands::Held;
                    saved.stands = Stands::Doubt;
                }
            }
            "retain" => {
                let keep = call.keep.and_then(|keep| usize::try_from(keep).ok()).unwrap_or(1);
                let threads: Vec<String> = self.model.threads.keys().cloned().collect();
                for thread in threads {
                    self.model.retain(&thread, keep, Stands::Held);
                }
            }
            _ => {}
        }
        self.moment();
    }

    fn answered(&mut self, at: At, answer: &'a StoreAnswer) {
        let Some(place) = self.calls.iter().position(|(_, call)| call.call == answer.call) else {
            return self.calls.clear();
        };
        let alone = self.calls.len() == 1;
        let (called, call) = self.calls.remove(place);
        if !alone {
            self.renamed = None; // by whichever of them
        }
        let evidence = || Evidence::line(called).and(at);
        answers::errors(self, call, answer, &evidence());
        // what a driver's store does about a save that failed is not seen
        if self.sees && answer.error.is_none() && is_change(&call.op) {
            self.model.acknowledged(self.opens, called.line);
        }
        match (call.op.as_str(), &answer.error) {
            ("open", None) => self.holder = self.started,
            ("save", None) => self.saved(at, call, answer),
            ("save", Some(_)) => self.not_saved(at, call, answer, &evidence()),
            ("delete", None) => {
                let id = call.id.as_deref().unwrap_or_default();
                self.places.each(&mut self.model, id, |saved| saved.stands = Stands::Gone);
            }
            ("delete_thread", None) => {
                let thread = call.thread.as_deref().unwrap_or_default();
                let all = self.model.threads.get_mut(thread).into_iter().flatten();
                all.for_each(|saved| saved.stands = Stands::Gone);
            }
            ("retain", None) => {
                let keep = call.keep.and_then(|keep| usize::try_from(keep).ok()).unwrap_or(1);
                let threads: Vec<String> = self.model.threads.keys().cloned().collect();
                for thread in threads {
                    self.model.retain(&thread, keep, Stands::Gone);
                }
            }
            ("delete" | "delete_thread" | "retain", Some(_)) => {
                // Whatever a change that failed half-way has done to them.
                self.model.threads.values_mut().flatten().for_each(|saved| saved.shadowed = false);
                if call.op == "retain" {
                    let all = self.model.threads.values_mut().flatten();
                    let touched = all.filter(|saved| saved.optional);
                    touched.for_each(|saved| saved.stands = Stands::Doubt);
                }
            }
            ("second_open", None) => self.f.broken(K4, "locked", evidence(), || {
                let expected = "a directory that is in use is refused, by a typed error";
                (expected.to_owned(), "a second store was opened on it".to_owned())
            }),
            ("latest", _) => answers::latest(self, call, answer, &evidence()),
            ("load", _) => answers::load(self, call, answer, &evidence()),
            ("list", None) => answers::list(self, call, answer, &evidence()),
            ("threads", None) => answers::threads(self, answer, &evidence()),
            ("verify", None) => answers::verify(self, answer, &evidence()),
            _ => {}
        }
        self.moment();
    }

    fn saved(&mut self, at: At, call: &'a StoreCall, answer: &'a StoreAnswer) {
        let thread = call.thread.as_deref().unwrap_or_default();
        let Some(id) = answer.id.as_deref() else { return };
        self.f.checked(K4, 1);
        let known = self.made.insert(id, at);
        let there = self.places.all(&self.model, id).any(|saved| saved.stands == Stands::Held);
        if (call.id.is_none() && known.is_some()) || there {
            self.f.broken(K4, "unique", Evidence::line(at), || {
                let expected = "every checkpoint of a directory has an id of its own";
                (expected.to_owned(), format!("a second save got the id {id:?}"))
            });
        }
        self.files.extend(self.renamed.map(|path| (path, id)));
        if let Some(last) = self.model.of(thread).len().checked_sub(1) {
            self.places.named(&mut self.model, thread, last, id);
        }
        if let Some(saved) = self.model.threads.get_mut(thread).and_then(|all| all.last_mut()) {
            saved.stands = Stands::Held;
            saved.optional = false;
        }
        if let Some(keep) = self.keep {
            self.model.retain(thread, keep, Stands::Doubt);
        }
    }

    fn not_saved(&mut self, at: At, call: &StoreCall, answer: &StoreAnswer, evidence: &Evidence) {
        let thread = call.thread.as_deref().unwrap_or_default();
        let opens = self.opens;
        let last = self.model.threads.get_mut(thread).and_then(|all| all.last_mut());
        let harmless = self.sees && self.failed.is_empty();
        if let Some(saved) = last {
            // Nothing was written, or nobody knows.
            saved.stands = if harmless { Stands::Gone } else { Stands::Doubt };
            saved.failed_in = Some(opens);
            saved.failed_at = at.line;
        }
        for saved in self.model.threads.get_mut(thread).into_iter().flatten() {
            saved.optional = false;
        }
        let kind = answer.error.as_deref().unwrap_or_default();
        if kind == "already_exists" && call.id.is_none() {
            self.f.checked(K4, 1);
            self.f.broken(K4, "unique", evidence.clone(), || {
                let expected = "an id that a store makes is nobody else's";
                (expected.to_owned(), answer.text.clone())
            });
        } else if kind == "already_exists" {
            self.f.checked(K4, 1);
            let id = call.id.as_deref().unwrap_or_default();
            let mut all = self.places.all(&self.model, id);
            if !all.any(|saved| saved.failed_in != Some(opens)) {
                self.f.broken(K4, "taken", evidence.clone(), || {
                    let expected = "only an id that is in use is refused as one";
                    (expected.to_owned(), format!("{id:?} was never saved"))
                });
            }
        }
    }

    /// What the first audit after a crash showed is what there is.
    fn settle(&mut self) {
        self.unsettled = false;
        let threads: Vec<String> = self.model.threads.keys().cloned().collect();
        let listed = std::mem::take(&mut self.listed);
        for thread in threads {
            if let Some(listed) = listed.get(&thread) {
                self.model.settle(&thread, listed);
            }
        }
    }

    /// The open call that failed: what it should have been proof against.
    pub(super) fn not_opened(&mut self, answer: &StoreAnswer, evidence: &Evidence) {
        let (law, rule) = match self.past.undamaged(&self.model) {
            (law, _) if law == K11 || law == K1 => (K1, "open"),
            (law, rule) => (law, rule),
        };
        self.f.broken(law, rule, evidence.clone(), || {
            let expected = "the directory can be opened, whatever is in it".to_owned();
            (expected, answer.text.clone())
        });
    }
}
