//! What a checkpoint is.

use std::collections::BTreeMap;

/// A moment: seconds since 1970, which may be negative, and nanoseconds within the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub secs: i64,
    /// Below 1 000 000 000.
    pub nanos: u32,
}

/// Everything about a checkpoint but its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Unique in the store.
    pub id: String,
    /// Whose checkpoint.
    pub thread_id: String,
    /// Where in the graph it was taken.
    pub node: String,
    /// When, by the wall clock of then. Says nothing about order.
    pub timestamp: Timestamp,
    /// The checkpoint before it, as the caller said.
    pub parent_id: Option<String>,
    /// Whatever the caller added.
    pub metadata: BTreeMap<String, String>,
    /// Its place in the order of all saves in the directory; 0 for version-1 files, which are older
    /// than every generation.
    pub generation: u64,
    /// Version of the state's schema.
    pub schema: u32,
}

/// A checkpoint as it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint<S> {
    /// The state.
    pub state: S,
    /// The rest.
    pub info: Info,
}

/// A checkpoint to be saved.
#[derive(Clone, Debug)]
pub struct Draft<S> {
    pub(super) state: S,
    pub(super) thread_id: String,
    pub(super) id: Option<String>,
    pub(super) node: String,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) parent_id: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

impl<S> Draft<S> {
    /// A state of a thread. Any text is a thread id: it never shapes a path.
    #[must_use]
    pub fn new(thread_id: impl Into<String>, state: S) -> Self {
        Self {
            state,
            thread_id: thread_id.into(),
            id: None,
            node: String::new(),
            timestamp: None,
            parent_id: None,
            metadata: BTreeMap::new(),
        }
    }

    /// The caller's own id instead of a generated one. Any text; saving fails with
    /// [`AlreadyExists`](super::ErrorKind::AlreadyExists) when the store has it.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Where in the graph the state was taken.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// The caller's own time instead of the clock's.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The checkpoint before it.
    #[must_use]
    pub fn parent_id(mut self, id: impl Into<String>) -> Self {
        self.parent_id = Some(id.into());
        self
    }

    /// Adds a line of metadata.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

/// A thread and its newest checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadInfo {
    /// The thread.
    pub thread_id: String,
    /// Its newest checkpoint, as `list` would give it first.
    pub newest: Info,
    /// How many checkpoints `list` would give.
    pub checkpoints: usize,
}
