//! The clusters of one run: started when the first cell needs them, shared by all cells, removed at
//! the end.
//!
//! Cells that harm the processes of brokers have a cluster of their own, one at a time. The next
//! such cell gets it too if it is of the right shape, every fault on it is known to be over, and it
//! has become whole again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::admin::{Admin, Behind};
use super::certs::{Certificates, PASSWORD, USER};
use super::disks::{self, Disks};
use super::docker::{self, Docked, Missing, Whose};
use super::node::{self, Node, NodeSpec};
use super::open;
use super::pulse::Pulse;
use super::realm::Realm;
use super::shape::Shape;
use super::warm::{self, warm};
use super::{identity, secure};
use crate::broker::HeldPort;
use crate::lane::external::{self, Outside};
use crate::scenario::model::Listener;

/// How long the brokers may take to know each other after they have started.
const ASSEMBLE: Duration = Duration::from_secs(60);
/// How long a cluster that was harmed may take to become whole again before another is started.
const MEND: Duration = Duration::from_secs(30);

/// How long Docker may take over a container that was asked for before all were removed.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// How often it is looked whether such a one has come.
const SWEEPS: usize = 10;

/// Docker was asked for something in this process.
static USED: AtomicBool = AtomicBool::new(false);

/// The clusters of one run.
#[derive(Default)]
pub struct Fleet {
    docked: OnceCell<Result<Docked, Missing>>,
    single: OnceCell<Result<Arc<Ground>, String>>,
    kerberos: OnceCell<Result<Arc<Ground>, String>>,
    cluster: OnceCell<Result<Arc<Ground>, String>>,
    own: Arc<tokio::sync::Mutex<Option<Arc<Ground>>>>,
    /// A cluster that the user names.
    outside: Option<Outside>,
    /// Numbers topics, so that no two cells share one.
    cells: AtomicU64,
}

/// A cluster of its own, for as long as this is held.
pub(super) type Alone = OwnedMutexGuard<Option<Arc<Ground>>>;

impl Fleet {
    /// With a cluster that the user names.
    #[must_use]
    pub fn and(self, outside: Option<Outside>) -> Self {
        Self { outside, ..self }
    }

    /// The cluster that the user names, if there is one.
    pub fn outside(&self) -> Option<&Outside> {
        self.outside.as_ref()
    }

    /// Docker and the image; what earlier runs left is removed first.
    pub(super) async fn docked(&self) -> Result<&Docked, Missing> {
        let look = async {
            let docked = docker::look().await?;
            docker::sweep(&docked.docker, Whose::Dead).await;
            USED.store(true, Ordering::Release);
            Ok(docked)
        };
        self.docked.get_or_init(|| look).await.as_ref().map_err(Clone::clone)
    }

    /// The cluster of this shape, started if it is not there yet.
    pub(super) async fn ground(
        &self,
        docked: &Docked,
        shape: Shape,
    ) -> Result<Arc<Ground>, String> {
        let place = match shape {
            Shape::Single => &self.single,
            Shape::Kerberos => &self.kerberos,
            Shape::Cluster | Shape::Own { .. } | Shape::Open { .. } => &self.cluster,
        };
        place.get_or_init(|| Ground::start(docked, shape)).await.clone()
    }

    /// Starts clusters that cells will share, one after the other, before any of them runs: brokers
    /// that start take every processor. What fails here is told by the cells.
    pub(super) async fn begin(&self, shapes: impl IntoIterator<Item = Shape>) {
        let Ok(docked) = self.docked().await else { return };
        for shape in shapes {
            if let Err(error) = self.ground(docked, shape).await {
                tracing::debug!(?shape, %error, "a shared cluster does not start");
            }
        }
    }

    /// A whole cluster of this shape that nobody else uses.
    pub(super) async fn own(
        &self,
        docked: &Docked,
        shape: Shape,
    ) -> Result<(Arc<Ground>, Alone), String> {
        let mut place = Arc::clone(&self.own).lock_owned().await;
        if let Some(ground) = place.take() {
            let harmed = ground.harmed.load(Ordering::Acquire);
            if shape.is_had_from(ground.shape, harmed) && ground.mended().await {
                *place = Some(Arc::clone(&ground));
                return Ok((ground, place));
            }
            ground.remove().await;
        }
        let ground = Ground::start(docked, shape).await?;
        *place = Some(Arc::clone(&ground));
        Ok((ground, place))
    }

