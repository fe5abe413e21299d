//! Where the subject of a real-time run lives: a child process that can be killed and started anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashproof_reference::core::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::history::Recorder;
use crate::lane::HarnessError;
use crate::subject::Subject;
use crate::subject::process::ProcessSubject;
use crate::subject::process::facts::Facts;
use crate::subject::protocol::{Answer, Op, OpError, PROTOCOL_VERSION};
use crate::subject::runner::Control;

/// How long a child may take to answer `hello`.
const HELLO: Duration = Duration::from_secs(10);
/// How long a child may take to end after `bye`.
const BYE: Duration = Duration::from_secs(3);

/// The subject's process, whichever it is at the moment, and the application's tasks around it.
pub(super) struct Home {
    command: Vec<String>,
    /// The subject is asked for its log lines.
    logs: bool,
    recorder: Recorder,
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
        logs: bool,
        recorder: Recorder,
    ) -> Result<(Arc<Self>, Vec<String>), HarnessError> {
        let (process, tasks) = (Mutex::default(), Mutex::default());
        let home = Self { command, logs, recorder, process, tasks };
        let capabilities = home.start().await?;
        Ok((Arc::new(home), capabilities))
    }

    async fn start(&self) -> Result<Vec<String>, HarnessError> {
        let (program, args) = self.command.split_first().ok_or_else(|| HarnessError {
            blame: "harness",
            message: "the command of the subject is empty".to_owned(),
        })?;
        let process = ProcessSubject::spawn(program, args, self.logs, self.recorder.clone());
        let process = Arc::new(process.map_err(|error| HarnessError {
            blame: "environment",
            message: format!("cannot start `{program}`: {error}"),
        })?);
        *lock(&self.process) = Some(Arc::clone(&process));
        let blame = "driver protocol";
        let hello = timeout(HELLO, process.call(Op::Hello { version: PROTOCOL_VERSION })).await;
        let answer = hello
            .map_err(|_| format!("`{program}` did not answer `hello` within {HELLO:?}"))
            .and_then(|answer| answer.map_err(|e| format!("`hello` failed: {}", e.message)))
            .map_err(|message| HarnessError { blame, message })?;
        if answer.version.is_some_and(|version| version != PROTOCOL_VERSION) {
            let theirs = answer.version.unwrap_or_default();
            let message = format!(
                "`{program}` speaks protocol version {theirs}, this harness speaks \
                 {PROTOCOL_VERSION}"
            );
            return Err(HarnessError { blame, message });
        }
        Ok(answer.capabilities)
    }

    fn process(&self) -> Option<Arc<ProcessSubject>> {
        lock(&self.process).clone()
    }

    /// Says goodbye; kills what does not go.
    pub(super) async fn leave(&self) {
        lock(&self.tasks).abort_all();
        let Some(process) = self.process() else { return };
        let goodbye = async {
            // A subject without `bye` ends when its input does, which `kill` stands in for.
            drop(process.call(Op::Bye).await);
            process.exit().await
        };
        if timeout(BYE, goodbye).await.is_err() {
            process.kill().await;
        }
        lock(&self.process).take();
    }

    /// What the watchdog shows of a run that did not end.
    pub(super) fn describe(&self) -> String {
        let Some(process) = self.process() else { return "no process".to_owned() };
        let Facts { threads, fds, memory } = Facts::of(process.pid());
        format!(
            "process {} {}, threads {threads:?}, descriptors {fds:?}, memory {memory:?}, requests \
             without an answer {:?}",
            process.pid(),
            if process.is_alive() { "lives" } else { "ended" },
            process.unanswered()
        )
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

    fn observe(&self, when: &'static str) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(process) = self.process().filter(|process| process.is_alive()) {
                Facts::of(process.pid()).record(&self.recorder, when);
            }
        })
    }
}
