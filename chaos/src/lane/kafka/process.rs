//! What befalls the processes of brokers: struck when a fault begins, brought back at its end.
//!
//! A fault is a task from its begin to its end. It is in force in the history from just before the
//! first broker is struck until every one of them answers again, which may be long after the moment
//! at which the scenario ends it: a broker takes seconds to start. The effect of a death is on
//! record when Docker has done what it was asked for and a client was connected to the broker, or
//! with the first client that comes later. A broker that stands still, or has no network, harms
//! nobody who asks nothing: its effect is a request that it leaves unanswered, or a client that
//! comes. That of a full disk is the broker's exit, or that another one leads the partition, and
//! only with evidence that the disk was full.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::admin::{Admin, Behind};
use super::fleet::Lent;
use super::identity;
use super::node::Complaints;
use super::warm::forget;
use crate::fault::proxy::Proxy;
use crate::history::{Kind, NOT_DONE, Recorder};
use crate::scenario::model::{Brokers, FaultKind, ProcessFault, Scenario, Strike};

/// How long a broker may take to answer after it was started again, and a cluster to be whole.
const BACK: Duration = Duration::from_secs(60);
/// How long a leader may take to be known.
const LED: Duration = Duration::from_secs(10);
/// Records with which fresh topics were tried.
pub(super) const ROUNDS: i32 = 1;
/// How long a request must be unanswered: a broker that works answers sooner.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the log of a broker that has exited may take to reach Docker.
const SHOWN: Duration = Duration::from_secs(2);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

type Done = Result<(), String>;

/// The faults of processes of one run.
pub(super) struct Processes {
    hands: Arc<Hands>,
    kinds: BTreeMap<usize, ProcessFault>,
    /// Faults that began, each with what tells it to end.
    begun: Mutex<BTreeMap<usize, Arc<Notify>>>,
    tasks: Mutex<JoinSet<Done>>,
}

