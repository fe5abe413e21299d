//! `dashproof checkpoint`: what is in a directory of checkpoints.

use std::collections::BTreeMap;
use std::path::Path;

use dashproof_reference::checkpoint::{FileReport, Health, Info, Role, inspect};
use dashproof_reference::runtime::StdFs;
use serde_json::{Value, json};

use super::args::{CheckpointArgs, Format, Look, LookArgs};
use super::failure::{Failure, count};
use super::ui;
use crate::exit;

/// Runs the verb. Nothing in the directory is changed, and no lock is taken.
pub(crate) fn checkpoint(args: &CheckpointArgs) -> Result<u8, Failure> {
    let (Look::Ls(look) | Look::Show(look) | Look::Verify(look)) = &args.look;
    let reports = reports(look)?;
    let ill: Vec<&FileReport> = reports.iter().filter(|report| is_ill(report)).collect();
    let (text, code) = match (&args.look, look.format) {
        (Look::Ls(_), Format::Human) => (threads(&reports), exit::PROVEN),
        (Look::Ls(_), Format::Json) => (lines(threads_json(&reports)), exit::PROVEN),
        (Look::Show(_), Format::Human) => (reports.iter().map(told).collect(), exit::PROVEN),
        (Look::Show(_), Format::Json) => (lines(reports.iter().map(as_json)), exit::PROVEN),
        (Look::Verify(_), format) => {
            let code = if ill.is_empty() { exit::PROVEN } else { exit::VIOLATION };
            let text = match format {
                Format::Human => verified(&reports, &ill, code),
                Format::Json => {
                    let summary = json!({
                        "type": "summary",
                        "checkpoints": checkpoints(&reports),
                        "ill": ill.len(),
                        "exit": code,
                    });
                    lines(ill.iter().map(|report| as_json(report)).chain([summary]))
                }
            };
            (text, code)
        }
    };
    ui::print(&text);
    Ok(code)
}

fn reports(look: &LookArgs) -> Result<Vec<FileReport>, Failure> {
    let dir: &Path = &look.dir;
    if !dir.is_dir() {
        return Err(Failure::no_folder(dir));
    }
    let reports = inspect(&StdFs, dir).map_err(|error| Failure::environment(error.to_string()))?;
    if !reports.iter().any(|report| report.role == Role::Checkpoint) {
        return Err(Failure::inconclusive(format!(
            "no checkpoint in {}: there is nothing to look at\nhelp: name the directory that a \
             checkpointer was given",
            dir.display()
        )));
    }
    Ok(reports)
}

/// Damaged, refused or unreadable: what a store would not give. A leftover is swept at an open.
fn is_ill(report: &FileReport) -> bool {
    matches!(report.health, Health::Damaged | Health::Refused | Health::Unreadable)
}

fn lines(values: impl IntoIterator<Item = Value>) -> String {
    values.into_iter().map(|value| format!("{value}\n")).collect()
}

/// Each thread's checkpoints, newest first.
fn by_thread(reports: &[FileReport]) -> BTreeMap<&str, Vec<(&FileReport, &Info)>> {
    let mut threads: BTreeMap<&str, Vec<(&FileReport, &Info)>> = BTreeMap::new();
    for report in reports {
        if let Some(info) = &report.info {
            threads.entry(&info.thread_id).or_default().push((report, info));
        }
    }
    for all in threads.values_mut() {
        let place =
            |(_, info): &(&FileReport, &Info)| (info.generation, info.timestamp, info.id.clone());
        all.sort_by_key(|entry| std::cmp::Reverse(place(entry)));
    }
    threads
}

