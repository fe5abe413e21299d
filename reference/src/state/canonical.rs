//! The canonical JSON of a state and its hash, which receivers check.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::DiffConfig;
use super::builder::Builder;
use super::error::StateError;
use super::stream::{Outlet, stream};
use super::tree::{Grain, Tree};

/// SHA-256 of a state's canonical JSON: compact, keys sorted bytewise, strings and numbers as
/// `serde_json` writes them.
pub type StateHash = [u8; 32];

/// The hash of a state, in bounded memory: no text longer than the window is ever held.
///
/// # Errors
/// [`StateError`] when the state has no canonical JSON within the limits.
///
/// ```
/// use dashproof_reference::state::{DiffConfig, state_hash};
/// use serde_json::json;
///
/// let config = DiffConfig::default();
/// let one = state_hash(&json!({"b": 1, "a": [true]}), &config)?;
/// assert_eq!(one, state_hash(&json!({"a": [true], "b": 1}), &config)?);
/// # Ok::<(), dashproof_reference::state::StateError>(())
/// ```
pub fn state_hash<S: Serialize + ?Sized>(
    state: &S,
    config: &DiffConfig,
) -> Result<StateHash, StateError> {
    let (hash, _) = stream(state, &config.bounds(), |_, _| Sha256::new())?;
    Ok(hash.finalize().into())
}

/// The canonical JSON of a state, whole: what a full state holds, and what is hashed.
///
/// # Errors
/// [`StateError`] when the state has no canonical JSON within the limits.
pub fn canonical_json<S: Serialize + ?Sized>(
    state: &S,
    config: &DiffConfig,
) -> Result<Vec<u8>, StateError> {
    let (Kept(kept), window) = stream(state, &config.bounds(), Kept::new)?;
    Ok(window.or(kept).unwrap_or_default())
}

impl Outlet for Sha256 {
    fn push(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

/// Keeps a text that the window could not.
struct Kept(Option<Vec<u8>>);

impl Kept {
    fn new(bytes: u64, in_window: bool) -> Self {
        let room = || Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        Self((!in_window).then(room))
    }
}

impl Outlet for Kept {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(text) = &mut self.0 {
            text.extend_from_slice(bytes);
        }
    }
}

/// What one look at a state gives.
pub(super) struct Summary {
    pub(super) hash: StateHash,
    pub(super) bytes: u64,
    /// `None` when the budget has no room for one.
    pub(super) tree: Option<Tree>,
    /// The canonical text, if it fitted the window or was asked for.
    pub(super) text: Option<Vec<u8>>,
}

struct Digests {
    hash: Sha256,
    bytes: u64,
    builder: Option<Builder>,
    kept: Kept,
}

impl Outlet for Digests {
    fn push(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        if let Some(builder) = &mut self.builder {
            builder.push(bytes);
        }
        self.kept.push(bytes);
    }
}

/// Looks at a state: hash, tree, and the text if `keep` says so for its length.
pub(super) fn summarise<S: Serialize + ?Sized>(
    state: &S,
    config: &DiffConfig,
    base_grain: Option<u64>,
    keep: impl FnOnce(u64) -> bool,
) -> Result<Summary, StateError> {
    let outlet = |bytes, in_window| {
        let grain = Grain::choose(bytes, config.digest_budget_bytes, base_grain);
        let kept = Kept::new(bytes, in_window || !keep(bytes));
        Digests { hash: Sha256::new(), bytes, builder: grain.map(Builder::new), kept }
    };
    let (digests, window) = stream(state, &config.bounds(), outlet)?;
    Ok(Summary {
        hash: digests.hash.finalize().into(),
        bytes: digests.bytes,
        tree: digests.builder.and_then(Builder::finish),
        text: window.or(digests.kept.0),
    })
}
