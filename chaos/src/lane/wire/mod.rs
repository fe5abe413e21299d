//! Model broker on loopback TCP, real time, the subject in a child process.
//!
//! The child speaks the driver protocol, whoever wrote it: the reference with rdkafka is
//! `dashproof driver`, and a foreign subject comes in by the same door.

mod brokers;
mod home;
mod stalls;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tempfile::TempDir;

use super::child::{RealClock, command, environment, missing};
use super::{HarnessError, RunInput, RunOutput};
use crate::fault;
use crate::history::Recorder;
use crate::scenario::model::{ActionKind, LaneName, Scenario};
use crate::subject::logs::secrets;
use crate::subject::message;
use crate::subject::runner::{self, Control, Stage};
use brokers::Brokers;
use home::Home;
use stalls::Heartbeat;

/// With this in the environment the brokers stand behind the proxy, which carries the faults: the
/// way to hold the proxy to what the model broker does itself.
pub const PROXIED: &str = "DASHPROOF_PROXIED";

/// Runs one cell. Several may run at once, each with its own brokers and child.
pub async fn run(input: &RunInput) -> RunOutput {
    if let Some(why) = cannot_express(&input.scenario) {
        return RunOutput { not_applicable: Some(why), ..RunOutput::default() };
    }
    let recorder = Recorder::new(Arc::new(RealClock(Instant::now())));
    let librdkafka = dashproof_reference::runtime::rdkafka::version();
    let environment = vec![("librdkafka".to_owned(), librdkafka)];
    recorder.harness(input.opening(LaneName::Wire, environment));
    let heartbeat = Heartbeat::start();
    let ended = play(input, &recorder).await;
    heartbeat.end(&recorder);
    let lines = recorder.take();
    match ended {
        Ok(not_applicable) => RunOutput { lines, not_applicable, ..RunOutput::default() },
        Err(error) => RunOutput { lines, error: Some(error), ..RunOutput::default() },
    }
}

/// `Some` says why the scenario does not apply to this subject.
async fn play(input: &RunInput, recorder: &Recorder) -> Result<Option<String>, HarnessError> {
    let (scenario, spool) = own_spool(&input.scenario)
        .map_err(|error| environment(&format!("no temporary directory: {error}")))?;
    let scenario = &scenario;
    let digest = input.digest(LaneName::Wire);
    let proxied = std::env::var_os(PROXIED).is_some();
    let brokers = if proxied {
        Brokers::behind_proxy(scenario, digest, recorder.clone(), input.seed).await
    } else {
        Brokers::start(scenario, digest, recorder.clone(), input.seed).await
    };
    let brokers = brokers
        .map_err(|error| environment(&format!("no socket on the loopback interface: {error}")))?;
    let command = command(&input.subject)
        .map_err(|error| environment(&format!("cannot find the dashproof program: {error}")))?;
    let logs = !secrets(&scenario.producer).is_empty();
    let (home, capabilities) = Home::new(command, logs, recorder.clone(), spool.as_ref()).await?;
    let missing = missing(&needed(scenario), &capabilities);
    if !missing.is_empty() {
        home.leave().await;
        let missing: Vec<&str> = missing.into_iter().collect();
        return Ok(Some(format!("the subject does not declare {}", missing.join(", "))));
    }
    let stage = Stage {
        scenario: Arc::clone(scenario),
        seed: input.seed,
        run: digest,
        bootstrap: brokers.bootstrap.clone(),
        measure: message::measure,
        subject: Arc::clone(&home) as Arc<dyn crate::subject::Subject>,
        world: Arc::clone(&brokers.world),
        control: Arc::clone(&home) as Arc<dyn Control>,
        recorder: recorder.clone(),
    };
    let ended = runner::drive(stage).await.map_err(|mut error| {
        error.message = format!("{}; {}", error.message, home.describe());
        error
    });
    home.leave().await;
    ended.map(|()| None)
}

/// The scenario with a directory of the cell's own for the spool, if it asks for one: its relative
/// path is looked for there.
fn own_spool(scenario: &Arc<Scenario>) -> io::Result<(Arc<Scenario>, Option<TempDir>)> {
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
fn spool_root() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("dashproof-");
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir())
}

fn cannot_express(scenario: &Scenario) -> Option<String> {
    let proxied = std::env::var_os(PROXIED).is_some();
    let lane = if proxied { LaneName::Kafka } else { LaneName::Wire };
    scenario.faults.iter().find_map(|fault| {
        let why = fault::can_inject(lane, &fault.kind).err()?;
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
