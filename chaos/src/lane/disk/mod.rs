//! Stores on a simulated disk: sequential, in virtual time, seeded; the same input gives the same
//! history, byte for byte.
//!
//! The lane opens a store on a [`SimFs`], lets the scenario save, delete and break things, asks for
//! everything after every open and at the end, opens the directory under the other variants too,
//! and at last, where no fault has damaged what was durable, opens a store on every disk that a
//! crash at any operation could have left.
//!
//! State diffs run here too, for they need no broker either: states are offered one by one, a
//! receiver of the harness's own applies what comes of them, and an allocator counts.

pub(super) mod agenda;
mod audit;
mod damage;
mod diff;
mod earlier;
mod every;
pub(super) mod ground;
mod ids;
pub(super) mod play;
mod session;
mod states;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{HarnessError, RunInput, RunOutput, SubjectSpec};
use crate::disk::{Image, SimFs};
use crate::fault;
use crate::saboteur::{self, Saboteur};
use crate::scenario::model::{ActionKind, At, LaneName, Scenario};
use crate::scenario::store;
use crate::subject::state::{self, Start};
use crate::subject::store::{self as stores, Open};

pub(crate) use audit::SAMPLED;
pub(crate) use every::is_asked as is_full_at_every_byte;
pub(super) use session::is_index;
pub(crate) use states::NOT_TRIED;
pub use states::{Shown, show};

/// The directory that stores are opened on.
pub const DIR: &str = "/store";
/// The variants that take turns by seed.
pub const VARIANTS: [&str; 3] = ["file", "compressed", "versioned"];

/// Runs one cell on the calling thread.
#[must_use]
pub fn run(input: &RunInput) -> RunOutput {
    if let Some(why) = cannot_express(&input.scenario, LaneName::Disk) {
        return RunOutput { not_applicable: Some(why), ..RunOutput::default() };
    }
    if input.scenario.state.is_some() {
        return match starter(&input.subject) {
            Ok(start) => diff::play(input, &start),
            Err(error) => RunOutput { error: Some(error), ..RunOutput::default() },
        };
    }
    match opener(&input.subject) {
        Ok(open) => play::play(input, &open),
        Err(error) => RunOutput { error: Some(error), ..RunOutput::default() },
    }
}

/// The variant that a run is of.
#[must_use]
pub fn variant(scenario: &Scenario, seed: u64) -> &'static str {
    let asked = scenario.checkpoint.as_ref().map_or("each", |c| c.variant.as_str());
    let own = variants(scenario);
    let turn = usize::try_from(seed % own.len().max(1) as u64).unwrap_or(0);
    let named = VARIANTS.into_iter().find(|variant| *variant == asked);
    named.or(own.get(turn).copied()).unwrap_or("file")
}

/// Variants that can have the directory. Version 1 wrote the plain state's type nowhere, so that
/// only a store of that type reads it.
fn variants(scenario: &Scenario) -> Vec<&'static str> {
    let untyped = scenario.loads.iter().any(|load| store::is_untyped(&load.writer));
    VARIANTS.into_iter().filter(|variant| !untyped || *variant != "versioned").collect()
}

/// The variants that have the directory at the end, one after the other, when a run was of `own`.
pub(crate) fn last_variants(scenario: &Scenario, own: &str) -> Vec<&'static str> {
    let all = variants(scenario).into_iter();
    let (mine, others): (Vec<_>, Vec<_>) = all.partition(|variant| *variant == own);
    // The newer schema reads the older one, not the other way round.
    let others = others.into_iter().filter(|variant| own != "versioned" || *variant != "file");
    mine.into_iter().chain(others).collect()
}

/// What a lane of stores cannot do.
pub(super) fn cannot_express(scenario: &Scenario, lane: LaneName) -> Option<String> {
    let differs = scenario.state.is_some();
    if scenario.checkpoint.is_none() && !differs {
        return Some("the disk lane runs stores and state diffs, and the scenario has none".into());
    }
    let fault = scenario.faults.iter().find_map(|fault| {
        let why = fault::can_inject(lane, &fault.kind).err()?;
        Some(format!("{}: {why}", fault.kind.name()))
    });
    let action = scenario.actions.iter().find_map(|action| match action.kind {
        ref kind if differs => Some(format!("{}: state diffs have no actions", kind.name())),
        ActionKind::Open | ActionKind::Close { .. } | ActionKind::Store(_) => None,
        ref other => Some(format!("{}: a store has no such operation", other.name())),
    });
    let moments = scenario.loads.iter().map(|load| &load.at);
    let moments = moments.chain(scenario.faults.iter().map(|fault| &fault.at));
    let mut moments = moments.chain(scenario.actions.iter().map(|action| &action.at));
    let at_once = scenario.loads.iter().any(|load| load.at_once && lane == LaneName::Disk);
    let at_once = at_once.then(|| "at_once: a simulated disk has one call at a time".to_owned());
    let unanswered = moments.any(|at| matches!(at, At::Unanswered(_)));
    let unanswered = unanswered.then(|| "unanswered: a store's calls end one by one".to_owned());
    fault.or(action).or(unanswered).or(at_once)
}

/// The saboteur that is under test, if it is one.
fn saboteur(subject: &SubjectSpec) -> Result<Option<&'static Saboteur>, HarnessError> {
    let error = |message: String| HarnessError { blame: "harness", message };
    match subject {
        SubjectSpec::Reference => Ok(None),
        SubjectSpec::Saboteur(name) => saboteur::find(name)
            .map(Some)
            .ok_or_else(|| error(format!("there is no saboteur `{name}`"))),
        SubjectSpec::Driver(_) => {
            Err(error("a driver is a process: it runs on the real-time lanes only".to_owned()))
        }
    }
}

/// How the subject's stores are opened.
fn opener(subject: &SubjectSpec) -> Result<Open, HarnessError> {
    Ok(saboteur(subject)?.map_or_else(|| Arc::new(stores::reference) as Open, Saboteur::store))
}

/// How the subject's diffs are made.
fn starter(subject: &SubjectSpec) -> Result<Start, HarnessError> {
    Ok(saboteur(subject)?.map_or_else(|| Arc::new(state::reference) as Start, Saboteur::differ))
}

/// An empty machine.
fn fresh() -> SimFs {
    SimFs::new(Image::default())
}
