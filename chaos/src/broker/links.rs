//! Connections and the faults that act on them: the same for the model broker and for the proxy.
//!
//! Both have a lock around everything that changes; [`Site`] is what a connection and a listener
//! need of either.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use super::api::{From, Hopeless, Reply};
use super::conn::{self, Ending};
use super::script::Script;
use crate::history::Recorder;
use crate::scenario::model::FaultKind;

/// Connections that a broker serves at a time. One more takes the place of the oldest that has
/// never asked anything; where all have, it is closed at once.
const MAX_CONNECTIONS: usize = 1_000;

/// Bytes of requests that are not whole yet, of all connections together. Where there are more, the
/// request that began first is given up, and its connection with it.
const MAX_HALF_BYTES: usize = 256 << 20;

/// A request that is not whole yet.
#[derive(Clone, Copy, Debug)]
struct Half {
    broker: i32,
    /// Counts such requests in the order in which they began.
    number: u64,
    bytes: usize,
}

/// Requests that are not whole yet, by connection.
#[derive(Debug)]
pub(crate) struct Halves {
    by_conn: BTreeMap<u64, Half>,
    next: u64,
    bytes: usize,
    /// Bytes that all of them may have.
    pub(crate) most: usize,
}

impl Default for Halves {
    fn default() -> Self {
        Self { by_conn: BTreeMap::new(), next: 0, bytes: 0, most: MAX_HALF_BYTES }
    }
}

impl Halves {
    /// So many bytes are there of the request of this connection; those that have to go, each with
    /// its broker.
    fn grown(&mut self, broker: i32, conn: u64, bytes: usize) -> Vec<(i32, u64)> {
        self.next += 1;
        let new = Half { broker, number: self.next, bytes: 0 };
        let half = self.by_conn.entry(conn).or_insert(new);
        self.bytes = self.bytes - half.bytes + bytes;
        half.bytes = bytes;
        let mut out = Vec::new();
        while self.bytes > self.most {
            let first = self.by_conn.iter().min_by_key(|(_, half)| half.number);
            let Some((conn, half)) = first.map(|(conn, half)| (*conn, *half)) else { break };
            self.gone(conn);
            out.push((half.broker, conn));
        }
        out
    }

    /// The request is whole, or will never be.
    fn gone(&mut self, conn: u64) {
        if let Some(half) = self.by_conn.remove(&conn) {
            self.bytes -= half.bytes;
        }
    }
}

/// One broker, as its connections see it.
#[derive(Clone, Debug, Default)]
struct Broker {
    /// Since when it is down, microseconds of the run.
    down_since: Option<u64>,
    /// Raised when all its connections must be reset.
    resets: u64,
    /// Raised when a cut or black hole is lifted: the connections that met it must be reset.
    heals: u64,
    /// Open connections.
    connections: usize,
    /// Those of them that have never asked anything.
    silent: BTreeSet<u64>,
    /// Those that have to make room.
    out: BTreeSet<u64>,
    /// A fault took it down while no connection was open: its effect is the first client that
    /// comes back.
    missed: Option<(usize, &'static str)>,
}

/// The faults in force and the connections of every broker.
pub(crate) struct Links {
    pub(crate) script: Script,
    brokers: BTreeMap<i32, Broker>,
    next_conn: u64,
    pub(crate) unanswered: u64,
    pub(crate) halves: Halves,
}

impl Links {
    /// Nobody is connected and nothing is broken.
    pub(crate) fn new(script: Script, ids: impl IntoIterator<Item = i32>) -> Self {
        let brokers = ids.into_iter().map(|id| (id, Broker::default())).collect();
        let halves = Halves::default();
        Self { script, brokers, next_conn: 0, unanswered: 0, halves }
    }

    /// One broker more, if it is not known.
    pub(crate) fn add(&mut self, id: i32) {
        self.brokers.entry(id).or_default();
    }

    pub(crate) fn is_up(&self, id: i32) -> bool {
        self.brokers.get(&id).is_some_and(|b| b.down_since.is_none())
    }

    /// Every broker, ascending.
    pub(crate) fn ids(&self) -> Vec<i32> {
        self.brokers.keys().copied().collect()
    }

    /// Brokers that are up, ascending.
    pub(crate) fn live(&self) -> Vec<i32> {
        self.brokers.iter().filter(|(_, b)| b.down_since.is_none()).map(|(id, _)| *id).collect()
    }

