//! The faults in force, and what each of them means for a request, an answer or a connection.
//!
//! Nothing is patched when a fault begins and nothing is restored when it ends: every question is
//! answered from the list of faults in force, so that overlapping faults cannot undo each other.
//! Each answer that changes anything records the fault's effect, once.

use std::time::Duration;

use fastrand::Rng;

use crate::history::{FaultPhase, Recorder};
use crate::scenario::model::{FaultKind, LinkFault, TopicSel};

/// A fault in force.
#[derive(Clone, Debug)]
struct Active {
    index: usize,
    kind: FaultKind,
    /// The brokers it is about, resolved when it began.
    brokers: Vec<i32>,
    /// Those of them that it keeps down at the moment.
    down: Vec<i32>,
    /// Uses that are left, where it is counted.
    left: Option<u32>,
    /// Frames that pass before the first use.
    skip: u32,
    met: bool,
}

/// What a scripted error does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scripted {
    /// Code to answer.
    pub(crate) code: i16,
    /// The records are appended all the same.
    pub(crate) after_append: bool,
    /// Topics it is about.
    pub(crate) topic: TopicSel,
}

/// State of a broker's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Net {
    /// Bytes towards it stop.
    pub(crate) requests_cut: bool,
    /// Bytes from it stop.
    pub(crate) responses_cut: bool,
    /// New connections are taken and never served.
    pub(crate) blackhole: bool,
}

/// Names of the two topics that faults select.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    /// Telemetry topic.
    pub(crate) main: String,
    /// Dead-letter topic.
    pub(crate) dlq: String,
}

impl Topics {
    /// True when the selection takes in this topic.
    pub(crate) fn selected(&self, sel: TopicSel, topic: &str) -> bool {
        match sel {
            TopicSel::Main => topic == self.main,
            TopicSel::Dlq => topic == self.dlq,
            TopicSel::Both => topic == self.main || topic == self.dlq,
        }
    }
}

/// All faults in force.
pub(crate) struct Script {
    active: Vec<Active>,
    topics: Topics,
    recorder: Recorder,
}

impl Script {
    pub(crate) fn new(topics: Topics, recorder: Recorder) -> Self {
        Self { active: Vec::new(), topics, recorder }
    }

    /// Puts a fault in force.
    pub(crate) fn arm(&mut self, index: usize, kind: FaultKind, brokers: Vec<i32>) {
        self.recorder.fault(index, kind.name(), FaultPhase::Begin);
        let left = match &kind {
            FaultKind::NetCutFrame { count, .. }
            | FaultKind::Link(LinkFault::Flip { count, .. }) => Some(*count),
            FaultKind::RequestError { count, .. } | FaultKind::RequestDelay { count, .. } => *count,
            _ => None,
        };
        let down = match &kind {
            FaultKind::BrokerDown { .. } => brokers.clone(),
            _ => Vec::new(),
        };
        let skip = match &kind {
            FaultKind::Link(LinkFault::Flip { nth, .. }) => nth.saturating_sub(1),
            _ => 0,
        };
        self.active.push(Active { index, kind, brokers, down, left, skip, met: false });
    }

    /// Lifts it; false when it was not in force.
    pub(crate) fn disarm(&mut self, index: usize) -> bool {
        let Some(at) = self.active.iter().position(|a| a.index == index) else { return false };
        let lifted = self.active.remove(at);
        self.recorder.fault(index, lifted.kind.name(), FaultPhase::End);
        true
    }

    /// True while it is in force.
    pub(crate) fn armed(&self, index: usize) -> bool {
        self.active.iter().any(|a| a.index == index)
    }

    /// The brokers that a flapping or rolling fault keeps down from now on.
    pub(crate) fn set_down(&mut self, index: usize, down: Vec<i32>) {
        if let Some(fault) = self.active.iter_mut().find(|a| a.index == index) {
            fault.down = down;
        }
    }

    /// Index and name of a fault that keeps this broker down.
    pub(crate) fn downed_by(&self, broker: i32) -> Option<(usize, &'static str)> {
        let found = self.active.iter().find(|a| a.down.contains(&broker))?;
        Some((found.index, found.kind.name()))
    }

    /// Records that a fault was met.
    pub(crate) fn meet(&mut self, index: usize) {
        if let Some(fault) = self.active.iter_mut().find(|a| a.index == index) {
            meet(&self.recorder, fault);
        }
    }

    /// Records the effect of a fault that is no longer in force.
    pub(crate) fn met_late(&self, index: usize, name: &str) {
        self.recorder.fault(index, name, FaultPhase::Effect);
    }

    /// The first fault in force that answers; it is met.
    fn first<T>(&mut self, ask: impl Fn(&Active) -> Option<T>) -> Option<T> {
        let Self { active, recorder, .. } = self;
        active.iter_mut().find_map(|fault| {
            let found = ask(fault)?;
            meet(recorder, fault);
            Some(found)
        })
    }

