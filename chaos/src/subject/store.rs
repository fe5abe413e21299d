//! A checkpointer under test, as the lanes of stores drive it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use dashproof_reference::checkpoint::{
    self, Checkpoint, CheckpointError, Clock, Compression, Draft, Health, Options, Schema,
    SeededEntropy, Store, Timestamp, Value,
};
use dashproof_reference::fs::Fs;
use dashproof_reference::runtime::CheckpointMetrics;
use prometheus::{Registry, TextEncoder};
use serde::{Deserialize, Serialize};

/// An answer that is an error: its kind, as stores name kinds, and its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {text}")]
pub struct Refusal {
    /// `storage_full`, `permission_denied`, `io`, `not_found`, ….
    pub kind: String,
    /// For people.
    pub text: String,
}

impl From<CheckpointError> for Refusal {
    fn from(error: CheckpointError) -> Self {
        Self { kind: error.kind().as_str().to_owned(), text: error.to_string() }
    }
}

/// A checkpoint that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub thread: String,
    /// Its state.
    pub state: String,
    /// Seconds of the wall clock at its save.
    #[serde(default)]
    pub secs: i64,
}

/// What is listed of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Seconds of the wall clock at its save.
    pub secs: i64,
}

/// Result of a call.
pub type Answered<T> = Result<T, Refusal>;

/// Saves from any thread, beside whatever else is done to the store.
pub type Saver = Arc<dyn Fn(&str, Option<&str>, &str) -> Answered<String> + Send + Sync>;

/// An open store. All calls block; what they promise is what the laws of checkpoints say.
pub trait Checkpointer: Send {
    /// Saves a state, under the caller's own id if there is one; gives the id.
    fn save(&mut self, thread: &str, id: Option<&str>, state: &str) -> Answered<String>;
    /// Saves states of several threads, each under an id of the store's own: at the same moment
    /// where the store is one for that, one after the other elsewhere. Answers in the order asked.
    fn save_at_once(&mut self, all: &[(String, String)]) -> Vec<Answered<String>> {
        all.iter().map(|(thread, state)| self.save(thread, None, state)).collect()
    }
    /// What saves from any thread; `None` where a store does one thing at a time.
    fn saver(&self) -> Option<Saver> {
        None
    }
    /// The checkpoint of an id.
    fn load(&mut self, id: &str) -> Answered<Given>;
    /// The thread's newest valid checkpoint.
    fn latest(&mut self, thread: &str) -> Answered<Option<Given>>;
    /// A thread's checkpoints, newest first.
    fn list(&mut self, thread: &str) -> Answered<Vec<Listed>>;
    /// Every thread that has a checkpoint.
    fn threads(&mut self) -> Answered<Vec<String>>;
    /// Names of files that are not healthy.
    fn verify(&mut self) -> Answered<Vec<String>>;
    /// Deletes a checkpoint; says how many went.
    fn delete(&mut self, id: &str) -> Answered<u64>;
    /// Deletes a thread; says how many checkpoints went.
    fn delete_thread(&mut self, thread: &str) -> Answered<u64>;
    /// Removes all but the newest of each thread; says how many went.
    fn retain(&mut self, keep: NonZeroUsize) -> Answered<u64>;
    /// Its metrics, as Prometheus text.
    fn metrics(&self) -> String;
    /// Closes it in good order. Dropping it is what a crash does.
    fn close(self: Box<Self>);
}

/// The wall clock of a machine, which somebody may set.
pub type Wall = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What a store is opened with.
#[derive(Clone)]
pub struct Setup {
    /// The disk.
    pub fs: Arc<dyn Fs>,
    /// The directory.
    pub dir: PathBuf,
    /// What the store says about itself to whoever finds the directory taken.
    pub holder: String,
    /// `file`, `compressed` or `versioned`.
    pub variant: String,
    /// The schema version of new states, 2 or above with migrations.
    pub schema: u32,
    /// Retention per thread.
    pub keep: Option<NonZeroUsize>,
    /// Seed of everything random.
    pub entropy: u64,
    /// Seconds since 1970.
    pub wall: Wall,
    /// Somebody will ask for its metrics.
    pub scraped: bool,
}

/// Opens a store.
pub type Open = Arc<dyn Fn(Setup) -> Answered<Box<dyn Checkpointer>> + Send + Sync>;

struct WallClock(Wall);

impl std::fmt::Debug for WallClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WallClock")
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp { secs: (self.0)(), nanos: 0 }
    }
}

/// A state as it is saved under schema version 1.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    text: String,
}

/// The same under schema version 2.
#[derive(Debug, Serialize, Deserialize)]
struct NewState {
    body: String,
    revision: u32,
}

/// What kinds of states have in common.
trait Text: Serialize + serde::de::DeserializeOwned + Send {
    fn of(text: &str) -> Self;
    fn text(self) -> String;
}

