//! Executes cells: virtual lanes on threads, lanes in real time a few at once on a runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::failure::Failure;
use super::interrupt;
use super::ui::Ui;
use crate::lane::external::{Bootstrap, Outside};
use crate::lane::kafka::Fleet;
use crate::lane::{self, HarnessError, RunInput, RunOutput};
use crate::report::cell::{Cell, CellResult};
use crate::scenario::model::LaneName;

/// Real-time cells at once where nothing else is said: they mostly wait.
const REAL_TIME_JOBS: usize = 20;
/// The same of cells on real brokers, which take processors for themselves: a broker that gets none
/// for some seconds would be a fault that no scenario asked for.
const REAL_BROKER_JOBS: usize = 4;
/// Runs of a cell on a lane in real time whose marks are not reached.
const TRIES: u32 = 3;

/// Runs every cell and hands each result over as it comes. Cells that no lane of this build can run
/// are not accepted here.
///
/// # Errors
/// No runtime for the lanes in real time.
pub(crate) fn run(
    cells: Vec<Cell>,
    jobs: Option<usize>,
    bootstrap: Option<Bootstrap>,
    mut on_result: impl FnMut(CellResult),
) -> Result<(), Failure> {
    let (mut real, simulated): (Vec<_>, Vec<_>) =
        cells.into_iter().partition(|cell| cell.lane.is_real_time());
    // the long ones first, so that none is alone at the end
    real.sort_by_key(|cell| std::cmp::Reverse(cell.scenario.budget));
    let simulating = jobs.unwrap_or_else(threads);
    let mixed = !real.is_empty() && !simulated.is_empty();
    let (results, received) = mpsc::channel();
    let simulated_results = results.clone();
    std::thread::scope(|scope| {
        let work = scope.spawn(move || {
            let virtually = move |stands_back| {
                each(simulated, simulating, stands_back, &|cell| {
                    interrupt::hold();
                    simulated_results.send(simulate(cell)).is_ok()
                });
            };
            let really = move || {
                in_real_time(real, jobs, bootstrap, &mut |result| drop(results.send(result)))
            };
            beside(mixed, virtually, really)
        });
        for result in received {
            on_result(result);
        }
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Does what is virtual, and what is in real time. That mostly waits: what is virtual takes what it
/// leaves and stands back for it, which it is told by its argument. Where the system cannot let it,
/// or there are not both kinds, one comes after the other, first what is virtual: it takes every
/// processor and would stall the others' clocks.
pub(super) fn beside<T>(
    mixed: bool,
    simulate: impl FnOnce(bool) + Send,
    attend: impl FnOnce() -> T,
) -> T {
    if !mixed || !can_stand_back() {
        simulate(false);
        return attend();
    }
    std::thread::scope(|scope| {
        let simulated = scope.spawn(|| simulate(true));
        let attended = attend();
        simulated.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        attended
    })
}

/// Threads that work at the same time on this machine.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does the work of each item on so many threads, in the order of the items, for as long as it is
/// true.
pub(super) fn each<T: Send>(
    items: Vec<T>,
    jobs: usize,
    stands_back: bool,
    work: &(dyn Fn(T) -> bool + Sync),
) {
    let jobs = jobs.clamp(1, items.len().max(1));
    let waiting = Mutex::new(items.into_iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                if stands_back {
                    stand_back();
                }
                while let Some(item) = next() {
                    if !work(item) {
                        return;
                    }
                }
            });
        }
    });
}

/// Gives the calling thread the least share of the processors; false where the system cannot.
#[cfg(target_os = "linux")]
fn stand_back() -> bool {
    // of the thread alone: its id is asked for, and children are started by others
    rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn stand_back() -> bool {
    false
}

fn can_stand_back() -> bool {
    std::thread::spawn(stand_back).join().unwrap_or(false)
}

fn input(cell: &Cell) -> RunInput {
    RunInput {
        scenario: Arc::clone(&cell.scenario),
        seed: cell.seed,
        subject: cell.subject.clone(),
    }
}

/// Runs one simulated cell on this thread.
pub(crate) fn simulate(cell: Cell) -> CellResult {
    let begun = Instant::now();
    let input = input(&cell);
    let output = catch_unwind(AssertUnwindSafe(|| match cell.lane {
        LaneName::Disk => lane::disk::run(&input),
        _ => lane::sim::run(&input),
    }));
    let output = output.unwrap_or_else(|panic| RunOutput {
        lines: Vec::new(),
        error: Some(HarnessError { blame: "harness", message: panic_text(panic.as_ref()) }),
        ..RunOutput::default()
    });
    CellResult::of(cell, output, begun.elapsed())
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the harness panicked: {}", text.unwrap_or("without a message"))
}

/// Runs one cell in real time, again where a mark was not reached. No violation is tried again but
/// that of a runtime that stood still, once: a system that writes out the program which was just
/// built, say, can let all its processes wait for seconds.
pub(crate) async fn attend(cell: Cell, fleet: &Fleet) -> CellResult {
    let begun = Instant::now();
    let (mut tries, mut stood_still) = (0, None);
    loop {
        tries += 1;
        let output = match cell.lane {
            LaneName::Wire => lane::wire::run(&input(&cell)).await,
            LaneName::Mock => lane::mock::run(&input(&cell)).await,
            LaneName::Files => lane::files::run(&input(&cell)).await,
            LaneName::Kafka => lane::kafka::run(&input(&cell), fleet).await,
            LaneName::External => match fleet.outside() {
                Some(outside) => lane::external::run(&input(&cell), outside).await,
                None => RunOutput {
                    not_run: Some("no cluster is named".to_owned()),
                    ..RunOutput::default()
                },
            },
            other => RunOutput {
                lines: Vec::new(),
                error: Some(HarnessError {
                    blame: "harness",
                    message: format!("no runner for lane {}", other.as_str()),
                }),
                ..RunOutput::default()
            },
        };
        let mut result = CellResult::of(cell.clone(), output, begun.elapsed());
        result.tries = tries;
        let standstill = result.standstill();
        let first = stood_still.is_none() && standstill.is_some();
        let again = first || result.is_worth_another_try();
        if tries == TRIES || interrupt::hit() || !again {
            result.stood_still = stood_still;
            return result;
        }
        stood_still = stood_still.or(standstill);
    }
}

/// The runtime that lanes in real time share.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::environment(format!("no runtime for lanes in real time: {e}")))
}

