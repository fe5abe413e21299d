//! Which scenarios, lanes and seeds a command is about.

use std::path::Path;
use std::sync::Arc;

use super::library::{Library, load_file};
use super::model::{LaneName, Scenario};
use super::{Diagnostic, nearest, suggest};

/// What a user asked for. Empty lists leave that dimension open.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Ids, globs over ids, or files.
    pub targets: Vec<String>,
    /// Families.
    pub families: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Audit rows.
    pub rows: Vec<String>,
}

impl Selection {
    /// True when it names files and nothing else: no folder of scenarios is needed then.
    #[must_use]
    pub fn is_of_files(&self) -> bool {
        !self.targets.is_empty() && self.targets.iter().all(|target| is_file(target))
    }

    /// True when a target is this very scenario, by id, alias or file; a pattern names nothing.
    #[must_use]
    pub fn names(&self, scenario: &Scenario) -> bool {
        let is_it = |target: &String| {
            *target == scenario.id || scenario.aliases.contains(target) || *target == scenario.path
        };
        self.targets.iter().any(is_it)
    }
}

fn hint(help: Option<&str>) -> String {
    help.map(|help| format!(": {help}")).unwrap_or_default()
}

/// A selection that names nothing, or something that is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// A file has problems.
    #[error("{} problem(s) in scenario files", .0.len())]
    Broken(Vec<Diagnostic>),
    /// An id, glob, family, tag or row that no scenario has.
    #[error("no scenario has the {what} `{name}`{}", hint(.help.as_deref()))]
    Unknown {
        /// `id`, `family`, ….
        what: &'static str,
        /// As given.
        name: String,
        /// The nearest one that exists.
        help: Option<String>,
    },
    /// A glob that matches no id.
    #[error("no id matches `{0}`")]
    NoMatch(String),
    /// An audit row that nothing guards yet.
    #[error("no scenario guards the row {0} yet")]
    Unguarded(String),
    /// Two scenarios that would leave their histories in the same place.
    #[error("{0} and {1} have the same id `{2}`: their results could not be told apart")]
    Twice(String, String, String),
    /// Each part names something, together they name nothing.
    #[error("the selection is empty: no scenario meets all of its conditions")]
    Empty,
}

