//! Makes a digest tree from canonical text as it streams by.
//!
//! Every byte goes into one hash. A child is held until it is over or reaches the grain: a shorter
//! one joins the group of its neighbours, a longer container is opened and becomes a node, a longer
//! string is hashed as it comes. Where a group ends depends on the content of its last child alone
//! (but for a minimum and a maximum), so that what is inserted in front moves no later border.

use sha2::{Digest as _, Sha256};

use super::scan::Scanner;
use super::tree::{Digest, Grain, Item, Node, Tree, finish};

/// Keeps a leaf's digest from ever being a node's.
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// A run of small children.
#[derive(Default)]
struct Group {
    hash: Option<Sha256>,
    bytes: u64,
    count: u64,
    keys: Vec<u8>,
}

/// An open container, or the place of the whole state.
struct Frame {
    map: bool,
    /// `None` once the budget made it give up its items; its digest goes on.
    items: Option<Vec<Item>>,
    hash: Sha256,
    group: Group,
    bytes: u64,
    /// Heap bytes of the items' keys.
    keys: usize,
    /// Heap bytes of the items' nodes.
    nodes: usize,
    /// Key of the child that is open.
    key: Vec<u8>,
}

impl Frame {
    fn new(map: bool) -> Self {
        let (group, key) = (Group::default(), Vec::new());
        let hash = Sha256::new_with_prefix([NODE, u8::from(map)]);
        Self { map, items: Some(Vec::new()), hash, group, bytes: 0, keys: 0, nodes: 0, key }
    }

    fn cost(&self) -> usize {
        self.own_cost() + self.nodes
    }

    fn own_cost(&self) -> usize {
        self.keys + self.items.as_ref().map_or(0, Vec::capacity) * size_of::<Item>()
    }

    /// Gives up the nodes of items shorter than this.
    fn prune(&mut self, bytes: u64) {
        self.nodes = 0;
        for item in self.items.iter_mut().flatten() {
            item.prune(bytes);
            self.nodes += item.node_cost();
        }
    }

    fn add(&mut self, item: Item) {
        item.fold(&mut self.hash);
        self.bytes += item.bytes;
        let Some(items) = &mut self.items else { return };
        if items.len() == items.capacity() {
            // Doubling would waste up to half of the budget.
            items.reserve_exact((items.len() / 4).max(4));
        }
        self.keys += item.keys.len();
        self.nodes += item.node_cost();
        items.push(item);
    }

    fn close_group(&mut self) {
        let group = std::mem::take(&mut self.group);
        if let Some(hash) = group.hash {
            let (digest, keys) = (finish(hash), group.keys.into_boxed_slice());
            self.add(Item { digest, bytes: group.bytes, count: group.count, keys, node: None });
        }
    }
}

/// A container that is over, before its key is known again.
struct Closed {
    digest: Digest,
    bytes: u64,
    node: Option<Box<Node>>,
}

/// Takes canonical text, gives a [`Tree`].
pub(super) struct Builder {
    grain: Grain,
    /// The outermost stands for the state's place and has the state as its only child.
    frames: Vec<Frame>,
    scanner: Scanner,
    /// The child on its way: `"key":value` in a map, `value` in an array.
    pending: Vec<u8>,
    /// Length of the key's literal, once the colon was seen.
    key: Option<usize>,
    /// A long scalar is hashed as it comes.
    leaf: Option<(Sha256, u64, Vec<u8>)>,
    /// A container that has just been closed.
    closed: Option<Closed>,
    /// Containers shorter than this have no nodes: the grain, or more when the budget is tight.
    shortest_node: u64,
}

impl Builder {
    pub(super) fn new(grain: Grain) -> Self {
        Self {
            grain,
            frames: vec![Frame::new(false)],
            scanner: Scanner::default(),
            pending: Vec::new(),
            key: None,
            leaf: None,
            closed: None,
            shortest_node: grain.bytes,
        }
    }

