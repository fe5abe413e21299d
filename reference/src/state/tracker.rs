//! The sender's side of a thread's chain of state diffs.

use std::sync::Arc;

use prost::Message as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::DiffConfig;
use super::canonical::{StateHash, Summary, canonical_json, summarise};
use super::collect::collect;
use super::compare::compare;
use super::error::{StateError, StateErrorKind};
use super::metrics::DiffCounters;
use super::tree::Tree;
use crate::proto::StateDiff;

/// Names a message that [`DiffTracker::diff`] gave, for [`DiffTracker::lost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiffToken(u64);

/// Why a diff is a full state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FullReason {
    /// The receiver has no state yet.
    First,
    /// A message before it was lost: a resync.
    Resync,
    /// A patch would not be smaller, as far as the digests can tell.
    NotSmaller,
}

/// What became of a state. The message's header is left to the caller.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a message that is not sent must be reported with `DiffTracker::lost`"]
pub enum Diffed {
    /// Operations that lead from the state sent last (or rebased on) to this one.
    Patch {
        /// To send.
        diff: StateDiff,
        /// To report its loss.
        token: DiffToken,
    },
    /// The whole state.
    Full {
        /// To send.
        diff: StateDiff,
        /// To report its loss.
        token: DiffToken,
        /// Why not a patch.
        reason: FullReason,
    },
    /// The state is the one that was sent last: there is nothing to send.
    Unchanged,
    /// The state has no diff; it is counted by [`StateError::reason`]. Nothing else is affected:
    /// the event that goes with the state is to be sent, and the chain goes on from the state that
    /// was sent last.
    Degraded(StateError),
}

/// Makes the diffs of one thread's states without keeping a state: see the
/// [manual](crate::manual::_07_state).
///
/// The contract. Messages are delivered in the order in which they were made, or reported with
/// [`Self::lost`]: when the outcome of one is anything but `acked`, `in_doubt` included. After that
/// the next diff is a full state. A message that was never sent is lost, too. Until the report the
/// receiver cannot follow, and knows it: every patch names the state that it starts from.
///
/// ```
/// use dashproof_reference::state::{DiffApplier, DiffConfig, DiffTracker, Diffed};
/// use serde_json::json;
///
/// let mut tracker = DiffTracker::new(DiffConfig::default());
/// let mut receiver = DiffApplier::new(DiffConfig::default());
/// let steps = "a step and a step and a step and a step and a step and a step";
/// for step in 0..3 {
///     let state = json!({"step": step, "log": [steps, steps, steps]});
///     match tracker.diff(&state) {
///         Diffed::Patch { diff, .. } => assert_eq!(receiver.apply(&diff)?, &state),
///         Diffed::Full { diff, .. } => {
///             assert_eq!(step, 0);
///             receiver.apply(&diff)?;
///         }
///         Diffed::Unchanged => {}
///         Diffed::Degraded(error) => tracing::warn!(%error, "no diff of this step"),
///     }
/// }
/// # Ok::<(), dashproof_reference::state::ApplyError>(())
/// ```
#[derive(Debug)]
pub struct DiffTracker {
    config: DiffConfig,
    counters: Arc<DiffCounters>,
    base: Option<Base>,
    /// Why there is no base.
    without_base: FullReason,
    next_token: u64,
    /// Losses before this token no longer matter: what came then does not rest on them.
    resynced: u64,
}

/// What is kept of the state sent last.
#[derive(Debug)]
struct Base {
    id: Vec<u8>,
    hash: StateHash,
    tree: Option<Tree>,
}

impl DiffTracker {
    /// A tracker with counters of its own.
    #[must_use]
    pub fn new(config: DiffConfig) -> Self {
        Self::with_counters(config, Arc::default())
    }

    /// A tracker that counts together with others, see
    /// [`DiffMetrics`](super::DiffMetrics).
    #[must_use]
    pub fn with_counters(config: DiffConfig, counters: Arc<DiffCounters>) -> Self {
        let without_base = FullReason::First;
        Self { config, counters, base: None, without_base, next_token: 0, resynced: 0 }
    }

    /// The diff between the state sent last and this one.
    ///
    /// The state's `Serialize` is called more than once and must give the same data each time.
    /// Where it is seen not to, the step is degraded; where it is not, the receiver sees it: the
    /// hash does not match.
    pub fn diff<S: Serialize + ?Sized>(&mut self, state: &S) -> Diffed {
        let diffed = self.step(state).unwrap_or_else(Diffed::Degraded);
        self.counters.count(&diffed);
        diffed
    }

    /// The message was not delivered, or nobody knows. The next diff is a full state, unless a full
    /// state came after the lost message already.
    pub fn lost(&mut self, token: DiffToken) {
        if token.0 >= self.resynced && self.base.take().is_some() {
            self.without_base = FullReason::Resync;
        }
    }

