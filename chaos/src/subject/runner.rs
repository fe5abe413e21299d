//! The workload director: runs a scenario against a subject, whatever lane both live in.
//!
//! The director keeps the agenda (faults, actions, loads) on the harness's side of the world. What
//! the application does (sends, `flush`, `close`, …) runs through [`Control::spawn`] where the
//! subject runs, and dies with it when it is killed; the board of what is known survives.

mod agenda;
mod board;
mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashproof_reference::core::BoxFuture;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use super::Subject;
use super::protocol::{Answer, Op, OpError};
use crate::history::{EventId, Kind, Line, Outcome, Recorder, Src, Trouble};
use crate::lane::{HarnessError, spool};
use crate::scenario::model::{ActionKind, At, FsFault, Scenario, SpoolDamage};

use board::{Board, Phase, Sending};

/// From the return of `close` (or of the last `drop`) to the judging scrape and the hunt for leaks.
pub const GRACE: Duration = Duration::from_millis(500);
/// Deadline of the `close` that ends a scenario which neither closes nor drops.
pub const DEFAULT_CLOSE: Duration = Duration::from_secs(5);
/// How long past its own deadline a call may take before the director goes on without it.
const OVERTIME: Duration = Duration::from_secs(10);
/// How long `open` waits for the subject to ask for a producer id, if it does so before it sends.
const WARM: Duration = Duration::from_secs(3);
/// How long `open` waits for the answer once it was asked for: a busy broker takes its time.
const WARM_ANSWER: Duration = Duration::from_secs(10);

/// The subject did not open, and the scenario expects it to be refused.
const REFUSED: &str = "refused";
/// The code of an operation or setting that a subject does not have.
const UNSUPPORTED: &str = "unsupported";

/// What the director can do to the world around the subject.
pub trait World: Send + Sync {
    /// Begins the fault with this index in the scenario.
    fn begin(&self, fault: usize);
    /// Records that the fault, which is in force, was really met.
    fn met(&self, fault: usize);
    /// Lifts it.
    fn end(&self, fault: usize);
    /// Ends when at least this many records are appended or held without an answer.
    fn until_unanswered(&self, records: u64) -> BoxFuture<'_, ()>;
    /// Writes what every log holds into the history.
    ///
    /// # Errors
    /// A log cannot be read: nothing of the run may be judged.
    fn snapshot(&self) -> BoxFuture<'_, Result<(), HarnessError>>;
}

