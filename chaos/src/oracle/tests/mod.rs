//! Every law has a history that keeps it and one that breaks it.

mod agree;
mod bounds;
mod crashes;
mod delivery;
mod ends;
mod external;
mod letters;
mod limits;
mod manual;
mod metrics;
mod order;
mod secured;
mod silent;
mod spool;
mod states;
mod stores;
mod story;
mod surface;
mod tables;
mod time;
mod total;
mod unknown;
mod verdict;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::history::Line;

/// What somebody does to a history: takes out, doubles or swaps lines.
type Edit = (u8, Index, Index);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec((0..3_u8, any::<Index>(), any::<Index>()), 0..12)
}

fn mangle(lines: &mut Vec<Line>, edits: Vec<Edit>) {
    for (what, a, b) in edits {
        let (a, b) = (a.index(lines.len()), b.index(lines.len()));
        match what {
            0 if lines.len() > 1 => drop(lines.remove(a)),
            1 => lines.insert(a, lines[b].clone()),
            _ => lines.swap(a, b),
        }
    }
}
