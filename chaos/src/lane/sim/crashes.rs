//! Opens the subject's spool on the disks that a crash could leave.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tracing::subscriber::{NoSubscriber, with_default};

use crate::disk::crash::{self, State, States};
use crate::disk::{Image, Log, Machine, Op, SimFs};
use crate::history::{CrashState, CrashTally, Kind, Recorder, SpoolFound, Src};
use crate::subject::reference::spool::Reopen;

/// Points of a log at which crashes are tried beside those where names change. A spool writes and
/// syncs over and over: where it does so more often, other seeds try other points.
const APPENDS: usize = 160;
/// Disks that are tried of one point; beyond, only every n-th is.
const DISKS: usize = 64;

/// Tries the machine's crash states, and records what the spool gave back on each.
pub(super) fn record(recorder: &Recorder, number: usize, machine: &Machine, reopen: &Reopen) {
    let Machine { log, base, seed } = machine;
    let mut tally = CrashTally::default();
    // Equal disks get equal answers, whenever the crash was; what they must be differs.
    let mut known: BTreeMap<[u8; 32], Result<SpoolFound, String>> = BTreeMap::new();
    let chosen = points(log, *seed);
    for states in crash::states_at(log, base, &chosen, *seed) {
        let (states, at) = thinned(states);
        tally.points += at.points;
        tally.states += at.states;
        tally.duplicates += at.duplicates;
        tally.sampled += at.sampled;
        for state in states {
            let answer = known.entry(state.digest);
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

/// The disks of one point, or some of them, which makes it a sampled one. The first and the last
/// are always there: everything lost that can be, and nothing.
fn thinned(States { mut states, mut tally }: States) -> (Vec<State>, CrashTally) {
    if states.len() > DISKS {
        let (every, last) = (states.len().div_ceil(DISKS - 1), states.len() - 1);
        let mut at = 0..;
        states.retain(|_| at.next().is_some_and(|at| at % every == 0 || at == last));
        tally.states = states.len() as u64;
        tally.sampled = 1;
    }
    (states, tally)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dashproof_reference::fs::Fs as _;

    use super::*;
    use crate::history::Line;
    use crate::lane::sim::clock::SimClock;

    /// A file of so many writes, each synced or none.
    fn machine(writes: usize, synced: bool, seed: u64) -> Machine {
        let fs = SimFs::new(Image::default());
        fs.create_dir(Path::new("/d")).unwrap();
        let mut file = fs.create_new(Path::new("/d/a")).unwrap();
        for n in 0..writes {
            file.write_all(&[u8::try_from(n % 250).unwrap(); 700]).unwrap();
            if synced {
                file.sync().unwrap();
            }
        }
        Machine { log: fs.log(), base: fs.base(), seed }
    }

    fn recorded(machine: &Machine) -> (Vec<CrashState>, CrashTally) {
        let recorder = Recorder::new(Arc::new(SimClock::default()));
        let reopen: Reopen = Arc::new(|_| Ok(SpoolFound::default()));
        record(&recorder, 0, machine, &reopen);
        let mut lines = recorder.take();
        let Some(Line { kind: Kind::CrashTally(tally), .. }) = lines.pop() else { panic!() };
        let state = |line: Line| match line.kind {
            Kind::CrashState(state) => state,
            other => panic!("{other:?}"),
        };
        (lines.into_iter().map(state).collect(), tally)
    }

    #[test]
    fn a_short_log_is_tried_at_every_point() {
        let machine = machine(10, true, 0);
        let (states, tally) = recorded(&machine);
        assert_eq!((tally.points, tally.sampled), (23, 0));
        assert_eq!(tally.states, states.len() as u64);
        let points: BTreeSet<u64> = states.iter().map(|state| state.ops).collect();
        assert_eq!(points, (0..=22).collect());
    }

    #[test]
    fn of_a_long_log_other_seeds_try_other_points_and_what_is_left_out_is_counted() {
        let all: Vec<BTreeSet<u64>> =
            (0..4).map(|seed| points(&machine(300, true, seed).log, seed)).collect();
        let together: BTreeSet<u64> = all.iter().flatten().copied().collect();
        assert_eq!(together, (0..=602).collect());
        for points in &all {
            assert!((140..=APPENDS + 4).contains(&points.len()), "{points:?}");
            assert!([0, 1, 2, 602].iter().all(|at| points.contains(at)), "names and both ends");
        }
        let (_, tally) = recorded(&machine(300, true, 0));
        assert_eq!(tally.points + tally.sampled, 603);
    }

    #[test]
    fn a_point_with_too_many_disks_is_thinned_and_counted() {
        let (states, tally) = recorded(&machine(40, false, 0));
        assert!(tally.sampled > 10, "{tally:?}");
        let most = states.iter().filter(|state| state.ops == 42).count();
        assert!((32..=DISKS).contains(&most), "{most}");
        assert_eq!(tally.states, states.len() as u64);
    }

    #[test]
    fn a_spool_that_panics_on_a_disk_cannot_be_opened_on_it() {
        let recorder = Recorder::new(Arc::new(SimClock::default()));
        let reopen: Reopen = Arc::new(|_| std::panic::resume_unwind(Box::new("no")));
        record(&recorder, 0, &machine(1, true, 0), &reopen);
        let failed = |line: &Line| match &line.kind {
            Kind::CrashState(state) => state.error.as_deref() == Some("a panic"),
            _ => true,
        };
        assert!(recorder.read(|lines| lines.len() > 4 && lines.iter().all(failed)));
    }
}
