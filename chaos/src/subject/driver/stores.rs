//! Stores of checkpoints behind the driver protocol.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use dashproof_reference::core::BoxFuture;
use dashproof_reference::fs::Fs;
use dashproof_reference::runtime::{StdFs, holder};

use super::watched::{WATCH, Watched};
use crate::subject::Subject;
use crate::subject::protocol::{Answer, Op, OpError};
use crate::subject::store::{Checkpointer, Open, Refusal, Setup, Wall};

type CallResult = Result<Answer, OpError>;

/// What a driver with stores declares: operations, and the variants that it has beside `file`.
pub const CAPABILITIES: [&str; 14] = [
    "checkpoint.open",
    "checkpoint.save",
    "checkpoint.load",
    "checkpoint.latest",
    "checkpoint.list",
    "checkpoint.threads",
    "checkpoint.verify",
    "checkpoint.delete",
    "checkpoint.delete_thread",
    "checkpoint.retain",
    "checkpoint.metrics",
    "checkpoint.close",
    "checkpoint.variant.compressed",
    "checkpoint.variant.versioned",
];

/// A subject with stores beside what it has. Their calls block, and run off the async path.
pub(super) struct Stores {
    inner: Arc<dyn Subject>,
    shelf: Arc<Shelf>,
}

/// The stores that are open.
struct Shelf {
    open: Open,
    wall: Wall,
    stores: Mutex<BTreeMap<u32, Box<dyn Checkpointer>>>,
}

impl Stores {
    /// Puts stores that `open` opens beside a subject.
    pub(super) fn beside(inner: Arc<dyn Subject>, open: Open, wall: Wall) -> Arc<dyn Subject> {
        let shelf = Arc::new(Shelf { open, wall, stores: Mutex::default() });
        Arc::new(Self { inner, shelf })
    }
}

impl Subject for Stores {
    fn call(&self, op: Op) -> BoxFuture<'_, CallResult> {
        Box::pin(async move {
            if let Op::Hello { .. } = op {
                let mut answer = self.inner.call(op).await?;
                answer.capabilities.extend(CAPABILITIES.map(str::to_owned));
                return Ok(answer);
            }
            if number(&op).is_none() {
                return self.inner.call(op).await;
            }
            let stores = Arc::clone(&self.shelf);
            let called = tokio::task::spawn_blocking(move || stores.serve(op)).await;
            called.unwrap_or_else(|error| {
                Err(OpError::new("panic", format!("the call panicked: {error}"), false))
            })
        })
    }
}

/// The store that an operation is about.
const fn number(op: &Op) -> Option<u32> {
    match op {
        Op::CheckpointOpen { store, .. }
        | Op::CheckpointSave { store, .. }
        | Op::CheckpointLoad { store, .. }
        | Op::CheckpointLatest { store, .. }
        | Op::CheckpointList { store, .. }
        | Op::CheckpointThreads { store }
        | Op::CheckpointVerify { store }
        | Op::CheckpointDelete { store, .. }
        | Op::CheckpointDeleteThread { store, .. }
        | Op::CheckpointRetain { store, .. }
        | Op::CheckpointMetrics { store }
        | Op::CheckpointClose { store } => Some(*store),
        _ => None,
    }
}

fn refused(refusal: Refusal) -> OpError {
    OpError::new(&refusal.kind, refusal.text, false)
}

fn config(text: &str) -> OpError {
    OpError::new("config", text.to_owned(), true)
}

fn went(count: u64) -> Answer {
    Answer { count: Some(count), ..Answer::default() }
}

impl Shelf {
    fn serve(&self, op: Op) -> CallResult {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let number = number(&op).unwrap_or_default();
        if let Op::CheckpointOpen { dir, variant, schema, keep, seed, .. } = op {
            if stores.contains_key(&number) {
                return Err(config("a store of this number is open"));
            }
            let keep = keep.and_then(NonZeroUsize::new);
            let store = self.opened(PathBuf::from(dir), variant, (schema, keep, seed))?;
            stores.insert(number, store);
            return Ok(Answer::default());
        }
        if let Op::CheckpointClose { .. } = op {
            let store = stores.remove(&number).ok_or_else(|| config("no store of this number"))?;
            store.close();
            return Ok(Answer::default());
        }
        let store = stores.get_mut(&number).ok_or_else(|| config("no store of this number"))?;
        if let Op::CheckpointSave { thread, checkpoint, state, .. } = &op
            && let Some(saver) = store.saver()
        {
            // saves may be outstanding at once: each has a thread of its own
            drop(stores);
            let id = saver(thread, checkpoint.as_deref(), state).map_err(refused)?;
            return Ok(Answer { id: Some(id), ..Answer::default() });
        }
        asked(store.as_mut(), op).map_err(refused)
    }

