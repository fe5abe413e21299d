//! Model broker and reference in turmoil: virtual time, seeded, byte-identical replay.
//!
//! Determinism relies on: one thread per run; every random draw from the seed; tokio's scheduler
//! seeded (`--cfg tokio_unstable`); ordered containers; virtual time only; a registry and a
//! recorder of the run's own. A run that was built without the first condition is refused, never
//! uncertified.

pub mod client;
mod clock;
mod crashes;
mod disk;
mod home;
mod panics;
mod run;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use dashproof_reference::config::ProducerConfig;
use dashproof_reference::core::Connect;
use dashproof_reference::fs::Fs;

use super::disk::Shown;
use super::{HarnessError, RunInput, RunOutput, SubjectSpec};
use crate::disk::crash::State;
use crate::disk::machine;
use crate::fault;
use crate::history::{Recorder, Src};
use crate::saboteur::{self, Saboteur};
use crate::scenario::model::{LaneName, Scenario};
use crate::subject::Subject;
use crate::subject::reference::ReferenceSubject;
use crate::subject::reference::spool::{self, Reopen};
use client::{ClientConnect, TurmoilDial};

/// Versions whose scheduling a replay relies on; a test holds them to the lock file.
const TURMOIL: &str = "0.7.2";
const TOKIO: &str = "1.54.1";

/// Runs one cell on the calling thread. The same input gives the same history, byte for byte.
#[must_use]
pub fn run(input: &RunInput) -> RunOutput {
    if let Some(why) = cannot_express(&input.scenario) {
        return RunOutput { not_applicable: Some(why), ..RunOutput::default() };
    }
    let saboteur = match prepare(input) {
        Ok(saboteur) => saboteur,
        Err(error) => return RunOutput { error: Some(error), ..RunOutput::default() },
    };
    run::play(input, maker(input.seed, saboteur), reopen(&input.scenario, saboteur))
}

/// The disk of a crash state of a run's spool, made again: `m0.op17.v3` is of its first machine.
///
/// # Errors
/// The harness cannot run the subject. `Ok(None)`: the run has no state of this name.
pub fn show(input: &RunInput, name: &str) -> Result<Option<Shown>, HarnessError> {
    let saboteur = prepare(input)?;
    let reopen = reopen(&input.scenario, saboteur);
    let (_, machines) = run::played(input, maker(input.seed, saboteur), reopen);
    let dir = spool_directory(&input.scenario).unwrap_or_default();
    let shown = |state: State| Shown::of(&state.image, Path::new(dir));
    Ok(machine::state(&machines, name).map(shown))
}

/// The directory of the scenario's spool, if it has one.
#[must_use]
pub fn spool_directory(scenario: &Scenario) -> Option<&str> {
    scenario.producer.pointer("/spool/directory")?.as_str()
}

fn maker(seed: u64, saboteur: Option<&'static Saboteur>) -> run::MakeSubject {
    Arc::new(move |recorder, fs| subject(recorder, fs, saboteur, seed))
}

/// How the subject's spool is opened after a crash.
fn reopen(scenario: &Scenario, saboteur: Option<&'static Saboteur>) -> Option<Reopen> {
    let reopen = spool::reopen(spool_directory(scenario)?);
    Some(match saboteur {
        Some(saboteur) => Arc::new(move |fs| reopen(saboteur.disk(fs))),
        None => reopen,
    })
}

fn cannot_express(scenario: &Scenario) -> Option<String> {
    scenario.faults.iter().find_map(|fault| {
        let why = fault::can_inject(LaneName::Sim, &fault.kind).err()?;
        Some(format!("{}: {why}", fault.kind.name()))
    })
}

/// The saboteur, if the subject is one.
fn prepare(input: &RunInput) -> Result<Option<&'static Saboteur>, HarnessError> {
    let error = |blame, message: &str| HarnessError { blame, message: message.to_owned() };
    if !cfg!(tokio_unstable) {
        let message = "the sim lane is not available: this program was built without \
                       `--cfg tokio_unstable`, so tokio's scheduler draws from an unseeded source; \
                       build with the project's .cargo/config.toml";
        return Err(error("environment", message));
    }
    match &input.subject {
        SubjectSpec::Reference => Ok(None),
        SubjectSpec::Saboteur(name) => saboteur::find(name)
            .map(Some)
            .ok_or_else(|| error("harness", &format!("there is no saboteur `{name}`"))),
        SubjectSpec::Driver(_) => {
            Err(error("harness", "a driver is a process: it runs on the real-time lanes only"))
        }
    }
}

/// The reference over the simulator's client.
fn subject(
    recorder: Recorder,
    fs: Arc<dyn Fs>,
    saboteur: Option<&'static Saboteur>,
    seed: u64,
) -> Arc<dyn Subject> {
    let claims = Arc::new(move |claim| {
        recorder.record(Src::Subject, claim);
    });
    let connect = Arc::new(move |config: &ProducerConfig, bootstrap: &str| {
        let connect = ClientConnect::new(config, bootstrap, seed, TurmoilDial);
        Ok(Arc::new(connect) as Arc<dyn Connect>)
    });
    ReferenceSubject::new(connect, claims).disk(fs).sabotaged(saboteur)
}
