//! The faults that the mock can do, and the witness of what they did.
//!
//! The mock tells nobody what it was asked. A broker that went down is seen by a connection of the
//! harness's own that it ended; slow answers are timed by the harness; and requests that were
//! refused are those of the errors pushed that are not left when the fault ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::cluster::{Deed, Mock};
use super::probe;
use crate::fault::Target;
use crate::history::{FaultPhase, Recorder};
use crate::scenario::model::FaultKind;

/// Errors pushed for a fault: more than its requests use up.
const ERRORS: usize = 2_000;
/// Time until a leader that is gone is followed by another broker. The mock itself never elects.
const ELECTION: Duration = Duration::from_millis(500);
/// How long the witness looks for an effect.
const LOOK: Duration = Duration::from_secs(5);

/// A partition and who leads it.
pub(super) struct Led {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) leader: i32,
}

#[derive(Default)]
struct State {
    /// Faults in force, with their names; true when the effect is on record.
    armed: BTreeMap<usize, (&'static str, bool)>,
    /// Brokers that each fault keeps down.
    down: BTreeMap<usize, Vec<i32>>,
    partitions: Vec<Led>,
    /// Connections that say nothing: whoever ends one has ended others.
    idle: BTreeMap<i32, TcpStream>,
    /// What the mock would not do: the run proves nothing.
    failed: Option<String>,
}

impl State {
    fn is_down(&self) -> BTreeSet<i32> {
        self.down.values().flatten().copied().collect()
    }
}

struct Inner {
    mock: Mock,
    recorder: Recorder,
    state: Mutex<State>,
}

/// A mock cluster that faults are put in force in.
pub(super) struct MockTarget {
    inner: Arc<Inner>,
    tasks: Mutex<JoinSet<()>>,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(&self, deed: Deed) {
        if let Err(error) = self.mock.carry_out(deed) {
            self.state().failed.get_or_insert(error);
        }
    }

    fn address(&self, broker: i32) -> Option<&str> {
        let at = usize::try_from(broker).ok()?.checked_sub(1)?;
        self.mock.addresses.get(at).map(String::as_str)
    }

    /// Records the effect of a fault, once.
    fn meet(&self, index: usize) {
        let mut state = self.state();
        let Some((name, met)) = state.armed.get_mut(&index).filter(|(_, met)| !met) else { return };
        *met = true;
        self.recorder.fault(index, name, FaultPhase::Effect);
    }

    /// Opens the witness's connection to a broker.
    async fn watch(&self, broker: i32) {
        let Some(address) = self.address(broker) else { return };
        if let Ok(stream) = TcpStream::connect(address).await {
            self.state().idle.insert(broker, stream);
        }
    }

    /// Waits for the end of a connection that the fault must have ended.
    async fn see_end(&self, index: usize, mut stream: TcpStream) {
        let ended = timeout(LOOK, stream.read(&mut [0; 1])).await;
        if matches!(ended, Ok(Ok(0) | Err(_))) {
            self.meet(index);
        }
    }

    /// Gives the partitions of brokers that are down to the next ones that are up.
    fn elect(&self) {
        let mut moves = Vec::new();
        {
            let mut state = self.state();
            let down = state.is_down();
            let brokers = i32::try_from(self.mock.addresses.len()).unwrap_or(i32::MAX);
            for led in state.partitions.iter_mut().filter(|led| down.contains(&led.leader)) {
                let next = (led.leader..led.leader + brokers).map(|at| at % brokers + 1);
                let Some(next) = next.into_iter().find(|id| !down.contains(id)) else { return };
                led.leader = next;
                let (topic, partition) = (led.topic.clone(), led.partition);
                moves.push(Deed::Lead { topic, partition, broker: next });
            }
        }
        for deed in moves {
            self.carry_out(deed);
        }
    }

    async fn see_slowness(&self, index: usize, broker: i32, by: Duration) {
        let Some(address) = self.address(broker) else { return };
        let took = timeout(LOOK, probe::round_trip(address)).await;
        if took.is_ok_and(|took| took.is_ok_and(|took| took >= by)) {
            self.meet(index);
        }
    }

    /// Takes back the errors that are left, and ends the fault.
    async fn see_refusals(&self, index: usize) {
        let address = self.address(1).unwrap_or_default();
        match timeout(LOOK, probe::errors_left(address)).await {
            Ok(Ok(0)) => {
                let text = "the errors that were pushed to the mock cluster ran out".to_owned();
                self.state().failed.get_or_insert(text);
            }
            Ok(Ok(left)) if left < ERRORS => self.meet(index),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let text = format!("the mock cluster does not answer its witness: {error}");
                self.state().failed.get_or_insert(text);
            }
            Err(_) => {
                let text = "the mock cluster does not answer its witness".to_owned();
                self.state().failed.get_or_insert(text);
            }
        }
        self.over(index);
    }

