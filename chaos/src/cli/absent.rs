//! Lanes that cannot run here, and why.

use super::args::RunArgs;
use super::failure::Failure;
use super::pool;
use crate::lane::external::{self, BOOTSTRAP_VARIABLE, Bootstrap};
use crate::lane::kafka::{self, Missing};
use crate::scenario::model::LaneName;

/// Lanes that this build can run.
pub(super) const LANES: [LaneName; 7] = [
    LaneName::Sim,
    LaneName::Disk,
    LaneName::Files,
    LaneName::Wire,
    LaneName::Mock,
    LaneName::Kafka,
    LaneName::External,
];

/// A lane that is not there.
pub(super) struct Absent {
    pub(super) missing: Missing,
    /// Scenarios that would run there.
    pub(super) scenarios: usize,
}

/// The sim lane exists only in a build whose runs replay.
fn without_sim() -> Missing {
    Missing {
        what: "this program was built without --cfg tokio_unstable, so that its runs would not \
               replay"
            .to_owned(),
        remedy: "build in the project's folder, where .cargo/config.toml sets the flag".to_owned(),
    }
}

/// The failure of a command that is about nothing but `sim`.
pub(crate) fn sim_is_missing() -> Failure {
    not_there(LaneName::Sim, &without_sim())
}

/// What a lane lacks in this build and on this machine, if anything. `bootstrap` is the cluster
/// that the user names.
pub(super) fn missing(lane: LaneName, bootstrap: Option<&Bootstrap>) -> Option<Missing> {
    match lane {
        LaneName::Sim if !cfg!(tokio_unstable) => Some(without_sim()),
        LaneName::Kafka => kafka_is_missing(),
        LaneName::External => external(bootstrap).err(),
        lane if LANES.contains(&lane) => None,
        _ => Some(Missing {
            what: "not in this build".to_owned(),
            remedy: "`dashproof doctor` tells what is there".to_owned(),
        }),
    }
}

/// The failure of a command that needs the lane.
pub(super) fn not_there(lane: LaneName, missing: &Missing) -> Failure {
    let Missing { what, remedy } = missing;
    Failure::inconclusive(format!(
        "lane {} is not available: {what}; nothing was run\nhelp: {remedy}",
        lane.as_str()
    ))
}

/// What the lane kafka lacks on this machine, if anything.
fn kafka_is_missing() -> Option<Missing> {
    let missing = |error: Failure| Missing { what: error.message, remedy: String::new() };
    match pool::runtime() {
        Ok(runtime) => runtime.block_on(kafka::look()).err(),
        Err(error) => Some(missing(error)),
    }
}

/// The cluster that the user names, by option or in the environment.
///
/// # Errors
/// What is named is no list of addresses, or an option names it and nothing would run there.
pub(super) fn bootstrap(args: &RunArgs) -> Result<Option<Bootstrap>, Failure> {
    let wanted = args.at.lane.contains(&LaneName::External);
    if args.bootstrap.is_some() && !wanted {
        return Err(Failure::usage(
            "--bootstrap names a cluster, and nothing is to run there\nhelp: add --lane external",
        ));
    }
    let option = args.bootstrap.clone().map(|text| ("--bootstrap", text));
    let named = option.or_else(in_environment).filter(|_| wanted);
    named
        .map(|(place, text)| {
            text.parse().map_err(|error| {
                let example = "broker-1.example:9092,broker-2.example:9092";
                Failure::usage(format!("{place}: {error}\nhelp: as in {example}"))
            })
        })
        .transpose()
}

fn in_environment() -> Option<(&'static str, String)> {
    let text = std::env::var(BOOTSTRAP_VARIABLE).ok()?;
    (!text.trim().is_empty()).then_some((BOOTSTRAP_VARIABLE, text))
}

/// The cluster that the user names.
fn external(bootstrap: Option<&Bootstrap>) -> Result<external::Cluster, Missing> {
    let Some(bootstrap) = bootstrap else {
        return Err(Missing {
            what: "no cluster is named".to_owned(),
            remedy: format!("name one with --bootstrap HOST:PORT, or in {BOOTSTRAP_VARIABLE}"),
        });
    };
    let runtime =
        pool::runtime().map_err(|error| Missing { what: error.message, remedy: String::new() })?;
    runtime.block_on(external::look(bootstrap))
}

/// For `doctor`: the cluster that the environment names.
///
/// # Errors
/// What is missing.
pub(super) fn external_in_environment() -> Result<String, Missing> {
    let named = in_environment().map(|(_, text)| text.parse()).transpose();
    let named: Option<Bootstrap> = named.map_err(|error| Missing {
        what: format!("{BOOTSTRAP_VARIABLE}: {error}"),
        remedy: "list HOST:PORT, separated by commas".to_owned(),
    })?;
    let cluster = external(named.as_ref())?;
    let (id, brokers) = (&cluster.id, cluster.ids().len());
    let plural = if brokers == 1 { "" } else { "s" };
    Ok(format!("cluster {id} of {brokers} broker{plural}"))
}