    pub(super) fn push(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            // No more than decides whether the child is long.
            let piece = input.get(..self.room()).unwrap_or(input);
            let stop = self.scanner.next_stop(piece);
            let (text, rest) = input.split_at(stop.unwrap_or(piece.len()));
            input = rest;
            self.text(text);
            if stop.is_some()
                && let Some((stop, rest)) = input.split_first()
            {
                self.stop(*stop);
                input = rest;
            }
        }
    }

    /// Bytes until the child on its way is long.
    fn room(&self) -> usize {
        if self.leaf.is_some() || self.in_key() {
            return usize::MAX;
        }
        let value = self.pending.len() - self.value_start();
        usize::try_from(self.grain.bytes).unwrap_or(usize::MAX).saturating_sub(value).max(1)
    }

    fn value_start(&self) -> usize {
        self.key.map_or(0, |key| key + 1)
    }

    fn in_key(&self) -> bool {
        self.key.is_none() && self.frames.last().is_some_and(|frame| frame.map)
    }

    /// Text of the child on its way.
    fn text(&mut self, text: &[u8]) {
        if let Some((hash, bytes, _)) = &mut self.leaf {
            hash.update(text);
            *bytes += text.len() as u64;
            return;
        }
        self.pending.extend_from_slice(text);
        let start = self.value_start();
        let long = (self.pending.len() - start) as u64 >= self.grain.bytes;
        if self.in_key() || !long {
            return;
        }
        let key = self.pending.get(..self.key.unwrap_or_default()).unwrap_or_default().to_vec();
        match self.pending.get(start) {
            Some(b'{') => self.open(true, key, start),
            Some(b'[') => self.open(false, key, start),
            _ => {
                let hash = Sha256::new_with_prefix([LEAF]).chain_update(&self.pending);
                self.leaf = Some((hash, self.pending.len() as u64, key));
                self.pending.clear();
            }
        }
    }

    /// The child on its way turns out to be a long container: its text so far is split again.
    fn open(&mut self, map: bool, key: Vec<u8>, start: usize) {
        let text = self.pending.split_off(start);
        if let Some(frame) = self.frames.last_mut() {
            frame.key = key;
        }
        self.frames.push(Frame::new(map));
        self.next_child();
        self.push(text.get(1..).unwrap_or_default());
    }

    fn next_child(&mut self) {
        self.scanner = Scanner::default();
        self.pending.clear();
        self.key = None;
    }

    fn stop(&mut self, stop: u8) {
        match stop {
            b':' => {
                self.key = Some(self.pending.len());
                self.pending.push(b':');
            }
            b',' => self.close_child(),
            _ => {
                self.close_child();
                self.close_frame();
            }
        }
    }

    fn close_child(&mut self) {
        let Some(frame) = self.frames.last_mut() else { return };
        if let Some(Closed { digest, bytes, node }) = self.closed.take() {
            let keys = std::mem::take(&mut frame.key).into_boxed_slice();
            let bytes = bytes + keys.len() as u64;
            frame.close_group();
            frame.add(Item { digest, bytes, count: 1, keys, node });
        } else if let Some((hash, bytes, key)) = self.leaf.take() {
            let (digest, keys) = (finish(hash.chain_update(b",")), key.into_boxed_slice());
            frame.close_group();
            frame.add(Item { digest, bytes, count: 1, keys, node: None });
        } else if !self.pending.is_empty() {
            let group = &mut frame.group;
            let hash = group.hash.get_or_insert_with(|| Sha256::new_with_prefix([LEAF]));
            hash.update(&self.pending);
            hash.update(b",");
            let len = self.pending.len() as u64;
            group.bytes += len;
            group.count += 1;
            let key = self.pending.get(..self.key.unwrap_or_default()).unwrap_or_default();
            group.keys.extend_from_slice(key);
            if ends_group(&self.pending, group.bytes, self.grain.bytes) {
                frame.close_group();
            }
        }
        self.next_child();
        self.keep_budget();
    }

    fn close_frame(&mut self) {
        let Some(mut frame) = self.frames.pop() else { return };
        frame.close_group();
        let bytes = frame.bytes + 2;
        let items = frame.items.filter(|_| bytes >= self.shortest_node);
        let node = items.map(|mut items| {
            items.shrink_to_fit();
            Box::new(Node { map: frame.map, items })
        });
        let digest = finish(frame.hash);
        self.closed = Some(Closed { digest, bytes, node });
        self.next_child();
    }

    /// Gives up detail until the tree fits: the items of an open container that takes most of the
    /// budget by itself, else the nodes of the shortest containers.
    fn keep_budget(&mut self) {
        while self.cost() > self.grain.budget {
            let nodes = self.frames.iter().any(|frame| frame.nodes > 0);
            let hog = self.frames.iter_mut().skip(1).max_by_key(|frame| frame.own_cost());
            match hog {
                Some(hog) if hog.own_cost() > self.grain.budget / 4 * 3 || !nodes => {
                    (hog.items, hog.keys, hog.nodes) = (None, 0, 0);
                }
                _ if nodes => {
                    self.shortest_node = self.shortest_node.saturating_mul(2);
                    self.frames.iter_mut().for_each(|frame| frame.prune(self.shortest_node));
                }
                _ => return,
            }
        }
    }

    fn cost(&self) -> usize {
        self.frames.iter().map(Frame::cost).sum()
    }

    /// The tree, or `None` if there was no text.
    pub(super) fn finish(mut self) -> Option<Tree> {
        self.close_child();
        let mut place = self.frames.pop()?;
        place.close_group();
        let root = place.items?.pop()?;
        let cost = size_of::<Tree>() + root.keys.len() + root.node_cost();
        Some(Tree { root, grain: self.grain.bytes, cost })
    }
}

/// Whether a group ends behind this child: by chance in proportion to its length, so that groups
/// have the grain's length on average, and the same children end groups in every state.
fn ends_group(child: &[u8], group: u64, grain: u64) -> bool {
    let chance = u64::from(crc32fast::hash(child)).saturating_mul(grain);
    let ends = chance < (child.len() as u64) << 32;
    (ends && group >= grain / 4) || group >= grain.saturating_mul(4)
}
