//! The part of scenario files that is about state diffs: keys and model.

use super::keys::{Key, Names, Shape, Variant, may};
use super::model::FaultKind;
use super::value::Fields;
use crate::subject::state::Defect;

/// How the states of a load follow one another.
pub(crate) const SHAPES: &[&str] = &["steady", "growing", "alternating", "repeating"];

/// Smallest state that has room for everything a state of a load holds.
pub(crate) const SMALLEST: usize = 128;

pub(super) const SHAPE: Names = Names { what: "shape", list: || SHAPES.to_vec() };
pub(super) const DEFECT: Names =
    Names { what: "defect", list: || Defect::ALL.iter().map(|defect| defect.name()).collect() };

pub(super) const STATE: &[Key] = &[
    may("max_state_bytes", Shape::Bytes, "Longest canonical JSON of a state, 10 MiB if not given."),
    may("max_diff_bytes", Shape::Bytes, "Longest message without its header, 10 MiB."),
    may("max_depth", Shape::Count(1, 127), "Deepest nesting, 100 if not given."),
    may("digest_budget_bytes", Shape::Bytes, "Memory kept between two diffs, 2 MiB."),
    may("window_bytes", Shape::Bytes, "Memory for text on its way, 4 MiB if not given."),
];

pub(super) const DIFF_LOST: Variant = Variant {
    name: "diff.lost",
    about: "Messages with state diffs are not delivered, and the sender is told.",
    keys: &[
        may("count", Shape::Count(1, 1_000_000), "How many, 1 if not given."),
        may(
            "reported_after",
            Shape::Count(0, 1_000),
            "States of the thread that are offered before the sender is told, 0 if not given.",
        ),
    ],
};

/// A maker of state diffs under test, with its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSubject {
    /// Longest canonical JSON of a state.
    pub max_state_bytes: u64,
    /// Longest encoded message, its header not counted.
    pub max_diff_bytes: u64,
    /// Deepest nesting.
    pub max_depth: u64,
    /// Memory kept between two diffs of a thread.
    pub digest_budget_bytes: u64,
    /// Memory for text on its way.
    pub window_bytes: u64,
}

impl Default for StateSubject {
    fn default() -> Self {
        Self {
            max_state_bytes: 10 << 20,
            max_diff_bytes: 10 << 20,
            max_depth: 100,
            digest_budget_bytes: 2 << 20,
            window_bytes: 4 << 20,
        }
    }
}

/// States to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateLoad {
    /// How many.
    pub count: u32,
    /// `steady`, `growing`, `alternating` or `repeating`.
    pub shape: String,
    /// What each n-th state holds that no JSON can.
    pub defect: Option<String>,
    /// Objects and arrays inside each other, in each n-th state.
    pub depth: Option<u32>,
    /// n.
    pub every: u32,
}

pub(super) fn subject(fields: &Fields) -> StateSubject {
    let default = StateSubject::default();
    let or = |key, default| fields.count(key).unwrap_or(default);
    StateSubject {
        max_state_bytes: or("max_state_bytes", default.max_state_bytes),
        max_diff_bytes: or("max_diff_bytes", default.max_diff_bytes),
        max_depth: or("max_depth", default.max_depth),
        digest_budget_bytes: or("digest_budget_bytes", default.digest_budget_bytes),
        window_bytes: or("window_bytes", default.window_bytes),
    }
}

/// The load's states, if it is one of states.
pub(super) fn load(fields: &Fields) -> Option<StateLoad> {
    Some(StateLoad {
        count: fields.count("states")?,
        shape: fields.text("shape").unwrap_or_else(|| "steady".to_owned()),
        defect: fields.text("defect"),
        depth: fields.count("depth"),
        every: fields.count("every").unwrap_or(1),
    })
}

pub(super) fn fault(name: &str, fields: &Fields) -> Option<FaultKind> {
    (name == DIFF_LOST.name).then(|| FaultKind::DiffLost {
        count: fields.count("count").unwrap_or(1),
        reported_after: fields.count("reported_after").unwrap_or(0),
    })
}
