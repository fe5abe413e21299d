//! M1 of stores: what an open store counted, against what was asked, answered and done to its disk.

use std::collections::{BTreeMap, BTreeSet};

use super::answers::kind_of;
use super::walk::CHANGES;
use crate::history::{Kind, Src, StoreAnswer, StoreCall};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, Index};
use crate::oracle::laws::LawId::{K2, K3, M1};
use crate::oracle::metrics::text::{self, Exposition};

const PREFIX: &str = "dashstream_checkpoint_";

/// What the harness counted while one open of a store had the directory.
#[derive(Default)]
struct Open<'a> {
    call: Option<&'a StoreCall>,
    /// By series and label.
    counts: BTreeMap<(&'static str, String), u64>,
    /// The index was damaged, at rest, before this open.
    index_damage: bool,
    /// Damaged files that a read could meet, whole threads being asked for.
    damaged: u64,
    /// A file operation failed, so that what was cleaned up when is the store's own business.
    failed: bool,
    retention_failed: Option<&'static str>,
    /// Files that the call under way has made.
    made: BTreeSet<String>,
}

impl Open<'_> {
    fn add(&mut self, series: &'static str, label: &str, n: u64) {
        *self.counts.entry((series, label.to_owned())).or_default() += n;
    }

    fn get(&self, series: &'static str, label: &str) -> u64 {
        self.counts.get(&(series, label.to_owned())).copied().unwrap_or(0)
    }
}

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    if index.scenario.checkpoint.is_none() {
        return;
    }
    if !index.shows_files() {
        f.unjudged(
            M1,
            "a driver's file operations are not seen, and its series have its own names",
        );
        return;
    }
    let mut open = Open::default();
    // by file
    let mut bad: BTreeMap<&str, &str> = BTreeMap::new();
    let mut index_damage = false;
    for (n, line) in index.lines.iter().enumerate() {
        let at = At { line: n, t_us: line.t_us };
        match (&line.kind, line.src) {
            (Kind::StoreCall(call), Src::Harness) => {
                if call.op == "open" {
                    open =
                        Open { index_damage: std::mem::take(&mut index_damage), ..Open::default() };
                    bad.retain(|_, how| *how != "deleted");
                    open.damaged =
                        bad.values().filter(|how| **how != "newer_version").count() as u64;
                }
                open.call = Some(call);
                open.made.clear();
                open.retention_failed = None;
            }
            (Kind::StoreAnswer(answer), _) => answered(&mut open, answer),
            (Kind::Fs { op, path, error }, Src::Fs) => {
                if op == "remove" && error.is_none() {
                    bad.remove(path.as_str());
                }
                let name = path.rsplit('/').next().unwrap_or(path);
                // it has been written anew, so that no open finds the damage
                index_damage &= !(op == "rename" && error.is_none() && name.contains("index"));
                operation(&mut open, op, path, error.as_deref());
            }
            (Kind::DamageSeen(damage), Src::Fs) => {
                let known = bad.insert(&damage.path, &damage.how);
                if known.is_none_or(|how| how == "newer_version") && damage.how != "newer_version" {
                    open.damaged += 1;
                }
            }
            (Kind::Fault { name, phase: crate::history::FaultPhase::Effect, .. }, _)
                if name == "fs.index" =>
            {
                index_damage = true;
            }
            (Kind::Scrape { text, last: true }, _) => match text::parse(text) {
                Ok(read) => compare(&open, &read, at, f),
                Err(error) => f.broken(M1, "readable", Evidence::line(at), || {
                    let expected = "the scrape is Prometheus text that a server would take";
                    (expected.to_owned(), format!("{error}"))
                }),
            },
            _ => {}
        }
    }
}

fn operation(open: &mut Open<'_>, op: &str, path: &str, error: Option<&str>) {
    let Some(call) = open.call else { return };
    let name = path.rsplit('/').next().unwrap_or(path);
    if let Some(error) = error {
        open.failed |= CHANGES.contains(&op);
        if op == "remove" && call.op == "save" {
            open.retention_failed = Some(kind_of(error));
        }
        return;
    }
    if op == "create" {
        open.made.insert(path.to_owned());
    }
    if op == "remove" {
        let temporary = name.starts_with("tmp-");
        // what a call made itself and took back is no sweep
        let own = open.made.remove(path);
        match call.op.as_str() {
            "open" if temporary && !own => open.add("swept_temp_files_total", "", 1),
            "delete" | "delete_thread" if !temporary => open.add("deletes_total", "request", 1),
            "save" | "retain" if !temporary => open.add("deletes_total", "retention", 1),
            _ => {}
        }
    }
}