    pub(super) fn next_cell(&self) -> u64 {
        self.cells.fetch_add(1, Ordering::Relaxed)
    }

    /// Removes the clusters that cells share: those that come now have their own.
    pub async fn leave_shared(&self) {
        let shared =
            [&self.single, &self.kerberos, &self.cluster].into_iter().filter_map(OnceCell::get);
        for ground in shared.flatten() {
            ground.remove().await;
        }
    }

    /// Removes all containers, networks and disks.
    pub async fn end(self) {
        if let Some(outside) = &self.outside {
            outside.end().await;
        }
        self.leave_shared().await;
        if let Some(ground) = self.own.lock().await.take() {
            ground.remove().await;
        }
        if let Some(Ok(docked)) = self.docked.into_inner() {
            docker::sweep(&docked.docker, Whose::Own).await;
        }
    }
}

/// Containers of this process.
pub async fn containers() -> usize {
    if !USED.load(Ordering::Acquire) {
        return 0;
    }
    match docker::look().await {
        Ok(docked) => docker::count(&docked.docker).await,
        Err(_) => 0,
    }
}

/// Removes what this process has started, from wherever it is; what is being started meanwhile too.
pub async fn abandon() {
    external::abandon().await;
    if !USED.load(Ordering::Acquire) {
        return;
    }
    if let Ok(docked) = docker::look().await {
        docker::sweep(&docked.docker, Whose::Own).await;
        for _ in 0..SWEEPS {
            sleep(ON_ITS_WAY).await;
            if docker::sweep(&docked.docker, Whose::Own).await == 0 {
                return;
            }
        }
    }
}

/// A running cluster.
pub(super) struct Ground {
    pub(super) shape: Shape,
    /// Of the brokers with secured listeners.
    pub(super) certificates: Option<Certificates>,
    /// Of the broker with listeners for GSSAPI.
    pub(super) realm: Option<Realm>,
    pub(super) nodes: Vec<Node>,
    /// Small disks, where the brokers have them.
    pub(super) disks: Option<Disks>,
    /// Ports on which clients reach the brokers without a proxy, where there are such.
    pub(super) direct: Vec<u16>,
    /// Id of the cluster.
    pub(super) id: String,
    /// A fault has struck its brokers and is not known to be over, or has failed: nobody else gets
    /// this cluster.
    pub(super) harmed: AtomicBool,
    /// Of brokers that nobody harms on purpose.
    pulse: Mutex<Option<Pulse>>,
    network: Option<String>,
    docked: Docked,
    slots: Mutex<Vec<Slot>>,
    free: Arc<Semaphore>,
}

/// The listeners of one cell.
#[derive(Default)]
pub(super) struct Slot {
    number: usize,
    /// The ports that clients are sent to: for each listener one of each broker, held while nobody
    /// listens.
    held: BTreeMap<Listener, Vec<HeldPort>>,
}

impl Slot {
    fn new(number: usize, brokers: usize, listeners: &[Listener]) -> std::io::Result<Self> {
        let held = |listener: &Listener| {
            let ports: std::io::Result<_> = (0..brokers).map(|_| HeldPort::free()).collect();
            Ok((*listener, ports?))
        };
        let held = listeners.iter().map(held).collect::<std::io::Result<_>>()?;
        Ok(Self { number, held })
    }

    /// The held ports of a listener, in the order of the brokers' ids.
    pub(super) fn held(&self, listener: Listener) -> &[HeldPort] {
        self.held.get(&listener).map(Vec::as_slice).unwrap_or_default()
    }

    /// Ports that clients of a listener are sent to, in the order of the brokers' ids.
    pub(super) fn advertised(&self, listener: Listener) -> Vec<u16> {
        self.held(listener).iter().map(HeldPort::port).collect()
    }

    /// The listeners of the broker at this place.
    fn listeners(&self, at: usize) -> impl Iterator<Item = node::Listener> {
        self.held.iter().filter_map(move |(listener, held)| {
            Some(node::Listener {
                name: secure::name(*listener, self.number),
                protocol: secure::protocol(*listener),
                advertised: held.get(at)?.port(),
                fixed: false,
            })
        })
    }
}

