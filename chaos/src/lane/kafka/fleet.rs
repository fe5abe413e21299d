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
use super::docker::{self, Docked, Missing, Whose};
use super::node::{Listener, Node, NodeSpec};
use super::warm::warm;
use crate::broker::HeldPort;

/// Cells that use a cluster at the same time. Each has listeners of its own on every broker, so
/// that a fault of one is none of another's.
const SLOTS: usize = 4;
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

/// A running cluster.
pub(super) struct Ground {
    pub(super) shape: Shape,
    nodes: Vec<Node>,
    slots: Mutex<Vec<Slot>>,
    free: Semaphore,
    /// How long it took from nothing to a cluster whose brokers know each other.
    pub(super) took: Duration,
}

/// The listeners of one cell.
pub(super) struct Slot {
    /// Name of the listener on every broker.
    pub(super) name: String,
    /// The ports that clients are sent to, one for each broker, held while nobody listens.
    pub(super) held: Vec<HeldPort>,
}

impl Slot {
    /// Ports that clients are sent to, in the order of the brokers' ids.
    pub(super) fn advertised(&self) -> Vec<u16> {
        self.held.iter().map(HeldPort::port).collect()
    }
}

/// A slot while a cell has it.
pub(super) struct Lent<'a> {
    ground: &'a Ground,
    slot: Option<Slot>,
    _permit: SemaphorePermit<'a>,
}

impl std::ops::Deref for Lent<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        static NONE: Slot = Slot { name: String::new(), held: Vec::new() };
        self.slot.as_ref().unwrap_or(&NONE)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut slots = self.ground.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.extend(self.slot.take());
    }
}

impl Ground {
    async fn start(docked: &Docked, shape: Shape) -> Result<Self, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let begun = Instant::now();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let stem = format!("dashproof-{}-{number}", std::process::id());
        let brokers = shape.brokers();
        let slots =
            slots(brokers).map_err(|e| format!("no port on the loopback interface: {e}"))?;
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
                listeners: listeners(&slots, at),
                settings: Vec::new(),
                files: Vec::new(),
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
        let (slots, free) = (Mutex::new(slots), Semaphore::new(SLOTS));
        let mut ground = Self { shape, nodes, slots, free, took: Duration::ZERO };
        ground.assembled().await?;
        ground.took = begun.elapsed();
        Ok(ground)
    }

    /// Ends when every broker is known to the others and takes records.
    async fn assembled(&self) -> Result<(), String> {
        let slot = self.lend().await?;
        let behind = self.behind(&slot).await?;
        let admin = Admin::new(behind.clone(), slot.advertised());
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
        warm(&admin, &behind, brokers).await
    }

    /// Ids of the brokers, ascending.
    pub(super) fn ids(&self) -> Vec<i32> {
        (1..).take(self.nodes.len()).collect()
    }

    /// Waits for a slot that nobody uses.
    pub(super) async fn lend(&self) -> Result<Lent<'_>, String> {
        let permit = self.free.acquire().await.map_err(|error| error.to_string())?;
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(Lent { ground: self, slot, _permit: permit })
    }

    /// Where the brokers really are behind the ports that clients of a slot are sent to.
    pub(super) async fn behind(&self, slot: &Slot) -> Result<Behind, String> {
        let mut ports = BTreeMap::new();
        for (node, advertised) in self.nodes.iter().zip(slot.advertised()) {
            ports.insert(advertised, node.port(&slot.name).await?);
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

/// A port for each slot and broker.
fn slots(brokers: usize) -> std::io::Result<Vec<Slot>> {
    let slot = |number| {
        let held = (0..brokers).map(|_| HeldPort::free()).collect::<std::io::Result<_>>()?;
        Ok(Slot { name: format!("SLOT{number}"), held })
    };
    (0..SLOTS).map(slot).collect()
}

/// The listeners of the broker at this place.
fn listeners(slots: &[Slot], at: usize) -> Vec<Listener> {
    let listener = |slot: &Slot| {
        let advertised = slot.held.get(at).map(HeldPort::port).unwrap_or_default();
        Listener { name: slot.name.clone(), protocol: "PLAINTEXT", advertised }
    };
    slots.iter().map(listener).collect()
}