    /// As [`Script::first`], but counted: the fault's last use lifts it. `lift` false leaves that
    /// to the caller, who is told the index.
    fn counted<T>(
        &mut self,
        lift: bool,
        ask: impl Fn(&Active) -> Option<T>,
    ) -> Option<(T, Option<usize>)> {
        let open = |a: &Active| (a.left != Some(0)).then(|| ask(a)).flatten().map(|t| (a.index, t));
        let (index, found) = self.first(open)?;
        let fault = self.active.iter_mut().find(|a| a.index == index)?;
        fault.left = fault.left.map(|left| left.saturating_sub(1));
        let spent = fault.left == Some(0);
        if spent && lift {
            self.disarm(index);
        }
        Some((found, spent.then_some(index)))
    }

    /// State of a broker's network.
    pub(crate) fn net(&self, broker: i32) -> Net {
        let mut net = Net::default();
        for fault in &self.active {
            if !fault.brokers.contains(&broker) {
                continue;
            }
            match fault.kind {
                FaultKind::NetPartition { requests, responses, .. } => {
                    net.requests_cut |= requests;
                    net.responses_cut |= responses;
                }
                FaultKind::NetConnectBlackhole { .. } => net.blackhole = true,
                _ => {}
            }
        }
        net
    }

    /// A byte, answer or connection of this broker met a cut or a black hole.
    pub(crate) fn met_net(&mut self, broker: i32, what: Met) {
        let Self { active, recorder, .. } = self;
        for fault in active.iter_mut().filter(|a| a.brokers.contains(&broker)) {
            let hit = match fault.kind {
                FaultKind::NetPartition { requests, responses, .. } => match what {
                    Met::Request => requests,
                    Met::Answer => responses,
                    Met::Connect => requests || responses,
                },
                FaultKind::NetConnectBlackhole { .. } => what == Met::Connect,
                _ => false,
            };
            if hit {
                meet(recorder, fault);
            }
        }
    }

    /// Bytes after which the next answer of this broker is cut.
    pub(crate) fn cut(&mut self, broker: i32) -> Option<usize> {
        self.counted(true, |a| match a.kind {
            FaultKind::NetCutFrame { bytes, .. } if a.brokers.contains(&broker) => Some(bytes),
            _ => None,
        })
        .map(|(bytes, _)| bytes)
    }

    /// True when answers of this broker leave byte by byte.
    pub(crate) fn sliced(&mut self, broker: i32) -> bool {
        let slices = |a: &Active| matches!(a.kind, FaultKind::Link(LinkFault::Slice { .. }));
        self.first(|a| (slices(a) && a.brokers.contains(&broker)).then_some(())).is_some()
    }

    /// Bytes per second that a connection of this broker carries.
    pub(crate) fn bandwidth(&mut self, broker: i32) -> Option<u64> {
        self.first(|a| match a.kind {
            FaultKind::Link(LinkFault::Bandwidth { bytes_per_second, .. })
                if a.brokers.contains(&broker) =>
            {
                Some(bytes_per_second.max(1))
            }
            _ => None,
        })
    }

    /// A Produce, or the answer to one, passes: does a bit of it flip?
    pub(crate) fn flip(&mut self, broker: i32, is_request: bool) -> bool {
        let flips = |a: &Active| match a.kind {
            FaultKind::Link(LinkFault::Flip { request, .. }) => {
                request == is_request && a.brokers.contains(&broker)
            }
            _ => false,
        };
        let due = self.active.iter().find(|a| flips(a) && a.skip == 0).map(|a| a.index);
        for fault in self.active.iter_mut().filter(|a| flips(a)) {
            fault.skip = fault.skip.saturating_sub(1);
        }
        self.counted(true, |a| (Some(a.index) == due).then_some(())).is_some()
    }

    /// Delay on the way of an answer of this broker: all latency faults added up.
    pub(crate) fn latency(&mut self, broker: i32, rng: &mut Rng) -> Duration {
        let Self { active, recorder, .. } = self;
        let mut sum = Duration::ZERO;
        for fault in active.iter_mut().filter(|a| a.brokers.contains(&broker)) {
            let FaultKind::NetLatency { base, jitter, tail, tail_share, .. } = fault.kind else {
                continue;
            };
            let delay = base
                + jitter.mul_f64(rng.f64())
                + if rng.f64() < tail_share { tail } else { Duration::ZERO };
            if !delay.is_zero() {
                meet(recorder, fault);
            }
            sum += delay;
        }
        sum
    }