/// What the director can do to the place where the subject lives.
pub trait Control: Send + Sync {
    /// Runs a task of the application; it is dropped when the subject is killed.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Kills the subject and every task that was spawned. Ends when it is dead.
    fn crash(&self) -> BoxFuture<'_, ()>;
    /// Starts the subject anew after a crash.
    fn restart(&self) -> BoxFuture<'_, ()>;
    /// Damages the spool of the subject on its disk; false when there is nothing to damage.
    fn damage_spool(&self, what: SpoolDamage) -> bool {
        let _ = what;
        false
    }
    /// Breaks the file system that the subject's spool is on.
    fn break_disk(&self, fault: usize, what: &FsFault) {
        let _ = (fault, what);
    }
    /// Takes that back.
    fn mend_disk(&self, fault: usize) {
        let _ = fault;
    }
    /// Files of the subject's spool, if it has one.
    fn spool(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        BTreeMap::new()
    }
    /// Records what the operating system (or the runtime) shows of the subject; `when` is `before`
    /// (no producer is open) or `after` (closed, and the grace is over).
    fn observe(&self, when: &'static str) -> BoxFuture<'_, ()>;
}

/// One run.
pub struct Stage {
    /// What to run.
    pub scenario: Arc<Scenario>,
    /// Seed of everything random.
    pub seed: u64,
    /// First bytes of the run's digest: part of every message id.
    pub run: [u8; 10],
    /// Bootstrap servers for `open`.
    pub bootstrap: String,
    /// Bytes of an event as protobuf, before the subject adds anything.
    pub measure: fn(&super::protocol::EventSpec) -> usize,
    /// Who is under test.
    pub subject: Arc<dyn Subject>,
    /// Brokers and faults.
    pub world: Arc<dyn World>,
    /// The subject's home.
    pub control: Arc<dyn Control>,
    /// The history.
    pub recorder: Recorder,
}

/// Runs the scenario to its end: history complete, logs read. `Some` says why it does not apply to
/// this subject, which does not know a setting of it.
///
/// # Errors
/// The run took three times its budget, or the subject did not open.
pub async fn drive(stage: Stage) -> Result<Option<String>, HarnessError> {
    let limit = stage.scenario.budget * 3;
    let director = Director::new(stage);
    let ended = timeout(limit, director.clone().run()).await;
    let read = director.stage.world.snapshot().await;
    if director.stage.scenario.producer.pointer("/spool/directory").is_some() {
        spool::record(&director.stage.recorder, &director.stage.control.spool());
    }
    match ended.unwrap_or_else(|_| Err(director.overdue())) {
        Err(error) if error.blame == REFUSED => read.map(|()| None),
        Err(error) if error.blame == UNSUPPORTED => read.map(|()| Some(error.message)),
        ended => ended.and(read).map(|()| None),
    }
}

/// A run under way. Shared by the director's own task and the application's.
pub(crate) struct Director {
    stage: Stage,
    board: Mutex<Board>,
    /// The board changed in a way that somebody may wait for.
    changed: Notify,
    calls: AtomicU64,
    /// Text that events are filled from.
    filler: String,
}

impl Director {
    fn new(stage: Stage) -> Arc<Self> {
        let opens = stage.scenario.actions.iter().filter(|a| a.kind == ActionKind::Open).count();
        let clones = stage.scenario.actions.iter().filter(|a| a.kind == ActionKind::Clone).count();
        let board = Board::new(&stage.scenario.loads, opens + 1, clones);
        let filler = load::filler(stage.seed);
        Arc::new(Self {
            stage,
            board: Mutex::new(board),
            changed: Notify::new(),
            calls: AtomicU64::new(0),
            filler,
        })
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // Changes are small and complete; a panic elsewhere leaves the board true.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        self.stage.recorder.now_us()
    }

    /// Sleeps by the lane's clock: instants of different hosts cannot be compared.
    async fn sleep_until_us(&self, at_us: u64) {
        loop {
            let left = at_us.saturating_sub(self.now_us());
            if left == 0 {
                return;
            }
            sleep(Duration::from_micros(left)).await;
        }
    }

    /// Ends when `holds`, which is asked again at every change of the board.
    async fn until(&self, holds: impl Fn(&Board) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(&self.board()) {
                return;
            }
            changed.await;
        }
    }

    async fn run(self: Arc<Self>) -> Result<(), HarnessError> {
        self.stage.control.observe("before").await;
        let zero = At::Time(Duration::ZERO);
        let cold: Vec<usize> = (0..)
            .zip(&self.stage.scenario.faults)
            .filter(|(_, fault)| fault.at == zero)
            .map(|(i, _)| i)
            .collect();
        for fault in &cold {
            self.stage.world.begin(*fault);
        }
        self.open(0).await?;
        if cold.is_empty() {
            self.warm().await;
        }
        self.stage.recorder.harness(Kind::Ready);
        let start_us = self.now_us();
        let ends = self.play(start_us, &cold).await?;
        if self.board().phase == Phase::Open {
            self.act(Op::Close { deadline_us: micros(DEFAULT_CLOSE) }).await;
        }
        self.settle().await;
        for (at_us, fault) in ends {
            self.sleep_until_us(at_us).await;
            self.stage.world.end(fault);
        }
        Ok(())
    }

    /// Opens an incarnation and waits for the answer.
    async fn open(self: &Arc<Self>, inc: u32) -> Result<(), HarnessError> {
        self.stage.recorder.incarnation(inc);
        let op = Op::Open {
            bootstrap: self.stage.bootstrap.clone(),
            config: self.stage.scenario.producer.clone(),
            seed: self.stage.seed,
            inc,
        };
        match self.act(op).await {
            // The first scrape: every series with closed labels must be there, at zero (law M2).
            Some(Ok(_)) => {
                if let Some(Ok(answer)) = self.act(Op::Metrics).await {
                    self.scraped(answer.text, false);
                }
                Ok(())
            }
            // What a subject cannot be told to do it cannot do wrong. Every subject can be opened
            // without settings: who cannot has no excuse.
            Some(Err(error)) if inc == 0 && error.code == UNSUPPORTED && self.is_told_more() => {
                Err(HarnessError {
                    blame: UNSUPPORTED,
                    message: format!("the subject does not know a setting: {}", text(&error)),
                })
            }
            Some(Err(error)) => Err(HarnessError {
                // Refused already here, as a scenario may expect it: that is for the laws.
                blame: match self.stage.scenario.expect.refused {
                    Some(_) => REFUSED,
                    None => "implementation",
                },
                message: format!("open failed: {}", text(&error)),
            }),
            None => Err(HarnessError {
                blame: "implementation",
                message: "open did not return".to_owned(),
            }),
        }
    }