    /// Brokers that are down for at least so long.
    pub(crate) fn gone(&self, now_us: u64, at_least_us: u64) -> Vec<i32> {
        let gone =
            |b: &Broker| b.down_since.is_some_and(|t| now_us.saturating_sub(t) >= at_least_us);
        self.brokers.iter().filter(|(_, b)| gone(b)).map(|(id, _)| *id).collect()
    }

    /// Brings what brokers are up in line with the faults in force.
    pub(crate) fn refresh(&mut self, now_us: u64) {
        let Self { brokers, script, .. } = self;
        for (id, broker) in brokers {
            match (script.downed_by(*id), broker.down_since) {
                (Some((index, name)), None) => {
                    broker.down_since = Some(now_us);
                    broker.resets += 1;
                    if broker.connections > 0 {
                        script.meet(index);
                    } else {
                        broker.missed = Some((index, name));
                    }
                }
                (None, Some(_)) => broker.down_since = None,
                _ => {}
            }
        }
    }

    /// Puts a fault in force, as far as it is about connections. A reset takes place and is over.
    pub(crate) fn arm(&mut self, index: usize, kind: &FaultKind, brokers: &[i32]) {
        self.script.arm(index, kind.clone(), brokers.to_vec());
        if matches!(kind, FaultKind::NetReset { .. }) {
            if self.reset(brokers) {
                self.script.meet(index);
            }
            self.script.disarm(index);
        }
    }

    /// Lifts a fault; false when it was not in force.
    pub(crate) fn disarm(&mut self, index: usize, kind: &FaultKind, brokers: &[i32]) -> bool {
        let lifted = self.script.disarm(index);
        let cuts =
            matches!(kind, FaultKind::NetPartition { .. } | FaultKind::NetConnectBlackhole { .. });
        if lifted && cuts {
            self.heal(brokers);
        }
        lifted
    }

    /// Connections of these brokers must be reset; says whether there were any.
    fn reset(&mut self, ids: &[i32]) -> bool {
        let mut any = false;
        for (_, broker) in self.brokers.iter_mut().filter(|(id, _)| ids.contains(id)) {
            broker.resets += 1;
            any |= broker.connections > 0;
        }
        any
    }

    /// Connections of these brokers that met a cut must be reset.
    fn heal(&mut self, ids: &[i32]) {
        for (_, broker) in self.brokers.iter_mut().filter(|(id, _)| ids.contains(id)) {
            broker.heals += 1;
        }
    }

    /// True when the connections of that time must be reset.
    pub(crate) fn was_reset(&self, id: i32, resets: u64) -> bool {
        self.brokers.get(&id).is_none_or(|b| b.resets != resets)
    }

    /// The broker's count of heals.
    pub(crate) fn heals(&self, id: i32) -> u64 {
        self.brokers.get(&id).map_or(0, |b| b.heals)
    }

    /// True when a cut of that time was lifted.
    pub(crate) fn was_healed(&self, id: i32, heals: u64) -> bool {
        self.brokers.get(&id).is_none_or(|b| b.heals != heals)
    }

    /// A connection came to this broker: its number, and the broker's count of resets; `None` when
    /// it is not taken.
    pub(crate) fn connected(&mut self, id: i32) -> (u64, Option<u64>) {
        let conn = self.next_conn;
        self.next_conn += 1;
        let Some(broker) = self.brokers.get_mut(&id) else { return (conn, None) };
        if broker.down_since.is_some() {
            return (conn, None);
        }
        if broker.connections - broker.out.len() >= MAX_CONNECTIONS {
            let Some(oldest) = broker.silent.pop_first() else { return (conn, None) };
            broker.out.insert(oldest);
        }
        broker.connections += 1;
        broker.silent.insert(conn);
        if let Some((index, name)) = broker.missed.take() {
            self.script.met_late(index, name);
        }
        (conn, Some(broker.resets))
    }

    /// True when somebody is connected to one of these brokers.
    pub(crate) fn is_used(&self, ids: &[i32]) -> bool {
        let used = |(id, broker): (&i32, &Broker)| ids.contains(id) && broker.connections > 0;
        self.brokers.iter().any(used)
    }

    /// A fault struck brokers to which nobody is connected: the first who comes meets it.
    pub(crate) fn missed(&mut self, index: usize, name: &'static str, ids: &[i32]) {
        for (_, broker) in self.brokers.iter_mut().filter(|(id, _)| ids.contains(id)) {
            broker.missed = Some((index, name));
        }
    }

