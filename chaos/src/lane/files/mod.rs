//! Stores on the real file system: each in a child process, in a directory of the cell's own.
//!
//! The same timeline as on the lane `disk`, and the same history: what is asked and answered, and
//! every file operation, which a file system of the harness's in the child writes to a file as it
//! happens. A crash is SIGKILL at a file operation: what the system took stays, what the process
//! had in hand is gone. Damage at rest is done to the files themselves; a full disk is a small
//! tmpfs, where the rights allow a mount.

mod directory;
mod remote;
mod room;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use self::directory::{Directory, Start, home};
use self::room::Room;
use super::child::{self, RealClock, environment, missing};
use super::disk::play::{Play, panicked};
use super::scratch::{ROOM, Scratch};
use super::{HarnessError, RunInput, RunOutput, SubjectSpec, disk};
use crate::history::Recorder;
use crate::scenario::model::{
    ActionKind, FaultKind, FsFault, LaneName, Scenario, Size, StoreAction,
};
use crate::subject::process::ProcessSubject;

pub(crate) use room::can_be_mounted;

/// A run is cut after so many times its budget.
const PATIENCE: u32 = 3;

/// Runs one cell. Several may run at once, each with its own directory and child.
pub async fn run(input: &RunInput) -> RunOutput {
    if let Some(why) = cannot_express(input) {
        return RunOutput { not_applicable: Some(why), ..RunOutput::default() };
    }
    let (input, runtime) = (input.clone(), Handle::current());
    // the timeline waits for its calls, one after the other
    let played = tokio::task::spawn_blocking(move || play(&input, runtime)).await;
    played.unwrap_or_else(|error| {
        let error = HarnessError { blame: "harness", message: error.to_string() };
        RunOutput { error: Some(error), ..RunOutput::default() }
    })
}

fn cannot_express(input: &RunInput) -> Option<String> {
    if input.scenario.checkpoint.is_none() {
        return Some("the files lane runs stores, and the scenario has none".to_owned());
    }
    let is_ours = !matches!(input.subject, SubjectSpec::Driver(_));
    for writer in input.scenario.loads.iter().map(|load| load.writer.as_str()) {
        let why = match writer {
            "subject" => continue,
            "earlier" => "only a simulated disk can be one that nobody watched",
            _ if is_ours => continue,
            _ => "version 1 is a format of the original's: a driver need not read it",
        };
        return Some(format!("{writer}: {why}"));
    }
    for fault in input.scenario.faults.iter().filter(|_| !is_ours) {
        let why = match &fault.kind {
            FaultKind::SubjectCrash(_) => {
                "a crash in the middle of a call needs the harness's own file system in the \
                 process, which a driver has not"
            }
            FaultKind::Fs(FsFault::Full { .. }) => {
                "whether a driver's write met the full disk is not seen"
            }
            FaultKind::Fs(FsFault::Leftovers { .. }) => {
                "how a driver names its temporary files is not known"
            }
            _ => continue,
        };
        return Some(format!("{}: {why}", fault.kind.name()));
    }
    disk::cannot_express(&input.scenario, LaneName::Files)
}

/// What a foreign subject must declare.
fn needed(scenario: &Scenario) -> BTreeSet<&'static str> {
    let mut needed = BTreeSet::from([
        "checkpoint.open",
        "checkpoint.save",
        "checkpoint.load",
        "checkpoint.latest",
        "checkpoint.list",
        "checkpoint.close",
    ]);
    needed.extend(scenario.actions.iter().filter_map(|action| match &action.kind {
        ActionKind::Store(StoreAction::Delete { .. }) => Some("checkpoint.delete"),
        ActionKind::Store(StoreAction::DeleteThread) => Some("checkpoint.delete_thread"),
        ActionKind::Store(StoreAction::Retain { .. }) => Some("checkpoint.retain"),
        _ => None,
    }));
    match scenario.checkpoint.as_ref().map_or("each", |c| c.variant.as_str()) {
        "compressed" => needed.extend(["checkpoint.variant.compressed"]),
        "versioned" => needed.extend(["checkpoint.variant.versioned"]),
        _ => {}
    }
    needed
}

