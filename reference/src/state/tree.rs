//! The digest tree: what is kept of a state instead of the state.

use sha2::{Digest as _, Sha256};

/// SHA-256 cut to 16 bytes.
pub(super) type Digest = [u8; 16];

/// A part of a container: one child, or a run of small children that are told apart no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Of its content. Equal digests of trees of one grain mean equal content.
    pub(super) digest: Digest,
    /// Bytes of canonical text.
    pub(super) bytes: u64,
    /// How many children it stands for.
    pub(super) count: u64,
    /// For a map: the children's keys as JSON string literals, one behind the other.
    pub(super) keys: Box<[u8]>,
    /// The parts of the one child, if it is a large container and the budget allows it.
    pub(super) node: Option<Box<Node>>,
}

/// The parts of a container, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) map: bool,
    pub(super) items: Vec<Item>,
}

/// The tree of a whole state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) root: Item,
    /// Children shorter than this are not told apart further.
    pub(super) grain: u64,
    /// Bytes of memory, allocations included.
    pub(super) cost: usize,
}

impl Item {
    /// Bytes on the heap that belong to its node.
    pub(super) fn node_cost(&self) -> usize {
        self.node.as_ref().map_or(0, |node| {
            let items = node.items.iter().map(|item| item.keys.len() + item.node_cost());
            let slots = node.items.capacity() * size_of::<Self>();
            size_of::<Node>() + slots + items.sum::<usize>()
        })
    }

    /// Gives up its node if it is shorter than this, else those inside that are.
    pub(super) fn prune(&mut self, bytes: u64) {
        if self.bytes < bytes {
            self.node = None;
        }
        if let Some(node) = &mut self.node {
            node.items.iter_mut().for_each(|item| item.prune(bytes));
        }
    }

    /// Bytes of the values in it, or less.
    pub(super) fn value_bytes(&self) -> u64 {
        let colons = if self.keys.is_empty() { 0 } else { self.count };
        self.bytes.saturating_sub(self.keys.len() as u64 + colons)
    }

    /// Same children, same content.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.digest == other.digest && self.count == other.count && self.keys == other.keys
    }

    /// Takes part in the digest of the container.
    pub(super) fn fold(&self, hash: &mut Sha256) {
        hash.update((self.keys.len() as u64).to_le_bytes());
        hash.update(&self.keys);
        hash.update(self.count.to_le_bytes());
        hash.update(self.digest);
    }
}

/// The first 16 bytes of a SHA-256.
pub(super) fn finish(hash: Sha256) -> Digest {
    let full = hash.finalize();
    let mut short = Digest::default();
    short.iter_mut().zip(full).for_each(|(to, from)| *to = from);
    short
}

/// How large a tree may be, and how fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grain {
    /// Children shorter than this are grouped.
    pub(super) bytes: u64,
    /// Most memory.
    pub(super) budget: usize,
}

impl Grain {
    /// Smaller budgets are no better than none.
    const SMALLEST_BUDGET: u64 = 256;
    /// A tree of a state up to 640 KiB may take this, whatever the state.
    const SMALL_STATE: u64 = 64 << 10;
    const FINEST: u64 = 64;
    /// A child that may become a container of its own is held this long before it is known.
    const COARSEST: u64 = 256 << 10;
    /// What a child of the grain's length may take: three items, so that keys, uneven groups and
    /// nodes find room.
    const ITEM: u64 = 3 * size_of::<Item>() as u64;

    /// The grain of a state's tree: a tenth of the state, at least 64 KiB, at most the budget. That
    /// of the base is kept while it is near, since trees of two grains have nothing in common.
    /// `None` when the budget allows no more than the hash of the whole.
    pub(super) fn choose(state: u64, budget: u64, base: Option<u64>) -> Option<Self> {
        let budget = budget.min((state / 10).max(Self::SMALL_STATE));
        if budget < Self::SMALLEST_BUDGET {
            return None;
        }
        let finest = (state.saturating_mul(Self::ITEM) / budget).max(Self::FINEST);
        let ideal = finest.checked_next_power_of_two().filter(|grain| *grain <= Self::COARSEST)?;
        // A little finer than it should be, so that a state at a border does not go to and fro.
        let near = base.filter(|base| (finest / 4 * 3..=ideal * 4).contains(base));
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        Some(Self { bytes: near.unwrap_or(ideal), budget })
    }
}
