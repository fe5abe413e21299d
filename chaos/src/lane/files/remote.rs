//! A store in a child process.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::lane::HarnessError;
use crate::lane::disk::{DIR, ground::Opening};
use crate::subject::Subject as _;
use crate::subject::process::ProcessSubject;
use crate::subject::protocol::{Answer, Op, OpError};
use crate::subject::store::{Answered, Checkpointer, Given, Listed, Refusal};

/// How long a process that answers no more may take to end.
const END: Duration = Duration::from_secs(5);

/// What broke the run off, for whoever asks.
#[derive(Clone, Default)]
pub(super) struct Broken(Arc<Mutex<Option<HarnessError>>>);

impl Broken {
    fn inner(&self) -> MutexGuard<'_, Option<HarnessError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, blame: &'static str, message: String) {
        self.inner().get_or_insert(HarnessError { blame, message });
    }

    pub(super) fn get(&self) -> Option<HarnessError> {
        self.inner().clone()
    }
}

/// The line to a child, whose calls block.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) process: Arc<ProcessSubject>,
    pub(super) runtime: Handle,
    /// When the run is cut.
    pub(super) deadline: Instant,
    pub(super) broken: Broken,
    /// The directory as the child knows it.
    pub(super) dir: String,
}

impl Line {
    fn ask(&self, op: Op) -> Answered<Answer> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let name = op_name(&op);
        let answer = self.runtime.block_on(async { timeout(left, self.process.call(op)).await });
        self.heard(&name, answer.ok())
    }

    /// Asks for all of them before any is answered.
    fn ask_at_once(&self, ops: Vec<Op>) -> Vec<Answered<Answer>> {
        let names: Vec<String> = ops.iter().map(op_name).collect();
        let calls: Vec<_> = ops
            .into_iter()
            .map(|op| {
                let process = Arc::clone(&self.process);
                self.runtime.spawn(async move { process.call(op).await })
            })
            .collect();
        let answer = |(name, call): (&String, tokio::task::JoinHandle<_>)| {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let answer = self.runtime.block_on(async { timeout(left, call).await });
            self.heard(name, answer.ok().and_then(Result::ok))
        };
        names.iter().zip(calls).map(answer).collect()
    }

    /// The answer to an operation; none where it did not come before the run is cut.
    fn heard(&self, name: &str, answer: Option<Result<Answer, OpError>>) -> Answered<Answer> {
        let Some(answer) = answer else {
            let text = format!("`{name}` was not answered before the run was cut");
            self.broken.set("implementation", text.clone());
            return Err(Refusal { kind: "exited".to_owned(), text });
        };
        answer.map_err(|error| {
            if error.code == "exited" {
                // that it has ended is known a moment after its calls have failed
                let ended = async { timeout(END, self.process.exit()).await };
                drop(self.runtime.block_on(ended));
            }
            Refusal { kind: error.code, text: error.message.replace(&self.dir, DIR) }
        })
    }

    /// Opens a store of this number.
    pub(super) fn open(&self, store: u32, opening: Opening) -> Answered<Box<dyn Checkpointer>> {
        self.ask(Op::CheckpointOpen {
            store,
            dir: self.dir.clone(),
            variant: opening.variant.to_owned(),
            schema: opening.schema,
            keep: opening.keep.map(NonZeroUsize::get),
            seed: opening.entropy,
        })?;
        Ok(Box::new(Remote { line: self.clone(), store }))
    }
}

/// The operation's name, for people.
fn op_name(op: &Op) -> String {
    let value = serde_json::to_value(op).unwrap_or_default();
    value.get("op").and_then(|op| op.as_str()).unwrap_or("a call").to_owned()
}

/// The protocol was kept only in form.
fn nothing(what: &str) -> Refusal {
    Refusal { kind: "protocol".to_owned(), text: format!("the answer has no {what}") }
}

/// An open store of a child. Dropping it tells the child nothing: that is what a crash does.
struct Remote {
    line: Line,
    store: u32,
}

impl Checkpointer for Remote {
    fn save(&mut self, thread: &str, id: Option<&str>, state: &str) -> Answered<String> {
        let answer = self.line.ask(Op::CheckpointSave {
            store: self.store,
            thread: thread.to_owned(),
            checkpoint: id.map(str::to_owned),
            state: state.to_owned(),
        })?;
        answer.id.ok_or_else(|| nothing("id"))
    }

    fn save_at_once(&mut self, all: &[(String, String)]) -> Vec<Answered<String>> {
        let store = self.store;
        let save = |(thread, state): &(String, String)| Op::CheckpointSave {
            store,
            thread: thread.clone(),
            checkpoint: None,
            state: state.clone(),
        };
        let answers = self.line.ask_at_once(all.iter().map(save).collect());
        answers.into_iter().map(|answer| answer?.id.ok_or_else(|| nothing("id"))).collect()
    }

    fn load(&mut self, id: &str) -> Answered<Given> {
        let op = Op::CheckpointLoad { store: self.store, checkpoint: id.to_owned() };
        self.line.ask(op)?.checkpoint.ok_or_else(|| nothing("checkpoint"))
    }

    fn latest(&mut self, thread: &str) -> Answered<Option<Given>> {
        let op = Op::CheckpointLatest { store: self.store, thread: thread.to_owned() };
        Ok(self.line.ask(op)?.checkpoint)
    }

    fn list(&mut self, thread: &str) -> Answered<Vec<Listed>> {
        let op = Op::CheckpointList { store: self.store, thread: thread.to_owned() };
        let ids = self.line.ask(op)?.ids.into_iter();
        Ok(ids.map(|id| Listed { id, secs: 0 }).collect())
    }

    fn threads(&mut self) -> Answered<Vec<String>> {
        Ok(self.line.ask(Op::CheckpointThreads { store: self.store })?.ids)
    }

    fn verify(&mut self) -> Answered<Vec<String>> {
        Ok(self.line.ask(Op::CheckpointVerify { store: self.store })?.ids)
    }

    fn delete(&mut self, id: &str) -> Answered<u64> {
        let op = Op::CheckpointDelete { store: self.store, checkpoint: id.to_owned() };
        self.line.ask(op)?.count.ok_or_else(|| nothing("count"))
    }

    fn delete_thread(&mut self, thread: &str) -> Answered<u64> {
        let op = Op::CheckpointDeleteThread { store: self.store, thread: thread.to_owned() };
        self.line.ask(op)?.count.ok_or_else(|| nothing("count"))
    }

    fn retain(&mut self, keep: NonZeroUsize) -> Answered<u64> {
        let op = Op::CheckpointRetain { store: self.store, keep: keep.get() };
        self.line.ask(op)?.count.ok_or_else(|| nothing("count"))
    }

    fn metrics(&self) -> String {
        // a scrape that failed is an empty one, in which every series is missing
        let scraped = self.line.ask(Op::CheckpointMetrics { store: self.store });
        scraped.map(|answer| answer.text).unwrap_or_default()
    }

    fn close(self: Box<Self>) {
        if let Err(refusal) = self.line.ask(Op::CheckpointClose { store: self.store })
            && refusal.kind != "exited"
        {
            self.line.broken.set("driver protocol", format!("`close` was refused: {refusal}"));
        }
    }
}
