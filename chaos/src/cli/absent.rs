//! Lanes that cannot run here, and why.

use super::failure::Failure;
use super::pool;
use crate::lane::kafka::{self, Missing};
use crate::scenario::model::LaneName;

/// Lanes that this build can run.
pub(super) const LANES: [LaneName; 6] = [
    LaneName::Sim,
    LaneName::Disk,
    LaneName::Files,
    LaneName::Wire,
    LaneName::Mock,
    LaneName::Kafka,
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

/// What a lane lacks in this build and on this machine, if anything.
pub(super) fn missing(lane: LaneName) -> Option<Missing> {
    match lane {
        LaneName::Sim if !cfg!(tokio_unstable) => Some(without_sim()),
        LaneName::Kafka => kafka_is_missing(),
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
