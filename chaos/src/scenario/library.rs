//! All scenario files of a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::agreement::{self, load_explanations};
use super::diagnostic::about_file;
use super::model::Scenario;
use super::{Diagnostic, parse};

/// Scenarios by id, as found in a folder.
#[derive(Clone, Debug, Default)]
pub struct Library {
    scenarios: BTreeMap<String, Arc<Scenario>>,
    /// Files that runs left beside their histories.
    copies: usize,
}

impl Library {
    /// Every scenario, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Scenario>> {
        self.scenarios.values()
    }

    /// The scenario with this id or alias.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Scenario>> {
        self.scenarios
            .get(id)
            .or_else(|| self.iter().find(|s| s.aliases.iter().any(|alias| alias == id)))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scenarios.len()
    }

    /// True when the folder held none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scenarios.is_empty()
    }

    /// True when it was read from the same file.
    pub(crate) fn has_file_of(&self, scenario: &Scenario) -> bool {
        let file = |scenario: &Scenario| Path::new(&scenario.path).canonicalize().ok();
        self.scenarios.get(&scenario.id).is_some_and(|own| file(own) == file(scenario))
    }

    /// How many files are copies of scenarios, which runs left: they are checked and are none of
    /// the library.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// Adds a scenario, unless its id or an alias is taken.
    pub(crate) fn add(&mut self, scenario: Arc<Scenario>, problems: &mut Vec<Diagnostic>) {
        let names = std::iter::once(&scenario.id).chain(&scenario.aliases);
        for name in names {
            if let Some(other) = self.get(name) {
                let message =
                    format!("the id `{name}` of {} is taken by {}", scenario.path, other.path);
                let help =
                    "ids and aliases are unique over all files that are looked at together; \
                            rename one, or move it away"
                        .to_owned();
                problems.push(place_of(&scenario, name, message, help));
                return;
            }
        }
        self.scenarios.insert(scenario.id.clone(), scenario);
    }
}

/// A problem placed where the file says `name`.
fn place_of(scenario: &Scenario, name: &str, message: String, help: String) -> Diagnostic {
    let quoted = format!("\"{name}\"");
    let start = scenario.text.find(&quoted).unwrap_or(0);
    let source = super::diagnostic::Source { path: &scenario.path, text: &scenario.text };
    source.problem(&(start..start + quoted.len()), message, Some(help))
}

/// Reads and checks one file.
///
/// # Errors
/// All problems of the file; one that cannot be read is a problem at line 1.
pub fn load_file(path: &Path) -> Result<Scenario, Vec<Diagnostic>> {
    let name = path.to_string_lossy();
    // a pipe would be waited for without end
    if path.metadata().is_ok_and(|meta| !meta.is_file()) {
        let help = "name a scenario file; ids, which `dashproof list` shows, have no `.toml`";
        return Err(vec![about_file(&name, "is no file", Some(help.to_owned()))]);
    }
    let is_folder = name.ends_with(std::path::MAIN_SEPARATOR);
    match std::fs::read_to_string(path) {
        Err(_) if is_folder => {
            let help = "name a scenario file, or a folder of them that is there";
            Err(vec![about_file(&name, "is no folder", Some(help.to_owned()))])
        }
        Ok(text) => parse(&text, &name),
        Err(error) => {
            let help = "name a scenario file; ids, which `dashproof list` shows, have no `.toml`";
            Err(vec![about_file(&name, format!("cannot be read: {error}"), Some(help.to_owned()))])
        }
    }
}

/// Reads every `*.toml` below `dir`. A file stands where its id says, or where a run left it, and
/// ids and aliases are unique. An `agreement.toml` is no scenario, and is checked as what it is.
///
/// # Errors
/// The problems of all files together.
pub fn load_dir(dir: &Path) -> Result<Library, Vec<Diagnostic>> {
    let mut files = Vec::new();
    if let Err(error) = collect(dir, &mut files) {
        let message = format!("cannot be read: {error}");
        let help = "run from the project's root, or name the folder with --scenarios".to_owned();
        return Err(vec![about_file(&dir.to_string_lossy(), message, Some(help))]);
    }
    files.sort();
    let mut library = Library::default();
    let mut problems = Vec::new();
    for file in files {
        if is_agreement(&file) {
            problems.extend(load_explanations(&file).err().unwrap_or_default());
            continue;
        }
        match load_file(&file) {
            Ok(scenario) if is_copy(&scenario, &file) => library.copies += 1,
            Ok(scenario) => {
                problems.extend(misplaced(&scenario, &file));
                library.add(Arc::new(scenario), &mut problems);
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(library) } else { Err(problems) }
}

/// True for a file of explanations, by its name.
pub(crate) fn is_agreement(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == agreement::FILE)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

/// Where a file of an id stands in a folder that is read as a whole.
const RULE: &str = "in a folder FAMILY/NAME is the id of FAMILY/NAME.toml, or of \
                    FAMILY/NAME/CELL/scenario.toml, which a run left; a file that is named alone \
                    may have any";

/// The last parts of a path, the last one first.
fn parts(file: &Path) -> impl Iterator<Item = String> {
    file.iter().rev().map(|part| part.to_string_lossy().into_owned())
}

/// True for what a run left of a scenario in the folder of one of its cells.
fn is_copy(scenario: &Scenario, file: &Path) -> bool {
    let mut parts = parts(file);
    let (own, _cell) = (parts.next(), parts.next());
    let (name, family) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    own.as_deref() == Some("scenario.toml") && scenario.id == format!("{family}/{name}")
}

/// The id that a file's place does not give.
fn misplaced(scenario: &Scenario, file: &Path) -> Option<Diagnostic> {
    let folder = parts(file).nth(1).unwrap_or_default();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let here = format!("{folder}/{stem}");
    (here != scenario.id).then(|| {
        let message = format!("the id `{}` does not match the file's place", scenario.id);
        let help = format!("the file would be {}.toml, or the id `{here}`; {RULE}", scenario.id);
        place_of(scenario, &scenario.id, message, help)
    })
}
