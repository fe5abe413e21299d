//! `dashproof replay --crash-state`: one disk that a crash could leave, for people.

use std::fs;
use std::path::Path;

use super::failure::Failure;
use super::files::failed;
use super::ui;
use crate::exit;
use crate::history::{Kind, Line};
use crate::lane::RunInput;
use crate::lane::disk::{self, Shown};
use crate::lane::sim;
use crate::report::cell::Cell;
use crate::report::violation::Row;
use crate::scenario::model::LaneName;

/// Makes the disk again, lists its files and tells what the history says of it.
pub(super) fn show(
    cell: &Cell,
    recorded: &[Line],
    name: &str,
    to: Option<&Path>,
) -> Result<u8, Failure> {
    let scenario = &cell.scenario;
    let show = match cell.lane {
        LaneName::Disk if scenario.checkpoint.is_some() => disk::show,
        LaneName::Sim if sim::spool_directory(scenario).is_some() => sim::show,
        LaneName::Disk | LaneName::Sim => {
            let text = format!("{} has no crash states: no store, no spool", scenario.id);
            return Err(Failure::usage(text));
        }
        lane => {
            let lane = lane.as_str();
            let text = format!("lane {lane} has no crash states: only sim and disk enumerate them");
            return Err(Failure::usage(text));
        }
    };
    let input = RunInput {
        scenario: cell.scenario.clone(),
        seed: cell.seed,
        subject: cell.subject.clone(),
    };
    let shown = show(&input, name).map_err(|e| Failure::environment(e.to_string()))?;
    let Some(shown) = shown else {
        return Err(Failure::usage(format!(
            "{} has no crash state `{name}`\nhelp: violations and `crash_state` lines of the \
             history name them, as m0.op17.v3",
            cell.name()
        )));
    };
    if let Some(dir) = to {
        write(&shown, dir)?;
    }
    let mut out = format!("crash state {name} of {}\n", cell.name());
    for (path, bytes) in &shown.files {
        out.push_str(&format!("  {:>9} bytes  {path}\n", bytes.len()));
    }
    let is_it = |line: &&Line| matches!(&line.kind, Kind::CrashState(s) if s.state == name);
    match recorded.iter().find(is_it) {
        Some(line) => out.push_str(&format!("{}\n", Row(line))),
        None => out.push_str("the history holds no answers for it\n"),
    }
    ui::print(&out);
    Ok(exit::PROVEN)
}

fn write(shown: &Shown, dir: &Path) -> Result<(), Failure> {
    fs::create_dir(dir).map_err(|error| failed(dir, &error))?;
    for (name, bytes) in &shown.files {
        // a wrong store may have made any name at all
        let Some(name) = Path::new(name).file_name() else { continue };
        let path = dir.join(name);
        fs::write(&path, bytes).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}
