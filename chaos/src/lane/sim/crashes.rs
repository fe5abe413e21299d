//! Opens the subject's spool on the disks that a crash could leave.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tracing::subscriber::{NoSubscriber, with_default};

use crate::disk::{Image, Log, Machine, Op, SimFs, crash};
use crate::history::{CrashState, CrashTally, Kind, Recorder, SpoolFound, Src};
use crate::subject::reference::spool::Reopen;

/// Points of a log at which crashes are tried beside those where names change. A spool writes the
/// same two operations over and over: the other seeds try other points.
const APPENDS: usize = 12;

/// Tries the machine's crash states, and records what the spool gave back on each.
pub(super) fn record(recorder: &Recorder, number: usize, machine: &Machine, reopen: &Reopen) {
    let Machine { log, base, seed } = machine;
    let mut tally = CrashTally::default();
    // Equal disks get equal answers, whenever the crash was; what they must be differs.
    let mut known: BTreeMap<[u8; 32], Result<SpoolFound, String>> = BTreeMap::new();
    let chosen = points(log, *seed);
    for ops in &chosen {
        let at = crash::states_after(log, base, *ops, *seed);
        tally.points += at.tally.points;
        tally.states += at.tally.states;
        tally.duplicates += at.tally.duplicates;
        tally.sampled += at.tally.sampled;
        for state in at.states {
            let answer = known.entry(state.image.digest());
            let answer = answer.or_insert_with(|| answer_on(state.image, reopen)).clone();
            let (spool, error) = match answer {
                Ok(found) => (Some(found), None),
                Err(error) => (None, Some(error)),
            };
            let name = format!("m{number}.{}", state.name);
            let line =
                CrashState { state: name, ops: state.ops, spool, error, ..CrashState::default() };
            recorder.record(Src::Fs, Kind::CrashState(line));
        }
    }
    tally.sampled += log.0.len() as u64 + 1 - chosen.len() as u64;
    recorder.record(Src::Fs, Kind::CrashTally(tally));
}

fn answer_on(image: Image, reopen: &Reopen) -> Result<SpoolFound, String> {
    let fs = Arc::new(SimFs::new(image));
    // What it logs here is not said in the run. One that panics cannot be opened on it.
    let opened = || with_default(NoSubscriber::new(), || reopen(fs));
    catch_unwind(AssertUnwindSafe(opened)).unwrap_or_else(|_| Err("a panic".to_owned()))
}

/// The points that are tried: the first and the last, before and after each change of names, and
/// some of the others, another phase of them with each seed.
fn points(log: &Log, seed: u64) -> BTreeSet<u64> {
    let last = log.0.len() as u64;
    let mut chosen = BTreeSet::from([0, last]);
    for (at, op) in (0..).zip(&log.0) {
        if !matches!(op, Op::Write(..) | Op::Sync(_)) {
            chosen.extend([at, at + 1]);
        }
    }
    let others: Vec<u64> = (0..=last).filter(|at| !chosen.contains(at)).collect();
    let every = others.len().div_ceil(APPENDS).max(1);
    let phase = usize::try_from(seed % every as u64).unwrap_or(0);
    chosen.extend(others.iter().skip(phase).step_by(every));
    chosen
}
