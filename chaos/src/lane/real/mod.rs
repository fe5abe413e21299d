//! What the lanes with brokers in real time have in common: the subject is a child process.
//!
//! The child speaks the driver protocol, whoever wrote it: the reference with rdkafka is
//! `dashproof driver`, and a foreign subject comes in by the same door.

mod home;
mod stalls;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::child::{RealClock, command, environment, missing};
use super::scratch::Scratch;
use super::{HarnessError, RunInput, RunOutput};
use crate::fault;
use crate::fault::proxy::applies_to_bytes;
use crate::history::Recorder;
use crate::scenario::model::{ActionKind, LaneName, Scenario};
use crate::subject::logs::LOGS;
use crate::subject::message;
use crate::subject::runner::{self, Control, Stage, World};
use crate::subject::secrets::{OwnSecrets, secrets};
use home::Home;
use stalls::Heartbeat;

/// Where a scenario is played.
pub(super) struct Arena {
    /// The scenario, with what the place adds to the subject's settings.
    pub(super) scenario: Arc<Scenario>,
    /// `host:port,…` of all brokers.
    pub(super) bootstrap: String,
    /// Brokers and faults.
    pub(super) world: Arc<dyn World>,
    /// Keys and tokens that were made for it.
    pub(super) secrets: Arc<OwnSecrets>,
    /// Variables that the subject's environment has beside this program's own.
    pub(super) variables: Vec<(&'static str, OsString)>,
}

/// Runs one cell in the arena that `make` builds. `facts` are added to the environment that the
/// history names.
pub(super) async fn run<F, A>(
    input: &RunInput,
    lane: LaneName,
    facts: Vec<(String, String)>,
    make: impl FnOnce(Arc<Scenario>, Recorder) -> F,
) -> RunOutput
where
    F: Future<Output = Result<(Arena, A), HarnessError>>,
{
    if let Some(why) = cannot_express(lane, &input.scenario) {
        return RunOutput { not_applicable: Some(why), ..RunOutput::default() };
    }
    let recorder = Recorder::new(Arc::new(RealClock(Instant::now())));
    let librdkafka = dashproof_reference::runtime::rdkafka::version();
    let environment = [vec![("librdkafka".to_owned(), librdkafka)], facts].concat();
    recorder.harness(input.opening(lane, environment));
    let heartbeat = Heartbeat::start();
    let ended = play(input, lane, &recorder, make).await;
    heartbeat.end(&recorder);
    let lines = recorder.take();
    match ended {
        Ok(not_applicable) => RunOutput { lines, not_applicable, ..RunOutput::default() },
        Err(error) => RunOutput { lines, error: Some(error), ..RunOutput::default() },
    }
}

/// `Some` says why the scenario does not apply to this subject.
async fn play<F, A>(
    input: &RunInput,
    lane: LaneName,
    recorder: &Recorder,
    make: impl FnOnce(Arc<Scenario>, Recorder) -> F,
) -> Result<Option<String>, HarnessError>
where
    F: Future<Output = Result<(Arena, A), HarnessError>>,
{
    let (scenario, spool) = own_spool(&input.scenario)
        .map_err(|error| environment(&format!("no temporary directory: {error}")))?;
    // what the place keeps alive ends after the subject
    let (arena, _kept) = make(scenario, recorder.clone()).await?;
    let scenario = &arena.scenario;
    let command = command(&input.subject)
        .map_err(|error| environment(&format!("cannot find the dashproof program: {error}")))?;
    let logs = !secrets(&scenario.producer).is_empty() || !arena.secrets.is_empty();
    let logs = logs.then(|| (LOGS, OsString::from("1")));
    let variables = arena.variables.iter().cloned().chain(logs).collect();
    let home = Home::new(command, variables, recorder.clone(), spool.as_ref());
    let (home, capabilities) = home.await?;
    let missing = missing(&needed(scenario), &capabilities);
    if !missing.is_empty() {
        home.leave().await;
        let missing: Vec<&str> = missing.into_iter().collect();
        return Ok(Some(format!("the subject does not declare {}", missing.join(", "))));
    }
    let stage = Stage {
        scenario: Arc::clone(scenario),
        seed: input.seed,
        run: input.digest(lane),
        bootstrap: arena.bootstrap.clone(),
        measure: message::measure,
        subject: Arc::clone(&home) as Arc<dyn crate::subject::Subject>,
        world: Arc::clone(&arena.world),
        control: Arc::clone(&home) as Arc<dyn Control>,
        recorder: recorder.clone(),
    };
    let ended = runner::drive(stage).await.map_err(|mut error| {
        error.message = format!("{}; {}", error.message, home.describe());
        error
    });
    home.leave().await;
    arena.secrets.search(recorder);
    ended
}

/// The scenario with a directory of the cell's own for the spool, if it asks for one: its relative
/// path is looked for there.
fn own_spool(scenario: &Arc<Scenario>) -> io::Result<(Arc<Scenario>, Option<Scratch>)> {
    const AT: &str = "/spool/directory";
    let Some(path) = scenario.producer.pointer(AT).and_then(|v| v.as_str()) else {
        return Ok((Arc::clone(scenario), None));
    };
    let root = spool_root()?;
    let path = root.path().join(path.trim_start_matches('/'));
    let mut own = scenario.as_ref().clone();
    if let Some(place) = own.producer.pointer_mut(AT) {
        *place = path.to_string_lossy().into_owned().into();
    }
    Ok((Arc::new(own), Some(root)))
}

/// In memory where the system has a place for that: on a disk that others write to, a sync takes
/// as long as they like, and a close that has two seconds would be blamed for it. A killed process
/// loses nothing that it wrote either way; what a machine that stops loses is the disk lane's.
fn spool_root() -> io::Result<Scratch> {
    Scratch::make_in_memory("")
}

/// Why a lane cannot run a scenario: the first fault that it cannot inject.
pub(super) fn cannot_express(lane: LaneName, scenario: &Scenario) -> Option<String> {
    let hides = scenario.listener.is_encrypted();
    scenario.faults.iter().find_map(|fault| {
        let seen = || if hides { applies_to_bytes(&fault.kind) } else { Ok(()) };
        let why = fault::can_inject(lane, &fault.kind).and_then(|()| seen()).err()?;
        Some(format!("{}: {why}", fault.kind.name()))
    })
}

/// The capabilities that a scenario asks of its subject.
fn needed(scenario: &Scenario) -> BTreeSet<&'static str> {
    let is_end =
        |kind: &ActionKind| matches!(kind, ActionKind::Close { .. } | ActionKind::Drop { .. });
    let actions = || scenario.actions.iter().map(|action| &action.kind);
    let mut needed = BTreeSet::from(["open"]);
    needed.extend((!scenario.loads.is_empty()).then_some("send"));
    needed.extend((!actions().any(is_end)).then_some("close"));
    needed.extend(actions().filter_map(capability));
    needed
}

/// What an action asks for; `unknown` asks for nothing, which is its point.
fn capability(action: &ActionKind) -> Option<&'static str> {
    Some(match action {
        ActionKind::Open => "open",
        ActionKind::Flush { .. } => "flush",
        ActionKind::Close { .. } => "close",
        ActionKind::Clone => "clone",
        ActionKind::Drop { .. } => "drop",
        ActionKind::Cancel => "cancel",
        ActionKind::PanicCallback => "panic_callback",
        ActionKind::Metrics => "metrics",
        ActionKind::Decode { .. } => "codec.decode",
        ActionKind::Store(_) => "checkpoint",
        ActionKind::UnknownOperation => return None,
    })
}

#[cfg(test)]
mod tests;
