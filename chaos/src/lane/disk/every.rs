//! A disk that is full at every byte: the same run is played for each number of free bytes that is
//! too small for it, from none on, and once more with what it needs. Each play has a fresh disk.

use super::play::Bench;
use crate::disk::Machine;
use crate::history::{FULL_AT, FULL_TRIED, Kind};
use crate::lane::HarnessError;
use crate::scenario::model::{FaultKind, FsFault, Scenario};

/// Byte counts that are tried; of more only every n-th is, and that is said.
const MOST: u64 = 4_000;
/// Plays whose crash states are tried.
const CRASHED: u64 = 8;

/// One of the plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Bytes that are free.
    pub(super) free: u64,
    /// Bytes that the run needs: with so many the disk is never full.
    need: u64,
    /// Of so many plays one has its crash states tried; this is one of the others.
    spared: Option<u64>,
}

impl Turn {
    /// A call that failed on a full disk can leave nothing for a later one to do. Where there is
    /// room enough everything must come to its turn.
    pub(super) const fn may_leave_out(&self) -> bool {
        self.free < self.need
    }

    /// Why no crash states are tried.
    pub(super) fn no_crashes(&self) -> Option<String> {
        let each = self.spared?;
        Some(format!("of a disk that is full at every byte, one play in {each} has them tried"))
    }
}

/// The scenario asks for it.
pub(crate) fn is_asked(scenario: &Scenario) -> bool {
    let every = FaultKind::Fs(FsFault::FullEvery);
    scenario.faults.iter().any(|fault| fault.kind == every)
}

/// The byte counts that are tried of those that are too few, and the step between two.
fn counts(need: u64, seed: u64) -> (Vec<u64>, u64) {
    let step = need.div_ceil(MOST).max(1);
    // another phase with each seed, and always the first and the last
    let last = need.saturating_sub(1);
    let chosen = |n: &u64| n % step == seed % step || *n == 0 || *n == last;
    ((0..need).filter(chosen).collect(), step)
}

/// What the run needs: with more room than anybody can fill, it shows how much it takes.
fn need(bench: &Bench<'_>) -> u64 {
    let boundless = Turn { free: u64::MAX / 2, need: 0, spared: Some(1) };
    bench.play(&bench.aside(), Some(boundless), Vec::new()).0.taken()
}

/// The one play with so many bytes free.
pub(super) fn chosen(bench: &Bench<'_>, free: u64) -> Turn {
    Turn { free, need: need(bench), spared: None }
}

/// Plays them all, on the recorder of the bench.
pub(super) fn play(bench: &Bench<'_>) -> (Vec<Machine>, Option<HarnessError>) {
    let need = need(bench);
    let seed = bench.input.seed;
    let (counts, step) = counts(need, seed);
    let all = counts.len() as u64 + 1;
    let each = all.div_ceil(CRASHED);
    let mut machines = Vec::new();
    for (n, free) in (0..).zip(counts.into_iter().chain([need])) {
        let spared = (n % each != seed % each && free != need).then_some(each);
        let text = format!("the disk takes {free} bytes more");
        bench.recorder.harness(told(FULL_AT, free, text));
        let (play, error) =
            bench.play(&bench.recorder, Some(Turn { free, need, spared }), machines);
        machines = play.into_machines();
        if let Some(error) = error {
            let message = format!("with {free} bytes free: {}", error.message);
            return (machines, Some(HarnessError { message, ..error }));
        }
    }
    let which = if step == 1 { "every one".to_owned() } else { format!("one in {step}") };
    let text = format!("of the byte counts from 0 to {need}, {which}");
    bench.recorder.harness(told(FULL_TRIED, all, text));
    (machines, None)
}

fn told(what: &str, value: u64, text: String) -> Kind {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    Kind::Proc { what: what.to_owned(), value, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_count_that_is_too_small_is_tried() {
        assert_eq!(counts(3, 7), (vec![0, 1, 2], 1));
        assert_eq!(counts(0, 0), (vec![], 1));
        assert_eq!(counts(MOST, 1).0.len() as u64, MOST);
    }

    #[test]
    fn of_too_many_every_nth_is_tried_and_always_the_first_and_the_last() {
        let (all, step) = counts(MOST * 2 + 1, 1);
        assert_eq!(step, 3);
        assert_eq!((all.first(), all.get(1), all.last()), (Some(&0), Some(&1), Some(&(MOST * 2))));
        assert!(all.len() as u64 <= MOST + 2, "{}", all.len());
        assert_ne!(all, counts(MOST * 2 + 1, 2).0, "seeds try others");
    }
}
