//! `dashproof checkpoint`: what is in a directory of checkpoints.

use std::collections::BTreeMap;
use std::path::Path;

use dashproof_reference::checkpoint::{ErrorKind, FileReport, Health, Info, Role, inspect};
use dashproof_reference::runtime::StdFs;
use serde_json::{Value, json};

use super::args::{CheckpointArgs, Format, Look, LookArgs};
use super::failure::{Failure, count};
use super::ui;
use crate::exit;
use crate::lane::spool::is_segment;

/// The reason of a file that is larger than may be read.
const OVERSIZE: &str = ErrorKind::Oversize.as_str();

/// Runs the verb. Nothing in the directory is changed, and no lock is taken.
pub(crate) fn checkpoint(args: &CheckpointArgs) -> Result<u8, Failure> {
    let (Look::Ls(look) | Look::Show(look) | Look::Verify(look)) = &args.look;
    let reports = reports(look)?;
    let ill: Vec<&FileReport> = reports.iter().filter(|report| is_ill(report)).collect();
    let unproven: Vec<&FileReport> =
        reports.iter().filter(|report| report.health == Health::Unproven).collect();
    let (text, code) = match (&args.look, look.format) {
        (Look::Ls(_), Format::Human) => (threads(&reports), exit::PROVEN),
        (Look::Ls(_), Format::Json) => (lines(threads_json(&reports)), exit::PROVEN),
        (Look::Show(_), Format::Human) => (reports.iter().map(told).collect(), exit::PROVEN),
        (Look::Show(_), Format::Json) => (lines(reports.iter().map(as_json)), exit::PROVEN),
        (Look::Verify(_), format) => {
            let code = match (ill.is_empty(), unproven.is_empty()) {
                (true, true) => exit::PROVEN,
                (true, false) => exit::INCONCLUSIVE,
                (false, _) => exit::VIOLATION,
            };
            let text = match format {
                Format::Human => verified(&reports, &ill, &unproven, code),
                Format::Json => {
                    let summary = json!({
                        "type": "summary",
                        "checkpoints": checkpoints(&reports),
                        "ill": ill.len(),
                        "unproven": unproven.len(),
                        "exit": code,
                    });
                    let told = ill.iter().chain(&unproven);
                    lines(told.map(|report| as_json(report)).chain([summary]))
                }
            };
            (text, code)
        }
    };
    ui::print(&text);
    if let Some(note) = too_large(&reports, look.max_state) {
        ui::Ui::new().complain(&note);
    }
    Ok(code)
}

/// Files that are larger than was allowed, which may be what somebody meant to keep.
fn too_large(reports: &[FileReport], most: u64) -> Option<String> {
    let is_large = |report: &&FileReport| report.reason.as_ref().is_some_and(|r| r.0 == OVERSIZE);
    let names: Vec<&str> = reports.iter().filter(is_large).map(|r| r.name.as_str()).collect();
    let (first, n) = (names.first()?, names.len());
    let files = count(n, "file");
    Some(format!(
        "{files} not read, {first} among them: the state takes more than {most} bytes\nhelp: \
         `--max-state BYTES` lets larger ones be read, each as a whole in memory"
    ))
}

fn reports(look: &LookArgs) -> Result<Vec<FileReport>, Failure> {
    let dir: &Path = &look.dir;
    if !dir.is_dir() {
        return Err(Failure::no_folder(dir));
    }
    let reports = inspect(&StdFs, dir, look.max_state)
        .map_err(|error| Failure::environment(error.to_string()))?;
    if reports.iter().any(|report| is_segment(Path::new(&report.name))) {
        return Err(Failure::inconclusive(format!(
            "{} is the spool of a producer, and no directory of checkpoints\nhelp: no command \
             reads it yet; the next open of the producer does, and its bytes are in the manual \
             (reference/src/manual/spool.md)",
            dir.display()
        )));
    }
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

/// Each thread's checkpoints, newest first as far as the files tell.
fn by_thread(reports: &[FileReport]) -> BTreeMap<&str, Vec<&FileReport>> {
    let mut threads: BTreeMap<&str, Vec<&FileReport>> = BTreeMap::new();
    for report in reports.iter().filter(|report| report.role == Role::Checkpoint) {
        if let Some(thread) = &report.thread {
            threads.entry(thread).or_default().push(report);
        }
    }
    for all in threads.values_mut() {
        all.sort_by_key(|report| {
            let place = (report.generation, report.saved.map(|saved| (saved.secs, saved.nanos)));
            std::cmp::Reverse((place, &report.name))
        });
    }
    threads
}

/// What a store answers to `latest`, as far as that shows without the state's type: the newest that
/// is not damaged. One that cannot be given now is not passed over.
fn latest<'a>(all: &[&'a FileReport]) -> Result<&'a str, String> {
    let sound: Vec<_> = all.iter().filter(|report| report.health != Health::Damaged).collect();
    let newest = sound.first().ok_or("all its files are damaged")?;
    if is_ill(newest) {
        let (name, health) = (&newest.name, health(newest));
        return Err(format!("{name} is {health}, and an older one would be the wrong one"));
    }
    // where the newest is of version 1 all are: that comes before version 2
    let untold = sound.iter().any(|report| report.saved.is_none());
    if newest.generation.is_none() && sound.len() > 1 && untold {
        return Err("version 1 tells the order only to who knows the state's type".to_owned());
    }
    newest.info.as_ref().map(|info| info.id.as_str()).ok_or_else(|| "it has no id".to_owned())
}