fn answered(open: &mut Open<'_>, answer: &StoreAnswer) {
    let error = answer.error.as_deref();
    let (good, bad) = match answer.op.as_str() {
        "save" => ("saves_total", "save_failures_total"),
        "load" | "latest" => ("loads_total", "load_failures_total"),
        "delete" | "delete_thread" | "retain" => ("", "delete_failures_total"),
        _ => return,
    };
    match error {
        Some(kind) => open.add(bad, kind, 1),
        None if answer.op == "latest" && answer.id.is_none() => {}
        None if !good.is_empty() => open.add(good, "", 1),
        None => {}
    }
    if let Some(kind) = open.retention_failed.take().filter(|_| error.is_none()) {
        open.add("delete_failures_total", kind, 1);
    }
    open.call = None;
}

/// Series whose every sample the harness counts itself; the label's name, and whether a failed file
/// operation leaves it open what the store does about it.
const ROWS: &[(&str, &str, bool)] = &[
    ("saves_total", "", false),
    ("save_failures_total", "kind", false),
    ("loads_total", "", false),
    ("load_failures_total", "kind", false),
    ("deletes_total", "by", true),
    ("delete_failures_total", "kind", true),
    ("swept_temp_files_total", "", false),
];

fn compare(open: &Open<'_>, read: &Exposition, at: At, f: &mut Findings) {
    for (series, label, own_business) in ROWS {
        if *own_business && open.failed {
            f.unjudged(
                M1,
                "a file operation failed: what is cleaned up when is the store's business",
            );
            continue;
        }
        f.checked(M1, 1);
        let name = format!("{PREFIX}{series}");
        let Some(family) = read.families.get(&name) else {
            f.broken(M1, "missing", Evidence::line(at), || {
                (format!("the scrape has {name}"), "it has not".to_owned())
            });
            continue;
        };
        for ((counted_in, of), counted) in &open.counts {
            let has = |labels: &BTreeMap<String, String>| {
                labels.get(*label).map_or("", String::as_str) == of
            };
            if counted_in == series && !family.samples.iter().any(|(labels, _)| has(labels)) {
                f.broken(M1, "equal", Evidence::line(at), || {
                    let expected = format!("{name} {of} is {counted}, as the harness counted");
                    (expected, "the scrape has no such sample".to_owned())
                });
            }
        }
        for (labels, value) in &family.samples {
            let of = labels.get(*label).map_or("", String::as_str);
            let counted = open.get(series, of);
            if (*value - counted as f64).abs() > 0.5 {
                f.broken(M1, "equal", Evidence::line(at), || {
                    let expected = format!("{name} {of} is {counted}, as the harness counted");
                    (expected, format!("it is {value}"))
                });
            }
        }
    }
    f.unjudged(M1, "bytes written and failed index writes: the history does not hold sizes");
    damage(open, read, at, f);
}

/// Damage is counted: each damaged file once per open, and a damaged index.
fn damage(open: &Open<'_>, read: &Exposition, at: At, f: &mut Findings) {
    let sum = |series: &str| read.sum(&format!("{PREFIX}{series}")).unwrap_or(0.0);
    f.checked(K2, 1);
    let counted = sum("corrupt_files_total");
    if (counted - open.damaged as f64).abs() > 0.5 {
        f.broken(K2, "counted", Evidence::line(at), || {
            let expected = format!("{} damaged files are counted, each once", open.damaged);
            (expected, format!("{PREFIX}corrupt_files_total is {counted}"))
        });
    }
    f.checked(K3, 1);
    if open.index_damage && sum("index_damage_total") < 0.5 {
        f.broken(K3, "silent", Evidence::line(at), || {
            let expected = "a damaged index is counted at the open that finds it".to_owned();
            (expected, format!("{PREFIX}index_damage_total is 0"))
        });
    }
}
