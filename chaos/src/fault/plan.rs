//! Begins and ends the faults of one run.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::scenario::model::{Brokers, Fault, FaultKind, Scenario};

/// What faults are put in force in: the model broker, or the proxy in front of a real one.
pub trait Target: Send + Sync + 'static {
    /// Puts a fault in force; `brokers` are those it is about. An instant takes place and is over.
    fn arm(&self, index: usize, kind: &FaultKind, brokers: &[i32]);
    /// Lifts a fault; false when it was not in force.
    fn disarm(&self, index: usize, kind: &FaultKind, brokers: &[i32]) -> bool;
    /// The brokers that a flapping or rolling fault keeps down from now on.
    fn set_down(&self, index: usize, down: Vec<i32>);
    /// A controlled shutdown of this broker begins: its leaderships move, if they can.
    fn retire(&self, broker: i32);
    /// Records that the fault was met, unless that is known.
    fn meet(&self, index: usize);
    /// True while the fault is in force.
    fn armed(&self, index: usize) -> bool;
    /// Ids of the brokers, ascending.
    fn broker_ids(&self) -> Vec<i32>;
    /// The brokers that a scenario numbers from 1: their ids, where clusters begin elsewhere.
    fn numbered(&self, ids: &[i32]) -> Vec<i32> {
        ids.to_vec()
    }
    /// The broker that leads partition 0 of the main topic, as far as it is known.
    fn first_leader(&self) -> Option<i32>;
}

/// The faults of a scenario against one cluster. `begin` and `end` of a fault may be called in any
/// order and any number of times: a fault that is in force is not begun again, and one that is not
/// is not ended.
pub struct FaultPlan {
    faults: Vec<Fault>,
    target: Arc<dyn Target>,
    slots: Mutex<Vec<Slot>>,
}

#[derive(Default)]
struct Slot {
    brokers: Vec<i32>,
    schedule: Option<AbortHandle>,
}

impl FaultPlan {
    /// The plan of a scenario.
    #[must_use]
    pub fn new<T: Target>(scenario: &Scenario, target: Arc<T>) -> Self {
        let faults = scenario.faults.clone();
        let slots = faults.iter().map(|_| Slot::default()).collect();
        Self { faults, target, slots: Mutex::new(slots) }
    }

    /// The faults, in the order of the file.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn slot<T>(&self, index: usize, with: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get_mut(index).map(with)
    }

    fn resolve(&self, kind: &FaultKind) -> Vec<i32> {
        let Some(brokers) = kind.brokers() else { return Vec::new() };
        match brokers {
            Brokers::All => self.target.broker_ids(),
            Brokers::Ids(ids) => self.target.numbered(ids),
            Brokers::Leader => self.target.first_leader().into_iter().collect(),
        }
    }

    /// Puts fault `index` in force and records it. An instant (`net.reset`, `topic.leader_moved`)
    /// is over when this returns. Must be called in a tokio runtime, which runs the schedule of a
    /// flapping or rolling fault. For `subject.crash` the caller kills the subject, then calls
    /// [`FaultPlan::met`] and [`FaultPlan::end`].
    pub fn begin(&self, index: usize) {
        let Some(fault) = self.faults.get(index) else { return };
        if self.target.armed(index) {
            return;
        }
        let brokers = self.resolve(&fault.kind);
        self.slot(index, |slot| slot.brokers.clone_from(&brokers));
        self.target.arm(index, &fault.kind, &brokers);
        let target = Arc::clone(&self.target);
        let task = match fault.kind.clone() {
            FaultKind::BrokerFlap { down, up, .. } => tokio::spawn(async move {
                loop {
                    target.set_down(index, brokers.clone());
                    sleep(down).await;
                    target.set_down(index, Vec::new());
                    sleep(up).await;
                }
            }),
            kind @ FaultKind::BrokerRollingRestart { down, up } => tokio::spawn(async move {
                for broker in &brokers {
                    target.retire(*broker);
                    target.set_down(index, vec![*broker]);
                    sleep(down).await;
                    target.set_down(index, Vec::new());
                    sleep(up).await;
                }
                target.disarm(index, &kind, &brokers);
            }),
            _ => return,
        };
        self.slot(index, |slot| slot.schedule = Some(task.abort_handle()));
    }

    /// Lifts fault `index` and records it. What it changed is as it was, or as other faults in
    /// force say. Without effect on a fault that is not in force.
    pub fn end(&self, index: usize) {
        let Some(fault) = self.faults.get(index) else { return };
        let taken = self.slot(index, std::mem::take).unwrap_or_default();
        if let Some(schedule) = taken.schedule {
            schedule.abort();
        }
        self.target.disarm(index, &fault.kind, &taken.brokers);
    }

    /// Lifts every fault that is in force.
    pub fn end_all(&self) {
        (0..self.faults.len()).for_each(|index| self.end(index));
    }

    /// Records that fault `index`, which is in force, was really met: for effects that only the
    /// caller sees, such as the death of the subject, or a connect that was refused.
    pub fn met(&self, index: usize) {
        self.target.meet(index);
    }
}

impl Drop for FaultPlan {
    fn drop(&mut self) {
        let slots = self.slots.get_mut().unwrap_or_else(PoisonError::into_inner);
        for schedule in slots.iter_mut().filter_map(|slot| slot.schedule.take()) {
            schedule.abort();
        }
    }
}