fn threads(reports: &[FileReport]) -> String {
    let mut out = String::new();
    for (thread, all) in by_thread(reports) {
        let latest = match latest(&all) {
            Ok(id) => format!("latest {id:?}"),
            Err(why) => format!("latest unknown: {why}"),
        };
        out.push_str(&format!("{thread:?}: {}, {latest}\n", count(all.len(), "checkpoint")));
        let rows: String = all.iter().map(|report| row(report)).collect();
        out.push_str(&rows);
    }
    let unknown = reports.iter().filter(|report| is_unknown(report));
    let unknown: String = unknown.map(|report| format!("  {}\n", line(report))).collect();
    if !unknown.is_empty() {
        out.push_str("of no known thread\n");
        out.push_str(&unknown);
    }
    out
}

/// A checkpoint in the list of its thread.
fn row(report: &FileReport) -> String {
    let name = match &report.info {
        Some(info) => format!("{:?}", info.id),
        None => report.name.clone(),
    };
    let told = [
        report.generation.map(|generation| format!("generation {generation}")),
        report.variant.map(str::to_owned),
        report.format.map(|format| format!("format {format}")),
        Some(health(report)),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    format!("  {name}  {}\n", told.join(", "))
}

/// A checkpoint's file that does not say whose it is.
fn is_unknown(report: &FileReport) -> bool {
    report.role == Role::Checkpoint && report.thread.is_none()
}

fn threads_json(reports: &[FileReport]) -> Vec<Value> {
    let thread = |(thread, all): (&str, Vec<&FileReport>)| {
        let (latest, why) = match latest(&all) {
            Ok(id) => (Some(id), None),
            Err(why) => (None, Some(why)),
        };
        let all: Vec<Value> = all.iter().map(|report| as_json(report)).collect();
        json!({ "thread": thread, "latest": latest, "latest_unknown": why, "checkpoints": all })
    };
    let unknown: Vec<Value> = reports.iter().filter(|r| is_unknown(r)).map(as_json).collect();
    let rest = (!unknown.is_empty()).then(|| {
        let why = "the files do not tell whose they are";
        json!({ "thread": null, "latest": null, "latest_unknown": why, "checkpoints": unknown })
    });
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
        let Info { id, thread_id, node, parent_id, metadata, schema, .. } = info;
        out.push_str(&format!("  id          {id:?}\n  thread      {thread_id:?}\n"));
        if let Some(generation) = report.generation {
            out.push_str(&format!("  generation  {generation}\n"));
        }
        // without the state's type version 1 tells neither, but for a wrapper
        match report.saved {
            Some(saved) => {
                out.push_str(&format!("  schema      {schema}\n"));
                out.push_str(&format!("  saved       {} s since 1970\n", saved.secs));
            }
            None => out.push_str("  saved       only the state's type tells\n"),
        }
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

fn verified(
    reports: &[FileReport],
    ill: &[&FileReport],
    unproven: &[&FileReport],
    code: u8,
) -> String {
    let told = ill.iter().chain(unproven);
    let mut out: String = told.map(|report| format!("{}\n", line(report))).collect();
    let open = match unproven.len() {
        0 => String::new(),
        n => format!(", {} that nothing here proves", count(n, "file")),
    };
    out.push_str(&format!(
        "dashproof checkpoint verify: {}, {} not healthy{open}: {}\n",
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
            "node": report.saved.map(|_| &info.node),
            "secs": report.saved.map(|saved| saved.secs),
            "nanos": report.saved.map(|saved| saved.nanos),
            "parent": info.parent_id,
            "metadata": report.saved.map(|_| &info.metadata),
            "generation": report.generation,
            "schema": report.saved.map(|_| info.schema),
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
