//! What is due when: faults, actions and loads, in one order.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;

use super::board::{Board, Phase};
use super::{Director, micros};
use crate::history::{Kind, NOT_DONE};
use crate::lane::HarnessError;
use crate::scenario::model::{ActionKind, At, FaultKind, Scenario};
use crate::subject::protocol::Op;

/// How long an idle application waits for the number of unanswered records that an item asks for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something to do. At the same moment faults go before actions and actions before loads, each in
/// the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    FaultEnd(usize),
    Fault(usize),
    Action(usize),
    Load(usize),
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Lane time.
    At(u64),
    Offered(u64),
    Unanswered(u64),
}

impl Due {
    fn new(at: &At, start_us: u64) -> Self {
        match at {
            At::Time(after) => Self::At(start_us + micros(*after)),
            At::Offered(count) => Self::Offered(*count),
            At::Unanswered(count) => Self::Unanswered(*count),
        }
    }
}

/// Everything that is still to be done.
struct Agenda(Vec<(Due, Item)>);

impl Agenda {
    fn new(scenario: &Scenario, start_us: u64, cold: &[usize]) -> Self {
        let mut items = Vec::new();
        for (i, fault) in scenario.faults.iter().enumerate() {
            if !cold.contains(&i) {
                items.push((Due::new(&fault.at, start_us), Item::Fault(i)));
            } else if let Some(lasts) = fault.lasts {
                items.push((Due::At(start_us + micros(lasts)), Item::FaultEnd(i)));
            }
        }
        for (i, action) in scenario.actions.iter().enumerate() {
            items.push((Due::new(&action.at, start_us), Item::Action(i)));
        }
        for (i, load) in scenario.loads.iter().enumerate() {
            items.push((Due::new(&load.at, start_us), Item::Load(i)));
        }
        Self(items)
    }

    /// Takes out the first item that is due.
    fn take(&mut self, now_us: u64, board: &Board, unanswered: u64) -> Option<Item> {
        let at = |due: &Due| match due {
            Due::At(at_us) => Some(*at_us).filter(|at_us| *at_us <= now_us),
            Due::Offered(count) => (board.offered >= *count).then_some(now_us),
            Due::Unanswered(count) => (unanswered >= *count).then_some(now_us),
        };
        let due = self.0.iter().enumerate();
        let due = due.filter_map(|(i, (due, item))| at(due).map(|at_us| (at_us, *item, i)));
        let (_, item, i) = due.min()?;
        self.0.remove(i);
        Some(item)
    }

    fn next_us(&self) -> Option<u64> {
        let time = |(due, _): &(Due, Item)| match due {
            Due::At(at_us) => Some(*at_us),
            Due::Offered(_) | Due::Unanswered(_) => None,
        };
        self.0.iter().filter_map(time).min()
    }

    fn least_unanswered(&self) -> Option<u64> {
        let count = |(due, _): &(Due, Item)| match due {
            Due::Unanswered(count) => Some(*count),
            Due::At(_) | Due::Offered(_) => None,
        };
        self.0.iter().filter_map(count).min()
    }

    /// Only ends of faults are left, or what waits for a number that can no longer be reached.
    fn is_over(&self, board: &Board) -> bool {
        board.is_idle()
            && self
                .0
                .iter()
                .all(|(due, item)| matches!(item, Item::FaultEnd(_)) || !matches!(due, Due::At(_)))
    }

    /// Actions and loads that never came to their turn, in words.
    fn left(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(due, item)| {
            let what = match item {
                Item::Action(n) => format!("action {}", n + 1),
                Item::Load(n) => format!("load {}", n + 1),
                // a fault that never began has no effect, which says as much
                Item::Fault(_) | Item::FaultEnd(_) => return None,
            };
            let awaited = match due {
                Due::At(_) => "its moment".to_owned(),
                Due::Offered(n) => format!("{n} events to be offered"),
                Due::Unanswered(n) => format!("{n} records to be unanswered at once"),
            };
            Some(format!("{what} never began: it waited for {awaited}"))
        })
    }

    /// Ends of faults that are still in force, in order.
    fn ends(self) -> Vec<(u64, usize)> {
        let end = |(due, item): (Due, Item)| match (due, item) {
            (Due::At(at_us), Item::FaultEnd(fault)) => Some((at_us, fault)),
            _ => None,
        };
        let mut ends: Vec<(u64, usize)> = self.0.into_iter().filter_map(end).collect();
        ends.sort_unstable();
        ends
    }
}

