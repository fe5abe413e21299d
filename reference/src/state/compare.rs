//! Two digest trees in, the operations that lead from one to the other out, values still missing.
//!
//! The operations are in the order of the new state's canonical text, and an index counts in the
//! array as it is when all operations before are applied, which is its index in the new state.

use std::ops::Range;

use super::error::push_segment;
use super::keys::{compare_literals, split_literals, string_of};
use super::tree::{Item, Node, Tree};
use crate::proto::{DiffOperation, OpType};

/// More operations make a message that costs more to apply than the whole state.
pub(super) const MAX_OPERATIONS: usize = 20_000;

/// How far an array's items are searched for the next that is unchanged.
const LOOKAHEAD: usize = 32;

/// The values to fetch, as a tree over the new state.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The whole value here is that of the operation with this index.
    Whole(usize),
    /// Sorted by key.
    Map(Vec<(String, Wanted)>),
    /// Sorted by index.
    Seq(Vec<(usize, Wanted)>),
}

/// Operations without values, and where these are.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) operations: Vec<DiffOperation>,
    pub(super) wanted: Wanted,
}

/// A patch is no better than the whole state.
struct Hopeless;

/// Compares; `None` when the patch would surely not be smaller than so many bytes.
pub(super) fn compare(base: &Tree, next: &Tree, full: u64) -> Option<Changes> {
    if base.grain != next.grain {
        return None;
    }
    let (Some(old), Some(new)) = (&base.root.node, &next.root.node) else { return None };
    let mut out = Comparison { operations: Vec::new(), bytes: 0, full, path: String::new() };
    let wanted = out.node(old, new).ok()?;
    Some(Changes { operations: out.operations, wanted })
}

struct Comparison {
    operations: Vec<DiffOperation>,
    /// At least so many bytes in all.
    bytes: u64,
    full: u64,
    path: String,
}

impl Comparison {
    fn charge(&mut self, bytes: u64) -> Result<(), Hopeless> {
        self.bytes += bytes;
        if self.bytes >= self.full || self.operations.len() > MAX_OPERATIONS {
            return Err(Hopeless);
        }
        Ok(())
    }

    fn operation(&mut self, op: OpType, segment: &str) -> Result<Wanted, Hopeless> {
        let mut path = self.path.clone();
        push_segment(&mut path, segment);
        self.charge(path.len() as u64)?;
        self.operations.push(DiffOperation { op: op.into(), path, ..DiffOperation::default() });
        Ok(Wanted::Whole(self.operations.len() - 1))
    }

    fn inside(&mut self, segment: &str, old: &Node, new: &Node) -> Result<Wanted, Hopeless> {
        let outside = self.path.len();
        push_segment(&mut self.path, segment);
        let wanted = self.node(old, new);
        self.path.truncate(outside);
        wanted
    }

    fn node(&mut self, old: &Node, new: &Node) -> Result<Wanted, Hopeless> {
        match (old.map, new.map) {
            (true, true) => self.map(&old.items, &new.items),
            (false, false) => self.seq(&old.items, &new.items),
            // The caller replaces nodes of two kinds.
            _ => Err(Hopeless),
        }
    }

    fn map(&mut self, old: &[Item], new: &[Item]) -> Result<Wanted, Hopeless> {
        let (mut gone, mut here, mut inside) = (Vec::new(), Vec::new(), Vec::new());
        let mut olds = old.iter().peekable();
        for item in new {
            let order = |old: &Item| compare_literals(first_key(old), first_key(item));
            while let Some(old) = olds.next_if(|old| order(old).is_lt()) {
                gone.extend(split_literals(&old.keys));
            }
            let Some(old) = olds.next_if(|old| order(old).is_eq()) else {
                here.extend(split_literals(&item.keys));
                self.charge(item.value_bytes())?;
                continue;
            };
            if old.same(item) {
                continue;
            }
            if let Some(pair) = both_nodes(old, item) {
                inside.push((first_key(item), pair));
            } else {
                gone.extend(split_literals(&old.keys));
                here.extend(split_literals(&item.keys));
                self.charge(item.value_bytes())?;
            }
        }
        olds.for_each(|old| gone.extend(split_literals(&old.keys)));
        self.entries(&gone, &here, inside)
    }

