//! `dashproof check`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::args::{CheckArgs, Format};
use super::failure::{Failure, count};
use super::ui;
use crate::exit;
use crate::scenario::{Diagnostic, Library, is_agreement, load_dir, load_explanations, load_file};

pub(crate) fn check(dir: Option<&Path>, args: &CheckArgs) -> Result<u8, Failure> {
    let paths: Vec<PathBuf> = match args.paths.as_slice() {
        [] => vec![super::scenario_dir(dir)?],
        paths => paths.to_vec(),
    };
    let (mut good, mut agreements) = (0, 0);
    let mut problems: Vec<Diagnostic> = Vec::new();
    // what is named together is looked at together
    let mut all = Library::default();
    for path in &paths {
        let found = if path.is_dir() {
            load_dir(path).map(|library| {
                good += library.copies();
                library.iter().cloned().collect()
            })
        } else if is_agreement(path) {
            agreements += 1;
            load_explanations(path).map(|_| Vec::new())
        } else {
            load_file(path).map(|scenario| vec![Arc::new(scenario)])
        };
        match found {
            Ok(found) => {
                for scenario in found {
                    if !all.has_file_of(&scenario) {
                        good += 1;
                        all.add(scenario, &mut problems);
                    }
                }
            }
            Err(found) => problems.extend(found),
        }
    }
    if good + agreements == 0 && problems.is_empty() {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Failure::inconclusive(format!(
            "no scenario file in {}: nothing was checked\nhelp: scenario files end in .toml",
            names.join(", ")
        )));
    }
    match args.format {
        Format::Json => ui::print(&format!("{:#}\n", as_json(&problems))),
        Format::Human if problems.is_empty() => {
            let what = match (good, agreements) {
                (0, n) => count(n, "agreement file"),
                (n, _) => count(n, "scenario"),
            };
            ui::print(&format!("{what}: no problem\n"));
        }
        Format::Human => {
            for problem in &problems {
                ui::print(&format!("{problem}\n"));
            }
            ui::print(&format!("{}\n", count(problems.len(), "problem")));
        }
    }
    Ok(if problems.is_empty() { exit::PROVEN } else { exit::USAGE })
}

fn as_json(problems: &[Diagnostic]) -> serde_json::Value {
    problems
        .iter()
        .map(|p| {
            json!({
                "path": p.path,
                "line": p.line,
                "column": p.column,
                "message": p.message,
                "help": p.help,
            })
        })
        .collect()
}