/// As [`attend`]; a panic of the harness is the cell's result, not its silence.
async fn attend_safely(cell: Cell, fleet: Arc<Fleet>) -> CellResult {
    let begun = Instant::now();
    let attended = {
        let cell = cell.clone();
        tokio::spawn(async move { attend(cell, &fleet).await }).await
    };
    attended.unwrap_or_else(|error| {
        let message = match error.try_into_panic() {
            Ok(panic) => panic_text(panic.as_ref()),
            Err(error) => error.to_string(),
        };
        let error = Some(HarnessError { blame: "harness", message });
        CellResult::of(cell, RunOutput { error, ..RunOutput::default() }, begun.elapsed())
    })
}

fn tell(line: &str) {
    Ui::new().complain(line);
}

/// Embedded brokers first, then real ones. Cells that harm brokers' processes come last and one by
/// one: a broker that starts takes every processor, and would be a stall of all others.
fn in_real_time(
    cells: Vec<Cell>,
    jobs: Option<usize>,
    bootstrap: Option<Bootstrap>,
    on_result: &mut impl FnMut(CellResult),
) -> Result<(), Failure> {
    if cells.is_empty() {
        return Ok(());
    }
    let needs_own = |cell: &Cell| cell.lane == LaneName::Kafka && cell.scenario.is_alone();
    let (mut alone, beside): (Vec<_>, Vec<_>) = cells.into_iter().partition(needs_own);
    let is_real = |cell: &Cell| matches!(cell.lane, LaneName::Kafka | LaneName::External);
    let (on_real, embedded): (Vec<_>, Vec<_>) = beside.into_iter().partition(is_real);
    // those that can go on with the cluster of the one before
    alone.sort_by_key(|cell| (cell.scenario.brokers, cell.scenario.small_disks()));
    let runtime = runtime()?;
    let outside = bootstrap.map(|named| Outside::new(named, tell));
    let fleet = Arc::new(Fleet::default().and(outside));
    let told = catch_unwind(AssertUnwindSafe(|| {
        attend_all(&runtime, &fleet, embedded, jobs.unwrap_or(REAL_TIME_JOBS), on_result);
        let shared = on_real.iter().filter(|cell| cell.lane == LaneName::Kafka);
        let shared: Vec<_> = shared.map(|cell| Arc::clone(&cell.scenario)).collect();
        runtime.block_on(lane::kafka::begin(&fleet, shared.iter().map(Arc::as_ref)));
        attend_all(&runtime, &fleet, on_real, jobs.unwrap_or(REAL_BROKER_JOBS), on_result);
        if !alone.is_empty() {
            runtime.block_on(fleet.leave_shared());
            attend_all(&runtime, &fleet, alone, 1, on_result);
        }
    }));
    runtime.block_on(async {
        match Arc::into_inner(fleet) {
            Some(fleet) => fleet.end().await,
            // a cell that is still being aborted holds it
            None => lane::kafka::abandon().await,
        }
    });
    told.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok(())
}

fn attend_all(
    runtime: &tokio::runtime::Runtime,
    fleet: &Arc<Fleet>,
    cells: Vec<Cell>,
    jobs: usize,
    on_result: &mut impl FnMut(CellResult),
) {
    let waiting = Arc::new(Mutex::new(cells.into_iter()));
    let (results, received) = mpsc::channel();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..jobs.max(1) {
        let (waiting, results) = (Arc::clone(&waiting), results.clone());
        let fleet = Arc::clone(fleet);
        let work = async move {
            loop {
                interrupt::begin_no_more().await;
                let cell = waiting.lock().ok().and_then(|mut cells| cells.next());
                let Some(cell) = cell else { return };
                if results.send(attend_safely(cell, Arc::clone(&fleet)).await).is_err() {
                    return;
                }
            }
        };
        workers.spawn_on(work, runtime.handle());
    }
    drop(results);
    let told = catch_unwind(AssertUnwindSafe(|| received.into_iter().for_each(on_result)));
    runtime.block_on(workers.shutdown());
    told.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