impl Director {
    /// Carries out the agenda until everything is done that the application does. Returns the
    /// faults that are still in force, with their ends.
    pub(super) async fn play(
        self: &Arc<Self>,
        start_us: u64,
        cold: &[usize],
    ) -> Result<Vec<(u64, usize)>, HarnessError> {
        let mut agenda = Agenda::new(&self.stage.scenario, start_us, cold);
        let mut unanswered = 0;
        let mut patience_us = None;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let item = agenda.take(self.now_us(), &self.board(), unanswered);
            if let Some(item) = item {
                self.carry_out(item, &mut agenda).await?;
                continue;
            }
            let least = agenda.least_unanswered();
            let over = agenda.is_over(&self.board());
            let patient = least.filter(|_| over).map(|_| self.now_us() + micros(PATIENCE));
            patience_us = patience_us.filter(|_| over).or(patient);
            if over && patience_us.is_none_or(|until_us| until_us <= self.now_us()) {
                for text in agenda.left() {
                    let (what, value) = (NOT_DONE.to_owned(), 0);
                    self.stage.recorder.harness(Kind::Proc { what, value, text });
                }
                return Ok(agenda.ends());
            }
            let next_us = agenda.next_us().into_iter().chain(patience_us).min();
            tokio::select! {
                biased;
                () = &mut changed => {}
                () = self.sleep_until_us(next_us.unwrap_or(0)), if next_us.is_some() => {}
                () = self.stage.world.until_unanswered(least.unwrap_or(0)), if least.is_some() => {
                    unanswered = least.unwrap_or(0);
                }
            }
        }
    }

    async fn carry_out(
        self: &Arc<Self>,
        item: Item,
        agenda: &mut Agenda,
    ) -> Result<(), HarnessError> {
        match item {
            Item::FaultEnd(fault) => {
                self.stage.control.mend_disk(fault);
                self.stage.world.end(fault);
            }
            Item::Fault(index) => {
                let scenario = self.stage.scenario.clone();
                let Some(fault) = scenario.faults.get(index) else { return Ok(()) };
                if matches!(fault.kind, FaultKind::SubjectCrash(_)) {
                    self.stage.world.begin(index);
                    self.stage.world.met(index);
                    self.crash().await;
                    self.stage.world.end(index);
                } else if let FaultKind::SpoolDamage(what) = fault.kind {
                    self.stage.world.begin(index);
                    if self.stage.control.damage_spool(what) {
                        self.stage.world.met(index);
                    }
                    self.stage.world.end(index);
                } else {
                    self.stage.world.begin(index);
                    if let FaultKind::Fs(what) = &fault.kind {
                        self.stage.control.break_disk(index, what);
                    }
                    if let Some(lasts) = fault.lasts {
                        let end_us = self.now_us() + micros(lasts);
                        agenda.0.push((Due::At(end_us), Item::FaultEnd(index)));
                    }
                }
            }
            Item::Action(index) => {
                let scenario = self.stage.scenario.clone();
                if let Some(action) = scenario.actions.get(index) {
                    self.perform(&action.kind).await?;
                }
            }
            Item::Load(index) => self.begin_load(index),
        }
        Ok(())
    }

    /// A dead application begins nothing; the next incarnation does.
    fn begin_load(self: &Arc<Self>, load: usize) {
        if self.board().phase != Phase::Crashed {
            return self.offer(load);
        }
        let now_us = self.now_us();
        if let Some(progress) = self.board().loads.get_mut(load) {
            progress.began_us.get_or_insert(now_us);
        }
    }

    async fn perform(self: &Arc<Self>, action: &ActionKind) -> Result<(), HarnessError> {
        let phase = self.board().phase;
        if phase == Phase::Crashed && *action != ActionKind::Open {
            return Ok(());
        }
        let op = match action {
            ActionKind::Open => return self.reopen().await,
            ActionKind::Cancel => {
                let cancels: Vec<_> =
                    self.board().sends.values().map(|sending| sending.cancel.clone()).collect();
                for cancel in cancels {
                    cancel.notify_one();
                }
                return Ok(());
            }
            ActionKind::Metrics => {
                let this = self.clone();
                let scrape = async move {
                    if let Some(Ok(answer)) = this.act(Op::Metrics).await {
                        this.scraped(answer.text, false);
                    }
                };
                self.stage.control.spawn(Box::pin(scrape));
                return Ok(());
            }
            ActionKind::Flush { deadline } => Op::Flush { deadline_us: micros(*deadline) },
            ActionKind::Close { deadline } => Op::Close { deadline_us: micros(*deadline) },
            ActionKind::Clone => Op::Clone { handle: self.board().next_handle() },
            ActionKind::Drop { handle } => Op::Drop { handle: *handle },
            ActionKind::PanicCallback => Op::PanicCallback,
            ActionKind::Decode { frame, .. } => {
                let frame = base64::engine::general_purpose::STANDARD.encode(frame);
                Op::CodecDecode { frame }
            }
            // The checks keep stores off lanes with a producer; whoever comes here is told so.
            ActionKind::UnknownOperation | ActionKind::Store(_) => Op::Unknown,
        };
        let instant = matches!(op, Op::Clone { .. } | Op::Drop { .. });
        if instant {
            // The next item may be about the handle.
            self.act(op).await;
            if self.board().is_dropped() && matches!(action, ActionKind::Drop { .. }) {
                self.dropped();
            }
        } else {
            self.start(op, None);
        }
        Ok(())
    }

    /// The last handle went without `close`.
    fn dropped(&self) {
        let (what, text) = ("drop".to_owned(), String::new());
        self.stage.recorder.harness(Kind::Proc { what, value: 0, text });
    }
}
