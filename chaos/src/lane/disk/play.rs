//! The timeline of a scenario, on a store.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::agenda::{Agenda, pace};
use super::earlier::Draft;
use super::every::Turn;
use super::ground::{Death, DiskClock, Ground, Simulated};
use super::session::Session;
use super::{every, ids, states};
use crate::disk::{Break, Machine, SimFs, crash};
use crate::history::{FaultPhase, Kind, Line, NOT_DONE, Recorder, Src};
use crate::lane::{HarnessError, RunInput, RunOutput};
use crate::scenario::model::{
    Action, ActionKind, Crash, FaultKind, FsFault, LaneName, Load, Scenario, Size, StoreAction,
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

/// A run of a scenario on its ground.
pub(in crate::lane) struct Play {
    session: Session,
    agenda: Agenda<Item>,
    in_force: BTreeSet<usize>,
    /// Saves for which no store was open, by load.
    skipped: BTreeMap<usize, u32>,
    /// Faults that set the clock, which no save has looked at since.
    clocks: Vec<usize>,
    /// It is one of the plays of a disk that is full at every byte.
    turn: Option<Turn>,
}

/// Plays the input with stores that `open` opens. The history begins with the `run` line.
pub(super) fn play(input: &RunInput, open: &Open) -> RunOutput {
    let machine = Bench::new(input, open);
    let (_, error) = machine.play_all();
    RunOutput { lines: machine.recorder.take(), error, ..RunOutput::default() }
}

/// The machines of a run whose crash states were tried.
pub(super) fn machines(input: &RunInput, open: &Open) -> Vec<Machine> {
    // what was tried before a panic was tried
    Bench::new(input, open).play_all().0
}

/// Where the plays of an input are simulated: most have one.
pub(super) struct Bench<'a> {
    pub(super) input: &'a RunInput,
    open: &'a Open,
    clock: Arc<DiskClock>,
    pub(super) recorder: Recorder,
}

impl<'a> Bench<'a> {
    fn new(input: &'a RunInput, open: &'a Open) -> Self {
        let clock = Arc::new(DiskClock::default());
        let recorder = Recorder::new(clock.clone());
        let variant = super::variant(&input.scenario, input.seed);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let dashproof = pair("dashproof", env!("CARGO_PKG_VERSION"));
        recorder.harness(input.opening(LaneName::Disk, vec![dashproof, pair("variant", variant)]));
        Self { input, open, clock, recorder }
    }

    fn play_all(&self) -> (Vec<Machine>, Option<HarnessError>) {
        if every::is_asked(&self.input.scenario) {
            return every::play(self);
        }
        let turn = self.input.scenario.free.map(|free| every::chosen(self, free));
        let (play, error) = self.play(&self.recorder, turn, Vec::new());
        (play.session.machines, error)
    }

    /// Nobody looks at its history.
    pub(super) fn aside(&self) -> Recorder {
        Recorder::new(self.clock.clone())
    }

    /// One play on an empty machine, whose clock begins anew; crash states are numbered on from
    /// those of `machines`.
    pub(super) fn play(
        &self,
        recorder: &Recorder,
        turn: Option<Turn>,
        machines: Vec<Machine>,
    ) -> (Play, Option<HarnessError>) {
        self.clock.reset();
        let variant = super::variant(&self.input.scenario, self.input.seed);
        let ground = Box::new(Simulated::new(self.open.clone(), self.clock.clone()));
        let mut play = Play::new(recorder.clone(), self.input, variant, ground);
        play.session.machines = machines;
        play.session.no_crashes = turn.as_ref().and_then(Turn::no_crashes);
        play.turn = turn;
        let ended = catch_unwind(AssertUnwindSafe(|| play.run(self.input)));
        let error = ended.err().map(|panic| panicked(recorder, panic.as_ref()));
        (play, error)
    }
}

/// A run that a panic has ended.
pub(in crate::lane) fn panicked(recorder: &Recorder, panic: &(dyn Any + Send)) -> HarnessError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("a panic without text").to_owned();
    recorder.record(Src::Os, Kind::Proc { what: "panic".to_owned(), value: 0, text: text.clone() });
    let blame = if in_a_call(&recorder.lines()) { "implementation" } else { "harness" };
    HarnessError { blame, message: format!("a call of a store panicked: {text}") }
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

/// It is written before the run.
fn earlier(load: &Load) -> bool {
    load.writer != "subject"
}

impl Play {
    /// A run that has recorded nothing yet but its beginning.
    pub(in crate::lane) fn new(
        recorder: Recorder,
        input: &RunInput,
        variant: &'static str,
        ground: Box<dyn Ground>,
    ) -> Self {
        let scenario = input.scenario.clone();
        Self {
            session: Session::new(recorder, scenario, (input.seed, variant), ground),
            agenda: Agenda::default(),
            in_force: BTreeSet::new(),
            skipped: BTreeMap::new(),
            clocks: Vec::new(),
            turn: None,
        }
    }