    /// True where the scenario gives the producer a setting.
    fn is_told_more(&self) -> bool {
        let settings = self.stage.scenario.producer.as_object();
        settings.is_some_and(|settings| !settings.is_empty())
    }

    /// Waits until a broker has answered `InitProducerId`: an idempotent client's first
    /// acknowledgement takes a second that is no part of a scenario.
    async fn warm(&self) {
        let producer = &self.stage.scenario.producer;
        if producer.get("idempotence").and_then(serde_json::Value::as_bool) == Some(false) {
            return;
        }
        let (start, mut limit) = (self.now_us(), WARM);
        let mut seen = 0;
        while self.now_us() < start + micros(limit) {
            let (asked, warm) = self.stage.recorder.read(|lines| {
                let new = lines.get(seen..).unwrap_or_default();
                let asked = |line: &Line| {
                    matches!(&line.kind, Kind::Request { api, .. } if api == "InitProducerId")
                };
                // What has no answer yet is looked at again.
                seen += new.iter().position(asked).unwrap_or(new.len());
                let mut all = new.iter().filter(|line| asked(line)).peekable();
                let any = all.peek().is_some();
                let warm =
                    |line: &Line| matches!(&line.kind, Kind::Request { answered: Some(0), .. });
                (any, all.any(warm))
            });
            if warm {
                return;
            }
            if asked {
                limit = WARM_ANSWER;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Why a run was cut: a subject that lives and does not answer has broken the protocol, whoever
    /// waits for it.
    fn overdue(&self) -> HarnessError {
        let budget = self.stage.scenario.budget;
        let (state, oldest) = {
            let board = self.board();
            (board.describe(), board.oldest_send())
        };
        let waited = |sending: &Sending| {
            Duration::from_micros(self.now_us().saturating_sub(sending.since_us))
        };
        let shown =
            |span: Duration| humantime::format_duration(Duration::from_secs(span.as_secs()));
        match oldest.filter(|sending| waited(sending) >= budget) {
            Some(sending) => HarnessError {
                blame: "implementation",
                message: format!(
                    "the subject did not answer the `send` of event {} (line {} of the history) \
                     within {}; {state}",
                    sending.event,
                    sending.line,
                    shown(waited(&sending))
                ),
            },
            None => HarnessError {
                blame: "harness",
                message: format!(
                    "the run took three times its budget of {}; {state}",
                    humantime::format_duration(budget)
                ),
            },
        }
    }

    /// Carries out an operation where the subject lives. `None` when no answer came in time.
    async fn act(self: &Arc<Self>, op: Op) -> Option<Result<Answer, OpError>> {
        let (done, answer) = oneshot::channel();
        self.start(op, Some(done));
        answer.await.ok()
    }

    /// Hands an operation to the application.
    fn start(self: &Arc<Self>, op: Op, done: Option<oneshot::Sender<Result<Answer, OpError>>>) {
        let life = self.board().op_begins();
        let this = self.clone();
        self.stage.control.spawn(Box::pin(async move {
            let limit = overtime(&op);
            let answer = timeout(limit, this.call(op.clone(), None)).await.ok();
            this.board().op_ended(life, &op, answer.as_ref(), this.now_us());
            if let (Some(done), Some(answer)) = (done, answer) {
                // The director is gone only when the run is.
                drop(done.send(answer));
            }
            this.changed.notify_waiters();
        }));
    }

    /// Calls the subject and records the call, its answer and what the answer carries.
    async fn call(&self, op: Op, event: Option<EventId>) -> Result<Answer, OpError> {
        let name = op_name(&op);
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let recorder = &self.stage.recorder;
        let deadline_us = deadline_us(&op);
        recorder.harness(Kind::Call { id, op: name.to_owned(), deadline_us, event });
        let answer = self.stage.subject.call(op).await;
        let (error, why) = (answer.as_ref().err().map(text), why(&answer));
        let told = answer.as_ref().ok().filter(|_| !matches!(name, "send" | "metrics"));
        let told = told.filter(|answer| **answer != Answer::default());
        let told = told.and_then(|answer| serde_json::to_value(answer).ok()).unwrap_or_default();
        recorder.harness(Kind::Return { id, op: name.to_owned(), error, why, answer: told });
        answer
    }

    /// Kills the subject. What was unresolved is lost, and only the harness can say so.
    async fn crash(self: &Arc<Self>) {
        let recorder = &self.stage.recorder;
        recorder.mute_subject();
        self.stage.control.crash().await;
        let inc = self.board().crashed();
        let proc = Kind::Proc { what: "crash".to_owned(), value: 0, text: String::new() };
        recorder.record(Src::Os, proc);
        for event in recorder.read(|lines| board::unresolved(lines, inc)) {
            recorder.harness(Kind::Outcome { event, outcome: Outcome::LostInCrash, why: None });
        }
        self.changed.notify_waiters();
    }

    /// Opens the next incarnation: after a crash in a new process, else beside the old one.
    async fn reopen(self: &Arc<Self>) -> Result<(), HarnessError> {
        let phase = self.board().phase;
        if phase == Phase::Crashed {
            self.stage.control.restart().await;
        } else {
            self.board().pause();
            self.until(|board| board.sends.is_empty()).await;
            self.settle().await;
        }
        let inc = self.board().next_incarnation();
        self.open(inc).await?;
        if phase == Phase::Crashed {
            let loads = self.board().unfinished();
            for load in loads {
                self.offer(load);
            }
        }
        Ok(())
    }

    /// After an incarnation's end: the grace, the hunt for leaks, the judging scrape.
    async fn settle(self: &Arc<Self>) {
        let (phase, ended_us) = {
            let board = self.board();
            (board.phase, board.ended_us)
        };
        if phase == Phase::Crashed {
            return;
        }
        self.sleep_until_us(ended_us + micros(GRACE)).await;
        self.stage.control.observe("after").await;
        if let Some(Ok(answer)) = self.act(Op::Metrics).await {
            self.scraped(answer.text, true);
        }
    }

    fn scraped(&self, text: String, last: bool) {
        self.stage.recorder.record(Src::Subject, Kind::Scrape { text, last });
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn deadline_us(op: &Op) -> Option<u64> {
    match op {
        Op::Flush { deadline_us } | Op::Close { deadline_us } => Some(*deadline_us),
        _ => None,
    }
}

fn overtime(op: &Op) -> Duration {
    Duration::from_micros(deadline_us(op).unwrap_or(0)) + OVERTIME
}

/// What is wrong with the connection, as an error tells it.
fn why(answer: &Result<Answer, OpError>) -> Option<Trouble> {
    answer.as_ref().err().and_then(|error| error.why)
}

/// An error as the history tells it: the code, and the reason where it is one of the closed list.
fn text(error: &OpError) -> String {
    match (error.reason.as_str(), error.message.as_str()) {
        ("", "") => error.code.clone(),
        ("", message) => format!("{}: {message}", error.code),
        (reason, _) => format!("{}: {reason}", error.code),
    }
}

/// The operation's name in histories.
fn op_name(op: &Op) -> &'static str {
    match op {
        Op::Hello { .. } => "hello",
        Op::Open { .. } => "open",
        Op::Send { .. } => "send",
        Op::Cancel { .. } => "cancel",
        Op::Clone { .. } => "clone",
        Op::Drop { .. } => "drop",
        Op::PanicCallback => "panic_callback",
        Op::Flush { .. } => "flush",
        Op::Metrics => "metrics",
        Op::Close { .. } => "close",
        Op::CodecEncode { .. } => "codec.encode",
        Op::CodecDecode { .. } => "codec.decode",
        Op::Bye => "bye",
        // no producer has stores
        _ => "unknown",
    }
}