/// A slot while a cell has it.
pub(super) struct Lent {
    pub(super) ground: Arc<Ground>,
    slot: Slot,
    _permit: OwnedSemaphorePermit,
}

impl std::ops::Deref for Lent {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.slot.held.values().flatten().for_each(HeldPort::rest);
        let mut slots = self.ground.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.push(std::mem::take(&mut self.slot));
    }
}

impl Ground {
    pub(super) async fn start(docked: &Docked, shape: Shape) -> Result<Arc<Self>, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let stem = format!("dashproof-{}-{number}", std::process::id());
        let brokers = shape.brokers();
        let (count, offered) = shape.slots();
        let direct = shape.direct().map_err(|e| format!("no port for a listener: {e}"))?;
        let secured = matches!(shape, Shape::Single | Shape::Kerberos);
        let certificates = secured.then(Certificates::make).transpose();
        let certificates = certificates.map_err(|e| format!("no certificates: {e}"))?;
        let realm = if shape == Shape::Kerberos { Some(Realm::start().await?) } else { None };
        let files = secure::files(certificates.as_ref(), realm.as_ref())?;
        let slots: std::io::Result<Vec<Slot>> =
            (0..count).map(|number| Slot::new(number, brokers, &offered)).collect();
        let slots = slots.map_err(|e| format!("no port on the loopback interface: {e}"))?;
        let network = (!secured).then(|| format!("{stem}-net"));
        if let Some(network) = &network {
            docker::network(&docked.docker, network).await?;
        }
        let small = if let Shape::Own { disks, .. } = shape { disks } else { 0 };
        let all = i32::try_from(brokers).unwrap_or(i32::MAX);
        let disks = match small {
            0 => None,
            count => Some(Disks::make(docked, &stem, all, count).await?),
        };
        let names: Vec<String> = (1..=brokers).map(|id| format!("{stem}-{id}")).collect();
        let cluster = identity::new_cluster();
        let mut starting = JoinSet::new();
        for (at, id) in (0..brokers).zip(1..) {
            let spec = NodeSpec {
                image: docked.image.clone(),
                cluster: cluster.clone(),
                id,
                names: names.clone(),
                network: network.clone(),
                listeners: slots
                    .iter()
                    .flat_map(|slot| slot.listeners(at))
                    .chain(direct.get(at).map(|port| open::listener(*port)))
                    .collect(),
                settings: shape.settings(),
                cgroup_parent: docked.cgroup_parent,
                files: files.clone(),
                disks: disks::names(&stem, id, small),
            };
            let client = docked.docker.clone();
            starting.spawn(async move { (id, spec.start(client).await) });
        }
        let nodes = node::started(starting).await?;
        let ground = Arc::new(Self {
            shape,
            certificates,
            realm,
            nodes,
            disks,
            direct,
            id: cluster,
            harmed: AtomicBool::new(false),
            pulse: Mutex::default(),
            network,
            docked: docked.clone(),
            slots: Mutex::new(slots),
            free: Arc::new(Semaphore::new(count)),
        });
        ground.assembled().await?;
        Ok(ground)
    }

    /// Ends when every broker is known to the others and takes records.
    async fn assembled(self: &Arc<Self>) -> Result<(), String> {
        let slot = self.lend().await?;
        let admin = Admin::new(self.behind(&slot, Listener::Plaintext).await?);
        let until = Instant::now() + ASSEMBLE;
        loop {
            let seen = match admin.metadata(&[]).await {
                Ok(metadata) if metadata.brokers.len() == self.nodes.len() => break,
                Ok(metadata) => format!("{} brokers", metadata.brokers.len()),
                Err(error) => error.to_string(),
            };
            if Instant::now() > until {
                let all = self.nodes.len();
                return Err(format!("no cluster of {all} brokers within {ASSEMBLE:?}: {seen}"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        let brokers = i16::try_from(self.nodes.len()).unwrap_or(1);
        warm(&admin, brokers).await?;
        if self.shape.is_shared() {
            let pulse = Pulse::start(&admin.behind, brokers.into());
            *self.pulse.lock().unwrap_or_else(PoisonError::into_inner) = Some(pulse);
        }
        if self.certificates.is_none() {
            return Ok(());
        }
        admin.add_user(USER, PASSWORD).await.map_err(|error| format!("no SCRAM user: {error}"))
    }

    /// How long the brokers stood still at worst since this moment, where that is known.
    pub(super) fn stood_still(&self, since: Instant) -> Duration {
        let pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        pulse.as_ref().map(|pulse| pulse.worst(since)).unwrap_or_default()
    }

    /// Ids of the brokers, ascending.
    pub(super) fn ids(&self) -> Vec<i32> {
        (1..).take(self.nodes.len()).collect()
    }

    /// Waits for a slot that nobody uses.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<Lent, String> {
        let permit =
            Arc::clone(&self.free).acquire_owned().await.map_err(|error| error.to_string())?;
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // there is one for each permit
        let slot = slot.ok_or("every slot is lent")?;
        Ok(Lent { ground: Arc::clone(self), slot, _permit: permit })
    }

    /// Where the brokers really are behind the ports that clients of a listener are sent to.
    pub(super) async fn behind(&self, slot: &Slot, listener: Listener) -> Result<Behind, String> {
        let mut ports = BTreeMap::new();
        let name = secure::name(listener, slot.number);
        for (node, advertised) in self.nodes.iter().zip(slot.advertised(listener)) {
            ports.insert(advertised, node.port(&name).await?);
        }
        Ok(Behind { ports })
    }

    /// As [`Ground::behind`], of those brokers that Docker knows a port of.
    pub(super) async fn living(&self, slot: &Slot) -> Behind {
        let mut ports = BTreeMap::new();
        let name = secure::name(Listener::Plaintext, slot.number);
        for (node, advertised) in self.nodes.iter().zip(slot.advertised(Listener::Plaintext)) {
            if let Ok(port) = node.port(&name).await {
                ports.insert(advertised, port);
            }
        }
        Behind { ports }
    }

    /// Where one broker really is, if it is anywhere.
    pub(super) async fn port(&self, slot: &Slot, broker: i32) -> Result<u16, String> {
        let node = self.node(broker).ok_or_else(|| format!("no broker {broker}"))?;
        node.port(&secure::name(Listener::Plaintext, slot.number)).await
    }

    /// The container of a broker.
    pub(super) fn node(&self, broker: i32) -> Option<&Node> {
        self.nodes.get(usize::try_from(broker).ok()?.checked_sub(1)?)
    }

    /// Ends when the brokers know each other and are in sync in these topics; false when they are
    /// not in time.
    pub(super) async fn is_whole(&self, slot: &Slot, topics: &[&str], within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            let admin = Admin::brief(self.living(slot).await);
            if admin.behind.ports.len() == self.nodes.len() && admin.whole(topics).await {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// True when the cluster is as it was at its start, whatever befell it since.
    async fn mended(self: &Arc<Self>) -> bool {
        let Ok(Ok(slot)) = tokio::time::timeout(MEND, self.lend()).await else { return false };
        self.is_whole(&slot, &[warm::TOPIC], MEND).await
    }

    /// Removes its containers, network and disks.
    pub(super) async fn remove(&self) {
        drop(self.pulse.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut removing = JoinSet::new();
        let docker = &self.docked.docker;
        let holder = self.disks.iter().map(Disks::holder);
        for id in self.nodes.iter().map(Node::id).chain(holder) {
            let (docker, id) = (docker.clone(), id.to_owned());
            removing.spawn(async move { docker::remove(&docker, &id).await });
        }
        removing.join_all().await;
        if let Some(network) = &self.network {
            // what stays is swept by its label
            drop(docker.remove_network(network).await);
        }
        for volume in self.disks.iter().flat_map(Disks::volumes) {
            docker::remove_volume(docker, volume).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_on_which_a_fault_failed_is_not_used_again() {
        let shape = Shape::Own { brokers: 3, disks: 0 };
        assert!(shape.is_had_from(shape, false));
        assert!(!shape.is_had_from(shape, true));
        assert!(!shape.is_had_from(Shape::Own { brokers: 1, disks: 0 }, false));
        let small = Shape::Own { brokers: 3, disks: 1 };
        assert!(!small.is_had_from(small, false), "a disk that was full shows in nothing");
    }
}
