//! Model broker on loopback TCP, real time, the subject in a child process.

mod brokers;

use std::sync::Arc;

use super::child::environment;
use super::real::{self, Arena};
use super::{RunInput, RunOutput, SubjectSpec};
use crate::broker::Wrong;
use crate::saboteur;
use crate::scenario::model::{LaneName, Scenario};
use crate::subject::runner::World;
use brokers::Brokers;

/// Runs one cell. Several may run at once, each with its own brokers and child.
pub async fn run(input: &RunInput) -> RunOutput {
    let digest = input.digest(LaneName::Wire);
    let arena = async |scenario: Arc<Scenario>, recorder| {
        let brokers =
            Brokers::start(&scenario, digest, recorder, input.seed).await.map_err(|error| {
                environment(&format!("no socket on the loopback interface: {error}"))
            })?;
        if let Some(wrong) = wrong(&input.subject) {
            brokers.world.cluster().go_wrong(wrong);
        }
        let world = Arc::clone(&brokers.world) as Arc<dyn World>;
        let bootstrap = brokers.bootstrap.clone();
        Ok((Arena { scenario, bootstrap, world }, brokers))
    };
    real::run(input, LaneName::Wire, Vec::new(), arena).await
}

/// What the brokers do wrong, if it is they who are put to the test.
fn wrong(subject: &SubjectSpec) -> Option<Wrong> {
    match subject {
        SubjectSpec::Saboteur(name) => saboteur::find(name)?.broker(),
        SubjectSpec::Reference | SubjectSpec::Driver(_) => None,
    }
}