fn threads(reports: &[FileReport]) -> String {
    let mut out = String::new();
    for (thread, all) in by_thread(reports) {
        out.push_str(&format!("{thread:?}: {}\n", count(all.len(), "checkpoint")));
        for (report, info) in all {
            out.push_str(&format!(
                "  {:?}  generation {}, {}, format {}, {}\n",
                info.id,
                info.generation,
                report.variant.unwrap_or("?"),
                report.format.map_or("?".to_owned(), |format| format.to_string()),
                health(report)
            ));
        }
    }
    let unknown = reports.iter().filter(|report| is_unknown(report));
    let unknown: String = unknown.map(|report| format!("  {}\n", line(report))).collect();
    if !unknown.is_empty() {
        out.push_str("of no known thread\n");
        out.push_str(&unknown);
    }
    out
}

/// A checkpoint's file that does not say whose it is.
fn is_unknown(report: &FileReport) -> bool {
    report.role == Role::Checkpoint && report.info.is_none()
}

fn threads_json(reports: &[FileReport]) -> Vec<Value> {
    let thread = |(thread, all): (&str, Vec<(&FileReport, &Info)>)| {
        let good = all.iter().find(|(report, _)| !is_ill(report));
        let latest = good.map(|(_, info)| info.id.clone());
        let all: Vec<Value> = all.iter().map(|(report, _)| as_json(report)).collect();
        json!({ "thread": thread, "latest": latest, "checkpoints": all })
    };
    let unknown: Vec<Value> = reports.iter().filter(|r| is_unknown(r)).map(as_json).collect();
    let rest = (!unknown.is_empty())
        .then(|| json!({ "thread": null, "latest": null, "checkpoints": unknown }));
    by_thread(reports).into_iter().map(thread).chain(rest).collect()
}

fn health(report: &FileReport) -> String {
    match &report.reason {
        None => report.health.as_str().to_owned(),
        Some((reason, text)) => format!("{} ({reason}: {text})", report.health.as_str()),
    }
}

fn line(report: &FileReport) -> String {
    format!("{}  {}, {}", report.name, report.role.as_str(), health(report))
}

fn told(report: &FileReport) -> String {
    let mut out = format!("{}\n", line(report));
    if let Some(info) = &report.info {
        let Info { id, thread_id, node, timestamp, parent_id, metadata, generation, schema } = info;
        out.push_str(&format!("  id          {id:?}\n  thread      {thread_id:?}\n"));
        out.push_str(&format!("  generation  {generation}, schema {schema}\n"));
        out.push_str(&format!("  saved       {} s since 1970\n", timestamp.secs));
        if !node.is_empty() {
            out.push_str(&format!("  node        {node:?}\n"));
        }
        if let Some(parent) = parent_id {
            out.push_str(&format!("  parent      {parent:?}\n"));
        }
        for (key, value) in metadata {
            out.push_str(&format!("  metadata    {key:?} = {value:?}\n"));
        }
    }
    out
}

fn checkpoints(reports: &[FileReport]) -> usize {
    reports.iter().filter(|report| report.role == Role::Checkpoint).count()
}

fn verified(reports: &[FileReport], ill: &[&FileReport], code: u8) -> String {
    let mut out: String = ill.iter().map(|report| format!("{}\n", line(report))).collect();
    out.push_str(&format!(
        "dashproof checkpoint verify: {}, {} not healthy: {}\n",
        count(checkpoints(reports), "checkpoint"),
        count(ill.len(), "file"),
        exit::name(code)
    ));
    out
}

fn as_json(report: &FileReport) -> Value {
    let info = report.info.as_ref().map(|info| {
        json!({
            "id": info.id,
            "thread": info.thread_id,
            "node": info.node,
            "secs": info.timestamp.secs,
            "nanos": info.timestamp.nanos,
            "parent": info.parent_id,
            "metadata": info.metadata,
            "generation": info.generation,
            "schema": info.schema,
        })
    });
    json!({
        "file": report.name,
        "role": report.role.as_str(),
        "format": report.format,
        "variant": report.variant,
        "health": report.health.as_str(),
        "reason": report.reason.as_ref().map(|(reason, _)| *reason),
        "text": report.reason.as_ref().map(|(_, text)| text),
        "checkpoint": info,
    })
}