    /// Error for a request of `api` that names these topics (none: the API has no topics).
    pub(crate) fn error(&mut self, api: &str, topics: &[&str]) -> Option<Scripted> {
        let names = self.topics.clone();
        self.counted(true, |a| match &a.kind {
            FaultKind::RequestError { api: of, code, topic, after_append, .. }
                if of == api && concerns(&names, *topic, topics) =>
            {
                Some(Scripted { code: *code, after_append: *after_append, topic: *topic })
            }
            _ => None,
        })
        .map(|(scripted, _)| scripted)
    }

    /// The scripted code for one of the topics that the request names.
    pub(crate) fn code_for(&self, scripted: Option<Scripted>, topic: &str) -> Option<i16> {
        scripted.filter(|s| self.topics.selected(s.topic, topic)).map(|s| s.code)
    }

    /// Delay of the answer, and the fault to lift when that answer is settled.
    pub(crate) fn delay(&mut self, api: &str, topics: &[&str]) -> (Duration, Option<usize>) {
        let names = self.topics.clone();
        self.counted(false, |a| match &a.kind {
            FaultKind::RequestDelay { api: of, delay, topic, .. }
                if of == api && concerns(&names, *topic, topics) =>
            {
                Some(*delay)
            }
            _ => None,
        })
        .unwrap_or_default()
    }

    /// Throttle time for a Produce.
    pub(crate) fn throttle(&mut self) -> Option<Duration> {
        self.first(|a| match a.kind {
            FaultKind::Throttle { delay } => Some(delay),
            _ => None,
        })
    }

    fn topic_fault<T>(&mut self, topic: &str, ask: impl Fn(&FaultKind) -> Option<T>) -> Option<T> {
        let names = self.topics.clone();
        self.first(|a| {
            let (FaultKind::Leaderless { topic: sel }
            | FaultKind::TopicMissing { topic: sel }
            | FaultKind::NotEnoughReplicas { topic: sel, .. }) = a.kind
            else {
                return None;
            };
            names.selected(sel, topic).then(|| ask(&a.kind)).flatten()
        })
    }

    /// A broker answered that the topic may not be written to.
    pub(crate) fn met_denied(&mut self, topic: &str) {
        let Self { active, recorder, topics, .. } = self;
        for fault in active {
            if let FaultKind::AclDenied { topic: sel } = fault.kind
                && topics.selected(sel, topic)
            {
                meet(recorder, fault);
            }
        }
    }

    /// A request asked for this topic: is it hidden?
    pub(crate) fn missing(&mut self, topic: &str) -> bool {
        let ask = |k: &FaultKind| matches!(k, FaultKind::TopicMissing { .. }).then_some(());
        self.topic_fault(topic, ask).is_some()
    }

    /// True while this topic is left out where all are listed (no effect is recorded).
    pub(crate) fn hidden(&self, topic: &str) -> bool {
        self.active.iter().any(|a| match a.kind {
            FaultKind::TopicMissing { topic: sel } => self.topics.selected(sel, topic),
            _ => false,
        })
    }

    /// A request asked for this topic: is it without leaders?
    pub(crate) fn leaderless(&mut self, topic: &str) -> bool {
        let ask = |k: &FaultKind| matches!(k, FaultKind::Leaderless { .. }).then_some(());
        self.topic_fault(topic, ask).is_some()
    }

    /// A Produce with acks=all came: are there too few replicas? `Some(true)`: found after append.
    pub(crate) fn replicas_short(&mut self, topic: &str) -> Option<bool> {
        self.topic_fault(topic, |k| match k {
            FaultKind::NotEnoughReplicas { after_append, .. } => Some(*after_append),
            _ => None,
        })
    }

    /// True while the in-sync replicas of this topic are only the leader (no effect is recorded).
    pub(crate) fn insync_lost(&self, topic: &str) -> bool {
        self.active.iter().any(|a| match a.kind {
            FaultKind::NotEnoughReplicas { topic: sel, .. } => self.topics.selected(sel, topic),
            _ => false,
        })
    }

    /// A batch of `size` bytes came for this topic: does a lowered limit refuse it?
    pub(crate) fn too_large(&mut self, topic: &str, size: usize) -> bool {
        let names = self.topics.clone();
        self.first(|a| match a.kind {
            FaultKind::MessageMaxBytes { topic: sel, bytes } => {
                (names.selected(sel, topic) && size > bytes).then_some(())
            }
            _ => None,
        })
        .is_some()
    }

    /// The two topics' names.
    pub(crate) fn topics(&self) -> &Topics {
        &self.topics
    }
}

/// What met a fault of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// Bytes of a request.
    Request,
    /// An answer.
    Answer,
    /// A new connection.
    Connect,
}

fn meet(recorder: &Recorder, fault: &mut Active) {
    if !fault.met {
        fault.met = true;
        recorder.fault(fault.index, fault.kind.name(), FaultPhase::Effect);
    }
}

fn concerns(names: &Topics, sel: TopicSel, topics: &[&str]) -> bool {
    topics.is_empty() || topics.iter().any(|topic| names.selected(sel, topic))
}
