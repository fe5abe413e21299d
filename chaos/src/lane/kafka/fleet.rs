//! The clusters of one run: started when the first cell needs them, shared by all cells, removed at
//! the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::admin::{Admin, Behind};
use super::certs::{Certificates, PASSWORD, USER};
use super::docker::{self, Docked, Missing, Whose};
use super::node::{self, Node, NodeSpec};
use super::secure;
use super::warm::warm;
use crate::broker::HeldPort;
use crate::scenario::model::Listener;

/// Cells that use a cluster at the same time. Each has listeners of its own on every broker, so
/// that a fault of one is none of another's.
const SLOTS: usize = 4;
/// The same of the single broker, which has eight listeners for each.
const SECURE_SLOTS: usize = 3;
/// How long the brokers may take to know each other after they have started.
const ASSEMBLE: Duration = Duration::from_secs(60);

/// What a cell needs of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// One broker.
    Single,
    /// Three brokers, replication factor 3, two replicas in sync.
    Cluster,
}

impl Shape {
    pub(super) const fn brokers(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Cluster => 3,
        }
    }
}

/// The clusters of one run.
#[derive(Default)]
pub struct Fleet {
    docked: OnceCell<Result<Docked, Missing>>,
    single: OnceCell<Result<Ground, String>>,
    cluster: OnceCell<Result<Ground, String>>,
    /// Numbers topics, so that no two cells share one.
    cells: AtomicU64,
}

impl Fleet {
    /// Docker and the image; what earlier runs left is removed first.
    pub(super) async fn docked(&self) -> Result<&Docked, Missing> {
        let look = async {
            let docked = docker::look().await?;
            docker::sweep(&docked.docker, Whose::Dead).await;
            tokio::spawn(leave_on_signal());
            Ok(docked)
        };
        self.docked.get_or_init(|| look).await.as_ref().map_err(Clone::clone)
    }

    /// The cluster of this shape, started if it is not there yet.
    pub(super) async fn ground(&self, docked: &Docked, shape: Shape) -> Result<&Ground, String> {
        let place = match shape {
            Shape::Single => &self.single,
            Shape::Cluster => &self.cluster,
        };
        place.get_or_init(|| Ground::start(docked, shape)).await.as_ref().map_err(Clone::clone)
    }

    pub(super) fn next_cell(&self) -> u64 {
        self.cells.fetch_add(1, Ordering::Relaxed)
    }

    /// Removes all containers and networks.
    pub async fn end(self) {
        for ground in [self.single, self.cluster] {
            if let Some(Ok(ground)) = ground.into_inner() {
                ground.end().await;
            }
        }
        if let Some(Ok(docked)) = self.docked.into_inner() {
            docker::sweep(&docked.docker, Whose::Own).await;
        }
    }
}

/// Removes what this process has started, from wherever it is.
pub async fn abandon() {
    if let Ok(docked) = docker::look().await {
        docker::sweep(&docked.docker, Whose::Own).await;
    }
}

/// Ends the program when it is told to, after it has removed its containers.
async fn leave_on_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return };
    let code = tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    };
    abandon().await;
    // the shell's own codes for a program that ended by these signals
    std::process::exit(code);
}

/// A running cluster.
pub(super) struct Ground {
    pub(super) shape: Shape,
    /// Of the brokers with secured listeners.
    pub(super) certificates: Option<Certificates>,
    nodes: Vec<Node>,
    slots: Mutex<Vec<Slot>>,
    free: Semaphore,
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
            })
        })
    }
}

/// A slot while a cell has it.
pub(super) struct Lent<'a> {
    ground: &'a Ground,
    slot: Slot,
    _permit: SemaphorePermit<'a>,
}

impl std::ops::Deref for Lent<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut slots = self.ground.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.push(std::mem::take(&mut self.slot));
    }
}

impl Ground {
    async fn start(docked: &Docked, shape: Shape) -> Result<Self, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let stem = format!("dashproof-{}-{number}", std::process::id());
        let brokers = shape.brokers();
        let (count, offered, certificates) = match shape {
            Shape::Cluster => (SLOTS, vec![Listener::Plaintext], None),
            Shape::Single => {
                let made = Certificates::make().map_err(|e| format!("no certificates: {e}"))?;
                (SECURE_SLOTS, Listener::ALL.map(|(_, listener)| listener).to_vec(), Some(made))
            }
        };
        let slots: std::io::Result<Vec<Slot>> =
            (0..count).map(|number| Slot::new(number, brokers, &offered)).collect();
        let slots = slots.map_err(|e| format!("no port on the loopback interface: {e}"))?;
        let network = (shape == Shape::Cluster).then(|| format!("{stem}-net"));
        if let Some(network) = &network {
            docker::network(&docked.docker, network).await?;
        }
        let names: Vec<String> = (1..=brokers).map(|id| format!("{stem}-{id}")).collect();
        let mut starting = JoinSet::new();
        for (at, id) in (0..brokers).zip(1..) {
            let spec = NodeSpec {
                image: docked.image.clone(),
                id,
                names: names.clone(),
                network: network.clone(),
                listeners: slots.iter().flat_map(|slot| slot.listeners(at)).collect(),
                settings: certificates.as_ref().map_or_else(Vec::new, |_| secure::settings(count)),
                files: certificates.as_ref().map_or_else(Vec::new, secure::files),
            };
            starting.spawn(async move { (id, spec.start().await) });
        }
        let mut nodes = BTreeMap::new();
        let mut failed = None;
        while let Some(started) = starting.join_next().await {
            match started {
                Ok((id, Ok(node))) => drop(nodes.insert(id, node)),
                Ok((_, Err(error))) => failed = Some(error),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        let nodes: Vec<Node> = nodes.into_values().collect();
        if let Some(error) = failed {
            for node in nodes {
                node.remove().await;
            }
            return Err(format!("a broker did not start: {error}"));
        }
        let (slots, free) = (Mutex::new(slots), Semaphore::new(count));
        let ground = Self { shape, certificates, nodes, slots, free };
        ground.assembled().await?;
        Ok(ground)
    }

    /// Ends when every broker is known to the others and takes records.
    async fn assembled(&self) -> Result<(), String> {
        let slot = self.lend().await?;
        let admin = Admin { behind: self.behind(&slot, Listener::Plaintext).await? };
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
        if self.certificates.is_none() {
            return Ok(());
        }
        admin.add_user(USER, PASSWORD).await.map_err(|error| format!("no SCRAM user: {error}"))
    }

    /// Ids of the brokers, ascending.
    pub(super) fn ids(&self) -> Vec<i32> {
        (1..).take(self.nodes.len()).collect()
    }

    /// Waits for a slot that nobody uses.
    pub(super) async fn lend(&self) -> Result<Lent<'_>, String> {
        let permit = self.free.acquire().await.map_err(|error| error.to_string())?;
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // there is one for each permit
        let slot = slot.ok_or("every slot is lent")?;
        Ok(Lent { ground: self, slot, _permit: permit })
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

    async fn end(self) {
        let mut removing = JoinSet::new();
        for node in self.nodes {
            removing.spawn(node.remove());
        }
        removing.join_all().await;
    }
}
