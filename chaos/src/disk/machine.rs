//! A disk's whole story, from which every crash state of it can be made again.

use super::crash::{self, State};
use super::image::Image;
use super::log::Log;

/// What was done to a disk, from what it began, and the seed of its crash states.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What was done.
    pub log: Log,
    /// What it began with.
    pub base: Image,
    /// Where there are too many crash states this draws them.
    pub seed: u64,
}

/// The crash state of this name: `m0.op17.v3` is of the run's first machine.
#[must_use]
pub fn state(machines: &[Machine], name: &str) -> Option<State> {
    let (number, name) = name.strip_prefix('m')?.split_once('.')?;
    let Machine { log, base, seed } = machines.get(number.parse::<usize>().ok()?)?;
    crash::state(log, base, *seed, name)
}
