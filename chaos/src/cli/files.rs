//! What a run leaves on disk, and how a history is found again.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::history::{Kind, Line, reader, writer};
use crate::lane::SubjectSpec;
use crate::report::cell::{Cell, CellResult};
use crate::report::json;

/// Name of the history in a cell's folder.
const HISTORY: &str = "events.jsonl";
/// Every file of a cell's folder.
const FILES: [&str; 4] = [HISTORY, "ledger.json", "metrics.prom", "scenario.toml"];

/// Writes `events.jsonl`, `ledger.json`, `metrics.prom` and `scenario.toml` into a folder of the
/// cell's own below `dir`.
///
/// # Errors
/// The file that cannot be written, and why.
pub(crate) fn write(dir: &Path, result: &CellResult) -> Result<PathBuf, Failure> {
    let cell = &result.cell;
    let folder = folder(dir, cell);
    fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
    let history = folder.join(HISTORY);
    write_history(&history, &result.lines).map_err(|error| failed(&history, &error))?;
    let ledger = format!("{:#}\n", json::cell(result));
    let texts = [
        ("ledger.json", ledger),
        ("metrics.prom", scraped(&result.lines)),
        ("scenario.toml", cell.scenario.text.clone()),
    ];
    for (name, text) in texts {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| failed(&path, &error))?;
    }
    Ok(folder)
}

fn folder(dir: &Path, cell: &Cell) -> PathBuf {
    let mut name = format!("{}-seed{}", cell.lane.as_str(), cell.seed);
    // what one subject left is not another's
    match &cell.subject {
        SubjectSpec::Reference => {}
        SubjectSpec::Saboteur(saboteur) => name.push_str(&format!("-{saboteur}")),
        SubjectSpec::Driver(_) => name.push_str("-driver"),
    }
    dir.join(&cell.scenario.id).join(name)
}

/// A file or folder that could not be written.
pub(super) fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!("cannot write {}: {error}", path.display()))
}

/// Makes the folder and tries whether files can be made in it, before a long run relies on it.
///
/// # Errors
/// Why not.
pub(crate) fn writable(dir: &Path) -> Result<(), Failure> {
    let made = fs::create_dir_all(dir).and_then(|()| tempfile::tempfile_in(dir).map(drop));
    made.map_err(|error| {
        let Failure { code, message } = failed(dir, &error);
        let help = "name a folder in which files can be made; nothing was run";
        Failure { code, message: format!("{message}\nhelp: {help}") }
    })
}

/// Removes what an earlier run left of this cell: it would contradict the verdict of today. In real
/// time a pass contradicts nothing, and the failure cannot be made again. Files of others stay.
///
/// # Errors
/// The file that cannot be removed, and why.
pub(crate) fn remove_stale(dir: &Path, result: &CellResult) -> Result<(), Failure> {
    if result.cell.lane.is_real_time() {
        return Ok(());
    }
    let folder = folder(dir, &result.cell);
    for name in FILES {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = format!("cannot remove the stale {}: {error}", path.display());
                return Err(Failure::environment(message));
            }
            _ => {}
        }
    }
    // stays where somebody else's file is in it
    fs::remove_dir(&folder).ok();
    Ok(())
}

fn write_history(path: &Path, lines: &[Line]) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writer::write(lines, &mut out)?;
    out.flush()
}

/// The judging scrape, or the last one where there is none.
fn scraped(lines: &[Line]) -> String {
    let scrapes = lines.iter().rev().filter_map(|line| match &line.kind {
        Kind::Scrape { text, last } => Some((text, *last)),
        _ => None,
    });
    let mut scrapes = scrapes.peekable();
    let newest = scrapes.peek().map(|(text, _)| (*text).clone()).unwrap_or_default();
    scrapes.find(|(_, last)| *last).map_or(newest, |(text, _)| text.clone())
}

/// Reads a history, given the file or the folder that holds it.
///
/// # Errors
/// Where the file is not whole, or not there.
pub(crate) fn read(path: &Path) -> Result<Vec<Line>, Failure> {
    let path = if path.is_dir() { path.join(HISTORY) } else { path.to_owned() };
    let name = path.display().to_string();
    let file = File::open(&path).map_err(|error| {
        Failure::usage(format!(
            "cannot read {name}: {error}\nhelp: `dashproof run --out DIR` writes histories"
        ))
    })?;
    reader::read(BufReader::new(file), &name).map_err(|error| {
        Failure::usage(format!(
            "{error}\nhelp: a history is what `dashproof run --out DIR` writes as {HISTORY}, whole \
             and unchanged"
        ))
    })
}
