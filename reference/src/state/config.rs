//! The limits of state diffs.

use super::stream::Bounds;

/// Deepest nesting that `serde_json` reads back.
const READABLE_DEPTH: usize = 127;
/// A window smaller than this holds nothing.
const SMALLEST_WINDOW: usize = 256;

/// Limits of a [`DiffTracker`](super::DiffTracker), and of [`state_hash`](super::state_hash).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiffConfig {
    /// Longest canonical JSON of a state; a longer one is degraded (`too_large`).
    pub max_state_bytes: u64,
    /// Longest encoded [`StateDiff`](crate::proto::StateDiff), its header not counted; a longer one
    /// is degraded (`diff_too_large`).
    pub max_diff_bytes: u64,
    /// Deepest nesting; a deeper state is degraded (`too_deep`). More than 127 counts as 127, the
    /// deepest that `serde_json` reads back.
    pub max_depth: usize,
    /// Memory kept between two diffs instead of the state, in bytes. With 0 only the hash of the
    /// whole is kept, and every diff is a full state.
    pub digest_budget_bytes: u64,
    /// Memory for text on its way while a state is walked, in bytes. A state that fits takes one
    /// walk, a larger one more. Less than 256 counts as 256.
    pub window_bytes: usize,
}

impl Default for DiffConfig {
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

impl DiffConfig {
    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            max_bytes: self.max_state_bytes,
            max_depth: self.depth(),
            window: self.window_bytes.max(SMALLEST_WINDOW),
        }
    }

    pub(super) fn depth(&self) -> usize {
        self.max_depth.min(READABLE_DEPTH)
    }
}
