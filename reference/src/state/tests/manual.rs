//! The tables of the manual's page are those of the code.

use crate::state::compare::MAX_OPERATIONS;
use crate::state::metrics::SERIES;
use crate::state::tree::{Item, Node};
use crate::state::{DegradeReason, DiffConfig};

const PAGE: &str = include_str!("../../manual/state.md");

/// The rows of the table under a head, without the head.
fn rows(head: &str) -> Vec<&'static str> {
    let table = PAGE.lines().skip_while(|line| !line.starts_with(head));
    table.skip(2).take_while(|line| line.starts_with('|')).collect()
}

#[test]
fn the_reasons_of_the_page_are_those_of_the_code() {
    let row = |reason: DegradeReason| format!("| `{}` | {} |", reason.as_str(), reason.about());
    assert_eq!(rows("| reason | when |"), DegradeReason::ALL.map(row));
}

#[test]
fn the_limits_of_the_page_are_those_of_the_code() {
    let config = DiffConfig::default();
    let defaults = [
        ("max_state_bytes", config.max_state_bytes),
        ("max_diff_bytes", config.max_diff_bytes),
        ("max_depth", config.max_depth as u64),
        ("digest_budget_bytes", config.digest_budget_bytes),
        ("window_bytes", config.window_bytes as u64),
    ];
    let found = rows("| setting | default |");
    assert_eq!(found.len(), defaults.len());
    for (row, (name, default)) in found.iter().zip(defaults) {
        assert!(row.starts_with(&format!("| `{name}` | {default} | ")), "{row}");
    }
    assert!(PAGE.contains(&format!("at most {MAX_OPERATIONS} operations")));
}

#[test]
fn the_series_of_the_page_are_those_of_the_code() {
    let row = |(name, label, help, _): &(&str, &str, &str, _)| {
        format!("| `{name}` | {label} | counter | {help} |")
    };
    assert_eq!(rows("| series | label |"), SERIES.each_ref().map(row));
}

#[cfg(target_pointer_width = "64")]
#[test]
fn the_costs_of_the_page_are_those_of_the_code() {
    let found = rows("| part | bytes |");
    assert!(found[0].starts_with(&format!("| item | {}, ", size_of::<Item>())), "{}", found[0]);
    assert!(found[1].starts_with(&format!("| node | {}, ", size_of::<Node>())), "{}", found[1]);
}