/// What a fault needs to strike, and to heal.
struct Hands {
    recorder: Recorder,
    /// Brokers that are being harmed, or are not yet back, each with the fault that has it.
    held: Mutex<BTreeMap<i32, (usize, &'static str)>>,
    lent: Arc<Lent>,
    proxy: Arc<Proxy>,
    /// Main and dead-letter topic in the cluster.
    topics: [String; 2],
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Processes {
    /// The faults of a scenario, none of them in force.
    pub(super) fn new(
        scenario: &Scenario,
        lent: Arc<Lent>,
        proxy: Arc<Proxy>,
        topics: [String; 2],
        recorder: Recorder,
    ) -> Self {
        let kinds = scenario.process_faults().map(|(n, fault)| (n, fault.clone())).collect();
        let hands = Arc::new(Hands { recorder, held: Mutex::default(), lent, proxy, topics });
        Self { hands, kinds, begun: Mutex::default(), tasks: Mutex::default() }
    }

    /// Begins a fault; false when it is none of processes.
    pub(super) fn begin(&self, index: usize) -> bool {
        let Some(fault) = self.kinds.get(&index) else { return false };
        let ended = Arc::new(Notify::new());
        if lock(&self.begun).insert(index, Arc::clone(&ended)).is_none() {
            let hands = Arc::clone(&self.hands);
            let fault = fault.clone();
            lock(&self.tasks).spawn(async move { hands.carry_out(index, fault, &ended).await });
        }
        true
    }

    /// Ends a fault; false when it is none of processes. One broker after the other it ends by
    /// itself.
    pub(super) fn end(&self, index: usize) -> bool {
        if let Some(ended) = lock(&self.begun).get(&index) {
            ended.notify_one();
        }
        self.kinds.contains_key(&index)
    }

    /// Ends every fault, and waits until every broker is back and every replica in sync.
    ///
    /// # Errors
    /// A broker could not be harmed or brought back: the run proves nothing.
    pub(super) async fn over(&self) -> Done {
        lock(&self.begun).values().for_each(|ended| ended.notify_one());
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        let mut ended: Done = Ok(());
        // all of them: what was broken is mended also where something else went wrong
        while let Some(done) = tasks.join_next().await {
            let done = done.map_err(|error| format!("a fault of a process broke off: {error}"));
            ended = ended.and(done.and_then(|done| done));
        }
        ended?;
        if !self.hands.is_whole().await {
            return Err(format!("the cluster is not whole {BACK:?} after the last fault"));
        }
        let [main, dlq] = &self.hands.topics;
        let admin = Admin::new(self.hands.living().await);
        forget(&admin, &[main, dlq], ROUNDS).await?;
        // only now the next cell may have it: whatever breaks off before leaves it harmed
        self.hands.lent.ground.harmed.store(false, Ordering::Release);
        Ok(())
    }
}

/// Gives all of these brokers to a fault, or says which one another fault has.
fn take(
    held: &mut BTreeMap<i32, (usize, &'static str)>,
    fault: (usize, &'static str),
    brokers: &[i32],
) -> Option<String> {
    if let Some((broker, (other, kind))) = brokers.iter().find_map(|id| held.get_key_value(id)) {
        return Some(format!(
            "fault {} ({}) never began: broker {broker} is not yet back from fault {} ({kind}), \
             and the process of a broker can be harmed once at a time",
            fault.0 + 1,
            fault.1,
            other + 1,
        ));
    }
    held.extend(brokers.iter().map(|broker| (*broker, fault)));
    None
}

impl Hands {
    async fn carry_out(&self, index: usize, fault: ProcessFault, ended: &Notify) -> Done {
        let brokers = self.resolve(&fault).await?;
        if let Some(taken) = take(&mut lock(&self.held), (index, fault.name()), &brokers) {
            // who leads is known at this moment only: the file could not be refused
            let (what, value) = (NOT_DONE.to_owned(), 0);
            self.recorder.harness(Kind::Proc { what, value, text: taken });
            return Ok(());
        }
        let kind = FaultKind::Process(fault.clone());
        self.lent.ground.harmed.store(true, Ordering::Release);
        self.proxy.begun(index, &kind, &brokers);
        let done = match fault.rolling {
            Some((down, up)) => self.in_turn(index, &kind, &fault, &brokers, (down, up)).await,
            None => self.at_once(index, &kind, &fault, &brokers, ended).await,
        };
        self.proxy.ended(index, &kind, &brokers);
        lock(&self.held).retain(|_, (holder, _)| *holder != index);
        done
    }

    async fn at_once(
        &self,
        index: usize,
        kind: &FaultKind,
        fault: &ProcessFault,
        brokers: &[i32],
        ended: &Notify,
    ) -> Done {
        let before = self.complaints(fault, brokers).await?;
        let used = self.proxy.is_used(brokers);
        for broker in brokers {
            self.strike(fault, *broker).await?;
        }
        let met = async {
            match fault.strike {
                Strike::DiskFull { .. } => self.until_full(fault, brokers, &before).await?,
                Strike::Pause | Strike::Network => {
                    // who comes meets it at once, whoever is there when it asks
                    self.proxy.struck(index, kind, brokers, true);
                    self.proxy.until_mute(brokers, PATIENCE).await;
                }
                Strike::Kill | Strike::Stop => {
                    self.proxy.struck(index, kind, brokers, !used);
                    return Ok(());
                }
            }
            self.proxy.struck(index, kind, brokers, false);
            Ok(())
        };
        let met = tokio::select! {
            met = met => {
                ended.notified().await;
                met
            }
            () = ended.notified() => Ok(()),
        };
        // what was broken is mended also where something else happened than was asked for
        self.heal(fault, brokers).await.and(met)
    }

    async fn in_turn(
        &self,
        index: usize,
        kind: &FaultKind,
        fault: &ProcessFault,
        brokers: &[i32],
        (down, up): (Duration, Duration),
    ) -> Done {
        for broker in brokers {
            // deaths only: the other kinds are for all brokers at once
            let one = [*broker];
            let used = self.proxy.is_used(&one);
            self.strike(fault, *broker).await?;
            self.proxy.struck(index, kind, &one, !used);
            sleep(down).await;
            self.heal(fault, &one).await?;
            if !self.is_whole().await {
                return Err(format!("broker {broker} is not in sync again after {BACK:?}"));
            }
            sleep(up).await;
        }
        Ok(())
    }

    async fn living(&self) -> Behind {
        self.lent.ground.living(&self.lent).await
    }

    async fn is_whole(&self) -> bool {
        let [main, dlq] = &self.topics;
        self.lent.ground.is_whole(&self.lent, &[main, dlq], BACK).await
    }

    /// The brokers that a fault is about.
    async fn resolve(&self, fault: &ProcessFault) -> Result<Vec<i32>, String> {
        let leader = || async {
            loop {
                let admin = Admin::brief(self.living().await);
                if let Ok(Some(id)) = admin.leader(&self.topics[0], fault.partition).await {
                    return id;
                }
                sleep(LOOK).await;
            }
        };
        Ok(match &fault.brokers {
            Brokers::All => self.lent.ground.ids(),
            Brokers::Ids(ids) => ids.clone(),
            Brokers::Leader => {
                let found = timeout(LED, leader()).await;
                vec![found.map_err(|_| format!("nobody leads the partition after {LED:?}"))?]
            }
        })
    }

    async fn strike(&self, fault: &ProcessFault, broker: i32) -> Done {
        let ground = &self.lent.ground;
        let node = ground.node(broker).ok_or_else(|| format!("no broker {broker}"))?;
        let gone = |done: Done| done.map(|()| self.proxy.nowhere(broker));
        match fault.strike {
            Strike::Kill => gone(node.kill().await),
            Strike::Stop => gone(node.stop().await),
            Strike::Pause => node.pause().await,
            Strike::Network => gone(node.cut().await),
            Strike::DiskFull { log_dirs } => {
                let disks = ground.disks.as_ref().ok_or("the brokers have no small disks")?;
                let directory = format!("{}-{}", self.topics[0], fault.partition);
                disks.fill(broker, (log_dirs > 1).then_some(directory.as_str())).await
            }
        }
    }

    /// What the brokers have said about full disks so far, for a fault that is about that.
    async fn complaints(&self, fault: &ProcessFault, brokers: &[i32]) -> Result<Said, String> {
        let mut said = Said::new();
        if !matches!(fault.strike, Strike::DiskFull { .. }) {
            return Ok(said);
        }
        for broker in brokers {
            if let Some(node) = self.lent.ground.node(*broker) {
                said.insert(*broker, node.complaints().await?);
            }
        }
        Ok(said)
    }

    /// Ends when a full disk was met.
    ///
    /// # Errors
    /// Something else happened to a broker.
    async fn until_full(&self, fault: &ProcessFault, brokers: &[i32], before: &Said) -> Done {
        let ground = &self.lent.ground;
        loop {
            for broker in brokers {
                let Some(node) = ground.node(*broker) else { continue };
                if matches!(node.is_running().await, Ok(false)) {
                    self.proxy.nowhere(*broker);
                    return self.is_full(*broker, "exited", before).await;
                }
            }
            if matches!(fault.strike, Strike::DiskFull { log_dirs } if log_dirs > 1) {
                let admin = Admin::brief(self.living().await);
                let leader = admin.leader(&self.topics[0], fault.partition).await;
                let moved = |leader: Option<i32>| leader.is_none_or(|id| !brokers.contains(&id));
                if let (true, Some(broker)) = (leader.is_ok_and(moved), brokers.first()) {
                    return self.is_full(*broker, "lost the partition", before).await;
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Demands that the broker's disk was full when this happened to it.
    async fn is_full(&self, broker: i32, what: &str, before: &Said) -> Done {
        let ground = &self.lent.ground;
        let node = ground.node(broker).ok_or_else(|| format!("no broker {broker}"))?;
        let disks = ground.disks.as_ref().ok_or("the brokers have no small disks")?;
        let before = before.get(&broker).map_or(0, |said| said.full);
        let until = Instant::now() + SHOWN;
        loop {
            let (said, left) = (node.complaints().await?, disks.left(broker).await?);
            match evidence(before, &said, left) {
                Err(why) if Instant::now() > until => {
                    return Err(format!("broker {broker} {what}, {why}"));
                }
                Err(_) => sleep(LOOK).await,
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn heal(&self, fault: &ProcessFault, brokers: &[i32]) -> Done {
        let ground = &self.lent.ground;
        for broker in brokers {
            let node = ground.node(*broker).ok_or_else(|| format!("no broker {broker}"))?;
            match fault.strike {
                Strike::Kill | Strike::Stop => node.start().await?,
                Strike::Pause => node.unpause().await?,
                Strike::Network => node.join().await?,
                Strike::DiskFull { .. } => {
                    let disks = ground.disks.as_ref().ok_or("the brokers have no small disks")?;
                    disks.free(*broker).await?;
                    // a directory that was full once is not looked at again by the same process
                    if node.is_running().await? {
                        node.stop().await?;
                    }
                    self.proxy.nowhere(*broker);
                    node.start().await?;
                }
            }
        }
        for broker in brokers {
            self.until_back(*broker).await?;
        }
        Ok(())
    }

    /// Ends when the broker answers, and is proved to be the one. Where it is now is told to the
    /// proxy: Docker gives other ports to a container that is started again.
    async fn until_back(&self, broker: i32) -> Done {
        let until = Instant::now() + BACK;
        loop {
            let seen = match self.lent.ground.port(&self.lent, broker).await {
                Ok(port) => {
                    let admin = Admin::brief(Behind { ports: [(port, port)].into() });
                    let proved = identity::prove(&admin, &self.lent.ground.id, broker).await;
                    proved.map(|()| self.proxy.connect_to(broker, "127.0.0.1", port))
                }
                Err(error) => Err(error),
            };
            let Err(seen) = seen else { return Ok(()) };
            if Instant::now() > until {
                return Err(format!("broker {broker} is not back within {BACK:?}: {seen}"));
            }
            sleep(LOOK).await;
        }
    }
}

/// What brokers have said about full disks, by id.
type Said = BTreeMap<i32, Complaints>;

/// Shows that a disk was full: its broker has said so since, or nothing fits on it.
///
/// # Errors
/// What was there instead.
fn evidence(before: usize, said: &Complaints, left: u64) -> Done {
    if said.full > before || left == 0 {
        return Ok(());
    }
    Err(format!(
        "and neither its log nor its disk says that the disk was full: {left} bytes are free, and \
         the last line of the log is: {}",
        said.last
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_another_fault_has_is_told_by_its_number_and_nothing_is_taken() {
        let mut held = BTreeMap::new();
        assert_eq!(take(&mut held, (0, "broker.kill"), &[1]), None);
        let told = take(&mut held, (1, "broker.pause"), &[2, 1]).unwrap();
        let expected = "fault 2 (broker.pause) never began: broker 1 is not yet back from fault 1 \
                        (broker.kill), and the process of a broker can be harmed once at a time";
        assert_eq!(told, expected);
        assert_eq!(held.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!(take(&mut held, (1, "broker.pause"), &[2]), None);
    }

    #[test]
    fn a_broker_that_went_for_another_reason_has_no_full_disk() {
        let said = |full| Complaints { full, last: "killed by somebody".to_owned() };
        assert_eq!(evidence(0, &said(1), 65_536), Ok(()));
        assert_eq!(evidence(1, &said(1), 0), Ok(()));
        // what it said before this fault is no evidence for it
        let told = evidence(1, &said(1), 65_536).unwrap_err();
        assert!(told.contains("65536 bytes are free"), "{told}");
        assert!(told.ends_with("killed by somebody"), "{told}");
    }
}