    /// Bytes that were written while the disk was full.
    pub(super) fn taken(&self) -> u64 {
        self.session.ground.simulated().map_or(0, |disk| disk.fs.taken())
    }

    /// What was tried of crashes so far.
    pub(super) fn into_machines(self) -> Vec<Machine> {
        self.session.machines
    }

    /// Plays it to its end, or to where something broke it off.
    pub(in crate::lane) fn run(&mut self, input: &RunInput) -> Option<HarnessError> {
        let scenario = input.scenario.clone();
        self.plan(&scenario);
        for (index, load) in scenario.loads.iter().enumerate().filter(|(_, l)| earlier(l)) {
            self.before(index, load);
        }
        // What happens at the very start happens to a directory that nobody has opened yet.
        while let Some(item) = self.agenda.at_start(|item| matches!(item, Item::Fault(_))) {
            self.carry_out(item, &scenario);
        }
        self.session.open(self.session.variant);
        self.session.recorder.harness(Kind::Ready);
        self.session.ground.begin();
        while let Some(item) = self.agenda.next() {
            if let Some(error) = self.session.ground.broken() {
                return Some(error);
            }
            self.session.ground.go_to(self.agenda.now_us());
            self.carry_out(item, &scenario);
        }
        self.not_all_done();
        for fault in std::mem::take(&mut self.in_force) {
            self.end(fault, &scenario);
        }
        self.last(&scenario, input.seed);
        self.session.ground.broken()
    }

    fn plan(&mut self, scenario: &Scenario) {
        for (i, fault) in scenario.faults.iter().enumerate() {
            self.agenda.plan(&fault.at, Item::Fault(i));
        }
        for (i, action) in scenario.actions.iter().enumerate() {
            self.agenda.plan(&action.at, Item::Action(i));
        }
        for (i, load) in scenario.loads.iter().enumerate() {
            if load.saves > 0 && !earlier(load) {
                self.agenda.plan(&load.at, Item::Save(i, 0));
            }
        }
    }

    /// What the scenario planned and what did not come to its turn.
    fn not_all_done(&mut self) {
        for (n, item) in self.agenda.left() {
            let what = match item {
                Item::Action(action) => format!("action {}", action + 1),
                Item::Save(load, _) => format!("load {}", load + 1),
                // a fault that never began has no effect, which says as much
                Item::Fault(_) | Item::FaultEnd(_) => continue,
            };
            self.not_done(format!("{what} never began: it waited for {n} saves"));
        }
        for (load, saves) in std::mem::take(&mut self.skipped) {
            self.not_done(format!("load {}: {saves} saves found no open store", load + 1));
        }
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
        if self.turn.as_ref().is_some_and(Turn::may_leave_out) {
            return;
        }
        let (what, value) = (NOT_DONE.to_owned(), 0);
        self.session.recorder.harness(Kind::Proc { what, value, text });
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
        let next = k + if load.at_once { load.threads.max(1) } else { 1 };
        if next < load.saves {
            self.agenda.later(pace(load), Item::Save(index, next));
        }
        if load.at_once {
            return self.save_at_once(index, load, k..next.min(load.saves));
        }
        let (thread, id) = ids::of(load, index, k);
        let state = self.state(&load.size);
        if self.session.store.is_some() {
            for fault in std::mem::take(&mut self.clocks) {
                self.session.met(fault);
            }
            self.session.save(&thread, id.as_deref(), &state);
            self.agenda.count();
        } else {
            *self.skipped.entry(index).or_default() += 1;
        }
    }

    /// A save for each thread, all outstanding at once.
    fn save_at_once(&mut self, index: usize, load: &Load, turns: std::ops::Range<u32>) {
        let mut all = Vec::new();
        for k in turns {
            let state = self.state(&load.size);
            all.push((ids::of(load, index, k).0, state));
        }
        if self.session.store.is_none() {
            *self.skipped.entry(index).or_default() += u32::try_from(all.len()).unwrap_or(0);
            return;
        }
        self.session.save_at_once(&all);
        for _ in &all {
            self.agenda.count();
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
            // what it would end did not open: a fault may have been there for that
            ActionKind::Close { .. } if std::mem::take(&mut self.session.refused) => {}
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
            FaultKind::SubjectCrash(crash) => self.crash(index, crash),
            FaultKind::Fs(kind) => self.break_fs(index, kind),
            _ => return,
        }
        match fault.lasts {
            Some(lasts) => {
                self.in_force.insert(index);
                self.agenda.later(lasts, Item::FaultEnd(index));
            }
            None if matches!(
                fault.kind,
                FaultKind::Fs(FsFault::Error { .. } | FsFault::Full { .. } | FsFault::FullEvery)
            ) =>
            {
                self.in_force.insert(index);
            }
            None => self.ended(index, scenario),
        }
    }