    /// Who comes now comes too late to meet this fault.
    pub(crate) fn not_missed(&mut self, index: usize) {
        for broker in self.brokers.values_mut() {
            broker.missed = broker.missed.take().filter(|(missed, _)| *missed != index);
        }
    }

    /// A connection of this broker has asked something.
    pub(crate) fn spoke(&mut self, id: i32, conn: u64) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.silent.remove(&conn);
        }
    }

    /// True when this connection has to make room for another.
    pub(crate) fn is_out(&self, id: i32, conn: u64) -> bool {
        self.brokers.get(&id).is_none_or(|b| b.out.contains(&conn))
    }

    /// True while a connection that has to make room is still there.
    pub(crate) fn is_crowded(&self, id: i32) -> bool {
        self.brokers.get(&id).is_some_and(|b| !b.out.is_empty())
    }

    /// So many bytes of a request are there that is not whole; true when connections have to go
    /// for it.
    pub(crate) fn half(&mut self, id: i32, conn: u64, bytes: usize) -> bool {
        let out = self.halves.grown(id, conn, bytes);
        for (id, conn) in &out {
            if let Some(broker) = self.brokers.get_mut(id) {
                broker.out.insert(*conn);
            }
        }
        !out.is_empty()
    }

    /// The request of this connection is whole.
    pub(crate) fn is_whole(&mut self, conn: u64) {
        self.halves.gone(conn);
    }

    /// A connection of this broker is gone.
    pub(crate) fn disconnected(&mut self, id: i32, conn: u64) {
        self.halves.gone(conn);
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.connections -= 1;
            broker.silent.remove(&conn);
            broker.out.remove(&conn);
        }
    }
}

/// What stands behind one connection and carries out its requests.
pub(crate) trait Peer: Send + Sync {
    /// Carries out a request (without its length).
    ///
    /// # Errors
    /// [`Hopeless`]: the connection is to be closed.
    fn request(&self, frame: Bytes) -> impl Future<Output = Result<Reply, Hopeless>> + Send;

    /// Ends when no more requests can be carried out.
    fn gone(&self) -> impl Future<Output = ()> + Send;
}

/// Brokers that connections come to.
pub(crate) trait Site: Send + Sync + Sized + 'static {
    /// What stands behind a connection.
    type Peer: Peer;

    /// What stands behind this new connection.
    fn peer(self: &Arc<Self>, from: From) -> Self::Peer;
    /// Looks at what changes, or changes it, under the lock.
    fn with<T>(&self, act: impl FnOnce(&mut Links) -> T) -> T;
    /// The history.
    fn recorder(&self) -> &Recorder;
    /// A fault began, changed or ended.
    fn changed(&self) -> &Notify;
    /// The number of unanswered records rose.
    fn waiting(&self) -> &Notify;
    /// Seed of whatever is drawn.
    fn seed(&self) -> u64;

    /// Serves a connection until it ends; gives the stream back for closing it as told.
    fn serve<T>(self: Arc<Self>, broker: i32, stream: T) -> impl Future<Output = (T, Ending)> + Send
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        conn::run(self, broker, stream)
    }

    /// Changes what is in force, then tells every connection and listener.
    fn change<T>(&self, change: impl FnOnce(&mut Links) -> T) -> T {
        let now_us = self.recorder().now_us();
        let done = self.with(|links| {
            let done = change(links);
            links.refresh(now_us);
            done
        });
        self.changed().notify_waiters();
        done
    }

    /// Randomness of one connection.
    fn rng(&self, from: From) -> fastrand::Rng {
        let broker = u64::from(from.broker.unsigned_abs());
        let conn = from.conn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        fastrand::Rng::with_seed(self.seed() ^ (broker << 48) ^ conn)
    }

    fn add_unanswered(&self, records: u64) {
        if records > 0 {
            self.with(|links| links.unanswered += records);
            self.waiting().notify_waiters();
        }
    }

    fn remove_unanswered(&self, records: u64) {
        if records > 0 {
            self.with(|links| links.unanswered -= records);
        }
    }
}

/// Ends when `holds`, which is asked again at every notification.
pub(crate) async fn until<S: Site>(site: &S, notify: &Notify, holds: impl Fn(&Links) -> bool) {
    loop {
        let notified = notify.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if site.with(|links| holds(links)) {
            return;
        }
        notified.await;
    }
}

/// Ends when the broker is up (or down) as asked.
pub(crate) async fn until_up<S: Site>(site: &S, broker: i32, up: bool) {
    until(site, site.changed(), |links| links.is_up(broker) == up).await;
}
