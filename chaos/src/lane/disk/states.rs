//! Opens a store on every disk that a crash could leave.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::ground::{Ground as _, Opening, Simulated};
use super::session::{Session, sha};
use super::{DIR, opener, play};
use crate::disk::{Image, Machine, SimFs, crash, machine};
use crate::history::{CrashState, Found, Kind, Src};
use crate::lane::{HarnessError, RunInput};
use crate::scenario::model::{FaultKind, FsFault, Scenario};

/// Disks that are tried of one log; beyond, only every n-th point is, and that is counted.
const MOST: usize = 20_000;

/// Files of a disk whose crash states are tried.
const FILES: usize = 2_000;
/// Name of the line that says that they were not, and why.
pub(crate) const NOT_TRIED: &str = "crash_states_not_tried";

/// Damage at rest is no crash: what was durable is not, and the laws about crashes say nothing.
fn can_be_tried(scenario: &Scenario) -> bool {
    let damages = |kind: &FaultKind| {
        matches!(kind, FaultKind::Fs(FsFault::Damage { .. } | FsFault::Index { .. }))
    };
    !scenario.faults.iter().any(|fault| damages(&fault.kind))
}

/// Tries every crash state of the present disk's log, and records what the store answered.
pub(super) fn record(session: &mut Session, seed: u64) {
    let Some(disk) = session.ground.simulated().cloned() else { return };
    let (log, base) = (disk.fs.log(), disk.fs.base());
    let why = if session.no_crashes.is_some() {
        session.no_crashes.clone()
    } else if !can_be_tried(&session.scenario) {
        Some("what was durable is damaged at rest".to_owned())
    } else if base.files.len() > FILES {
        Some(format!("a disk of {} files has too many", base.files.len()))
    } else {
        None
    };
    if let Some(text) = why {
        let what = NOT_TRIED.to_owned();
        session.recorder.harness(Kind::Proc { what, value: 0, text });
        return;
    }
    let machine = session.machines.len();
    let all = crash::states(&log, &base, seed);
    let mut tally = all.tally;
    let mut states = all.states;
    if states.len() > MOST {
        let every = states.len().div_ceil(MOST) as u64;
        let before = tally.points;
        // another phase with each seed, and always the last
        let last = states.iter().map(|state| state.ops).max();
        states.retain(|state| state.ops.wrapping_add(seed) % every == 0 || Some(state.ops) == last);
        let kept: std::collections::BTreeSet<u64> = states.iter().map(|state| state.ops).collect();
        tally.points = kept.len() as u64;
        tally.sampled += before - tally.points;
        tally.states = states.len() as u64;
    }
    // Equal disks get equal answers, whenever the crash was; what they must be differs.
    let mut known: BTreeMap<[u8; 32], CrashState> = BTreeMap::new();
    for state in states {
        let answers = known
            .entry(state.digest)
            .or_insert_with(|| {
                // a store that panics on what a crash left cannot be opened on it
                catch_unwind(AssertUnwindSafe(|| answers(session, &disk, &state.image)))
                    .unwrap_or_else(|_| CrashState {
                        error: Some("a panic".to_owned()),
                        ..CrashState::default()
                    })
            })
            .clone();
        let name = format!("m{machine}.{}", state.name);
        let line = CrashState { state: name, ops: state.ops, ..answers };
        session.recorder.record(Src::Fs, Kind::CrashState(line));
    }
    session.recorder.record(Src::Fs, Kind::CrashTally(tally));
    session.machines.push(Machine { log, base, seed });
}

/// What a store answers on a disk.
fn answers(session: &Session, disk: &Simulated, image: &Image) -> CrashState {
    let fs = SimFs::new(image.clone());
    let mut out = CrashState::default();
    let opening = Opening { scraped: false, ..session.opening_with(session.variant, 1) };
    let mut store = match disk.on(fs.clone()).open(opening) {
        Ok(store) => store,
        Err(refusal) => {
            out.error = Some(format!("{}: {}", refusal.kind, refusal.text));
            return out;
        }
    };
    out.left = session.left(|left| fs.some(left));
    for thread in &session.threads {
        let mut found = Found::default();
        match store.latest(thread) {
            Ok(Some(given)) => (found.id, found.sha) = (Some(given.id), Some(sha(&given.state))),
            Ok(None) => {}
            Err(refusal) => found.error = Some(refusal.kind),
        }
        let listed = store.list(thread).unwrap_or_else(|refusal| {
            found.error.get_or_insert(refusal.kind);
            Vec::new()
        });
        for listed in listed {
            let state = match store.load(&listed.id) {
                Ok(given) => sha(&given.state),
                Err(refusal) => format!("error: {}", refusal.kind),
            };
            found.listed.push((listed.id, state));
        }
        out.latest.insert(thread.clone(), found);
    }
    out
}

/// A crash state for people.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What the disk holds: names and bytes.
    pub files: Vec<(String, Arc<[u8]>)>,
}

impl Shown {
    /// The files of a disk, named as a store or spool in this directory names them.
    pub(in crate::lane) fn of(image: &Image, dir: &Path) -> Self {
        let inside = |path: &Path| path.strip_prefix(dir).unwrap_or(path).display().to_string();
        let files = image.files.iter().map(|(path, bytes)| (inside(path), bytes.clone()));
        Self { files: files.collect() }
    }
}

/// The disk of a crash state of a run, made again: `m0.op17.v3` is of the run's first machine.
///
/// # Errors
/// The harness cannot run the subject. `Ok(None)`: the run has no state of this name.
pub fn show(input: &RunInput, name: &str) -> Result<Option<Shown>, HarnessError> {
    let open = opener(&input.subject)?;
    let machines = play::machines(input, &open);
    Ok(machine::state(&machines, name).map(|state| Shown::of(&state.image, Path::new(DIR))))
}