    /// What to do with the keys of changed items, and with the nodes that changed inside, by key.
    fn entries<'a>(
        &mut self,
        gone: &[&'a [u8]],
        here: &[&'a [u8]],
        inside: Vec<(&'a [u8], (&'a Node, &'a Node))>,
    ) -> Result<Wanted, Hopeless> {
        let mut gone = gone.iter().copied().peekable();
        let mut inside = inside.into_iter().peekable();
        let mut here = here.iter().copied().peekable();
        let mut wanted = Vec::new();
        loop {
            let keys = [gone.peek().copied(), here.peek().copied(), inside.peek().map(|i| i.0)];
            let Some(least) = keys.into_iter().flatten().min_by(|a, b| compare_literals(a, b))
            else {
                return Ok(Wanted::Map(wanted));
            };
            let key = string_of(least).into_owned();
            let was = gone.next_if_eq(&least).is_some();
            if let Some((_, (old, new))) = inside.next_if(|(key, _)| *key == least) {
                let part = self.inside(&key, old, new)?;
                wanted.push((key, part));
            } else if here.next_if_eq(&least).is_some() {
                let op = if was { OpType::Replace } else { OpType::Add };
                let whole = self.operation(op, &key)?;
                wanted.push((key, whole));
            } else {
                self.operation(OpType::Remove, &key)?;
            }
        }
    }

    fn seq(&mut self, old: &[Item], new: &[Item]) -> Result<Wanted, Hopeless> {
        let mut wanted = Vec::new();
        let (mut at, mut done) = (0, 0);
        for (olds, news) in changed_ranges(old, new) {
            at += children(new.get(done..news.start).unwrap_or_default());
            done = news.end;
            let mut olds = old.get(olds).unwrap_or_default().iter().peekable();
            let mut news = new.get(news).unwrap_or_default().iter().peekable();
            while let (Some(old), Some(item)) = (olds.peek(), news.peek())
                && let Some((old, item)) = both_nodes(old, item)
            {
                wanted.push((at, self.inside(&at.to_string(), old, item)?));
                at += 1;
                olds.next();
                news.next();
            }
            let was = children(olds);
            let mut is = 0;
            for item in news {
                self.charge(item.value_bytes())?;
                is += children([item]);
            }
            for index in 0..is {
                let op = if index < was { OpType::Replace } else { OpType::Add };
                wanted.push((at, self.operation(op, &at.to_string())?));
                at += 1;
            }
            for _ in is..was {
                self.operation(OpType::Remove, &at.to_string())?;
            }
        }
        Ok(Wanted::Seq(wanted))
    }
}

fn first_key(item: &Item) -> &[u8] {
    split_literals(&item.keys).next().unwrap_or_default()
}

fn both_nodes<'a>(old: &'a Item, new: &'a Item) -> Option<(&'a Node, &'a Node)> {
    let (old, new) = (old.node.as_deref()?, new.node.as_deref()?);
    (old.map == new.map).then_some((old, new))
}

fn children<'a>(items: impl IntoIterator<Item = &'a Item>) -> usize {
    items.into_iter().map(|item| usize::try_from(item.count).unwrap_or(usize::MAX)).sum()
}

/// The ranges of items that differ: common ends first, then a search for the nearest pair that is
/// the same again. Items between the ranges are the same on both sides.
fn changed_ranges(old: &[Item], new: &[Item]) -> Vec<(Range<usize>, Range<usize>)> {
    let front = old.iter().zip(new).take_while(|(a, b)| a.same(b)).count();
    let (old_rest, new_rest) = (old.len() - front, new.len() - front);
    let back = old.iter().rev().zip(new.iter().rev()).take(old_rest.min(new_rest));
    let back = back.take_while(|(a, b)| a.same(b)).count();
    let (old_end, new_end) = (old.len() - back, new.len() - back);
    let (mut i, mut j) = (front, front);
    let mut ranges = Vec::new();
    while i < old_end || j < new_end {
        let (olds, news) = (old.get(i..old_end), new.get(j..new_end));
        let (a, b) = nearest_same(olds.unwrap_or_default(), news.unwrap_or_default())
            .unwrap_or((old_end - i, new_end - j));
        if a > 0 || b > 0 {
            ranges.push((i..i + a, j..j + b));
        }
        (i, j) = (i + a, j + b);
        let run = old
            .iter()
            .take(old_end)
            .skip(i)
            .zip(new.iter().take(new_end).skip(j))
            .take_while(|(a, b)| a.same(b))
            .count();
        (i, j) = (i + run, j + run);
    }
    ranges
}

/// How many items to pass over on each side until two are the same, as few as possible.
fn nearest_same(old: &[Item], new: &[Item]) -> Option<(usize, usize)> {
    (0..2 * LOOKAHEAD).find_map(|sum| {
        (0..=sum).find_map(|a| {
            let (left, right) = (old.get(a)?, new.get(sum - a));
            right.filter(|right| left.same(right)).map(|_| (a, sum - a))
        })
    })
}
