//! The timeline of a scenario, on a store.

use std::any::Any;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::earlier::Draft;
use super::session::{DiskClock, Session};
use super::{ids, states};
use crate::disk::{Break, Failure, Machine, SimFs, crash};
use crate::history::{FaultPhase, Kind, Line, NOT_DONE, Recorder, Src};
use crate::lane::{HarnessError, RunInput, RunOutput};
use crate::scenario::model::{
    Action, ActionKind, At, FaultKind, FsFault, LaneName, Load, Scenario, Size, StoreAction,
};
use crate::subject::store::Open;

/// Operations of a save, and some more: a crash comes after any of them.
const CRASH_WITHIN: u64 = 8;

/// Something to do. At the same moment ends of faults go first, then faults, actions and saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    FaultEnd(usize),
    Fault(usize),
    Action(usize),
    Save(usize, u32),
}

struct Play {
    session: Session,
    /// By time and place.
    due: BTreeSet<(u64, Item)>,
    /// By number of saves.
    waiting: Vec<(u64, Item)>,
    saves: u64,
    in_force: BTreeSet<usize>,
}

/// Plays the input with stores that `open` opens. The history begins with the `run` line.
pub(super) fn play(input: &RunInput, open: Open) -> RunOutput {
    let mut play = Play::new(input, open);
    let recorder = play.session.recorder.clone();
    let ended = catch_unwind(AssertUnwindSafe(|| play.run(input)));
    let error = ended.err().map(|panic| panicked(&recorder, panic.as_ref()));
    RunOutput { lines: recorder.take(), error, not_applicable: None }
}

/// A run that a panic has ended.
pub(super) fn panicked(recorder: &Recorder, panic: &(dyn Any + Send)) -> HarnessError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic without text").to_owned();
    recorder.record(Src::Os, Kind::Proc { what: "panic".to_owned(), value: 0, text: text.clone() });
    let blame = if in_a_call(&recorder.lines()) { "implementation" } else { "harness" };
    HarnessError { blame, message: format!("a call on the disk lane panicked: {text}") }
}

/// The subject was called and has not answered.
fn in_a_call(lines: &[Line]) -> bool {
    let last = lines.iter().rev().find_map(|line| match line.kind {
        Kind::StoreCall(_) | Kind::StateOffered(_) => Some(true),
        Kind::StoreAnswer(_) | Kind::StateAnswered(_) => Some(false),
        _ => None,
    });
    last.unwrap_or(false)
}