impl Text for State {
    fn of(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    fn text(self) -> String {
        self.text
    }
}

impl Text for NewState {
    fn of(text: &str) -> Self {
        Self { body: text.to_owned(), revision: 2 }
    }

    fn text(self) -> String {
        self.body
    }
}

fn renamed(mut state: Value) -> Result<Value, String> {
    let text = state.remove("text").ok_or("the state has no text")?;
    let done = state.set("body", text) && state.set("revision", Value::Unsigned(2));
    if done { Ok(state) } else { Err("the state is no map".to_owned()) }
}

/// The reference's store.
struct Reference<S> {
    store: Arc<Store<S>>,
    registry: Option<Registry>,
}

/// Opens the reference.
///
/// # Errors
/// As its `open` answers.
pub fn reference(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    let schema = Schema::new(setup.schema);
    match setup.schema {
        1 => opened::<State>(setup, schema),
        _ => opened::<NewState>(setup, schema.migrate(1, renamed)),
    }
}

fn opened<S: Text + 'static>(setup: Setup, schema: Schema) -> Answered<Box<dyn Checkpointer>> {
    // Most stores are opened on a crash state, where the registry would be the largest cost.
    let registry = setup.scraped.then(Registry::new);
    let metrics = registry.as_ref().map(CheckpointMetrics::register).transpose();
    let metrics = metrics.map_err(|e| Refusal { kind: "io".to_owned(), text: e.to_string() })?;
    let compression = match setup.variant.as_str() {
        "compressed" => Compression::Zstd(3),
        _ => Compression::None,
    };
    let mut options = Options::new()
        .compression(compression)
        .schema(schema)
        .holder(setup.holder)
        .clock(WallClock(setup.wall))
        .entropy(SeededEntropy::new(setup.entropy))
        .counters(metrics.map(|metrics| metrics.counters()).unwrap_or_default());
    if let Some(keep) = setup.keep {
        options = options.keep_newest(keep);
    }
    let store = Store::<S>::open(setup.fs, setup.dir, options)?;
    Ok(Box::new(Reference { store: Arc::new(store), registry }))
}

fn given<S: Text>(checkpoint: Checkpoint<S>) -> Given {
    let checkpoint::Info { id, thread_id, timestamp, .. } = checkpoint.info;
    Given { id, thread: thread_id, secs: timestamp.secs, state: checkpoint.state.text() }
}

fn save<S: Text>(
    store: &Store<S>,
    thread: &str,
    id: Option<&str>,
    state: &str,
) -> Answered<String> {
    let mut draft = Draft::new(thread, S::of(state));
    if let Some(id) = id {
        draft = draft.id(id);
    }
    Ok(store.save(&draft)?.id)
}

impl<S: Text + 'static> Checkpointer for Reference<S> {
    fn save(&mut self, thread: &str, id: Option<&str>, state: &str) -> Answered<String> {
        save(&self.store, thread, id, state)
    }

    fn saver(&self) -> Option<Saver> {
        let store = Arc::clone(&self.store);
        Some(Arc::new(move |thread, id, state| save(&store, thread, id, state)))
    }

    fn load(&mut self, id: &str) -> Answered<Given> {
        Ok(given(self.store.load(id)?))
    }

    fn latest(&mut self, thread: &str) -> Answered<Option<Given>> {
        Ok(self.store.latest(thread)?.map(given))
    }

    fn list(&mut self, thread: &str) -> Answered<Vec<Listed>> {
        let listed = self.store.list(thread).into_iter();
        Ok(listed.map(|info| Listed { id: info.id, secs: info.timestamp.secs }).collect())
    }

    fn threads(&mut self) -> Answered<Vec<String>> {
        Ok(self.store.list_threads().into_iter().map(|thread| thread.thread_id).collect())
    }

    fn verify(&mut self) -> Answered<Vec<String>> {
        let reports = self.store.verify()?.into_iter();
        let ill = reports.filter(|report| report.health != Health::Healthy);
        Ok(ill.map(|report| report.name).collect())
    }

    fn delete(&mut self, id: &str) -> Answered<u64> {
        Ok(u64::from(self.store.delete(id)?))
    }

    fn delete_thread(&mut self, thread: &str) -> Answered<u64> {
        Ok(self.store.delete_thread(thread)? as u64)
    }

    fn retain(&mut self, keep: NonZeroUsize) -> Answered<u64> {
        Ok(self.store.retain(keep)? as u64)
    }

    fn metrics(&self) -> String {
        // names and labels are the reference's own table: what cannot be encoded is no text
        let families = self.registry.as_ref().map(Registry::gather).unwrap_or_default();
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }

    fn close(self: Box<Self>) {
        // whoever still saves keeps it open, as a store that is shared is
        if let Some(store) = Arc::into_inner(self.store) {
            store.close();
        }
    }
}
