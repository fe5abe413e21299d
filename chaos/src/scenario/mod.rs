//! Scenario files: model, parser, checks, selection.
//!
//! [`parse`] is the one way from text to [`model::Scenario`], for files and for histories alike.

pub mod agreement;
mod build;
mod check;
mod damage;
mod diagnostic;
mod expectation;
mod forms;
mod keys;
mod library;
mod link;
pub mod model;
mod names;
mod node;
pub mod process;
mod schema;
mod secured;
pub mod security;
mod select;
pub mod state;
pub mod store;
mod subjects;
#[cfg(test)]
mod tests;
mod units;
mod value;
mod walk;
mod written;

pub(crate) use agreement::FILE as AGREEMENT;
pub use agreement::{Explanation, load_explanations};
pub use check::REAL_TIME_BUDGET;
pub use diagnostic::{Diagnostic, nearest, suggest};
pub(crate) use forms::reasons as reason_names;
pub(crate) use library::is_agreement;
pub use library::{Library, load_dir, load_file};
pub(crate) use names::outcomes as outcome_names;
pub use names::{ROWS, lane};
pub use schema::json_schema;
pub use select::{SelectError, Selection, parse_lanes, parse_seeds, select};
pub(crate) use subjects::REPORTABLE;

use diagnostic::Source;
use model::Scenario;

/// Parses and checks one scenario. `path` is only used in messages.
///
/// # Errors
/// Every problem of the file, in the order of their places.
pub fn parse(text: &str, path: &str) -> Result<Scenario, Vec<Diagnostic>> {
    let source = Source { path, text };
    let document = node::parse(&source).map_err(|problem| vec![*problem])?;
    let mut walker = walk::Walker { source, problems: Vec::new(), incomplete: false };
    let root = walker.table(&document, &[keys::ROOT], "the file");
    let scenario = build::scenario(&root, text, path);
    check::check(&mut walker, &root, &scenario);
    if walker.problems.is_empty() {
        return Ok(scenario);
    }
    walker.problems.sort_by_key(|problem| (problem.line, problem.column));
    walker.problems.dedup();
    Err(walker.problems)
}

/// The scenario with this many bytes in the place of `free = "every"`: the one play of it. `None`
/// where the file says nothing of the kind.
#[must_use]
pub fn with_free(scenario: &Scenario, free: u64) -> Option<Scenario> {
    let source = Source { path: &scenario.path, text: &scenario.text };
    let document = node::parse(&source).ok()?;
    let node::Body::List(faults) = &document.find("fault")?.node.body else { return None };
    let is_every = |node: &&node::Node| match &node.body {
        node::Body::Text(text) => text == forms::EVERY,
        _ => false,
    };
    let found = faults.iter().filter_map(|fault| Some(&fault.find("free")?.node)).find(is_every)?;
    let (before, after) =
        (scenario.text.get(..found.at.start)?, scenario.text.get(found.at.end..)?);
    let parsed = parse(&format!("{before}{free}{after}"), &scenario.path).ok()?;
    Some(Scenario { free: Some(free), named_by_file: scenario.named_by_file, ..parsed })
}

/// Every kind of fault and action, with its own keys, for the manual.
#[cfg(test)]
pub(crate) fn kinds() -> Vec<(&'static str, Vec<&'static str>)> {
    let keys = |variant: &keys::Variant| variant.keys.iter().map(|key| key.name).collect();
    keys::FAULTS.iter().chain(keys::ACTIONS).map(|v| (v.name, keys(v))).collect()
}