/// The machines of a run whose crash states were tried.
pub(super) fn machines(input: &RunInput, open: Open) -> Vec<Machine> {
    let mut play = Play::new(input, open);
    // what was tried before a panic was tried
    drop(catch_unwind(AssertUnwindSafe(|| play.run(input))));
    play.session.machines
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// It is written before the run.
fn earlier(load: &Load) -> bool {
    load.writer != "subject"
}

impl Play {
    fn new(input: &RunInput, open: Open) -> Self {
        let clock = Arc::new(DiskClock::default());
        let recorder = Recorder::new(clock.clone());
        let variant = super::variant(&input.scenario, input.seed);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let environment =
            vec![pair("dashproof", env!("CARGO_PKG_VERSION")), pair("variant", variant)];
        recorder.harness(input.opening(LaneName::Disk, environment));
        let scenario = input.scenario.clone();
        Self {
            session: Session::new(recorder, clock, scenario, (input.seed, variant), open),
            due: BTreeSet::new(),
            waiting: Vec::new(),
            saves: 0,
            in_force: BTreeSet::new(),
        }
    }

    fn run(&mut self, input: &RunInput) {
        let scenario = input.scenario.clone();
        self.plan(&scenario);
        for (index, load) in scenario.loads.iter().enumerate().filter(|(_, l)| earlier(l)) {
            self.before(index, load);
        }
        // What happens at the very start happens to a directory that nobody has opened yet.
        while let Some(item) = self.next(|item| matches!(item, Item::Fault(_)), Some(0)) {
            self.carry_out(item, &scenario);
        }
        self.session.open(self.session.variant);
        self.session.recorder.harness(Kind::Ready);
        while let Some(item) = self.next(|_| true, None) {
            self.carry_out(item, &scenario);
        }
        for (n, item) in std::mem::take(&mut self.waiting) {
            let what = match item {
                Item::Action(action) => format!("action {}", action + 1),
                Item::Save(load, _) => format!("load {}", load + 1),
                // a fault that never began has no effect, which says as much
                Item::Fault(_) | Item::FaultEnd(_) => continue,
            };
            self.not_done(format!("{what} never began: it waited for {n} saves"));
        }
        for fault in std::mem::take(&mut self.in_force) {
            self.end(fault, &scenario);
        }
        self.last(&scenario, input.seed);
    }

    fn plan(&mut self, scenario: &Scenario) {
        let mut add = |at: &At, item: Item| match at {
            At::Time(time) => drop(self.due.insert((micros(*time), item))),
            At::Offered(n) | At::Unanswered(n) => self.waiting.push((*n, item)),
        };
        for (i, fault) in scenario.faults.iter().enumerate() {
            add(&fault.at, Item::Fault(i));
        }
        for (i, action) in scenario.actions.iter().enumerate() {
            add(&action.at, Item::Action(i));
        }
        for (i, load) in scenario.loads.iter().enumerate() {
            if load.saves > 0 && !earlier(load) {
                add(&load.at, Item::Save(i, 0));
            }
        }
    }

    /// Takes out the next item of this kind that is due, at a time if one is given.
    fn next(&mut self, wanted: impl Fn(&Item) -> bool, at: Option<u64>) -> Option<Item> {
        let saves = self.saves;
        if let Some(at) = self.waiting.iter().position(|(n, _)| *n <= saves && *n > 0) {
            return Some(self.waiting.remove(at).1);
        }
        let fits = |(time, item): &&(u64, Item)| wanted(item) && at.is_none_or(|at| at == *time);
        let (time, item) = *self.due.iter().find(fits)?;
        self.due.remove(&(time, item));
        self.session.clock.advance_to(time);
        Some(item)
    }

    fn carry_out(&mut self, item: Item, scenario: &Scenario) {
        match item {
            Item::FaultEnd(fault) => self.end(fault, scenario),
            Item::Fault(fault) => self.begin(fault, scenario),
            Item::Action(action) => {
                if let Some(Action { kind, .. }) = scenario.actions.get(action)
                    && !self.act(kind)
                {
                    let (n, name) = (action + 1, kind.name());
                    self.not_done(format!("action {n} ({name}) had nothing to do"));
                }
            }
            Item::Save(load, k) => self.save(load, k, scenario),
        }
    }

    fn not_done(&self, text: String) {
        let (what, value) = (NOT_DONE.to_owned(), 0);
        self.session.recorder.harness(Kind::Proc { what, value, text });
    }

    fn now(&self) -> u64 {
        self.session.recorder.now_us()
    }

    /// What somebody saved before the run.
    fn before(&mut self, index: usize, load: &Load) {
        let what: Vec<Draft> = (0..load.saves)
            .map(|k| {
                let (thread, id) = ids::of(load, index, k);
                Draft { thread, id, state: self.state(&load.size) }
            })
            .collect();
        if let Err(why) = self.session.written_before(load, what) {
            self.not_done(format!("load {} was not written: {why}", index + 1));
        }
    }

    fn save(&mut self, index: usize, k: u32, scenario: &Scenario) {
        let Some(load) = scenario.loads.get(index) else { return };
        if k + 1 < load.saves {
            let wait = load.rate.map_or(Duration::from_millis(1), |rate| {
                Duration::from_secs_f64(1.0 / rate.max(0.001))
            });
            self.due.insert((self.now() + micros(wait), Item::Save(index, k + 1)));
        }
        let (thread, id) = ids::of(load, index, k);
        let state = self.state(&load.size);
        if self.session.store.is_some() {
            self.session.save(&thread, id.as_deref(), &state);
            self.saves += 1;
        }
    }

    /// A state like no other.
    fn state(&mut self, size: &Size) -> String {
        let rng = &mut self.session.rng;
        let len = match size {
            Size::Fixed(len) => *len,
            Size::Uniform(min, max) => rng.usize(*min..=*max.max(min)),
        };
        let head = format!("{:016x}", rng.u64(..));
        let body = (head.len()..len).map(|_| rng.alphanumeric());
        head.chars().chain(body.collect::<Vec<_>>()).collect()
    }

    /// False when there was nothing to do.
    fn act(&mut self, action: &ActionKind) -> bool {
        let first = self.session.threads.first().cloned().unwrap_or_default();
        match action {
            ActionKind::Store(_) if self.session.store.is_none() => return false,
            ActionKind::Open if self.session.store.is_none() => {
                self.session.open(self.session.variant);
                self.session.audit();
            }
            ActionKind::Close { .. } if self.session.store.is_some() => {
                self.session.audit();
                self.session.close();
            }
            ActionKind::Store(StoreAction::Delete { newest }) => {
                let mut of_first = self.session.known.iter().filter(|k| k.thread == first);
                let chosen = if *newest { of_first.next_back() } else { of_first.next() };
                let Some(id) = chosen.map(|known| known.id.clone()) else { return false };
                self.session.delete(&id);
            }
            ActionKind::Store(StoreAction::DeleteThread) => self.session.delete_thread(&first),
            ActionKind::Store(StoreAction::Retain { keep }) => {
                self.session.retain(NonZeroUsize::new(*keep).unwrap_or(NonZeroUsize::MIN));
            }
            ActionKind::Store(StoreAction::SecondOpen) => self.session.second_open(),
            _ => return false,
        }
        true
    }

    fn begin(&mut self, index: usize, scenario: &Scenario) {
        let Some(fault) = scenario.faults.get(index) else { return };
        self.session.recorder.fault(index, fault.kind.name(), FaultPhase::Begin);
        match &fault.kind {
            FaultKind::SubjectCrash => self.crash(index, scenario),
            FaultKind::Fs(kind) => self.break_fs(index, kind),
            _ => return,
        }
        match fault.lasts {
            Some(lasts) => {
                self.in_force.insert(index);
                self.due.insert((self.now() + micros(lasts), Item::FaultEnd(index)));
            }
            None if matches!(
                fault.kind,
                FaultKind::Fs(FsFault::Error { .. } | FsFault::Full { .. })
            ) =>
            {
                self.in_force.insert(index);
            }
            None => self.ended(index, scenario),
        }
    }

    fn break_fs(&mut self, index: usize, kind: &FsFault) {
        match kind {
            FsFault::Error { op, error, nth, from_then_on } => {
                if let Some(failure) = Failure::named(error) {
                    let (op, nth, from_then_on) = (op.clone(), *nth, *from_then_on);
                    self.session.fs.fail(Break { fault: index, op, nth, from_then_on, failure });
                }
            }
            FsFault::Full { free } => self.session.fs.fill(*free, index),
            FsFault::Damage { file, how } => self.session.damage_files(index, file, how),
            FsFault::Index { how } => self.session.damage_index(index, how),
            FsFault::Leftovers { count } => self.session.leave(index, *count),
            FsFault::ClockBack { by } => {
                self.session.clock.set_back(*by);
                self.session.met(index);
            }
            FsFault::ClockForward { by } => {
                self.session.clock.set_forward(*by);
                self.session.met(index);
            }
        }
    }

    fn end(&mut self, fault: usize, scenario: &Scenario) {
        self.in_force.remove(&fault);
        self.session.fs.mend(fault);
        self.ended(fault, scenario);
    }

    fn ended(&self, fault: usize, scenario: &Scenario) {
        let name = scenario.faults.get(fault).map_or("", |fault| fault.kind.name());
        self.session.recorder.fault(fault, name, FaultPhase::End);
    }

    /// The machine dies in the middle of a save, or just after it, and its disk is one of those
    /// that it can be.
    fn crash(&mut self, index: usize, scenario: &Scenario) {
        if self.session.store.is_none() {
            return;
        }
        let within = self.session.rng.u64(..=CRASH_WITHIN);
        self.session.fs.die_after(within);
        let thread = self.session.threads.first().cloned().unwrap_or_else(|| "t0".to_owned());
        let state = self.state(&Size::Fixed(64));
        self.session.save(&thread, None, &state);
        self.session.store = None;
        let (log, base) = (self.session.fs.log(), self.session.fs.base());
        let seed = self.session.rng.u64(..);
        let mut all = crash::states_after(&log, &base, log.0.len() as u64, seed).states;
        if states::can_be_tried(scenario) {
            states::record(&mut self.session, seed);
        }
        let at = self.session.rng.usize(..all.len().max(1));
        let chosen = (at < all.len()).then(|| all.swap_remove(at));
        let (what, text) = ("crash".to_owned(), chosen.as_ref().map(|s| s.name.clone()));
        let text = text.unwrap_or_default();
        self.session.recorder.record(Src::Os, Kind::Proc { what, value: 0, text });
        let image = chosen.map_or(base, |state| state.image);
        self.session.known.retain(|known| image.files.contains_key(&known.path));
        self.session.attach(SimFs::new(image));
        self.session.met(index);
    }

    /// Everything is asked for, under this variant and the others, and on every crash state.
    fn last(&mut self, scenario: &Scenario, seed: u64) {
        if self.session.store.is_some() {
            self.session.audit();
            self.session.close();
        }
        let own = self.session.variant;
        let others = super::variants(scenario).into_iter().filter(|variant| *variant != own);
        // The newer schema reads the older one, not the other way round.
        let others = others.filter(|variant| own != "versioned" || *variant != "file");
        for variant in std::iter::once(own).chain(others) {
            if self.session.open(variant) {
                self.session.audit();
                self.session.close();
            }
        }
        if states::can_be_tried(scenario) {
            states::record(&mut self.session, seed);
        }
    }
}
