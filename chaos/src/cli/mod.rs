//! The command line: what can be typed, and what each verb does.

mod absent;
mod agree;
mod args;
mod check;
mod checkpoint;
mod crash_state;
mod decode;
mod doctor;
mod failure;
mod files;
mod interrupt;
mod judge;
mod list;
mod plan;
mod pool;
mod prove;
mod run;
mod show;
mod ui;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::exit;
use crate::saboteur::Saboteur;
use crate::scenario::{Library, Selection, load_dir, suggest};
pub(crate) use args::Cli;
use args::Command;
use failure::Failure;
use ui::Ui;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok();
            let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if help { exit::PROVEN } else { exit::USAGE });
        }
    };
    let ui = Ui::new();
    let ended = execute(ui, &cli);
    interrupt::hold();
    let code = ended.unwrap_or_else(|failure| {
        ui.complain(&format!("error: {}", failure.message));
        failure.code
    });
    let code = match ui::unwritten() {
        // a verdict that nobody could read is none
        Some(error) => {
            ui.complain(&format!("error: stdout cannot be written: {error}"));
            exit::worst([code, exit::ENVIRONMENT])
        }
        None => code,
    };
    ui.clear();
    ExitCode::from(code)
}

fn execute(ui: Ui, cli: &Cli) -> Result<u8, Failure> {
    let dir = cli.scenarios.as_deref();
    match &cli.command {
        Command::Run(args) => run::run(ui, dir, args),
        Command::Judge(args) => judge::judge(ui, args),
        Command::Replay(args) => judge::replay(args),
        Command::Prove(args) => prove::prove(ui, dir, args),
        Command::Driver(args) => driver(args),
        Command::MockCluster { brokers } => crate::lane::mock::serve(*brokers)
            .map(|()| exit::PROVEN)
            .map_err(|error| Failure::environment(error.to_string())),
        Command::List(args) => list::list(ui, dir, args),
        Command::Show(args) => show::show(dir, args),
        Command::Check(args) => check::check(dir, args),
        Command::Checkpoint(args) => checkpoint::checkpoint(args),
        Command::Decode(args) => decode::decode(args),
        Command::Doctor(args) => Ok(doctor::doctor(ui, dir, args)),
    }
}

/// Serves the driver protocol until its input ends.
fn driver(args: &args::DriverArgs) -> Result<u8, Failure> {
    args.saboteur.as_deref().map(saboteur).transpose()?;
    crate::subject::driver::main(args.saboteur.as_deref())
        .map(|()| exit::PROVEN)
        .map_err(|error| Failure::environment(error.to_string()))
}

/// The saboteur of this name; the nearest one is named where there is none.
fn saboteur(name: &str) -> Result<&'static Saboteur, Failure> {
    crate::saboteur::find(name).ok_or_else(|| {
        let help = suggest(name, crate::saboteur::all().map(|saboteur| saboteur.name));
        Failure::usage(format!("unknown saboteur `{name}`: {}", help.unwrap_or_default()))
    })
}

/// The folder of scenario files: the one given, or the nearest `scenarios` from here upwards.
fn scenario_dir(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(dir) = given {
        return if dir.is_dir() { Ok(dir.to_owned()) } else { Err(Failure::no_folder(dir)) };
    }
    let here = std::env::current_dir()
        .map_err(|e| Failure::environment(format!("the current folder cannot be read: {e}")))?;
    let found = here.ancestors().map(|dir| dir.join("scenarios")).find(|dir| dir.is_dir());
    let found = found.ok_or_else(|| {
        Failure::usage("no folder `scenarios` here or above\nhelp: name it with --scenarios DIR")
    })?;
    // Shorter paths in messages where the folder is right here.
    Ok(found.strip_prefix(&here).map(Path::to_owned).unwrap_or(found))
}

/// The library that a selection needs: none, where it names files only.
fn library_for(dir: Option<&Path>, wanted: &Selection) -> Result<Library, Failure> {
    if wanted.is_of_files() { Ok(Library::default()) } else { library(dir) }
}

fn library(dir: Option<&Path>) -> Result<Library, Failure> {
    let dir = scenario_dir(dir)?;
    let library = load_dir(&dir).map_err(|problems| Failure::broken(&problems))?;
    if library.is_empty() {
        return Err(Failure::inconclusive(format!(
            "no scenario in {}; nothing was run\nhelp: scenarios are files FAMILY/NAME.toml there",
            dir.display()
        )));
    }
    Ok(library)
}
