//! `dashproof list`.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::args::{Format, ListArgs};
use super::failure::{Failure, count};
use super::library;
use super::ui::{self, Tone, Ui};
use crate::scenario::model::Scenario;
use crate::scenario::select;

pub(crate) fn list(ui: Ui, dir: Option<&Path>, args: &ListArgs) -> Result<u8, Failure> {
    let library = library(dir)?;
    let mut chosen = select(&library, &args.which.selection())?;
    chosen.retain(|s| args.lane.is_empty() || s.lanes.iter().any(|lane| args.lane.contains(lane)));
    if chosen.is_empty() {
        return Err(crate::scenario::SelectError::Empty.into());
    }
    match args.format {
        Format::Human => ui::print(&human(ui, &chosen)),
        Format::Json => {
            let all: Vec<_> = chosen.iter().map(|scenario| as_json(scenario)).collect();
            ui::print(&format!("{:#}\n", serde_json::Value::Array(all)));
        }
    }
    Ok(crate::exit::PROVEN)
}

fn as_json(scenario: &Scenario) -> serde_json::Value {
    json!({
        "id": scenario.id,
        "family": scenario.family(),
        "summary": scenario.summary,
        "since": scenario.since,
        "aliases": scenario.aliases,
        "guards": scenario.guards,
        "lanes": lanes(scenario),
        "tags": scenario.tags,
        "budget_ms": u64::try_from(scenario.budget.as_millis()).unwrap_or(u64::MAX),
        "events": scenario.loads.iter().map(|load| u64::from(load.events)).sum::<u64>(),
        "path": scenario.path,
    })
}

fn lanes(scenario: &Scenario) -> Vec<&'static str> {
    scenario.lanes.iter().map(|lane| lane.as_str()).collect()
}

fn human(ui: Ui, chosen: &[Arc<Scenario>]) -> String {
    let width = chosen.iter().map(|s| s.id.len()).max().unwrap_or(0);
    let mut out = String::new();
    for scenario in chosen {
        let rows = format!("[{}; {}]", scenario.guards.join(" "), lanes(scenario).join(" "));
        out.push_str(&format!(
            "{:width$}  {}  {}\n",
            scenario.id,
            scenario.summary,
            ui.paint(Tone::Faint, &rows)
        ));
    }
    out.push_str(&format!("{}\n", count(chosen.len(), "scenario")));
    out
}
