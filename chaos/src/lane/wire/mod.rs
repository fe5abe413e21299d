//! Model broker on loopback TCP, real time, the subject in a child process.

mod brokers;

use std::sync::Arc;

use super::child::environment;
use super::real::{self, Arena};
use super::{RunInput, RunOutput, SubjectSpec};
use crate::broker::Wrong;
use crate::saboteur;
use crate::scenario::model::{LaneName, Scenario};
use brokers::Brokers;

/// With this in the environment the brokers stand behind the proxy, which carries the faults: the
/// way to hold the proxy to what the model broker does itself.
pub const PROXIED: &str = "DASHPROOF_PROXIED";

/// Runs one cell. Several may run at once, each with its own brokers and child.
pub async fn run(input: &RunInput) -> RunOutput {
    let digest = input.digest(LaneName::Wire);
    let proxied = std::env::var_os(PROXIED).is_some();
    // behind the proxy only its faults can be injected
    let kafka = proxied.then(|| real::cannot_express(LaneName::Kafka, &input.scenario)).flatten();
    if kafka.is_some() {
        return RunOutput { not_applicable: kafka, ..RunOutput::default() };
    }
    let arena = async |scenario: Arc<Scenario>, recorder| {
        let brokers = if proxied {
            Brokers::behind_proxy(&scenario, digest, recorder, input.seed).await
        } else {
            Brokers::start(&scenario, digest, recorder, input.seed, wrong(&input.subject)).await
        };
        let brokers = brokers.map_err(|error| {
            environment(&format!("no socket on the loopback interface: {error}"))
        })?;
        let (bootstrap, world) = (brokers.bootstrap.clone(), Arc::clone(&brokers.world));
        let secrets = Arc::default();
        Ok((Arena { scenario, bootstrap, world, secrets, variables: Vec::new() }, brokers))
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
