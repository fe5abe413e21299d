//! Brokers, topics, partitions, leaders: everything behind the cluster's lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::group::Groups;
use super::identity::Identity;
use super::links::Links;
use super::log::Log;
use super::script::Script;
use super::wrong::Wrong;
use super::{ClusterConfig, codes};
use crate::scenario::model::{FaultKind, TopicSel};

/// Time a controller takes to notice that a leader is gone, microseconds.
pub(crate) const ELECTION_US: u64 = 500_000;

/// Partitions that a cluster may have.
const MAX_PARTITIONS: usize = 100_000;

/// Name of the fault that moves leaders.
const MOVED: &str = FaultKind::LeaderMoved { topic: TopicSel::Both }.name();

/// A partition.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    /// Brokers that hold it, preferred leader first.
    pub(crate) replicas: Vec<i32>,
    /// Who leads it.
    pub(crate) leader: i32,
    /// Counts leader changes.
    pub(crate) epoch: i32,
    /// What it holds.
    pub(crate) log: Log,
    /// A `topic.leader_moved` that no client has run into yet: its index and the old leader.
    stale: Option<(usize, i32)>,
}

/// Everything that changes.
pub(crate) struct State {
    pub(crate) config: ClusterConfig,
    pub(crate) links: Links,
    pub(crate) identity: Identity,
    pub(crate) topics: BTreeMap<Arc<str>, Vec<Partition>>,
    /// Newest epoch of each producer id that was given out or seen.
    pub(crate) pids: BTreeMap<i64, i16>,
    pub(crate) next_pid: i64,
    pub(crate) groups: Groups,
}

impl State {
    pub(crate) fn new(config: ClusterConfig, script: Script, identity: Identity) -> Self {
        let mut state = Self {
            links: Links::new(script, 1..=config.broker_count()),
            identity,
            topics: BTreeMap::new(),
            pids: BTreeMap::new(),
            next_pid: 1000,
            groups: Groups::default(),
            config,
        };
        let (main, dlq) = (state.config.main_topic.clone(), state.config.dlq_topic.clone());
        // A scenario that asks for more partitions than that is refused where it is read.
        let _ = state.create(&main, state.config.partitions);
        let _ = state.create(&dlq, 1);
        state
    }

    /// Its brokers are wrong from now on.
    pub(crate) fn go_wrong(&mut self, wrong: Wrong) {
        self.topics.values_mut().flatten().for_each(|partition| partition.log.go_wrong(wrong));
    }

    /// These brokers lost their connections, or (`crashed`) went down: wrong ones lose more.
    pub(crate) fn harm(&mut self, brokers: &[i32], crashed: bool) {
        let led = self.topics.values_mut().flatten().filter(|p| brokers.contains(&p.leader));
        led.for_each(|partition| partition.log.harm(crashed));
    }

