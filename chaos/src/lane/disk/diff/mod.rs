//! The timeline of a scenario about state diffs: states are offered with their events, what the
//! subject sends is delivered to a receiver of the harness or lost, and the heap is measured.

mod make;
mod receiver;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use prost::Message as _;

use self::make::{Maker, State, hex, sha};
use self::receiver::Receiver;
use super::agenda::{Agenda, pace};
use super::ground::DiskClock;
use crate::heap;
use crate::history::{
    FaultPhase, Kind, NOT_DONE, Recorder, Src, StateAnswered, StateHeap, StateLost, StateOffered,
    StateReceived,
};
use crate::lane::{RunInput, RunOutput};
use crate::scenario::model::{FaultKind, LaneName, Load, Scenario};
use crate::subject::state::{Answer, Differ, Start, Told};

/// Something to do. At the same moment ends of faults go first, then faults and states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    FaultEnd(usize),
    Fault(usize),
    Offer(usize, u32),
}

/// What loses messages.
#[derive(Clone, Copy, Debug)]
struct Loss {
    left: u32,
    reported_after: u32,
}

/// A loss that the subject does not know of.
#[derive(Clone, Copy, Debug)]
struct Report {
    step: u64,
    token: u64,
    /// Due when the thread has offered so many.
    due: u64,
}

/// A thread of the application, and its receiver.
struct Thread {
    maker: Maker,
    receiver: Receiver,
    offered: u64,
    reports: Vec<Report>,
}

struct Play {
    recorder: Recorder,
    clock: Arc<DiskClock>,
    seed: u64,
    differ: Box<dyn Differ>,
    threads: BTreeMap<String, Thread>,
    agenda: Agenda<Item>,
    /// By fault.
    losses: BTreeMap<usize, Loss>,
    /// What the subject keeps, in bytes; `None` where nobody counts.
    kept: Option<i64>,
}

/// Plays the input with what `start` starts. The history begins with the `run` line.
pub(super) fn play(input: &RunInput, start: &Start) -> RunOutput {
    let clock = Arc::new(DiskClock::default());
    let recorder = Recorder::new(clock.clone());
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let heap = if heap::is_counted() { "counted" } else { "not counted" };
    let environment = vec![pair("dashproof", env!("CARGO_PKG_VERSION")), pair("heap", heap)];
    recorder.harness(input.opening(LaneName::Disk, environment));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let limits = input.scenario.state.clone().unwrap_or_default();
        warm_up(start, &limits);
        let (differ, heap) = heap::measure(|| start(&limits));
        let mut play = Play {
            recorder: recorder.clone(),
            clock,
            seed: input.seed,
            differ,
            threads: BTreeMap::new(),
            agenda: Agenda::default(),
            losses: BTreeMap::new(),
            kept: heap.map(|heap| heap.kept),
        };
        play.run(&input.scenario);
    }));
    let error = ended.err().map(|panic| super::play::panicked(&recorder, panic.as_ref()));
    RunOutput { lines: recorder.take(), error, ..RunOutput::default() }
}

/// What a program makes once and keeps is no cost of a state, and a second run would not pay it.
fn warm_up(start: &Start, limits: &crate::scenario::model::StateSubject) {
    let mut differ = start(limits);
    let value = serde_json::json!({"warm": "up"});
    let shown = crate::subject::state::Shown { value: &value, turn: 0, defect: None, nest: None };
    drop(differ.step("warm up", &shown));
    drop(differ.metrics());
}

/// Bytes in KiB, rounded up.
fn kib(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0).div_ceil(1024)
}

impl Play {
    fn run(&mut self, scenario: &Arc<Scenario>) {
        self.plan(scenario);
        self.scrape(false);
        self.recorder.harness(Kind::Ready);
        while let Some(item) = self.agenda.next() {
            self.clock.advance_to(self.agenda.now_us());
            match item {
                Item::FaultEnd(fault) => self.end(fault, scenario),
                Item::Fault(fault) => self.begin(fault, scenario),
                Item::Offer(load, k) => self.load(load, k, scenario),
            }
        }
        for (n, item) in self.agenda.left() {
            if let Item::Offer(load, _) = item {
                let text = format!("load {} never began: it waited for {n} states", load + 1);
                let what = NOT_DONE.to_owned();
                self.recorder.harness(Kind::Proc { what, value: 0, text });
            }
        }
        for thread in self.threads.keys().cloned().collect::<Vec<_>>() {
            self.report(&thread, u64::MAX);
        }
        for fault in self.losses.keys().copied().collect::<Vec<_>>() {
            self.end(fault, scenario);
        }
        self.scrape(true);
    }

    fn scrape(&self, last: bool) {
        let text = self.differ.metrics();
        self.recorder.record(Src::Subject, Kind::Scrape { text, last });
    }

    fn plan(&mut self, scenario: &Scenario) {
        for (i, fault) in scenario.faults.iter().enumerate() {
            self.agenda.plan(&fault.at, Item::Fault(i));
        }
        for (i, load) in scenario.loads.iter().enumerate() {
            if load.states.as_ref().is_some_and(|states| states.count > 0) {
                self.agenda.plan(&load.at, Item::Offer(i, 0));
            }
        }
    }