    fn opened(
        &self,
        dir: PathBuf,
        variant: String,
        (schema, keep, entropy): (u32, Option<NonZeroUsize>, u64),
    ) -> Result<Box<dyn Checkpointer>, OpError> {
        let std: Arc<dyn Fs> = Arc::new(StdFs);
        let fs = match std::env::var_os(WATCH) {
            None => std,
            Some(watch) => {
                let watched = Watched::new(std, &PathBuf::from(watch));
                Arc::new(watched.map_err(|error| config(&format!("no watch: {error}")))?)
            }
        };
        let (holder, wall) = (holder(), self.wall.clone());
        let setup = Setup { fs, dir, holder, variant, schema, keep, entropy, wall, scraped: true };
        (self.open)(setup).map_err(refused)
    }
}

/// An operation of an open store.
fn asked(store: &mut dyn Checkpointer, op: Op) -> Result<Answer, Refusal> {
    let answer = Answer::default();
    Ok(match op {
        Op::CheckpointSave { thread, checkpoint, state, .. } => {
            let id = store.save(&thread, checkpoint.as_deref(), &state)?;
            Answer { id: Some(id), ..answer }
        }
        Op::CheckpointLoad { checkpoint: id, .. } => {
            Answer { checkpoint: Some(store.load(&id)?), ..answer }
        }
        Op::CheckpointLatest { thread, .. } => {
            Answer { checkpoint: store.latest(&thread)?, ..answer }
        }
        Op::CheckpointList { thread, .. } => {
            let ids = store.list(&thread)?.into_iter().map(|listed| listed.id).collect();
            Answer { ids, ..answer }
        }
        Op::CheckpointThreads { .. } => Answer { ids: store.threads()?, ..answer },
        Op::CheckpointVerify { .. } => Answer { ids: store.verify()?, ..answer },
        Op::CheckpointDelete { checkpoint: id, .. } => went(store.delete(&id)?),
        Op::CheckpointDeleteThread { thread, .. } => went(store.delete_thread(&thread)?),
        Op::CheckpointRetain { keep, .. } => {
            went(store.retain(NonZeroUsize::new(keep).unwrap_or(NonZeroUsize::MIN))?)
        }
        Op::CheckpointMetrics { .. } => Answer { text: store.metrics(), ..answer },
        _ => answer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::store;

    struct Nothing;

    impl Subject for Nothing {
        fn call(&self, _: Op) -> BoxFuture<'_, CallResult> {
            Box::pin(async { Err(OpError::new("unsupported", "none".to_owned(), true)) })
        }
    }

    fn subject() -> Arc<dyn Subject> {
        Stores::beside(Arc::new(Nothing), Arc::new(store::reference), Arc::new(|| 0))
    }

    fn open(store: u32, dir: &std::path::Path) -> Op {
        Op::CheckpointOpen {
            store,
            dir: dir.join("s").to_string_lossy().into_owned(),
            variant: "file".to_owned(),
            schema: 1,
            keep: None,
            seed: 7,
        }
    }

    #[tokio::test]
    async fn what_was_saved_is_given_back_and_deleted() {
        let root = tempfile::tempdir().unwrap();
        let subject = subject();
        subject.call(open(0, root.path())).await.unwrap();
        let (store, thread) = (0, "t".to_owned());
        let save = Op::CheckpointSave {
            store,
            thread: thread.clone(),
            checkpoint: None,
            state: "x".into(),
        };
        let id = subject.call(save).await.unwrap().id.unwrap();
        let latest = subject.call(Op::CheckpointLatest { store, thread }).await.unwrap();
        let given = latest.checkpoint.unwrap();
        assert_eq!((given.id.as_str(), given.state.as_str()), (id.as_str(), "x"));
        let gone =
            subject.call(Op::CheckpointDelete { store, checkpoint: id.clone() }).await.unwrap();
        assert_eq!(gone.count, Some(1));
        let error = subject.call(Op::CheckpointLoad { store, checkpoint: id }).await.unwrap_err();
        assert_eq!(error.code, "not_found");
        subject.call(Op::CheckpointClose { store }).await.unwrap();
        let error = subject.call(Op::CheckpointClose { store }).await.unwrap_err();
        assert_eq!(error.code, "config");
    }

    #[tokio::test]
    async fn a_directory_that_is_in_use_is_refused_with_the_process_that_has_it() {
        let root = tempfile::tempdir().unwrap();
        let subject = subject();
        subject.call(open(0, root.path())).await.unwrap();
        let error = subject.call(open(1, root.path())).await.unwrap_err();
        assert_eq!(error.code, "locked");
        let pid = format!("pid {}", std::process::id());
        assert!(error.message.contains(&pid), "{}", error.message);
    }

    #[tokio::test]
    async fn everything_else_is_the_other_subjects() {
        let error = subject().call(Op::Metrics).await.unwrap_err();
        assert_eq!(error.code, "unsupported");
    }
}
