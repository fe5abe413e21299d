//! `run --agree`: what it needs before anything is run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::failure::Failure;
use crate::report::agreement::alone;
use crate::report::cell::Cell;
use crate::scenario::model::{LaneName, Scenario};
use crate::scenario::{AGREEMENT, Explanation, load_explanations};

/// The explanations beside these scenarios.
///
/// # Errors
/// A file that cannot be understood.
pub(super) fn explanations<'s>(
    scenarios: impl IntoIterator<Item = &'s Arc<Scenario>>,
) -> Result<Vec<Explanation>, Failure> {
    let folders: BTreeSet<&Path> =
        scenarios.into_iter().filter_map(|scenario| Path::new(&scenario.path).parent()).collect();
    let mut explanations = Vec::new();
    let mut problems = Vec::new();
    for file in folders.into_iter().map(|folder| folder.join(AGREEMENT)) {
        if !file.is_file() {
            continue;
        }
        match load_explanations(&file) {
            Ok(found) => explanations.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(explanations) } else { Err(Failure::broken(&problems)) }
}

/// Refuses a run in which no two lanes meet.
///
/// # Errors
/// Why there is nothing to compare.
pub(super) fn comparable(
    asked: &[LaneName],
    lanes: &[LaneName],
    cells: &[Cell],
) -> Result<(), Failure> {
    if let [only] = asked {
        return Err(Failure::inconclusive(format!(
            "nothing to compare: --agree was given one lane, {}; nothing was run\nhelp: name two \
             or more, as in --lanes sim,wire",
            only.as_str()
        )));
    }
    let mut ran: BTreeMap<(&str, u64), BTreeSet<LaneName>> = BTreeMap::new();
    for cell in cells {
        ran.entry((&cell.scenario.id, cell.seed)).or_default().insert(cell.lane);
    }
    if ran.values().any(|lanes| lanes.len() > 1) {
        return Ok(());
    }
    let scenarios: BTreeMap<&str, &Scenario> =
        cells.iter().map(|cell| (cell.scenario.id.as_str(), cell.scenario.as_ref())).collect();
    if let (1, Some((id, scenario))) = (scenarios.len(), scenarios.iter().next())
        && let Some(why) = alone(scenario, lanes)
    {
        return Err(Failure::inconclusive(format!(
            "nothing to compare: {id}: {why}; nothing was run"
        )));
    }
    Err(Failure::inconclusive(
        "nothing to compare: no selected scenario runs on two of the lanes with one seed; nothing \
         was run\nhelp: select scenarios that are written for both lanes, which `dashproof list` \
         shows",
    ))
}
