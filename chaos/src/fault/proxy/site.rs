//! What all connections of a proxy share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::request::Front;
use super::{ProxyConfig, raw, upstream};
use crate::broker::Identity;
use crate::broker::api::From;
use crate::broker::conn::{self, Ending};
use crate::broker::links::{Links, Site};
use crate::broker::listen;
use crate::broker::script::{Script, Topics};
use crate::fault::Target;
use crate::history::{CONNECTED, Kind, Recorder, Src, WATCHED};
use crate::scenario::model::FaultKind;

/// Requests that wait on a connection until they are written to its broker.
const ONWARD: usize = 4;
/// Batches of one producer in one partition that are remembered with their offsets.
const REMEMBERED: usize = 64;

/// A topic's name in the cluster, and its name in the scenario, which histories use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicNames {
    /// In the cluster.
    pub real: String,
    /// In the scenario.
    pub logical: Arc<str>,
}

impl TopicNames {
    /// A topic that has one name.
    #[must_use]
    pub fn same(name: &str) -> Self {
        Self { real: name.to_owned(), logical: Arc::from(name) }
    }
}

/// What a proxy understands of the bytes that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Kafka frames.
    Frames,
    /// Kafka frames, of brokers that do not know the proxy: the addresses in their answers become
    /// the proxy's own, and a broker that was not known gets a listener when an answer names it.
    Rewriting,
    /// Nothing, as under TLS: faults act on bytes and connections only, and no request is on
    /// record.
    Bytes,
}

/// Everything that changes.
pub(super) struct Core {
    pub(super) links: Links,
    pub(super) identity: Identity,
    pub(super) told: Told,
    /// Leader of partition 0 of the main topic, as metadata said last.
    pub(super) leader: Option<i32>,
    brokers: BTreeMap<i32, (String, u16)>,
    /// Where brokers that do not know the proxy say that they are.
    pub(super) advertised: BTreeMap<i32, (String, u16)>,
    /// Ports that stand for brokers.
    pub(super) ports: BTreeMap<i32, u16>,
    /// Brokers that a client has connected to.
    used: BTreeSet<i32>,
    /// Produce requests that were passed on and may still be answered.
    open: usize,
    /// Requests that were passed on and not answered: to which broker, and since when.
    waits: BTreeMap<u64, (i32, Instant)>,
    next_wait: u64,
    /// A fault that is met by the next client that sets out to authenticate.
    tokens: Option<usize>,
}

/// A proxy.
pub(crate) struct Shared {
    core: Mutex<Core>,
    pub(super) main: TopicNames,
    pub(super) dlq: TopicNames,
    pub(super) mode: Mode,
    recorder: Recorder,
    seed: u64,
    changed: Notify,
    waiting: Notify,
    settled: Notify,
    /// Connections to brokers. They hold this value too: whoever has the proxy ends them.
    upstreams: Mutex<JoinSet<()>>,
    /// Accept loops. They hold this value too.
    listeners: Mutex<JoinSet<()>>,
}

impl Shared {
    pub(super) fn new(config: ProxyConfig, recorder: Recorder, seed: u64) -> Self {
        let ProxyConfig { brokers, main, dlq, run, mode } = config;
        let topics = Topics { main: main.real.clone(), dlq: dlq.real.clone() };
        let script = Script::new(topics, recorder.clone());
        let core = Core {
            links: Links::new(script, brokers),
            identity: Identity::new(run),
            told: Told::default(),
            leader: None,
            brokers: BTreeMap::new(),
            advertised: BTreeMap::new(),
            ports: BTreeMap::new(),
            used: BTreeSet::new(),
            open: 0,
            waits: BTreeMap::new(),
            next_wait: 0,
            tokens: None,
        };
        Self {
            core: Mutex::new(core),
            main,
            dlq,
            mode,
            recorder,
            seed,
            changed: Notify::new(),
            waiting: Notify::new(),
            settled: Notify::new(),
            upstreams: Mutex::default(),
            listeners: Mutex::default(),
        }
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        // A panic under this lock is a defect of the harness; what is there is still the truth.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upstreams(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every listener and every connection.
    pub(super) fn end(&self) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.upstreams().abort_all();
    }