    /// Records the end of a fault.
    fn over(&self, index: usize) {
        if let Some((name, _)) = self.state().armed.remove(&index) {
            self.recorder.fault(index, name, FaultPhase::End);
        }
    }
}

impl MockTarget {
    /// Nothing is broken. The witness is connected.
    pub(super) async fn new(mock: Mock, partitions: Vec<Led>, recorder: Recorder) -> Self {
        let state = Mutex::new(State { partitions, ..State::default() });
        let inner = Arc::new(Inner { mock, recorder, state });
        let target = Self { inner, tasks: Mutex::default() };
        for broker in target.broker_ids() {
            target.inner.watch(broker).await;
        }
        target
    }

    fn spawn<F>(&self, task: impl FnOnce(Arc<Inner>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = task(Arc::clone(&self.inner));
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    /// Where a broker is.
    pub(super) fn addresses(&self) -> &[String] {
        &self.inner.mock.addresses
    }

    /// Waits for whatever the witness is still at.
    ///
    /// # Errors
    /// What the mock would not do, for a person.
    pub(super) async fn settled(&self) -> Result<(), String> {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.join_all().await;
        self.inner.state().failed.take().map_or(Ok(()), Err)
    }

    fn put_down(&self, index: usize, wanted: Vec<i32>) {
        let (before, after, idle) = {
            let mut state = self.inner.state();
            let before = state.is_down();
            state.down.insert(index, wanted);
            let after = state.is_down();
            let gone: Vec<i32> = after.difference(&before).copied().collect();
            let idle: Vec<_> = gone.iter().filter_map(|id| state.idle.remove(id)).collect();
            (before, after, idle)
        };
        for broker in after.difference(&before) {
            self.inner.carry_out(Deed::Down(*broker));
        }
        for stream in idle {
            self.spawn(async move |inner: Arc<Inner>| inner.see_end(index, stream).await);
        }
        if after.difference(&before).next().is_some() {
            self.spawn(async move |inner: Arc<Inner>| {
                sleep(ELECTION).await;
                inner.elect();
            });
        }
        for broker in before.difference(&after).copied() {
            self.inner.carry_out(Deed::Up(broker));
            self.spawn(async move |inner: Arc<Inner>| inner.watch(broker).await);
        }
    }
}

impl Target for MockTarget {
    fn arm(&self, index: usize, kind: &FaultKind, brokers: &[i32]) {
        self.inner.recorder.fault(index, kind.name(), FaultPhase::Begin);
        self.inner.state().armed.insert(index, (kind.name(), false));
        match kind {
            FaultKind::BrokerDown { .. } => self.put_down(index, brokers.to_vec()),
            FaultKind::NetLatency { base, .. } => {
                let base = *base;
                for broker in brokers.iter().copied() {
                    self.inner.carry_out(Deed::Slow(broker, base));
                    self.spawn(async move |inner: Arc<Inner>| {
                        inner.see_slowness(index, broker, base).await;
                    });
                }
            }
            FaultKind::RequestError { code, .. } => {
                self.inner.carry_out(Deed::Refuse(*code, ERRORS));
            }
            _ => {}
        }
    }

    fn disarm(&self, index: usize, kind: &FaultKind, brokers: &[i32]) -> bool {
        if !self.armed(index) {
            return false;
        }
        match kind {
            FaultKind::BrokerDown { .. } | FaultKind::BrokerFlap { .. } => {
                self.put_down(index, Vec::new());
            }
            FaultKind::NetLatency { .. } => {
                for broker in brokers {
                    self.inner.carry_out(Deed::Slow(*broker, Duration::ZERO));
                }
            }
            FaultKind::RequestError { .. } => {
                // It ends when the last error is taken back.
                self.spawn(async move |inner: Arc<Inner>| inner.see_refusals(index).await);
                return true;
            }
            _ => {}
        }
        self.inner.over(index);
        true
    }

    fn set_down(&self, index: usize, down: Vec<i32>) {
        self.put_down(index, down);
    }

    fn retire(&self, _broker: i32) {
        // Its partitions wait for the election.
    }

    fn meet(&self, index: usize) {
        self.inner.meet(index);
    }

    fn armed(&self, index: usize) -> bool {
        self.inner.state().armed.contains_key(&index)
    }

    fn broker_ids(&self) -> Vec<i32> {
        (1..).take(self.inner.mock.addresses.len()).collect()
    }

    fn first_leader(&self) -> Option<i32> {
        self.inner.state().partitions.first().map(|led| led.leader)
    }
}
