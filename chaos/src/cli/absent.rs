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
pub(crate) fn sim_is_missing() -> Failure {
    Failure::inconclusive(
        "lane sim is not available: this program was built without --cfg tokio_unstable, so that \
         its runs would not replay\nhelp: build in the project's folder, where .cargo/config.toml \
         sets the flag",
    )
}

/// Fails where this build cannot run a lane.
pub(super) fn available(lane: LaneName) -> Result<(), Failure> {
    if LANES.contains(&lane) {
        return Ok(());
    }
    Err(not_there(lane, &not_built()))
}

/// Why a lane that exists nowhere yet cannot run.
pub(super) fn not_built() -> Missing {
    Missing {
        what: "not in this build".to_owned(),
        remedy: "`dashproof doctor` tells what is there".to_owned(),
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

/// Fails where the lane kafka cannot run.
pub(crate) fn kafka_is_there() -> Result<(), Failure> {
    kafka_is_missing().map_or(Ok(()), |missing| Err(not_there(LaneName::Kafka, &missing)))
}

/// What the lane kafka lacks on this machine, if anything.
pub(super) fn kafka_is_missing() -> Option<Missing> {
    let missing = |error: Failure| Missing { what: error.message, remedy: String::new() };
    match pool::runtime() {
        Ok(runtime) => runtime.block_on(kafka::look()).err(),
        Err(error) => Some(missing(error)),
    }
}