    /// Serves a broker on this listener; the port that stands for it.
    pub(super) fn serve_on(self: &Arc<Self>, id: i32, listener: TcpListener) -> io::Result<u16> {
        self.stand(self.core(), id, listener)
    }

    /// The port that stands for a broker: one that has none gets a listener, and no more than one,
    /// whoever asks at the same time.
    pub(super) fn front(self: &Arc<Self>, id: i32) -> io::Result<u16> {
        let core = self.core();
        if let Some(port) = core.ports.get(&id) {
            return Ok(*port);
        }
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        self.stand(core, id, TcpListener::from_std(listener)?)
    }

    fn stand(
        self: &Arc<Self>,
        mut core: MutexGuard<'_, Core>,
        id: i32,
        listener: TcpListener,
    ) -> io::Result<u16> {
        let port = listener.local_addr()?.port();
        core.links.add(id);
        core.ports.insert(id, port);
        drop(core);
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.spawn(listen(Arc::clone(self), id, listener));
        Ok(port)
    }

    pub(super) fn connect_to(&self, broker: i32, host: &str, port: u16) {
        self.core().brokers.insert(broker, (host.to_owned(), port));
    }

    pub(super) fn lost(&self, broker: i32) {
        self.core().brokers.remove(&broker);
    }

    /// Says that connections are put on record from now on.
    pub(super) fn watches(&self) {
        let what = WATCHED.to_owned();
        self.recorder.record(Src::Proxy, Kind::Proc { what, value: 0, text: String::new() });
    }

    /// A fault is met by the next client that sets out to authenticate; where nobody looks into
    /// what passes, by the next one that comes.
    pub(super) fn asks_for_tokens(&self, index: usize, name: &'static str) {
        let ids = self.broker_ids();
        let mut core = self.core();
        match self.mode {
            Mode::Bytes => core.links.missed(index, name, &ids),
            Mode::Frames | Mode::Rewriting => core.tokens = Some(index),
        }
    }

    /// Nobody meets that any more.
    pub(super) fn has_tokens(&self, index: usize) {
        let mut core = self.core();
        core.links.not_missed(index);
        core.tokens = core.tokens.filter(|waits| *waits != index);
    }

    /// A client sets out to authenticate.
    pub(super) fn authenticates(&self) {
        let mut core = self.core();
        if let Some(index) = core.tokens {
            core.links.script.meet(index);
        }
    }

    /// A request is being passed on that is to be answered.
    pub(super) fn waits_for(self: &Arc<Self>, broker: i32) -> Wait {
        let mut core = self.core();
        let number = core.next_wait;
        core.next_wait += 1;
        core.waits.insert(number, (broker, Instant::now()));
        Wait(Arc::clone(self), number)
    }

    /// When the oldest request was passed on that one of these brokers has not answered.
    pub(super) fn oldest(&self, brokers: &[i32]) -> Option<Instant> {
        let core = self.core();
        let waits = core.waits.values().filter(|(broker, _)| brokers.contains(broker));
        waits.map(|(_, since)| *since).min()
    }

    /// Puts the first connection of a client to a broker on record.
    fn came(&self, broker: i32) {
        if self.core().used.insert(broker) {
            let (what, value) = (CONNECTED.to_owned(), i64::from(broker));
            self.recorder.record(Src::Proxy, Kind::Proc { what, value, text: String::new() });
        }
    }

    /// Where a broker is.
    pub(super) fn address(&self, broker: i32) -> Option<(String, u16)> {
        self.core().brokers.get(&broker).cloned()
    }

    /// Where all brokers are, by id.
    pub(super) fn addresses(&self) -> BTreeMap<i32, (String, u16)> {
        self.core().brokers.clone()
    }

    /// The name that histories use.
    pub(super) fn logical(&self, topic: &str) -> Arc<str> {
        let known = [&self.main, &self.dlq].into_iter().find(|names| names.real == topic);
        known.map_or_else(|| Arc::from(topic), |names| Arc::clone(&names.logical))
    }