    /// Creates a topic unless it is there.
    ///
    /// # Errors
    /// `POLICY_VIOLATION`: there are too many partitions.
    pub(crate) fn create(&mut self, topic: &str, partitions: i32) -> Result<(), i16> {
        let there: usize = self.topics.values().map(Vec::len).sum();
        let more = usize::try_from(partitions).unwrap_or(0);
        if !self.topics.contains_key(topic) && there + more > MAX_PARTITIONS {
            return Err(codes::POLICY_VIOLATION);
        }
        let brokers = self.config.broker_count();
        let factor = brokers.min(3);
        let partition = |p: i32| {
            let replicas: Vec<i32> = (0..factor).map(|r| (p + r) % brokers + 1).collect();
            let leader = p % brokers + 1;
            Partition { replicas, leader, epoch: 0, log: Log::default(), stale: None }
        };
        let fresh = || (0..partitions.max(1)).map(partition).collect();
        self.topics.entry(Arc::from(topic)).or_insert_with(fresh);
        Ok(())
    }

    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.get(usize::try_from(partition).ok()?)
    }

    pub(crate) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.get_mut(usize::try_from(partition).ok()?)
    }

    /// The broker that coordinates a group: of those that are up, the first from a place that its
    /// name gives. What a group is survives all of them.
    pub(crate) fn coordinator(&self, group: &str) -> Option<i32> {
        let brokers = self.config.broker_count();
        let at = group
            .bytes()
            .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let first = i32::try_from(at % brokers.unsigned_abs()).unwrap_or(0);
        (first..first + brokers).map(|at| at % brokers + 1).find(|id| self.links.is_up(*id))
    }

    /// Replicas that are up; the leader only, while a fault says so.
    pub(crate) fn insync(&self, topic: &str, partition: &Partition) -> Vec<i32> {
        let lost = self.links.script.insync_lost(topic);
        let insync = |id: &&i32| self.links.is_up(**id) && (!lost || **id == partition.leader);
        partition.replicas.iter().filter(insync).copied().collect()
    }

    /// A controller's duty: partitions whose leader is down long enough get another one.
    pub(crate) fn elect(&mut self, now_us: u64) {
        let gone = self.links.gone(now_us, ELECTION_US);
        if !gone.is_empty() {
            self.hand_over(|_, partition| gone.contains(&partition.leader), None);
        }
    }

    /// Leaders of the partitions that `which` names move to the next replica that is up.
    fn hand_over(&mut self, which: impl Fn(&str, &Partition) -> bool, cause: Option<usize>) {
        let live = self.links.live();
        for (topic, partitions) in &mut self.topics {
            if cause.is_none() && self.links.script.insync_lost(topic) {
                continue; // only the leader is in sync: there is no clean candidate
            }
            for partition in partitions.iter_mut().filter(|p| which(topic, p)) {
                let old = partition.leader;
                let at = partition.replicas.iter().position(|r| *r == old).unwrap_or(0);
                let order = partition.replicas.iter().cycle().skip(at + 1);
                let next = order.take(partition.replicas.len()).find(|r| live.contains(r));
                if let Some(next) = next.copied().filter(|next| *next != old) {
                    partition.leader = next;
                    partition.epoch += 1;
                    partition.stale = cause.map(|index| (index, old));
                }
            }
        }
    }

    /// `topic.leader_moved`.
    pub(crate) fn move_leaders(&mut self, index: usize, sel: TopicSel) {
        let names = self.links.script.topics().clone();
        self.hand_over(|topic, _| names.selected(sel, topic), Some(index));
    }

    /// A controlled shutdown gives its leaderships away first.
    pub(crate) fn retire(&mut self, broker: i32) {
        self.hand_over(|_, partition| partition.leader == broker, None);
    }

    /// Leader epochs rise when leaders go away and when they come back.
    pub(crate) fn bump_epochs(&mut self, sel: TopicSel) {
        let names = self.links.script.topics().clone();
        for (_, partitions) in self.topics.iter_mut().filter(|(t, _)| names.selected(sel, t)) {
            for partition in partitions {
                partition.epoch += 1;
            }
        }
    }

    /// Checks that `broker` may serve this partition.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` or `NOT_LEADER_OR_FOLLOWER`.
    pub(crate) fn lead(&mut self, broker: i32, topic: &str, partition: i32) -> Result<(), i16> {
        if self.links.script.missing(topic) {
            return Err(codes::UNKNOWN_TOPIC_OR_PARTITION);
        }
        let Some(found) = self.partition_mut(topic, partition) else {
            return Err(codes::UNKNOWN_TOPIC_OR_PARTITION);
        };
        let leads = found.leader == broker;
        if let Some((index, _)) = found.stale.filter(|(_, old)| *old == broker && !leads) {
            self.met_move(index);
        }
        if !leads || self.links.script.leaderless(topic) {
            return Err(codes::NOT_LEADER_OR_FOLLOWER);
        }
        Ok(())
    }

    /// A client asked a leader of before: the move was met. Once is enough.
    fn met_move(&mut self, index: usize) {
        self.links.script.met_late(index, MOVED);
        for partition in self.topics.values_mut().flatten() {
            partition.stale = partition.stale.filter(|(of, _)| *of != index);
        }
    }
}
