//! `FAMILY/agreement.toml`: why lanes differ where they do.

use std::collections::BTreeSet;
use std::path::Path;

use super::diagnostic::{Diagnostic, Source, about_file, suggest};
use super::keys::{Key, LANES, Shape, need};
use super::library::load_file;
use super::model::{LaneName, Scenario};
use super::value::Fields;
use super::walk::Walker;
use super::{names, node};
use crate::oracle::agree::field;

/// Name of these files; no scenario may have it.
pub(crate) const FILE: &str = "agreement.toml";

/// A difference between two lanes that is known, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The scenario.
    pub id: String,
    /// The two lanes, in the order of [`LaneName`].
    pub lanes: [LaneName; 2],
    /// What they differ in, as [`Difference::field`](crate::oracle::agree::Difference) names it.
    pub field: String,
    /// Why that is right.
    pub reason: String,
    /// The file.
    pub path: String,
    /// The line on which the entry begins.
    pub line: usize,
}

const ROOT: &[Key] = &[need(
    "difference",
    Shape::Tables(DIFFERENCE),
    "Differences between lanes that are known, each with its reason.",
)];

const DIFFERENCE: &[Key] = &[
    need("id", Shape::Id, "The scenario."),
    need("lanes", Shape::NameList(LANES), "The two lanes."),
    need("field", Shape::Text, "What they differ in, as it was printed."),
    need("reason", Shape::Text, "Why that is right."),
];

/// Reads and checks the file of a family against the scenarios beside it.
///
/// # Errors
/// All problems of the file.
pub fn load_explanations(path: &Path) -> Result<Vec<Explanation>, Vec<Diagnostic>> {
    let name = path.to_string_lossy();
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![about_file(&name, format!("cannot be read: {error}"), None)])?;
    let source = Source { path: &name, text: &text };
    let document = node::parse(&source).map_err(|problem| vec![*problem])?;
    let mut walker = Walker { source, problems: Vec::new(), incomplete: false };
    let root = walker.table(&document, &[ROOT], "the file");
    let mut known = BTreeSet::new();
    let mut explanations = Vec::new();
    for fields in root.tables("difference") {
        let Some(explanation) = explanation(&mut walker, fields, path) else { continue };
        let key = (explanation.id.clone(), explanation.lanes, explanation.field.clone());
        if known.insert(key) {
            explanations.push(explanation);
        } else {
            let help = Some("one reason is enough".to_owned());
            walker.refuse(&fields.place("field"), "this difference is explained twice", help);
        }
    }
    if walker.problems.is_empty() {
        return Ok(explanations);
    }
    walker.problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(walker.problems)
}

/// One entry; `None` where it was refused.
fn explanation(walker: &mut Walker<'_>, fields: &Fields, path: &Path) -> Option<Explanation> {
    let id = fields.text("id");
    let scenario = id.as_deref().and_then(|id| scenario(walker, fields, path, id));
    let lanes = lanes(walker, fields, scenario.as_ref());
    let (field, reason) = (fields.text("field")?, fields.text("reason")?);
    let loads = scenario.as_ref().map_or(usize::MAX, |scenario| scenario.loads.len());
    if let Err((message, help)) = field::check(&field, loads) {
        walker.refuse(&fields.place("field"), message, help);
        return None;
    }
    let line = walker.source.problem(&fields.at, "", None).line;
    let path = path.to_string_lossy().into_owned();
    Some(Explanation { id: scenario?.id, lanes: lanes?, field, reason, path, line })
}

/// The scenario of an entry, which must lie beside the file.
fn scenario(walker: &mut Walker<'_>, fields: &Fields, path: &Path, id: &str) -> Option<Scenario> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let (family, name) = id.split_once('/').unwrap_or((id, ""));
    // where the file was named from inside its folder, the folder has no name to compare with
    let own = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    if own.as_deref().is_some_and(|own| own != family) {
        let help = format!("it belongs into {family}/{FILE}");
        walker.refuse(&fields.place("id"), format!("`{id}` is of another family"), Some(help));
        return None;
    }
    let file = folder.join(name).with_extension("toml");
    if !file.is_file() {
        let all: Vec<String> = ids(folder, family);
        let help = suggest(id, all.iter().map(String::as_str));
        walker.refuse(&fields.place("id"), format!("there is no scenario `{id}`"), help);
        return None;
    }
    // what is wrong with the scenario itself is told of its own file
    load_file(&file).ok()
}

/// Ids of the scenarios in a folder.
fn ids(folder: &Path, family: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let files = files.filter(|path| {
        path.extension().is_some_and(|e| e == "toml") && path.file_name().is_some_and(|n| n != FILE)
    });
    let stems = files.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
    let mut ids: Vec<String> = stems.map(|stem| format!("{family}/{stem}")).collect();
    ids.sort();
    ids
}

/// Two lanes, which the scenario must be written for.
fn lanes(
    walker: &mut Walker<'_>,
    fields: &Fields,
    scenario: Option<&Scenario>,
) -> Option<[LaneName; 2]> {
    for (name, at) in fields.list_with_places("lanes") {
        let listed = |scenario: &&Scenario| scenario.lanes.iter().any(|l| l.as_str() == name);
        if let Some(scenario) = scenario.filter(|scenario| !listed(scenario)) {
            let all = scenario.lanes.iter().map(|lane| lane.as_str());
            let message = format!("`{}` is not written for the lane `{name}`", scenario.id);
            walker.refuse(at, message, suggest(name, all));
            return None;
        }
    }
    let mut lanes: Vec<LaneName> =
        fields.list("lanes").iter().filter_map(|name| names::lane(name)).collect();
    lanes.sort();
    if let [a, b] = lanes[..] {
        return Some([a, b]);
    }
    if fields.values.contains_key("lanes") {
        let help = Some("name two lanes; of three, each pair has an entry of its own".to_owned());
        walker.refuse(&fields.place("lanes"), "a difference is between two lanes", help);
    }
    None
}
