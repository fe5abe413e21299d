//! Settings of a store.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::counters::Counters;
use super::payload::Compression;
use super::schema::Schema;
use super::seam::{Clock, Entropy, SystemClock, SystemEntropy};

/// Bytes of the largest state that is read or inflated where nobody says otherwise: 1 GiB.
pub const MAX_STATE: u64 = 1 << 30;

/// Settings of a store. They say how new files are written; what is there is read under any of
/// them, so that a setting may change from one open to the next.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) compression: Compression,
    pub(super) schema: Schema,
    pub(super) keep: Option<NonZeroUsize>,
    pub(super) verify: bool,
    pub(super) max_state: u64,
    pub(super) holder: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) counters: Counters,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            schema: Schema::default(),
            keep: None,
            verify: true,
            max_state: MAX_STATE,
            holder: format!("pid {}", std::process::id()),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            counters: Counters::default(),
        }
    }
}

impl Options {
    /// The defaults: plain, schema version 1, everything kept, every save verified, states up to
    /// 1 GiB, the system's clock and entropy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How new states are stored.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The schema version of new states, and the migrations of older ones.
    #[must_use]
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = schema;
        self
    }

    /// After each save, all but the newest `n` checkpoints of its thread are removed.
    #[must_use]
    pub fn keep_newest(mut self, n: NonZeroUsize) -> Self {
        self.keep = Some(n);
        self
    }

    /// Whether a save decodes what it has encoded before the file has its name. Without it a
    /// state whose type cannot read what it writes is found out at its load only.
    #[must_use]
    pub fn verify_saves(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Most bytes of an encoded state, both ways.
    #[must_use]
    pub fn max_state(mut self, bytes: u64) -> Self {
        self.max_state = bytes;
        self
    }

    /// What whoever finds the directory locked is told about this store.
    #[must_use]
    pub fn holder(mut self, holder: impl Into<String>) -> Self {
        self.holder = holder.into();
        self
    }

    /// Another wall clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Another source of entropy.
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy + 'static) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Counts into these, so that they outlive the store or are shared.
    #[must_use]
    pub fn counters(mut self, counters: Counters) -> Self {
        self.counters = counters;
        self
    }
}
