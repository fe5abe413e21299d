//! A subject in a process of its own, spoken to in JSON lines over its standard input and output.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashproof_reference::core::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::Subject;
use super::logs::LOGS;
use super::protocol::{Answer, Message, Op, OpError, Request};
use crate::history::{Kind, Recorder, Src};

pub mod facts;

/// How long the pipes of a child that ended are read.
const DRAIN: Duration = Duration::from_secs(1);

type CallResult = Result<Answer, OpError>;

/// A child process that speaks the driver protocol.
///
/// Claims go to the recorder as they are read, in the order in which the child wrote them, and
/// before the reply that follows them is given to its caller. What the child prints outside the
/// protocol is kept as `stdout` and `stderr` lines.
pub struct ProcessSubject {
    shared: Arc<Shared>,
    next: AtomicU64,
    pid: u32,
    kill: mpsc::UnboundedSender<()>,
    exited: watch::Receiver<Option<i64>>,
    /// Writer and waiter; they end with the child.
    tasks: Vec<JoinHandle<()>>,
}

/// Process groups of children that have not ended: a signal leaves no time for their owners.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn groups() -> MutexGuard<'static, BTreeSet<u32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills every child, and what it has started, whoever speaks to it.
pub fn kill_all() {
    for pid in std::mem::take(&mut *groups()) {
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
        // one that has ended already needs no more
        pid.map(|pid| rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).ok());
    }
}

/// Lines outside the protocol that are kept of each stream: a child that prints without end is
/// known by then.
const PRINTS: u32 = 2_000;
/// Characters that are quoted of a line that breaks the protocol.
const QUOTED: usize = 300;

struct Shared {
    recorder: Recorder,
    lines: mpsc::UnboundedSender<String>,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    calls: BTreeMap<u64, oneshot::Sender<CallResult>>,
    /// Requests whose one reply nobody waits for: cancelled sends, and what cancelled them.
    unheard: BTreeSet<u64>,
    /// Set when the child can answer no more: later calls fail with this text.
    gone: Option<String>,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, request: &Request) -> Result<(), OpError> {
        let line = serde_json::to_string(request)
            .map_err(|e| OpError::new("internal", format!("cannot write a request: {e}"), true))?;
        self.lines.send(line).map_err(|_| gone("its standard input is closed"))
    }

    /// A reply that answers nothing: the subject said too much.
    fn to_nobody(&self, id: u64, line: &[u8]) {
        let text = format!(
            "a reply to nobody: request {id} was never made, or has its reply already: {}",
            quoted(line)
        );
        self.recorder.record(Src::Harness, proc("protocol", 0, text));
    }

    fn route(&self, message: Message, line: &[u8]) {
        match message {
            Message::Claim { claim } if is_claim(&claim) => {
                self.recorder.record(Src::Subject, claim);
            }
            Message::Claim { .. } => {
                let text = format!("not a claim that a subject can make: {}", quoted(line));
                self.recorder.record(Src::Harness, proc("protocol", 0, text));
            }
            Message::Reply { id, ok, error } => {
                let mut pending = self.pending();
                let Some(caller) = pending.calls.remove(&id) else {
                    let expected = pending.unheard.remove(&id);
                    drop(pending);
                    if !expected {
                        self.to_nobody(id, line);
                    }
                    return;
                };
                drop(pending);
                let _ = caller.send(error.map_or_else(|| Ok(ok.unwrap_or_default()), Err));
            }
        }
    }

    fn end(&self, why: &str) {
        let mut pending = self.pending();
        pending.gone.get_or_insert_with(|| why.to_owned());
        for (_, caller) in std::mem::take(&mut pending.calls) {
            let _ = caller.send(Err(gone(why)));
        }
    }
}

/// A line of the subject's, as messages quote it.
fn quoted(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let shown: String = line.trim_end().chars().take(QUOTED).collect();
    let cut = if shown.len() < line.trim_end().len() { "…" } else { "" };
    format!("{shown}{cut}")
}

fn gone(why: &str) -> OpError {
    OpError::new("exited", format!("the subject's process is gone: {why}"), false)
}

fn proc(what: &str, value: i64, text: String) -> Kind {
    Kind::Proc { what: what.to_owned(), value, text }
}

/// What a subject may say about itself; everything else is the harness's to say.
fn is_claim(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Accepted { .. }
            | Kind::Attempt { .. }
            | Kind::Refused { .. }
            | Kind::Delivery { .. }
            | Kind::Outcome { .. }
            | Kind::Proc { .. }
    )
}

/// Exit code, or minus the signal.
fn exit_value(status: ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt;
    status.code().map_or_else(|| -i64::from(status.signal().unwrap_or(0)), i64::from)
}

impl ProcessSubject {
    /// Starts `program` with its arguments. Its `start` and `exit` are recorded; with `logs` it is
    /// asked to claim its log lines.
    ///
    /// # Errors
    /// The program cannot be started, or has no pipes.
    pub fn spawn(
        program: &str,
        args: &[String],
        logs: bool,
        recorder: Recorder,
    ) -> io::Result<Self> {
        let logs = logs.then(|| (LOGS, OsString::from("1")));
        Self::spawn_with(program, args, logs, recorder)
    }