/// Asks a foreign subject what it has.
fn declared(
    command: &[String],
    runtime: &Handle,
    recorder: Recorder,
) -> Result<Vec<String>, HarnessError> {
    let (program, args) = command.split_first().ok_or_else(|| HarnessError {
        blame: "harness",
        message: "the command of the subject is empty".to_owned(),
    })?;
    let inside = runtime.enter();
    let process = ProcessSubject::spawn(program, args, false, recorder)
        .map_err(|error| environment(&format!("cannot start `{program}`: {error}")))?;
    drop(inside);
    runtime.block_on(async {
        let declared = child::hello(&process, program).await;
        child::goodbye(&process).await;
        declared
    })
}

/// A run that has not begun.
enum Not {
    Applicable(String),
    Run(String),
    Possible(HarnessError),
}

fn play(input: &RunInput, runtime: Handle) -> RunOutput {
    let began = Instant::now();
    match start(input, runtime, began) {
        Ok((recorder, mut play)) => {
            let ended = catch_unwind(AssertUnwindSafe(|| play.run(input)));
            let error = ended.unwrap_or_else(|panic| Some(panicked(&recorder, panic.as_ref())));
            // the child says goodbye, the directory is removed
            drop(play);
            RunOutput { lines: recorder.take(), error, ..RunOutput::default() }
        }
        Err(Not::Applicable(why)) => {
            RunOutput { not_applicable: Some(why), ..RunOutput::default() }
        }
        Err(Not::Run(why)) => RunOutput { not_run: Some(why), ..RunOutput::default() },
        Err(Not::Possible(error)) => RunOutput { error: Some(error), ..RunOutput::default() },
    }
}

fn start(input: &RunInput, runtime: Handle, began: Instant) -> Result<(Recorder, Play), Not> {
    let broken = |text: String| Not::Possible(environment(&text));
    let command = child::command(&input.subject)
        .map_err(|error| broken(format!("cannot find the dashproof program: {error}")))?;
    let recorder = Recorder::new(Arc::new(RealClock(began)));
    let mut variant = disk::variant(&input.scenario, turn(input));
    let mut capabilities = None;
    if matches!(input.subject, SubjectSpec::Driver(_)) {
        let aside = Recorder::new(Arc::new(RealClock(began)));
        let has = declared(&command, &runtime, aside).map_err(Not::Possible)?;
        let missing: Vec<&str> = missing(&needed(&input.scenario), &has).into_iter().collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Not::Applicable(format!("the subject does not declare {missing}")));
        }
        let has: BTreeSet<String> = has.into_iter().collect();
        if !has.contains(&format!("checkpoint.variant.{variant}")) {
            variant = "file";
        }
        capabilities = Some(has);
    }
    let root =
        Scratch::make("").map_err(|error| broken(format!("no temporary directory: {error}")))?;
    let small = room(&input.scenario, root.path())?;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let environment = vec![
        pair("dashproof", env!("CARGO_PKG_VERSION")),
        pair("variant", variant),
        pair("directory", &home(root.path(), small.is_some()).to_string_lossy()),
    ];
    recorder.harness(input.opening(LaneName::Files, environment));
    let deadline = began + input.scenario.budget * PATIENCE;
    let recording = recorder.clone();
    let start = Start {
        recorder: recording,
        runtime,
        command,
        deadline,
        declared: capabilities,
        root,
        room: small,
    };
    let play = Play::new(recorder.clone(), input, variant, Box::new(Directory::new(start)));
    Ok((recorder, play))
}

/// Whose turn it is, where variants take turns. A lane in real time runs one seed, so that they
/// take turns by scenario too.
fn turn(input: &RunInput) -> u64 {
    let id = input.scenario.id.bytes().map(u64::from).sum();
    input.seed.wrapping_add(id)
}

