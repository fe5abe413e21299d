//! SIGINT and SIGTERM, at any time: what was started outside of this process is removed, and the
//! command ends with the shell's own code and a line that says how far it came.
//!
//! Once a signal has come nothing else is told: what fails then fails because of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::Format;
use super::failure::Failure;
use super::ui::{self, Ui};
use crate::exit;
use crate::lane::{external, kafka, scratch};
use crate::subject::process::kill_all;

/// How long Docker may take to remove what was started.
const REMOVE: Duration = Duration::from_secs(60);

/// What a command does, for the line that says how far it came.
struct Work {
    /// `run` or `prove`.
    verb: &'static str,
    /// What it counts.
    units: &'static str,
    format: Format,
}

static WORK: OnceLock<Work> = OnceLock::new();
static HIT: AtomicBool = AtomicBool::new(false);
static TOTAL: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicUsize = AtomicUsize::new(0);
static BAD: AtomicUsize = AtomicUsize::new(0);

/// Begins to listen for signals. From here on they end the command in the way of this module.
///
/// # Errors
/// The operating system's.
pub(super) fn watch(
    verb: &'static str,
    units: &'static str,
    format: Format,
) -> Result<(), Failure> {
    WORK.get_or_init(|| Work { verb, units, format });
    let failed = |error: &dyn std::fmt::Display| {
        Failure::environment(format!("cannot listen for signals: {error}"))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let (ready, listens) = mpsc::channel();
    let serve = move || {
        runtime.block_on(async {
            let signals = signal(SignalKind::interrupt())
                .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
            match signals {
                Ok((interrupt, terminate)) => {
                    // who waits for it has gone only with the process
                    drop(ready.send(Ok(())));
                    leave(interrupt, terminate).await;
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
    };
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(serve);
    thread.map_err(|error| failed(&error))?;
    match listens.recv() {
        Ok(Ok(())) => {
            // what a run left that nothing could end in order
            scratch::sweep();
            Ok(())
        }
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

/// Says how many there are to do.
pub(super) fn of(total: usize) {
    TOTAL.store(total, Ordering::Release);
}

/// Counts one that is done. After a signal it does not return.
pub(super) fn done(proven: bool) {
    hold();
    BAD.fetch_add(usize::from(!proven), Ordering::AcqRel);
    DONE.fetch_add(1, Ordering::AcqRel);
}

/// True when a signal has come: nothing new is begun.
pub(super) fn hit() -> bool {
    HIT.load(Ordering::Acquire)
}

/// After a signal it does not return: the end of the process is near.
pub(super) fn hold() {
    while hit() {
        std::thread::park();
    }
}

/// As [`hold`], for tasks.
pub(super) async fn begin_no_more() {
    if hit() {
        std::future::pending::<()>().await;
    }
}

/// Waits for a signal and ends the process.
async fn leave(mut interrupt: Signal, mut terminate: Signal) {
    let (code, name) = tokio::select! {
        _ = interrupt.recv() => (exit::INTERRUPTED, "SIGINT"),
        _ = terminate.recv() => (exit::TERMINATED, "SIGTERM"),
    };
    HIT.store(true, Ordering::Release);
    kill_all();
    scratch::remove_all();
    let ui = Ui::new();
    ui.clear();
    let remove = async {
        let containers = count(kafka::containers().await, "container");
        let topics = count(external::topics(), "topic");
        let what: Vec<String> = [containers, topics].into_iter().flatten().collect();
        if !what.is_empty() {
            ui.complain(&format!("{name}: removing {}", what.join(" and ")));
        }
        kafka::abandon().await;
    };
    // who asks twice does not want to wait
    tokio::select! {
        _ = tokio::time::timeout(REMOVE, remove) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    // the harness itself may have begun something in between
    kill_all();
    scratch::remove_all();
    tell(ui, code, name);
    std::process::exit(i32::from(code));
}

/// `3 containers`; `None` when there is none.
fn count(n: usize, what: &str) -> Option<String> {
    let plural = if n == 1 { "" } else { "s" };
    (n > 0).then(|| format!("{n} {what}{plural}"))
}

fn tell(ui: Ui, code: u8, name: &str) {
    let Some(Work { verb, units, format }) = WORK.get() else { return };
    let count = |counter: &AtomicUsize| counter.load(Ordering::Acquire);
    let (done, total, bad) = (count(&DONE), count(&TOTAL), count(&BAD));
    let line = line(verb, units, name, (done, total, bad));
    if *format == Format::Json {
        let summary = json!({
            "type": "summary",
            "interrupted": name,
            "done": done,
            "of": total,
            "not_proven": bad,
            "exit": code,
            "line": line,
        });
        ui::print(&format!("{summary}\n"));
    }
    ui.complain(&line);
}

fn line(verb: &str, units: &str, name: &str, (done, total, bad): (usize, usize, usize)) -> String {
    let bad = if bad == 0 { String::new() } else { format!(", {bad} of them not proven") };
    let far = match total {
        0 => format!("before the first of the {units}"),
        total => format!("{done} of {total} {units} done{bad}"),
    };
    format!("dashproof {verb}: interrupted by {name}: {far}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_command_says_how_far_it_came() {
        let told = |counts| line("run", "cells", "SIGINT", counts);
        assert_eq!(
            told((0, 0, 0)),
            "dashproof run: interrupted by SIGINT: before the first of the cells"
        );
        let far = "dashproof run: interrupted by SIGINT: 3 of 12 cells done, 1 of them not proven";
        assert_eq!(told((3, 12, 1)), far);
    }
}
