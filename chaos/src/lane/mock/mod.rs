//! librdkafka's own mock cluster, real time, both it and the subject in a process of their own: a
//! second opinion on what a broker says.
//!
//! Everything goes through the safe part of the `rdkafka` crate. The mock tells nobody what it was
//! asked, so that no request is on record here; what its faults did is seen by a witness
//! (`target`), and its logs, which are bounded, are read on during the run (`tail`).

mod cluster;
mod probe;
mod tail;
mod target;
#[cfg(test)]
mod tests;
mod world;

use std::sync::Arc;

use super::child::environment;
use super::real::{self, Arena};
use super::{RunInput, RunOutput};
use crate::history::Recorder;
use crate::scenario::model::{At, LaneName, Listener, Scenario};
use crate::subject::runner::World;
use world::MockWorld;

pub use cluster::{look, serve};

/// Runs one cell. Several may run at once, each with its own cluster and child.
pub async fn run(input: &RunInput) -> RunOutput {
    if let Some(why) = cannot_express(&input.scenario) {
        return RunOutput { not_applicable: Some(why.to_owned()), ..RunOutput::default() };
    }
    let digest = input.digest(LaneName::Mock);
    let arena = async |scenario: Arc<Scenario>, recorder: Recorder| {
        let world = MockWorld::start(&scenario, digest, recorder).await;
        let world = world.map_err(|error| environment(&error))?;
        let bootstrap = world.bootstrap().to_owned();
        let kept = Arc::clone(&world);
        let (world, secrets) = (world as Arc<dyn World>, Arc::default());
        Ok((Arena { scenario, bootstrap, world, secrets, variables: Vec::new() }, kept))
    };
    real::run(input, LaneName::Mock, Vec::new(), arena).await
}

/// What a scenario asks of its brokers, faults apart, that the mock has not.
fn cannot_express(scenario: &Scenario) -> Option<&'static str> {
    let faults = scenario.faults.iter().map(|fault| &fault.at);
    let mut times = faults.chain(scenario.actions.iter().map(|action| &action.at));
    if scenario.listener != Listener::Plaintext {
        return Some("the mock cluster has neither TLS nor SASL");
    }
    let counted = times.any(|at| matches!(at, At::Unanswered(_)));
    counted.then_some("the mock cluster does not say what it has not answered")
}