/// The small file system of a scenario whose disk is full.
fn room(scenario: &Scenario, root: &Path) -> Result<Option<Room>, Not> {
    let is_full = |kind: &FaultKind| matches!(kind, FaultKind::Fs(FsFault::Full { .. }));
    if !scenario.faults.iter().any(|fault| is_full(&fault.kind)) {
        return Ok(None);
    }
    // all that is saved, twice, a page for each file, and something to begin with
    let bytes = scenario.loads.iter().map(|load| {
        let (Size::Fixed(largest) | Size::Uniform(_, largest)) = load.size;
        u64::from(load.saves).saturating_mul(largest as u64 * 2 + 8192)
    });
    let bytes = bytes.fold(1 << 20, u64::saturating_add);
    Room::mount(&root.join(ROOM), bytes).map(Some).map_err(|error| {
        Not::Run(format!(
            "a full disk needs a tmpfs of its own, and none can be mounted here: {error}; run as \
             root, or with CAP_SYS_ADMIN"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::model::{Action, At};

    fn input(subject: SubjectSpec) -> RunInput {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/checkpoint/sizes.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let scenario = crate::scenario::parse(&text, &path.display().to_string()).unwrap();
        RunInput { scenario: Arc::new(scenario), seed: 0, subject }
    }

    #[test]
    fn a_driver_is_asked_for_what_the_scenario_needs_of_it() {
        let mut scenario = (*input(SubjectSpec::Reference).scenario).clone();
        let all = crate::subject::driver::stores::CAPABILITIES.map(str::to_owned);
        let at = At::Time(std::time::Duration::ZERO);
        for kind in [StoreAction::Delete { newest: true }, StoreAction::Retain { keep: 1 }] {
            scenario.actions.push(Action { at: at.clone(), kind: ActionKind::Store(kind) });
        }
        assert!(missing(&needed(&scenario), &all).is_empty());
        let two = ["checkpoint.delete", "checkpoint.retain"];
        let without: Vec<String> =
            all.into_iter().filter(|have| !two.contains(&have.as_str())).collect();
        assert_eq!(missing(&needed(&scenario), &without), BTreeSet::from(two));
    }

    #[test]
    fn variants_take_turns_by_scenario_and_by_seed() {
        let of = |id: &str, seed| {
            let mut input = input(SubjectSpec::Reference);
            let scenario = (*input.scenario).clone();
            input.scenario = Arc::new(Scenario { id: id.to_owned(), ..scenario });
            disk::variant(&input.scenario, turn(&RunInput { seed, ..input.clone() }))
        };
        let by_id: BTreeSet<&str> = ["x/a", "x/b", "x/c"].map(|id| of(id, 0)).into();
        let by_seed: BTreeSet<&str> = [0, 1, 2].map(|seed| of("x/a", seed)).into();
        assert_eq!((by_id.len(), by_seed.len()), (3, 3));
    }

    #[test]
    fn what_only_a_simulated_disk_can_do_is_not_applicable() {
        let mut input = input(SubjectSpec::Reference);
        assert_eq!(cannot_express(&input), None);
        let mut scenario = (*input.scenario).clone();
        let by = std::time::Duration::from_secs(1);
        let kind = FaultKind::Fs(FsFault::ClockBack { by });
        let at = At::Time(std::time::Duration::ZERO);
        scenario.faults.push(crate::scenario::model::Fault::new(at, None, kind));
        input.scenario = Arc::new(scenario);
        assert!(cannot_express(&input).unwrap().contains("nobody sets the clock"));
    }

    #[test]
    fn a_driver_cannot_be_killed_in_the_middle_of_a_call() {
        let mut input = input(SubjectSpec::Driver(vec!["./mine".to_owned()]));
        let mut scenario = (*input.scenario).clone();
        let kind = FaultKind::SubjectCrash(crate::scenario::model::Crash::default());
        let at = At::Time(std::time::Duration::ZERO);
        scenario.faults.push(crate::scenario::model::Fault::new(at, None, kind));
        input.scenario = Arc::new(scenario);
        assert!(cannot_express(&input).unwrap().contains("subject.crash"));
        input.subject = SubjectSpec::Reference;
        assert_eq!(cannot_express(&input), None);
    }
}