/// The scenarios that meet every dimension of the selection, sorted by id.
///
/// # Errors
/// See [`SelectError`].
pub fn select(library: &Library, wanted: &Selection) -> Result<Vec<Arc<Scenario>>, SelectError> {
    type Has = fn(&Scenario, &str) -> bool;
    let mut chosen = targets(library, &wanted.targets)?;
    let dimensions: [(&'static str, &[String], Has); 3] = [
        ("family", &wanted.families, |s, name| s.family() == name),
        ("tag", &wanted.tags, |s, name| s.tags.iter().any(|tag| tag == name)),
        ("row", &wanted.rows, |s, name| s.guards.iter().any(|row| row.eq_ignore_ascii_case(name))),
    ];
    for (what, names, has) in dimensions {
        for name in names {
            if !library.iter().chain(&chosen).any(|scenario| has(scenario, name)) {
                let row = super::ROWS.iter().find(|row| row.eq_ignore_ascii_case(name));
                if let Some(row) = row.filter(|_| what == "row") {
                    return Err(SelectError::Unguarded((*row).to_owned()));
                }
                let valid = valid(library, what);
                let help = suggest(name, valid.iter().map(String::as_str));
                return Err(SelectError::Unknown { what, name: name.clone(), help });
            }
        }
        chosen.retain(|s| names.is_empty() || names.iter().any(|name| has(s, name)));
    }
    if chosen.is_empty() { Err(SelectError::Empty) } else { Ok(chosen) }
}

fn valid(library: &Library, what: &str) -> Vec<String> {
    let mut names: Vec<String> = match what {
        "family" => library.iter().map(|s| s.family().to_owned()).collect(),
        "tag" => library.iter().flat_map(|s| s.tags.clone()).collect(),
        _ => library.iter().flat_map(|s| s.guards.clone()).collect(),
    };
    names.sort();
    names.dedup();
    names
}

/// True for what can only be a file's name.
fn is_file(target: &str) -> bool {
    Path::new(target).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

fn targets(library: &Library, targets: &[String]) -> Result<Vec<Arc<Scenario>>, SelectError> {
    if targets.is_empty() {
        return Ok(library.iter().cloned().collect());
    }
    let mut chosen: Vec<Arc<Scenario>> = Vec::new();
    let mut problems = Vec::new();
    for target in targets {
        if is_file(target) {
            match load_file(Path::new(target)) {
                Ok(scenario) => {
                    chosen.push(Arc::new(Scenario { named_by_file: true, ..scenario }));
                }
                Err(found) => problems.extend(found),
            }
        } else {
            chosen.extend(by_id(library, target)?);
        }
    }
    if !problems.is_empty() {
        return Err(SelectError::Broken(problems));
    }
    chosen.sort_by(|a, b| a.id.cmp(&b.id));
    chosen.dedup_by(|a, b| a.id == b.id && a.text == b.text);
    let twice = chosen.iter().zip(chosen.iter().skip(1)).find(|(a, b)| a.id == b.id);
    match twice {
        Some((a, b)) => {
            let (a_path, b_path) = (a.path.clone(), b.path.clone());
            Err(SelectError::Twice(a_path, b_path, a.id.clone()))
        }
        None => Ok(chosen),
    }
}

fn by_id(library: &Library, target: &str) -> Result<Vec<Arc<Scenario>>, SelectError> {
    if let Some(scenario) = library.get(target) {
        return Ok(vec![Arc::clone(scenario)]);
    }
    let is_glob = target.contains(['*', '?', '[']);
    let matching: Vec<_> = match glob::Pattern::new(target) {
        Ok(pattern) if is_glob => {
            library.iter().filter(|scenario| pattern.matches(&scenario.id)).cloned().collect()
        }
        _ => Vec::new(),
    };
    if matching.is_empty() && is_glob {
        return Err(SelectError::NoMatch(target.to_owned()));
    }
    if matching.is_empty() {
        return Err(SelectError::Unknown {
            what: "id",
            name: target.to_owned(),
            help: in_the_way(target).or_else(|| near(library, target)),
        });
    }
    Ok(matching)
}

/// What stands at the place of this name, where it is no id.
fn in_the_way(target: &str) -> Option<String> {
    let path = Path::new(target);
    if path.is_dir() {
        return Some(
            "it is a folder; `--scenarios DIR` names one, a glob as `outage/*` what is in \
                     it"
            .to_owned(),
        );
    }
    path.exists().then(|| "it is a file, and files of scenarios end in .toml".to_owned())
}

/// The id that was meant: of its family if there is such a one, by the part after the slash, which
/// may stand alone; else what the family has, or which families there are.
fn near(library: &Library, target: &str) -> Option<String> {
    let (family, name) = target.split_once('/').unwrap_or(("", target));
    let families = valid(library, "family");
    let families = || families.iter().map(String::as_str);
    let ids = || library.iter().map(|scenario| scenario.id.as_str());
    let own = |id: &&str| id.split_once('/').is_some_and(|(f, _)| f == family);
    // half of a name is enough where only its end is missing
    let begins = |own: &str| own == name || (name.len() > 4 && own.starts_with(name));
    if let Some(id) = ids().find(|id| id.split_once('/').is_some_and(|(_, own)| begins(own))) {
        return Some(format!("did you mean `{id}`?"));
    }
    if families().any(|known| known == family) {
        let names = || ids().filter(own).filter_map(|id| Some(id.split_once('/')?.1));
        return match nearest(name, names()) {
            Some(name) => Some(format!("did you mean `{family}/{name}`?")),
            None => suggest("", ids().filter(own)),
        };
    }
    if let Some(id) = nearest(target, ids()) {
        return Some(format!("did you mean `{id}`?"));
    }
    let close = nearest(if family.is_empty() { name } else { family }, families());
    match close {
        Some(family) => Some(format!("did you mean one of `{family}/*`?")),
        None => suggest("", families()).map(|all| format!("its family would be {all}")),
    }
}

/// `sim,wire` as lanes.
///
/// # Errors
/// The first name that is no lane, with the nearest that is.
pub fn parse_lanes(text: &str) -> Result<Vec<LaneName>, String> {
    let names: Vec<&str> = LaneName::ALL.iter().map(|lane| lane.as_str()).collect();
    text.split(',')
        .map(str::trim)
        .map(|name| {
            super::lane(name).ok_or_else(|| {
                let help = suggest(name, names.iter().copied()).unwrap_or_default();
                format!("unknown lane `{name}`: {help}")
            })
        })
        .collect()
}

/// `7` or `0..50` (the end is not included) as seeds.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    const MOST: u64 = 10_000_000;
    let number = |part: &str| {
        part.trim()
            .parse::<u64>()
            .map_err(|_| format!("`{text}` is not a seed or a range of seeds: write 7 or 0..50"))
    };
    let range = if let Some((from, to)) = text.split_once("..") {
        number(from)?..number(to)?
    } else {
        let seed = number(text)?;
        seed..seed.saturating_add(1)
    };
    match range.end.checked_sub(range.start) {
        None | Some(0) => Err(format!("the range of seeds `{text}` is empty")),
        Some(n) if n > MOST => Err(format!("`{text}` is more than {MOST} seeds")),
        Some(_) => Ok(range),
    }
}

impl Scenario {
    /// The part of the id before the slash.
    #[must_use]
    pub fn family(&self) -> &str {
        self.id.split('/').next().unwrap_or(&self.id)
    }
}
