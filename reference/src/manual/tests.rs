//! The tables of the manual are those of the code. `UPDATE_MANUAL=1` writes them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::checkpoint::{CHECKPOINT_METRICS, ErrorKind, Reason as DamageReason};
use crate::config::{ProducerConfig, SETTINGS};
use crate::core::{ErrorClass, Reason, Tally, close::share, errors};
use crate::runtime::{METRICS, MetricKind};

fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => format!("`\"{text}\"`"),
        other => format!("`{other}`"),
    }
}

fn settings() -> String {
    let defaults = ProducerConfig::default();
    let mut out =
        "| setting | unit or words | default | what it does |\n|---|---|---|---|\n".to_owned();
    for setting in SETTINGS {
        let (unit, default) = ((setting.unit)(), cell(&setting.get(&defaults)));
        writeln!(out, "| `{}` | {unit} | {default} | {} |", setting.key, setting.about).unwrap();
    }
    out
}

fn environment() -> String {
    let row = |(name, key): &(&str, &str)| format!("| `{name}` | `{key}` |\n");
    let rows: String = ProducerConfig::ENVIRONMENT.iter().map(row).collect();
    format!("| variable | setting |\n|---|---|\n{rows}")
}

fn reasons() -> String {
    let mut out = "| reason | given | when |\n|---|---|---|\n".to_owned();
    for reason in Reason::ALL {
        let given = if reason.is_rejection() { "at the call" } else { "when main ends" };
        writeln!(out, "| `{}` | {given} | {} |", reason.as_str(), reason.about()).unwrap();
    }
    out
}

fn error_classes() -> String {
    let mut out = "| code | name | class | source of the rule |\n|---|---|---|---|\n".to_owned();
    for rule in errors::RULES {
        let class = match rule.class {
            ErrorClass::Retryable => "retryable",
            ErrorClass::Permanent => "permanent",
            ErrorClass::Fatal => "fatal",
        };
        writeln!(out, "| {} | `{}` | {class} | {} |", rule.code, rule.name, rule.source).unwrap();
    }
    out
}

fn close_shares() -> String {
    let (main, deliveries, dlq) = (share::MAIN, share::MAIN_DELIVERIES, share::DLQ);
    let (before_spool, spool) = (share::DLQ_BEFORE_SPOOL, share::DLQ_DELIVERIES);
    format!(
        "| share of `d` | what happens then |\n|---|---|\n\
         | 0 % | both clients stop lingering; main goes on, retries included |\n\
         | {main} % | back-offs and the queue are cut (`abandoned`) and main is purged |\n\
         | {deliveries} % | a main attempt that is still open counts as *possibly* |\n\
         | {dlq} %, with a spool {before_spool} % | the DLQ is cut and purged |\n\
         | {spool} % | with a spool, a DLQ attempt that is still open counts as *possibly*; the rest is the spool's |\n\
         | 100 % | what is left gets line 5 or 6 |\n"
    )
}

fn metrics() -> String {
    let mut out = "| series | labels | kind | what it counts |\n|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let kind = if metric.kind == MetricKind::Counter { "counter" } else { "gauge" };
        let labels = metric.labels.names().join(", ");
        writeln!(out, "| `{}` | {labels} | {kind} | {} |", metric.name, metric.help).unwrap();
    }
    out
}

fn checkpoint_metrics() -> String {
    let mut out = "| series | label | what it counts |\n|---|---|---|\n".to_owned();
    for series in CHECKPOINT_METRICS {
        writeln!(out, "| `{}` | {} | {} |", series.name, series.label, series.help).unwrap();
    }
    out
}

fn combinations() -> String {
    let mut out = "| outcome | reasons |\n|---|---|\n".to_owned();
    for outcome in crate::core::ledger::OUTCOMES {
        let reasons: Vec<String> = Tally::default()
            .cells()
            .filter(|(o, ..)| *o == outcome)
            .map(|(_, reason, _)| {
                reason.map_or("(none)".to_owned(), |r| format!("`{}`", r.as_str()))
            })
            .collect();
        writeln!(out, "| `{outcome}` | {} |", reasons.join(", ")).unwrap();
    }
    out
}

/// The table that belongs behind a marker.
fn generated(marker: &str) -> Option<String> {
    Some(match marker {
        "<!-- table: settings -->" => settings(),
        "<!-- table: environment -->" => environment(),
        "<!-- table: reasons -->" => reasons(),
        "<!-- table: errors -->" => error_classes(),
        "<!-- table: close -->" => close_shares(),
        "<!-- table: metrics -->" => metrics(),
        "<!-- table: combinations -->" => combinations(),
        "<!-- table: checkpoint metrics -->" => checkpoint_metrics(),
        _ => return None,
    })
}

/// The page with every table as it should be.
fn current(page: &str) -> String {
    let mut out = String::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        writeln!(out, "{line}").unwrap();
        if let Some(table) = generated(line) {
            while lines.next_if(|l| l.is_empty() || l.starts_with('|')).is_some() {}
            writeln!(out, "\n{table}").unwrap();
        }
    }
    out.truncate(out.trim_end().len());
    out + "\n"
}

fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual").join(name);
    let page = fs::read_to_string(&path).unwrap();
    let current = current(&page);
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        fs::write(&path, &current).unwrap();
        return;
    }
    let differs = page.lines().zip(current.lines()).find(|(a, b)| a != b);
    assert_eq!(page, current, "{name} is stale at {differs:?}; run with UPDATE_MANUAL=1");
}

#[test]
fn the_tables_of_the_producer_page_are_those_of_the_code() {
    check("producer.md");
}

#[test]
fn the_tables_of_the_settings_page_are_those_of_the_code() {
    check("config.md");
}

#[test]
fn the_tables_of_the_metrics_page_are_those_of_the_code() {
    check("metrics.md");
}

#[test]
fn the_metrics_of_the_checkpoint_page_are_those_of_the_code() {
    check("checkpoint.md");
}

/// The first cells of a section's table.
fn cells(page: &str, section: &str) -> Vec<String> {
    let text = page.split(&format!("\n## {section}\n")).nth(1).expect("the section is there");
    let text = text.split("\n## ").next().unwrap();
    let rows = text.lines().filter_map(|l| l.strip_prefix("| `"));
    rows.map(|l| l.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn the_checkpoint_page_shows_every_kind_of_error_and_every_reason_of_damage() {
    let page = include_str!("checkpoint.md");
    assert_eq!(cells(page, "Errors"), ErrorKind::NAMES);
    let reasons: Vec<&str> = DamageReason::ALL.iter().map(|r| r.as_str()).collect();
    assert_eq!(cells(page, "Reasons of damage"), reasons);
}
