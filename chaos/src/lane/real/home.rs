//! Where the subject of a real-time run lives: a child process that can be killed and started anew.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashproof_reference::core::BoxFuture;
use tokio::task::JoinSet;

use crate::fault::spool;
use crate::history::Recorder;
use crate::lane::HarnessError;
use crate::lane::child::{goodbye, hello};
use crate::lane::scratch::Scratch;
use crate::lane::spool::is_segment;
use crate::scenario::model::SpoolDamage;
use crate::subject::Subject;
use crate::subject::process::ProcessSubject;
use crate::subject::process::facts::Facts;
use crate::subject::protocol::{Answer, Op, OpError};
use crate::subject::runner::Control;

/// The subject's process, whichever it is at the moment, and the application's tasks around it.
pub(super) struct Home {
    command: Vec<String>,
    /// Of the environment of every process.
    variables: Vec<(&'static str, OsString)>,
    recorder: Recorder,
    /// Under which its spool lies.
    root: Option<PathBuf>,
    process: Mutex<Option<Arc<ProcessSubject>>>,
    tasks: Mutex<JoinSet<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Home {
    /// Starts the first process and asks for its capabilities.
    ///
    /// # Errors
    /// It cannot be started, or does not say hello in this protocol.
    pub(super) async fn new(
        command: Vec<String>,
        variables: Vec<(&'static str, OsString)>,
        recorder: Recorder,
        root: Option<&Scratch>,
    ) -> Result<(Arc<Self>, Vec<String>), HarnessError> {
        let root = root.map(|root| root.path().to_owned());
        let (process, tasks) = (Mutex::default(), Mutex::default());
        let home = Self { command, variables, recorder, root, process, tasks };
        let capabilities = home.start().await?;
        Ok((Arc::new(home), capabilities))
    }

    async fn start(&self) -> Result<Vec<String>, HarnessError> {
        let (program, args) = self.command.split_first().ok_or_else(|| HarnessError {
            blame: "harness",
            message: "the command of the subject is empty".to_owned(),
        })?;
        let variables = self.variables.iter().cloned();
        let process = ProcessSubject::spawn_with(program, args, variables, self.recorder.clone());
        let process = Arc::new(process.map_err(|error| HarnessError {
            blame: "environment",
            message: format!("cannot start `{program}`: {error}"),
        })?);
        *lock(&self.process) = Some(Arc::clone(&process));
        hello(&process, program).await
    }

    fn process(&self) -> Option<Arc<ProcessSubject>> {
        lock(&self.process).clone()
    }

    /// Says goodbye; kills what does not go.
    pub(super) async fn leave(&self) {
        lock(&self.tasks).abort_all();
        let Some(process) = self.process() else { return };
        goodbye(&process).await;
        lock(&self.process).take();
    }

    /// What the watchdog shows of a run that did not end.
    pub(super) fn describe(&self) -> String {
        let Some(process) = self.process() else { return "no process".to_owned() };
        let Facts { threads, fds, memory, .. } = Facts::of(process.pid());
        let state = if process.is_alive() { "lives" } else { "has ended" };
        let mut all = vec![format!("process {} {state}", process.pid())];
        for (what, found) in [("threads", threads), ("descriptors", fds), ("bytes", memory)] {
            all.extend(found.map(|found| format!("{what}: {found}")));
        }
        let unanswered: Vec<String> = process.unanswered().iter().map(u64::to_string).collect();
        if !unanswered.is_empty() {
            all.push(format!("requests without an answer: {}", unanswered.join(" ")));
        }
        all.join(", ")
    }
}

impl Subject for Home {
    fn call(&self, op: Op) -> BoxFuture<'_, Result<Answer, OpError>> {
        Box::pin(async move {
            if let Some(process) = self.process() {
                process.call(op).await
            } else {
                let text = "the subject is between two lives".to_owned();
                Err(OpError::new("exited", text, true))
            }
        })
    }
}

impl Control for Home {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    fn crash(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let process = lock(&self.process).take();
            lock(&self.tasks).abort_all();
            if let Some(process) = process {
                process.kill().await;
            }
        })
    }

    fn restart(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.start().await {
                // `open` fails next and says that nobody is there; here is why.
                let text = error.to_string();
                let what = "protocol".to_owned();
                self.recorder.harness(crate::history::Kind::Proc { what, value: 0, text });
            }
        })
    }

    fn spool(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut segments = BTreeMap::new();
        if let Some(root) = &self.root {
            segments_under(root, &mut segments);
        }
        segments
    }

    fn damage_spool(&self, what: SpoolDamage) -> bool {
        spool::damage(what, &self.spool())
            .is_some_and(|(path, bytes)| std::fs::write(path, bytes).is_ok())
    }

    fn observe(&self, when: &'static str) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(process) = self.process().filter(|process| process.is_alive()) {
                Facts::of(process.pid()).record(&self.recorder, when);
            }
        })
    }
}

/// Files of spools in a directory and those below it.
fn segments_under(dir: &Path, segments: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            segments_under(&path, segments);
        } else if is_segment(&path)
            && let Ok(bytes) = std::fs::read(&path)
        {
            segments.insert(path, bytes);
        }
    }
}
