//! Begins and ends the faults of one run.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::broker::Cluster;
use crate::scenario::model::{Brokers, Fault, FaultKind, Scenario};

/// The faults of a scenario against one cluster. `begin` and `end` of a fault may be called in any
/// order and any number of times: a fault that is in force is not begun again, and one that is not
/// is not ended.
pub struct FaultPlan {
    faults: Vec<Fault>,
    cluster: Arc<Cluster>,
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
    pub fn new(scenario: &Scenario, cluster: Arc<Cluster>) -> Self {
        let faults = scenario.faults.clone();
        let slots = faults.iter().map(|_| Slot::default()).collect();
        Self { faults, cluster, slots: Mutex::new(slots) }
    }

    /// The faults, in the order of the file.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The cluster that the faults are injected into.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    fn slot<T>(&self, index: usize, with: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get_mut(index).map(with)
    }

    fn resolve(&self, kind: &FaultKind) -> Vec<i32> {
        let brokers = match kind {
            FaultKind::BrokerDown { brokers }
            | FaultKind::BrokerFlap { brokers, .. }
            | FaultKind::NetPartition { brokers, .. }
            | FaultKind::NetReset { brokers }
            | FaultKind::NetCutFrame { brokers, .. }
            | FaultKind::NetConnectBlackhole { brokers }
            | FaultKind::NetLatency { brokers, .. } => brokers,
            FaultKind::BrokerRollingRestart { .. } => &Brokers::All,
            _ => return Vec::new(),
        };
        match brokers {
            Brokers::All => self.cluster.broker_ids(),
            Brokers::Ids(ids) => ids.clone(),
            Brokers::Leader => {
                self.cluster.leader(&self.cluster.main_topic(), 0).into_iter().collect()
            }
        }
    }

    /// Puts fault `index` in force and records it. An instant (`net.reset`, `topic.leader_moved`)
    /// is over when this returns. Must be called in a tokio runtime, which runs the schedule of a
    /// flapping or rolling fault. For `subject.crash` the caller kills the subject, then calls
    /// [`FaultPlan::met`] and [`FaultPlan::end`].
    pub fn begin(&self, index: usize) {
        let Some(fault) = self.faults.get(index) else { return };
        if self.cluster.armed(index) {
            return;
        }
        let brokers = self.resolve(&fault.kind);
        self.slot(index, |slot| slot.brokers.clone_from(&brokers));
        self.cluster.arm(index, &fault.kind, &brokers);
        let cluster = Arc::clone(&self.cluster);
        let task = match fault.kind.clone() {
            FaultKind::BrokerFlap { down, up, .. } => tokio::spawn(async move {
                loop {
                    cluster.set_down(index, brokers.clone());
                    sleep(down).await;
                    cluster.set_down(index, Vec::new());
                    sleep(up).await;
                }
            }),
            kind @ FaultKind::BrokerRollingRestart { down, up } => tokio::spawn(async move {
                for broker in &brokers {
                    cluster.retire(*broker);
                    cluster.set_down(index, vec![*broker]);
                    sleep(down).await;
                    cluster.set_down(index, Vec::new());
                    sleep(up).await;
                }
                cluster.disarm(index, &kind, &brokers);
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
        self.cluster.disarm(index, &fault.kind, &taken.brokers);
    }

    /// Lifts every fault that is in force.
    pub fn end_all(&self) {
        (0..self.faults.len()).for_each(|index| self.end(index));
    }

    /// Records that fault `index`, which is in force, was really met: for effects that only the
    /// caller sees, such as the death of the subject, or a connect that was refused.
    pub fn met(&self, index: usize) {
        self.cluster.meet(index);
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