    fn begin(&mut self, index: usize, scenario: &Scenario) {
        let Some(fault) = scenario.faults.get(index) else { return };
        let FaultKind::DiffLost { count, reported_after } = fault.kind else { return };
        self.recorder.fault(index, fault.kind.name(), FaultPhase::Begin);
        self.losses.insert(index, Loss { left: count, reported_after });
        if let Some(lasts) = fault.lasts {
            self.agenda.later(lasts, Item::FaultEnd(index));
        }
    }

    fn end(&mut self, index: usize, scenario: &Scenario) {
        if self.losses.remove(&index).is_some() {
            let name = scenario.faults.get(index).map_or("", |fault| fault.kind.name());
            self.recorder.fault(index, name, FaultPhase::End);
        }
    }

    fn load(&mut self, index: usize, k: u32, scenario: &Arc<Scenario>) {
        let Some(load) = scenario.loads.get(index) else { return };
        let Some(states) = &load.states else { return };
        if k + 1 < states.count {
            self.agenda.later(pace(load), Item::Offer(index, k + 1));
        }
        let name = format!("t{}", k % load.threads.max(1));
        let seed = self.seed;
        let thread = self.threads.entry(name.clone()).or_insert_with(|| Thread {
            maker: Maker::new(&name, seed),
            receiver: Receiver::default(),
            offered: 0,
            reports: Vec::new(),
        });
        let offered = thread.offered;
        self.report(&name, offered);
        self.offer(&name, load, k, scenario);
    }

    /// Tells the subject of the losses that are due.
    fn report(&mut self, name: &str, offered: u64) {
        let Some(thread) = self.threads.get_mut(name) else { return };
        let (told, later): (Vec<Report>, Vec<Report>) =
            std::mem::take(&mut thread.reports).into_iter().partition(|r| r.due <= offered);
        thread.reports = later;
        for Report { step, token, .. } in told {
            self.recorder.harness(Kind::StateLost(StateLost { step }));
            let ((), heap) = heap::measure(|| self.differ.lost(name, token));
            self.keep(heap);
        }
    }

    fn keep(&mut self, heap: Option<heap::Heap>) {
        self.kept = self.kept.zip(heap).map(|(kept, heap)| kept + heap.kept);
    }

    fn offer(&mut self, name: &str, load: &Load, k: u32, scenario: &Scenario) {
        let step = self.agenda.done();
        self.agenda.count();
        let (Some(thread), Some(states)) = (self.threads.get_mut(name), &load.states) else {
            return;
        };
        thread.offered += 1;
        let state = thread.maker.state(load, states, k);
        self.recorder.harness(Kind::StateOffered(offered(step, name, &state)));
        let shown = state.shown();
        let (told, heap) = heap::measure(|| self.differ.step(name, &shown));
        self.keep(heap);
        drop(state);
        self.recorder.record(Src::Subject, Kind::StateAnswered(answered(step, &told.answer)));
        self.deliver(step, name, &told, scenario);
        let ((), freed) = heap::measure(|| drop(told));
        self.keep(freed);
        if let (Some(heap), Some(kept)) = (heap, self.kept) {
            let peak_kib = heap.peak.div_ceil(1024);
            let line = StateHeap { step, peak_kib, kept_kib: kib(kept) };
            self.recorder.record(Src::Os, Kind::StateHeap(line));
        }
    }

    fn deliver(&mut self, step: u64, name: &str, told: &Told, scenario: &Scenario) {
        let losing = self.losses.iter_mut().find(|(_, loss)| loss.left > 0);
        let Some(thread) = self.threads.get_mut(name) else { return };
        let (mut spent, mut error) = (None, None);
        let message = match (told.answer.message(), losing) {
            (None, _) => "none",
            (Some((_, token)), Some((fault, loss))) => {
                loss.left -= 1;
                let due = thread.offered + u64::from(loss.reported_after);
                thread.reports.push(Report { step, token, due });
                let kind = scenario.faults.get(*fault).map_or("", |fault| fault.kind.name());
                self.recorder.fault(*fault, kind, FaultPhase::Effect);
                spent = (loss.left == 0).then_some(*fault);
                "lost"
            }
            (Some((diff, _)), None) => {
                error = thread.receiver.take(diff).err();
                "delivered"
            }
        };
        let (event, message, sha) = (told.event, message.to_owned(), thread.receiver.sha());
        let line = StateReceived { step, event, message, error, sha };
        self.recorder.harness(Kind::StateReceived(line));
        if let Some(fault) = spent {
            self.end(fault, scenario);
        }
    }
}

fn offered(step: u64, thread: &str, state: &State) -> StateOffered {
    StateOffered {
        step,
        thread: thread.to_owned(),
        bytes: state.text.len() as u64,
        depth: state.depth,
        sha: sha(&state.text),
        defect: state.defect().map(|defect| defect.name().to_owned()),
    }
}

fn answered(step: u64, answer: &Answer) -> StateAnswered {
    let mut line =
        StateAnswered { step, what: answer.name().to_owned(), ..StateAnswered::default() };
    if let Answer::Degraded { reason, text } = answer {
        line.reason = Some(reason.clone());
        line.text.clone_from(text);
    }
    if let Some((diff, _)) = answer.message() {
        line.base = hex(&diff.base_checkpoint_id);
        line.hash = hex(&diff.state_hash);
        line.bytes = diff.encoded_len() as u64;
    }
    line
}
