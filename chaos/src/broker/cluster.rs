//! The cluster as its users see it: settings, faults, truth.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::api::{self, From, Hopeless, Reply};
use super::identity::Identity;
use super::links::{Links, Peer, Site};
use super::script::{Script, Topics};
use super::state::State;
use super::wrong::Wrong;
use crate::fault::Target;
use crate::history::{EventId, Recorder};
use crate::scenario::model::FaultKind;

/// Settings of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Brokers, with the ids 1, 2, …. Replication factor is the smaller of this and 3.
    pub brokers: u32,
    /// Partitions of the main topic, and of topics created without a number. The dead-letter topic
    /// has one.
    pub partitions: i32,
    /// The telemetry topic; it exists from the start.
    pub main_topic: String,
    /// The dead-letter topic; it exists from the start.
    pub dlq_topic: String,
    /// Host and port of each broker, in the order of their ids, as told to clients.
    pub advertised: Vec<(String, u16)>,
    /// `min.insync.replicas` of every topic.
    pub min_insync: u32,
    /// Other topics are created when metadata is asked for them.
    pub auto_create: bool,
    /// Limit of a record batch, bytes.
    pub message_max_bytes: usize,
    /// First bytes of the run's digest: part of every message id.
    pub run: [u8; 10],
}

impl ClusterConfig {
    pub(crate) fn broker_count(&self) -> i32 {
        i32::try_from(self.brokers).unwrap_or(i32::MAX).max(1)
    }

    /// Host and port of a broker.
    pub(crate) fn address(&self, broker: i32) -> Option<(&str, u16)> {
        let at = usize::try_from(broker).ok()?.checked_sub(1)?;
        self.advertised.get(at).map(|(host, port)| (host.as_str(), *port))
    }
}

/// A Kafka cluster in memory. Brokers share it; connections are served by [`serve`](super::serve).
pub struct Cluster {
    state: Mutex<State>,
    recorder: Recorder,
    seed: u64,
    /// A fault began, changed or ended.
    changed: Notify,
    /// A batch was appended.
    appended: Notify,
    /// The number of unanswered records rose.
    waiting: Notify,
    /// A consumer group may have changed.
    regrouped: Notify,
}

impl Cluster {
    /// A cluster without records. Whatever it draws comes from `seed`.
    #[must_use]
    pub fn new(config: ClusterConfig, recorder: Recorder, seed: u64) -> Arc<Self> {
        let topics = Topics { main: config.main_topic.clone(), dlq: config.dlq_topic.clone() };
        let script = Script::new(topics, recorder.clone());
        let identity = Identity::new(config.run);
        Arc::new(Self {
            state: Mutex::new(State::new(config, script, identity)),
            recorder,
            seed,
            changed: Notify::new(),
            appended: Notify::new(),
            waiting: Notify::new(),
            regrouped: Notify::new(),
        })
    }

    /// The state, with elections that were due held.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        let now_us = self.recorder.now_us();
        // A panic under this lock is a defect of the harness; what is there is still the truth.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.elect(now_us);
        state
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(crate) fn appended(&self) -> &Notify {
        &self.appended
    }

    pub(crate) fn regrouped(&self) -> &Notify {
        &self.regrouped
    }

    /// Changes what is in force, then tells every connection and listener.
    fn change_all<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let now_us = self.recorder.now_us();
        let mut state = self.state();
        let done = change(&mut state);
        state.links.refresh(now_us);
        drop(state);
        self.changed.notify_waiters();
        done
    }

    /// Its brokers are wrong on purpose from now on.
    pub fn go_wrong(&self, wrong: Wrong) {
        self.state().go_wrong(wrong);
    }

    /// Ids of the brokers, ascending.
    #[must_use]
    pub fn broker_ids(&self) -> Vec<i32> {
        (1..=self.state().config.broker_count()).collect()
    }

    /// The broker that leads this partition now; `None` when there is no such partition.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        self.state().partition(topic, partition).map(|p| p.leader)
    }

    /// Name of the telemetry topic.
    #[must_use]
    pub fn main_topic(&self) -> String {
        self.state().config.main_topic.clone()
    }

    /// True while no fault keeps the broker down.
    #[must_use]
    pub fn is_up(&self, broker: i32) -> bool {
        self.state().links.is_up(broker)
    }

    /// Ends when `holds`, which is asked again at every notification.
    pub(crate) async fn until(&self, notify: &Notify, holds: impl Fn(&State) -> bool) {
        loop {
            let notified = notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if holds(&self.state()) {
                return;
            }
            notified.await;
        }
    }

    /// Teaches the identity of an event whose subject writes no id into its records: the SHA-256
    /// of the whole record value.
    pub fn learn_digest(&self, digest: [u8; 32], event: EventId) {
        self.state().identity.learn(digest, event);
    }

    /// Records of Produce requests that a broker received whole and has not answered: the answer is
    /// held back by a fault or on its way. Lost connections do not count.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.state().links.unanswered
    }

    /// Ends when at least `records` are [`unanswered`](Cluster::unanswered).
    pub async fn until_unanswered(&self, records: u64) {
        self.until(&self.waiting, |state| state.links.unanswered >= records).await;
    }
}

impl Site for Cluster {
    type Peer = Model;

    fn peer(self: &Arc<Self>, from: From) -> Model {
        Model { cluster: Arc::clone(self), from }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Links) -> T) -> T {
        act(&mut self.state().links)
    }

    fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn changed(&self) -> &Notify {
        &self.changed
    }

    fn waiting(&self) -> &Notify {
        &self.waiting
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}

/// The model broker behind a connection.
pub(crate) struct Model {
    cluster: Arc<Cluster>,
    from: From,
}

impl Peer for Model {
    async fn request(&self, frame: Bytes) -> Result<Reply, Hopeless> {
        api::serve(&self.cluster, self.from, frame).await
    }

    async fn gone(&self) {
        std::future::pending::<()>().await;
    }
}

impl Target for Cluster {
    fn arm(&self, index: usize, kind: &FaultKind, brokers: &[i32]) {
        self.change_all(|state| {
            state.links.arm(index, kind, brokers);
            match kind {
                FaultKind::LeaderMoved { topic } => {
                    state.move_leaders(index, *topic);
                    state.links.script.disarm(index);
                }
                FaultKind::Leaderless { topic } => state.bump_epochs(*topic),
                FaultKind::BrokerDown { .. } => state.harm(brokers, true),
                FaultKind::NetReset { .. } => state.harm(brokers, false),
                _ => {}
            }
        });
    }

    fn disarm(&self, index: usize, kind: &FaultKind, brokers: &[i32]) -> bool {
        self.change_all(|state| {
            let lifted = state.links.disarm(index, kind, brokers);
            if let (true, FaultKind::Leaderless { topic }) = (lifted, kind) {
                state.bump_epochs(*topic);
            }
            lifted
        })
    }

    fn set_down(&self, index: usize, down: Vec<i32>) {
        self.change_all(|state| {
            state.harm(&down, true);
            state.links.script.set_down(index, down);
        });
    }

    fn retire(&self, broker: i32) {
        self.change_all(|state| state.retire(broker));
    }

    fn meet(&self, index: usize) {
        self.with(|links| links.script.meet(index));
    }

    fn armed(&self, index: usize) -> bool {
        self.with(|links| links.script.armed(index))
    }

    fn broker_ids(&self) -> Vec<i32> {
        Self::broker_ids(self)
    }

    fn first_leader(&self) -> Option<i32> {
        self.leader(&self.main_topic(), 0)
    }
}
