//! A store under test on its disk: every call and answer is recorded, and every file operation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::ground::{Ground, Opening};
use crate::disk::{Image, Machine, Seen};
use crate::history::{FaultPhase, Kind, Recorder, Src, StoreAnswer, StoreCall};
use crate::scenario::model::Scenario;
use crate::subject::store::{Answered, Checkpointer, Given, Refusal};

/// Deleted ids that are asked for in each audit.
const GONE: usize = 8;

/// What the file system showed.
#[derive(Default)]
pub(super) struct Noticed {
    /// Where the last rename of a call led to.
    renamed: Option<String>,
    /// Names that were temporary.
    pub(super) temporary: BTreeSet<PathBuf>,
    /// Names that files kept.
    kept: BTreeSet<PathBuf>,
    met: BTreeSet<usize>,
}

/// The subject's word for a kind of file, and the extension.
fn word(path: &Path) -> (&[u8], &[u8]) {
    let name = path.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
    let word = name.split_inclusive(|byte| b"-._".contains(byte)).next().unwrap_or_default();
    (word, path.extension().map(OsStr::as_encoded_bytes).unwrap_or_default())
}

impl Noticed {
    /// A file that was temporary, or is called as those: a save that was cut off renamed nothing.
    fn is_temporary(&self) -> impl Fn(&Path) -> bool {
        let kept: BTreeSet<_> = self.kept.iter().map(|path| word(path)).collect();
        let words = self.temporary.iter().map(|path| word(path));
        let words: BTreeSet<_> = words.filter(|word| !kept.contains(word)).collect();
        move |path| words.contains(&word(path)) || self.temporary.contains(path)
    }
}

/// A checkpoint that a save acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) thread: String,
    pub(super) id: String,
    pub(super) path: PathBuf,
}