    /// As [`ProcessSubject::spawn`], with variables of the child's environment.
    ///
    /// # Errors
    /// The same.
    pub fn spawn_with(
        program: &str,
        args: &[String],
        variables: impl IntoIterator<Item = (&'static str, OsString)>,
        recorder: Recorder,
    ) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(args)
            // a backtrace reads all debug information, and a runtime stands still meanwhile
            .env("RUST_BACKTRACE", "0")
            .envs(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C is for the harness: a child that dies of it too would look like a broken one
            .process_group(0)
            .spawn()?;
        let no_pipe = || io::Error::other("the child has no pipe");
        let stdin = child.stdin.take().ok_or_else(no_pipe)?;
        let stdout = child.stdout.take().ok_or_else(no_pipe)?;
        let stderr = child.stderr.take().ok_or_else(no_pipe)?;
        let pid = child.id().ok_or_else(no_pipe)?;
        groups().insert(pid);
        recorder.record(Src::Os, proc("start", i64::from(pid), String::new()));
        let (lines, to_write) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { recorder, lines, pending: Mutex::default() });
        let (kill, killed) = mpsc::unbounded_channel();
        let (exit, exited) = watch::channel(None);
        let mut readers = JoinSet::new();
        readers.spawn(read_lines(stdout, Arc::clone(&shared), "stdout"));
        readers.spawn(read_lines(stderr, Arc::clone(&shared), "stderr"));
        let tasks = vec![
            tokio::spawn(write_lines(stdin, to_write)),
            tokio::spawn(wait(child, pid, readers, killed, exit, Arc::clone(&shared))),
        ];
        Ok(Self { shared, next: AtomicU64::new(1), pid, kill, exited, tasks })
    }

    /// Process id, for facts from the operating system.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Kills the child (SIGKILL) and waits for its end. Returns the exit value: code, or minus the
    /// signal.
    pub async fn kill(&self) -> i64 {
        let _ = self.kill.send(());
        self.exit().await
    }

    /// Waits for the child's end.
    pub async fn exit(&self) -> i64 {
        let mut exited = self.exited.clone();
        match exited.wait_for(Option::is_some).await {
            Ok(value) => value.unwrap_or_default(),
            // The waiter was aborted with this subject: nobody can ask any more.
            Err(_) => 0,
        }
    }

    /// True while the child has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.exited.borrow().is_none()
    }

    /// The calls that wait for an answer, by request id: part of a state dump.
    #[must_use]
    pub fn unanswered(&self) -> Vec<u64> {
        self.shared.pending().calls.keys().copied().collect()
    }
}

impl Drop for ProcessSubject {
    fn drop(&mut self) {
        // Dropping the waiter drops the child, which kills it.
        for task in &self.tasks {
            task.abort();
        }
        groups().remove(&self.pid);
    }
}

/// Cancels the send when its future is dropped before the answer came.
struct CancelOnDrop<'a> {
    subject: &'a ProcessSubject,
    request: u64,
    armed: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            let id = self.subject.next.fetch_add(1, Ordering::Relaxed);
            {
                let mut pending = self.subject.shared.pending();
                if pending.calls.remove(&self.request).is_some() {
                    pending.unheard.insert(self.request);
                }
                pending.unheard.insert(id);
            }
            let _ = self
                .subject
                .shared
                .write(&Request { id, op: Op::Cancel { request: self.request } });
        }
    }
}

impl Subject for ProcessSubject {
    fn call(&self, op: Op) -> BoxFuture<'_, CallResult> {
        Box::pin(async move {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let (tx, rx) = oneshot::channel();
            {
                let mut pending = self.shared.pending();
                if let Some(why) = &pending.gone {
                    return Err(gone(why));
                }
                pending.calls.insert(id, tx);
            }
            let armed = matches!(op, Op::Send { .. });
            self.shared.write(&Request { id, op })?;
            let mut cancel = CancelOnDrop { subject: self, request: id, armed };
            let result = rx.await.unwrap_or_else(|_| Err(gone("nobody answers")));
            cancel.armed = false;
            result
        })
    }
}

async fn write_lines(mut stdin: ChildStdin, mut lines: mpsc::UnboundedReceiver<String>) {
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        // A child that does not read any more is noticed by its exit.
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_lines(from: impl AsyncRead + Unpin, shared: Arc<Shared>, name: &'static str) {
    let mut reader = BufReader::with_capacity(1 << 16, from);
    let mut line = Vec::new();
    let mut prints = 0;
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let message = (name == "stdout").then(|| serde_json::from_slice::<Message>(&line));
        if let Some(Ok(message)) = message {
            shared.route(message, &line);
        } else {
            prints += 1;
            let text = match prints {
                ..PRINTS => String::from_utf8_lossy(&line).trim_end().to_owned(),
                PRINTS => format!("more lines than {PRINTS}: no more of them are kept"),
                _ => continue,
            };
            shared.recorder.record(Src::Os, proc(name, 0, text));
        }
    }
}

async fn wait(
    mut child: Child,
    pid: u32,
    mut readers: JoinSet<()>,
    mut killed: mpsc::UnboundedReceiver<()>,
    exit: watch::Sender<Option<i64>>,
    shared: Arc<Shared>,
) {
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => break status,
            Some(()) = killed.recv() => {
                // Fails only when it has already ended, which `wait` will tell.
                let _ = child.start_kill();
            }
        }
    };
    groups().remove(&pid);
    // What it wrote before it ended is read first; a grandchild may hold the pipes open for ever.
    let drained = async { while readers.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, drained).await;
    let (value, text) = match status {
        Ok(status) => (exit_value(status), status.to_string()),
        Err(error) => (-1, error.to_string()),
    };
    shared.recorder.record(Src::Os, proc("exit", value, text.clone()));
    shared.end(&text);
    exit.send_replace(Some(value));
}

#[cfg(test)]
mod tests;