    /// From here on the receiver has this state, under this checkpoint id, by other means than a
    /// diff: it reads the checkpoint. So a state too large to be sent can still have patches.
    ///
    /// # Errors
    /// What [`Diffed::Degraded`] would tell. The base is as before.
    pub fn rebase<S: Serialize + ?Sized>(
        &mut self,
        checkpoint_id: &[u8],
        state: &S,
    ) -> Result<(), StateError> {
        let summary = summarise(state, &self.config, self.grain(), |_| false)?;
        let Summary { hash, tree, .. } = summary;
        self.base = Some(Base { id: checkpoint_id.to_vec(), hash, tree });
        self.resynced = self.next_token;
        Ok(())
    }

    /// Bytes kept in place of the state sent last.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        let base = self.base.as_ref();
        base.map_or(0, |base| base.id.capacity() + base.tree.as_ref().map_or(0, |tree| tree.cost))
    }

    /// What became of the states so far.
    #[must_use]
    pub fn counters(&self) -> &DiffCounters {
        &self.counters
    }

    fn grain(&self) -> Option<u64> {
        self.base.as_ref().and_then(|base| base.tree.as_ref()).map(|tree| tree.grain)
    }

    fn step<S: Serialize + ?Sized>(&mut self, state: &S) -> Result<Diffed, StateError> {
        let limit = self.config.max_diff_bytes;
        let keep = |bytes| self.base.is_none() && full_size(bytes) <= limit;
        let mut summary = summarise(state, &self.config, self.grain(), keep)?;
        if self.base.as_ref().is_some_and(|base| base.hash == summary.hash) {
            return Ok(Diffed::Unchanged);
        }
        let diffed = match self.patch(state, &summary)? {
            Some(diff) => {
                self.limited(diff.encoded_len() as u64, summary.bytes)?;
                Diffed::Patch { diff, token: DiffToken(self.next_token) }
            }
            None => self.full(state, &mut summary)?,
        };
        self.next_token += 1;
        let Summary { hash, tree, .. } = summary;
        self.base = Some(Base { id: hash.to_vec(), hash, tree });
        Ok(diffed)
    }

    fn limited(&self, size: u64, state: u64) -> Result<(), StateError> {
        let limit = self.config.max_diff_bytes;
        if size > limit {
            let full = full_size(state);
            return Err(StateError::new(StateErrorKind::DiffTooLarge { limit, full }));
        }
        Ok(())
    }

    /// The patch, if it is smaller than the full state.
    fn patch<S: Serialize + ?Sized>(
        &self,
        state: &S,
        next: &Summary,
    ) -> Result<Option<StateDiff>, StateError> {
        let Some(base) = &self.base else { return Ok(None) };
        let trees = base.tree.as_ref().zip(next.tree.as_ref());
        // What could not be sent is not fetched either.
        let most = next.bytes.min(self.config.max_diff_bytes);
        let Some(changes) = trees.and_then(|(old, new)| compare(old, new, most)) else {
            return Ok(None);
        };
        let diff = StateDiff {
            base_checkpoint_id: base.id.clone(),
            operations: collect(state, changes, self.config.depth())?,
            state_hash: next.hash.to_vec(),
            ..StateDiff::default()
        };
        let smaller = (diff.encoded_len() as u64) < full_size(next.bytes);
        Ok(smaller.then_some(diff))
    }

    fn full<S: Serialize + ?Sized>(
        &mut self,
        state: &S,
        next: &mut Summary,
    ) -> Result<Diffed, StateError> {
        self.limited(full_size(next.bytes), next.bytes)?;
        let full_state = match next.text.take() {
            Some(text) => text,
            None => canonical_json(state, &self.config)?,
        };
        let hash: StateHash = Sha256::digest(&full_state).into();
        if hash != next.hash {
            return Err(StateError::changed());
        }
        let reason = if self.base.is_some() { FullReason::NotSmaller } else { self.without_base };
        let token = DiffToken(self.next_token);
        self.resynced = self.next_token;
        let state_hash = hash.to_vec();
        Ok(Diffed::Full {
            diff: StateDiff { state_hash, full_state, ..StateDiff::default() },
            token,
            reason,
        })
    }
}

/// Encoded length of the message that holds a full state of so many bytes, its header not counted.
fn full_size(bytes: u64) -> u64 {
    // Two fields: a tag of one byte, the length, the content.
    let len = prost::length_delimiter_len(usize::try_from(bytes).unwrap_or(usize::MAX)) as u64;
    (1 + 1 + 32) + (1 + len + bytes)
}