    /// Ends when at least this many records are unanswered.
    pub(super) async fn until_unanswered(&self, records: u64) {
        crate::broker::links::until(self, &self.waiting, |links| links.unanswered >= records).await;
    }

    pub(super) async fn settled(&self, limit: Duration) {
        let all = async {
            loop {
                let notified = self.settled.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if self.core().open == 0 {
                    return;
                }
                notified.await;
            }
        };
        // What is open after that is unknown, which is said where it stands.
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// A Produce is about to be passed on.
    pub(super) fn opened(self: &Arc<Self>) -> Open {
        self.core().open += 1;
        Open(Arc::clone(self))
    }
}

/// A request that was passed on and is not answered yet.
pub(super) struct Wait(Arc<Shared>, u64);

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.core().waits.remove(&self.1);
    }
}

/// A Produce that may still be answered.
pub(super) struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.core().open -= 1;
        self.0.settled.notify_waiters();
    }
}

impl Site for Shared {
    type Peer = Front;

    fn peer(self: &Arc<Self>, from: From) -> Front {
        let (onward, requests) = mpsc::channel(ONWARD);
        // It outlives the connection of the client, to learn what became of its last requests.
        let upstream = upstream::run(Arc::clone(self), from.broker, requests);
        let mut upstreams = self.upstreams();
        while upstreams.try_join_next().is_some() {}
        upstreams.spawn(upstream);
        drop(upstreams);
        Front::new(Arc::clone(self), from, onward)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Links) -> T) -> T {
        act(&mut self.core().links)
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

    async fn serve<T>(self: Arc<Self>, broker: i32, stream: T) -> (T, Ending)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.came(broker);
        match self.mode {
            Mode::Frames | Mode::Rewriting => conn::run(self, broker, stream).await,
            Mode::Bytes => raw::run(self, broker, stream).await,
        }
    }
}

impl Target for Shared {
    fn arm(&self, index: usize, kind: &FaultKind, brokers: &[i32]) {
        self.change(|links| links.arm(index, kind, brokers));
    }

    fn disarm(&self, index: usize, kind: &FaultKind, brokers: &[i32]) -> bool {
        self.change(|links| links.disarm(index, kind, brokers))
    }

    fn set_down(&self, index: usize, down: Vec<i32>) {
        self.change(|links| links.script.set_down(index, down));
    }

    fn retire(&self, _broker: i32) {
        // Nobody tells the real broker: clients lose it, and its partitions wait for it.
    }

    fn meet(&self, index: usize) {
        self.with(|links| links.script.meet(index));
    }

    fn armed(&self, index: usize) -> bool {
        self.with(|links| links.script.armed(index))
    }

    fn broker_ids(&self) -> Vec<i32> {
        self.with(|links| links.ids())
    }

    fn numbered(&self, ids: &[i32]) -> Vec<i32> {
        if self.mode != Mode::Rewriting {
            return ids.to_vec();
        }
        let all = self.broker_ids();
        let at = |id: &i32| all.get(usize::try_from(*id).ok()?.checked_sub(1)?).copied();
        ids.iter().filter_map(at).collect()
    }

    fn first_leader(&self) -> Option<i32> {
        let known = self.core().leader;
        known.or_else(|| self.broker_ids().first().copied())
    }
}

/// The producer of a batch and where it went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sender {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) pid: i64,
    pub(super) epoch: i16,
}

/// Offsets that brokers answered. A batch that comes a second time is answered with the offset of
/// the first, and was not appended again.
#[derive(Default)]
pub(super) struct Told(BTreeMap<Sender, VecDeque<(i32, i64)>>);

impl Told {
    /// True when this batch was not answered with this offset before.
    pub(super) fn is_new(&mut self, sender: &Sender, sequence: i32, offset: i64) -> bool {
        if sender.pid < 0 {
            return true;
        }
        let known = self.0.entry(sender.clone()).or_default();
        if known.contains(&(sequence, offset)) {
            return false;
        }
        if known.len() >= REMEMBERED {
            known.pop_front();
        }
        known.push_back((sequence, offset));
        true
    }
}