/// A store under test.
pub(super) struct Session {
    pub(super) recorder: Recorder,
    pub(super) scenario: Arc<Scenario>,
    pub(super) rng: fastrand::Rng,
    pub(super) variant: &'static str,
    pub(super) ground: Box<dyn Ground>,
    pub(super) store: Option<Box<dyn Checkpointer>>,
    /// The last open failed.
    pub(super) refused: bool,
    pub(super) noticed: Arc<Mutex<Noticed>>,
    pub(super) known: Vec<Known>,
    /// Checkpoints whose files were damaged and are there.
    pub(super) damaged: Vec<Known>,
    /// Ids that were deleted, the last ones.
    pub(super) gone: VecDeque<String>,
    pub(super) threads: BTreeSet<String>,
    /// Seconds that the saves of version 1 have taken so far.
    pub(super) old_secs: i64,
    /// What the index was at each close.
    pub(super) indexes: Vec<BTreeMap<PathBuf, Vec<u8>>>,
    /// Leftovers that lie in the directory.
    pub(super) leftovers: BTreeSet<PathBuf>,
    /// Those whose crash states were tried.
    pub(super) machines: Vec<Machine>,
    /// Why none are to be tried.
    pub(super) no_crashes: Option<String>,
    calls: u64,
    pub(super) opens: u64,
    incs: u32,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// First 16 hex digits of the SHA-256 of a state.
pub(super) fn sha(state: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(state.as_bytes()).into();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Session {
    pub(super) fn new(
        recorder: Recorder,
        scenario: Arc<Scenario>,
        (seed, variant): (u64, &'static str),
        ground: Box<dyn Ground>,
    ) -> Self {
        let mut session = Self {
            recorder,
            scenario,
            rng: fastrand::Rng::with_seed(seed),
            variant,
            ground,
            store: None,
            refused: false,
            noticed: Arc::default(),
            known: Vec::new(),
            damaged: Vec::new(),
            gone: VecDeque::new(),
            threads: BTreeSet::new(),
            old_secs: 0,
            indexes: Vec::new(),
            leftovers: BTreeSet::new(),
            machines: Vec::new(),
            no_crashes: None,
            calls: 0,
            opens: 0,
            incs: 0,
        };
        session.watch();
        session
    }

    /// Goes on with another machine.
    pub(super) fn attach(&mut self, ground: Box<dyn Ground>) {
        self.ground = ground;
        self.watch();
    }

    /// Has every file operation recorded.
    fn watch(&mut self) {
        let (recorder, noticed) = (self.recorder.clone(), self.noticed.clone());
        let names: Vec<&'static str> = self.scenario.faults.iter().map(|f| f.kind.name()).collect();
        self.ground.watch(Box::new(move |seen: Seen<'_>| {
            seen.record(&recorder);
            let mut noticed = locked(&noticed);
            if seen.op == "rename"
                && seen.error.is_none()
                && let Some((from, to)) = seen.path.split_once(" -> ")
            {
                noticed.renamed = Some(to.to_owned());
                noticed.temporary.insert(from.into());
                noticed.kept.insert(to.into());
            }
            if let Some(fault) = seen.fault
                && noticed.met.insert(fault)
                && let Some(name) = names.get(fault)
            {
                recorder.fault(fault, name, FaultPhase::Effect);
            }
        }));
    }

    pub(super) fn keep(&self) -> Option<NonZeroUsize> {
        self.scenario.checkpoint.as_ref()?.keep_newest.and_then(NonZeroUsize::new)
    }

    /// How the next store is opened.
    pub(super) fn opening(&mut self, variant: &'static str) -> Opening {
        let entropy = self.rng.u64(..);
        self.opening_with(variant, entropy)
    }

    pub(super) fn opening_with(&self, variant: &'static str, entropy: u64) -> Opening {
        let schema = if variant == "versioned" || self.variant == "versioned" { 2 } else { 1 };
        Opening { variant, schema, keep: self.keep(), entropy, scraped: true }
    }

    /// Records a call, makes it, and records what it answered.
    fn call<T>(
        &mut self,
        call: StoreCall,
        make: impl FnOnce(&mut Self) -> Answered<T>,
        tell: impl FnOnce(&T, &mut StoreAnswer),
    ) -> Answered<T> {
        let number = self.calls;
        self.calls += 1;
        let mut answer =
            StoreAnswer { call: number, op: call.op.clone(), ..StoreAnswer::default() };
        self.recorder.harness(Kind::StoreCall(StoreCall { call: number, ..call }));
        let result = make(self);
        self.ground.catch_up();
        if self.ground.is_dead() {
            return result; // nobody is left to hear it
        }
        match &result {
            Ok(value) => tell(value, &mut answer),
            Err(refusal) => {
                answer.error = Some(refusal.kind.clone());
                answer.text.clone_from(&refusal.text);
            }
        }
        self.recorder.record(Src::Subject, Kind::StoreAnswer(answer));
        result
    }

    /// Opens the store; false when that failed.
    pub(super) fn open(&mut self, variant: &'static str) -> bool {
        self.recorder.incarnation(self.incs);
        self.incs += 1;
        self.opens += 1;
        let keep = self.keep().map(|keep| keep.get() as u64);
        let variant_told = Some(variant.to_owned());
        let call = StoreCall { keep, variant: variant_told, ..StoreCall::of("open") };
        let opened = self.call(
            call,
            |this| {
                let opening = this.opening(variant);
                this.ground.open(opening)
            },
            |_, _| {},
        );
        self.store = opened.ok();
        self.refused = self.store.is_none();
        if self.store.is_some() && !self.ground.is_dead() {
            self.look_for_leftovers();
        }
        self.store.is_some()
    }

    /// Files that no open should leave there, among those that are.
    pub(super) fn left(&self, there: impl FnOnce(&dyn Fn(&Path) -> bool) -> Image) -> Vec<String> {
        let noticed = locked(&self.noticed);
        let is_temporary = noticed.is_temporary();
        let left = |path: &Path| is_temporary(path) || self.leftovers.contains(path);
        there(&left).files.into_keys().map(|path| path.display().to_string()).collect()
    }

    /// What an open has not swept.
    fn look_for_leftovers(&mut self) {
        for path in self.left(|left| self.ground.some(left)) {
            let kind = Kind::Fs { op: "left".to_owned(), path, error: None };
            self.recorder.record(Src::Fs, kind);
        }
    }

    /// Another store on the directory that this one has.
    pub(super) fn second_open(&mut self) {
        let variant = self.variant;
        let _ = self.call(
            StoreCall::of("second_open"),
            |this| {
                let opening = this.opening(variant);
                this.ground.open_second(opening)
            },
            |(), _| {},
        );
    }

    /// Makes a call of the open store; `None` when there is none.
    fn ask<T>(
        &mut self,
        call: StoreCall,
        make: impl FnOnce(&mut dyn Checkpointer) -> Answered<T>,
        tell: impl FnOnce(&T, &mut StoreAnswer),
    ) -> Option<T> {
        let mut store = self.store.take()?;
        let result = self.call(call, |_| make(store.as_mut()), tell);
        self.store = Some(store);
        result.ok()
    }

    pub(super) fn save(&mut self, thread: &str, id: Option<&str>, state: &str) {
        self.threads.insert(thread.to_owned());
        locked(&self.noticed).renamed = None;
        self.ground.appeared();
        let call = StoreCall {
            thread: Some(thread.to_owned()),
            id: id.map(str::to_owned),
            sha: Some(sha(state)),
            keep: self.keep().map(|keep| keep.get() as u64),
            ..StoreCall::of("save")
        };
        let saved = self.ask(
            call,
            |store| store.save(thread, id, state),
            |id, answer| answer.id = Some(id.clone()),
        );
        let path = locked(&self.noticed).renamed.take().map(PathBuf::from);
        let path = path.or_else(|| self.ground.appeared());
        if let (Some(id), Some(path)) = (saved, path) {
            self.known.push(Known { thread: thread.to_owned(), id, path });
        }
    }

    /// Saves states of several threads at the same moment. Which file is whose is not known then.
    pub(super) fn save_at_once(&mut self, all: &[(String, String)]) {
        let Some(mut store) = self.store.take() else { return };
        let keep = self.keep().map(|keep| keep.get() as u64);
        let first = self.calls;
        for (thread, state) in all {
            self.threads.insert(thread.clone());
            let call = StoreCall {
                call: self.calls,
                thread: Some(thread.clone()),
                sha: Some(sha(state)),
                keep,
                ..StoreCall::of("save")
            };
            self.calls += 1;
            self.recorder.harness(Kind::StoreCall(call));
        }
        let answers = store.save_at_once(all);
        self.store = Some(store);
        self.ground.catch_up();
        if self.ground.is_dead() {
            return; // nobody is left to hear them
        }
        for (call, answered) in (first..).zip(answers) {
            let op = "save".to_owned();
            let answer = match answered {
                Ok(id) => StoreAnswer { call, op, id: Some(id), ..StoreAnswer::default() },
                Err(Refusal { kind, text }) => {
                    StoreAnswer { call, op, error: Some(kind), text, ..StoreAnswer::default() }
                }
            };
            self.recorder.record(Src::Subject, Kind::StoreAnswer(answer));
        }
    }

    pub(super) fn latest(&mut self, thread: &str) {
        let call = StoreCall { thread: Some(thread.to_owned()), ..StoreCall::of("latest") };
        let tell = |found: &Option<Given>, answer: &mut StoreAnswer| {
            if let Some(given) = found {
                told(given, answer);
            }
        };
        let _ = self.ask(call, |store| store.latest(thread), tell);
    }

    pub(super) fn load(&mut self, id: &str) {
        let call = StoreCall { id: Some(id.to_owned()), ..StoreCall::of("load") };
        let _ = self.ask(call, |store| store.load(id), told);
    }

    pub(super) fn list(&mut self, thread: &str) -> Vec<String> {
        let call = StoreCall { thread: Some(thread.to_owned()), ..StoreCall::of("list") };
        let ids = |store: &mut dyn Checkpointer| {
            Ok(store.list(thread)?.into_iter().map(|listed| listed.id).collect::<Vec<String>>())
        };
        self.ask(call, ids, |ids, answer| answer.ids.clone_from(ids)).unwrap_or_default()
    }

    pub(super) fn list_threads(&mut self) {
        if !self.ground.can("checkpoint.threads") {
            return;
        }
        let tell = |ids: &Vec<String>, answer: &mut StoreAnswer| answer.ids.clone_from(ids);
        let _ = self.ask(StoreCall::of("threads"), |store| store.threads(), tell);
    }

    pub(super) fn verify(&mut self) {
        if !self.ground.can("checkpoint.verify") {
            return;
        }
        let tell = |ids: &Vec<String>, answer: &mut StoreAnswer| answer.ids.clone_from(ids);
        let _ = self.ask(StoreCall::of("verify"), |store| store.verify(), tell);
    }

    /// What has one of these ids is no longer known, and is asked for all the same.
    fn forget(&mut self, which: impl Fn(&Known) -> bool) {
        let (gone, known) = std::mem::take(&mut self.known).into_iter().partition(which);
        self.known = known;
        let gone: Vec<Known> = gone;
        self.gone.extend(gone.into_iter().map(|known| known.id));
        let over = self.gone.len().saturating_sub(GONE);
        self.gone.drain(..over);
    }

    pub(super) fn delete(&mut self, id: &str) {
        self.forget(|known| known.id == id);
        let call = StoreCall { id: Some(id.to_owned()), ..StoreCall::of("delete") };
        let tell = |n: &u64, answer: &mut StoreAnswer| answer.count = Some(*n);
        let _ = self.ask(call, |store| store.delete(id), tell);
    }

    pub(super) fn delete_thread(&mut self, thread: &str) {
        self.forget(|known| known.thread == thread);
        let call = StoreCall { thread: Some(thread.to_owned()), ..StoreCall::of("delete_thread") };
        let tell = |n: &u64, answer: &mut StoreAnswer| answer.count = Some(*n);
        let _ = self.ask(call, |store| store.delete_thread(thread), tell);
    }

    pub(super) fn retain(&mut self, keep: NonZeroUsize) {
        let call = StoreCall { keep: Some(keep.get() as u64), ..StoreCall::of("retain") };
        let tell = |n: &u64, answer: &mut StoreAnswer| answer.count = Some(*n);
        let _ = self.ask(call, |store| store.retain(keep), tell);
    }

    /// Scrapes and closes the store that is open.
    pub(super) fn close(&mut self) {
        let Some(store) = self.store.take() else { return };
        if self.ground.can("checkpoint.metrics") {
            let text = store.metrics();
            self.recorder.record(Src::Subject, Kind::Scrape { text, last: true });
        }
        let close = |_: &mut Self| {
            store.close();
            Ok(())
        };
        let _ = self.call(StoreCall::of("close"), close, |(), _| {});
        for path in self.ground.public() {
            let (op, path) = ("public".to_owned(), path.display().to_string());
            self.recorder.record(Src::Fs, Kind::Fs { op, path, error: None });
        }
        let index = self.ground.some(&is_index).files.into_iter();
        self.indexes.push(index.map(|(path, bytes)| (path, bytes.to_vec())).collect());
    }
}

/// A file that stores keep as their index: what has `index` in its name.
pub(in crate::lane) fn is_index(path: &std::path::Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains("index"))
}

fn told(given: &Given, answer: &mut StoreAnswer) {
    answer.id = Some(given.id.clone());
    answer.thread = Some(given.thread.clone());
    answer.sha = Some(sha(&given.state));
}