    fn break_fs(&mut self, index: usize, kind: &FsFault) {
        match kind {
            FsFault::Error { .. } => {
                if let Some(waiting) = Break::by(index, kind) {
                    self.session.ground.fail(waiting);
                }
            }
            FsFault::Full { free } => {
                // a play that was chosen of many is first made with more than anybody needs
                let free = self.turn.as_ref().map_or(*free, |turn| turn.free);
                self.session.ground.fill(free, index);
            }
            FsFault::FullEvery => {
                let free = self.turn.as_ref().map_or(0, |turn| turn.free);
                self.session.ground.fill(free, index);
            }
            FsFault::Damage { file, how } => self.session.damage_files(index, file, how),
            FsFault::Index { how } => self.session.damage_index(index, how),
            FsFault::Leftovers { count } => self.session.leave(index, *count),
            FsFault::ClockBack { by } => {
                if self.session.ground.set_back(*by) {
                    self.clocks.push(index);
                }
            }
            FsFault::ClockForward { by } => {
                if self.session.ground.set_forward(*by) {
                    self.clocks.push(index);
                }
            }
        }
    }

    fn end(&mut self, fault: usize, scenario: &Scenario) {
        self.in_force.remove(&fault);
        self.session.ground.mend(fault);
        self.ended(fault, scenario);
    }

    fn ended(&self, fault: usize, scenario: &Scenario) {
        let name = scenario.faults.get(fault).map_or("", |fault| fault.kind.name());
        self.session.recorder.fault(fault, name, FaultPhase::End);
    }

    /// The subject dies in the middle of a call, or just after it.
    fn crash(&mut self, index: usize, crash: &Crash) {
        if self.session.store.is_some() == (crash.during == "open") {
            return; // nothing that could meet it
        }
        let death = match &crash.phase {
            Some(phase) => Death::Phase(phase.clone(), crash.nth),
            None => Death::Ops(self.session.rng.u64(..=CRASH_WITHIN)),
        };
        self.session.ground.die(death);
        self.last_call(&crash.during);
        let met = crash.phase.is_none() || self.session.ground.is_dead();
        self.session.store = None;
        if let Some(disk) = self.session.ground.simulated().cloned() {
            self.crash_machine(&disk);
        } else {
            self.session.ground.kill();
            self.crashed(String::new());
        }
        let left = self.session.ground.live();
        self.session.known.retain(|known| left.files.contains_key(&known.path));
        if met {
            self.session.met(index);
        }
    }

    fn crashed(&self, text: String) {
        let what = "crash".to_owned();
        self.session.recorder.record(Src::Os, Kind::Proc { what, value: 0, text });
    }

    /// The call that the subject does not live to answer.
    fn last_call(&mut self, during: &str) {
        let thread = self.session.threads.first().cloned().unwrap_or_else(|| "t0".to_owned());
        match during {
            "open" => drop(self.session.open(self.session.variant)),
            "close" => self.session.close(),
            "delete" => {
                let mut of_thread = self.session.known.iter().filter(|k| k.thread == thread);
                if let Some(id) = of_thread.next_back().map(|known| known.id.clone()) {
                    self.session.delete(&id);
                }
            }
            "delete_thread" => self.session.delete_thread(&thread),
            "retain" => self.session.retain(NonZeroUsize::MIN),
            _ => {
                let state = self.state(&Size::Fixed(64));
                self.session.save(&thread, None, &state);
            }
        }
    }

    /// The whole machine dies, and its disk is one of those that it can be.
    fn crash_machine(&mut self, disk: &Simulated) {
        let (log, base) = (disk.fs.log(), disk.fs.base());
        let seed = self.session.rng.u64(..);
        let mut all = crash::states_after(&log, &base, log.0.len() as u64, seed).states;
        states::record(&mut self.session, seed);
        let at = self.session.rng.usize(..all.len().max(1));
        let chosen = (at < all.len()).then(|| all.swap_remove(at));
        self.crashed(chosen.as_ref().map(|state| state.name.clone()).unwrap_or_default());
        let image = chosen.map_or(base, |state| state.image);
        self.session.attach(Box::new(disk.on(SimFs::new(image))));
    }

    /// Everything is asked for, under this variant and the others, and on every crash state.
    fn last(&mut self, scenario: &Scenario, seed: u64) {
        if self.session.store.is_some() {
            self.session.audit();
            self.session.close();
        }
        let own = self.session.variant;
        let word = |variant: &str| format!("checkpoint.variant.{variant}");
        let can =
            |variant: &&'static str| *variant == own || self.session.ground.can(&word(variant));
        let all = super::last_variants(scenario, own).into_iter();
        for variant in all.filter(can).collect::<Vec<_>>() {
            if self.session.open(variant) {
                self.session.audit();
                self.session.close();
            }
        }
        states::record(&mut self.session, seed);
    }
}
