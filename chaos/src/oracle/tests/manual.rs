//! The pages of the manual that are made from tables: laws, lanes, marks, metrics.
//!
//! `UPDATE_MANUAL=1 cargo test -p dashproof manual` writes them anew; where `CI` is set nothing is
//! ever written.

use std::fmt::Write as _;
use std::path::Path;

use crate::fault::can_inject;
use crate::fault::tests::manual::kinds;
use crate::oracle::lanes::{Judging, judging};
use crate::oracle::laws::{Family, LAWS};
use crate::oracle::marks::MARKS;
use crate::oracle::metrics::{LEGAL, Labels, SERIES, SeriesKind};
use crate::scenario::model::{FaultKind, FsFault, LaneName};

/// Footnotes in the order in which the table first uses them.
#[derive(Default)]
struct Notes(Vec<&'static str>);

impl Notes {
    fn mark(&mut self, note: &'static str) -> usize {
        if let Some(at) = self.0.iter().position(|known| *known == note) {
            at + 1
        } else {
            self.0.push(note);
            self.0.len()
        }
    }
}

fn laws() -> String {
    let mut text = String::from(
        "# Laws\n\n\
         What every implementation is held to. A scenario judges all of them unless it says \
         otherwise; a law that it names and that the lane cannot judge makes the cell \
         `not_applicable`. Made from the table in `oracle::laws`.\n\n\
         | Law | What must hold |\n|---|---|\n",
    );
    for law in LAWS {
        writeln!(text, "| **{}** | {} |", law.id, law.sentence).unwrap();
    }
    text.push_str(
        "\n`EXPECT` and `PROTOCOL` are no laws of an implementation: they are judged in every run \
         and cannot be left out.\n\n\
         # Which lane judges what\n\n\
         `=` exactly; `~` within a bound or in part; `·` not judged. Numbers are the notes below. \
         Made from the table in `oracle::lanes`.\n\n",
    );
    let lanes = LaneName::ALL.map(LaneName::as_str);
    writeln!(text, "| Law | {} |", lanes.join(" | ")).unwrap();
    writeln!(text, "|---|{}", "---|".repeat(lanes.len())).unwrap();
    let mut notes = Notes::default();
    for law in LAWS.iter().filter(|law| law.family != Family::Scenario) {
        let cells = LaneName::ALL.map(|lane| match judging(law.id, lane) {
            Judging::Exact => "=".to_owned(),
            Judging::Bounded(note) => format!("~ {}", notes.mark(note)),
            Judging::NotJudged(note) => format!("· {}", notes.mark(note)),
        });
        writeln!(text, "| **{}** | {} |", law.id, cells.join(" | ")).unwrap();
    }
    text.push('\n');
    for (n, note) in notes.0.iter().enumerate() {
        writeln!(text, "{}. {note}", n + 1).unwrap();
    }
    text
}

fn marks() -> String {
    let mut text = String::from(
        "# Marks\n\n\
         A mark is something that must have been observed for a verdict to mean anything. A \
         scenario demands it in `expect.reached`, and that each of its faults is met in any case; a run that did not reach it is inconclusive, \
         never green. On a lane that cannot show a mark the demand is not judged. Made from the \
         table in `oracle::marks`.\n\n\
         | Mark | What shows it | Lanes |\n|---|---|---|\n",
    );
    for mark in MARKS {
        let lanes: Vec<&str> = mark.lanes.iter().map(|lane| lane.as_str()).collect();
        let lanes =
            if lanes.len() == LaneName::ALL.len() { "all".into() } else { lanes.join(", ") };
        writeln!(text, "| `{}` | {} | {lanes} |", mark.name, mark.evidence).unwrap();
    }
    text
}

fn metrics() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Every series, and the expression over the history that its value must equal when \
         everything is over. A series, label or value that is not in this table is a violation of \
         M1 as well. Made from the table in `oracle::metrics`.\n\n\
         | Series | Kind | Unit | Labels | Value |\n|---|---|---|---|---|\n",
    );
    for series in SERIES {
        let kind = match series.kind {
            SeriesKind::Counter => "counter",
            SeriesKind::Gauge => "gauge",
        };
        let labels = match series.labels {
            Labels::None => "–".to_owned(),
            Labels::Tenant => "`tenant_id` (open)".to_owned(),
            closed => {
                closed.names().iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
            }
        };
        let unit = series.unit.as_str();
        writeln!(text, "| `{}` | {kind} | {unit} | {labels} | {} |", series.name, series.means)
            .unwrap();
    }
    text.push_str(
        "\nThe legal pairs of `outcome` and `reason`:\n\n| Outcome | Reasons |\n|---|---|\n",
    );
    let mut outcomes: Vec<&str> = LEGAL.iter().map(|(outcome, _)| *outcome).collect();
    outcomes.dedup();
    for outcome in outcomes {
        let reasons =
            LEGAL.iter().filter(|(o, _)| *o == outcome).map(|(_, reason)| match *reason {
                "" => "(empty)".to_owned(),
                reason => format!("`{reason}`"),
            });
        let reasons: Vec<String> = reasons.collect();
        writeln!(text, "| `{outcome}` | {} |", reasons.join(", ")).unwrap();
    }
    text.push_str(
        "\n# The rate limit\n\n\
         With `rate_limit.rate` set, M1 replays a token bucket over what the harness offered: it is \
         full with `burst` tokens at `open`, gains `rate` per second up to `burst`, and is asked at \
         the call, after the size and before the queue. `rate_limited` for an event that found a \
         token breaks M1, and so does an event that passed without one. In `sim` the replay is \
         exact; elsewhere what flows in between an offer and the first word about it (2 s and the \
         machine's own stall at most) counts for the subject.\n",
    );
    text
}

/// Names under the reason that they share, in the order in which the reasons first come.
#[derive(Default)]
struct Grouped(Vec<(&'static str, Vec<String>)>);

impl Grouped {
    /// Once: a kind of several shapes has one name.
    fn add(&mut self, reason: &'static str, name: &str) {
        if let Some((_, names)) = self.0.iter_mut().find(|(known, _)| *known == reason) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        } else {
            self.0.push((reason, vec![name.to_owned()]));
        }
    }

    fn write(&self, text: &mut String, what: &str) {
        if self.0.is_empty() {
            return;
        }
        writeln!(text, "{what}:\n").unwrap();
        for (reason, names) in &self.0 {
            writeln!(text, "- {}: {reason}", names.join(", ")).unwrap();
        }
        text.push('\n');
    }
}

fn lanes() -> String {
    let mut text = String::from(
        "# What each lane cannot show\n\n\
         No lane shows everything, which is why there are several and why `run --agree` compares \
         them. A scenario with a fault that its lane cannot inject is `not_applicable` there; a law \
         or mark that the lane cannot judge is counted and shown. Made from the tables in \
         `fault::can_inject`, `oracle::lanes` and `oracle::marks`.\n\n",
    );
    for lane in LaneName::ALL {
        writeln!(text, "## `{}`\n", lane.as_str()).unwrap();
        let mut faults = Grouped::default();
        for kind in kinds() {
            if let Err(reason) = can_inject(lane, &kind) {
                let every = if matches!(kind, FaultKind::Fs(FsFault::FullEvery)) {
                    " with `free = \"every\"`"
                } else {
                    ""
                };
                faults.add(reason, &format!("`{}`{every}", kind.name()));
            }
        }
        faults.write(&mut text, "Faults that it cannot inject");
        let (mut not_judged, mut in_part) = (Grouped::default(), Grouped::default());
        for law in LAWS.iter().filter(|law| law.family != Family::Scenario) {
            match judging(law.id, lane) {
                Judging::Exact => {}
                Judging::Bounded(note) => in_part.add(note, law.id.as_str()),
                Judging::NotJudged(reason) => not_judged.add(reason, law.id.as_str()),
            }
        }
        not_judged.write(&mut text, "Laws that it does not judge");
        in_part.write(&mut text, "Laws that it judges within a bound or in part");
        let unseen = MARKS.iter().filter(|mark| !mark.lanes.contains(&lane));
        let unseen: Vec<String> = unseen.map(|mark| format!("`{}`", mark.name)).collect();
        if !unseen.is_empty() {
            writeln!(text, "Marks that it cannot show: {}.\n", unseen.join(", ")).unwrap();
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[track_caller]
fn is_current(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual").join(page);
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if set("UPDATE_MANUAL") && !set("CI") {
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{} is not what the tables say: run `UPDATE_MANUAL=1 cargo test -p dashproof manual`",
        path.display()
    );
}

#[test]
fn the_manual_lists_the_laws_and_lanes_of_the_code() {
    is_current("laws.md", &laws());
}

#[test]
fn the_manual_lists_what_each_lane_cannot_show() {
    is_current("lanes.md", &lanes());
}

#[test]
fn the_manual_lists_the_marks_of_the_code() {
    is_current("marks.md", &marks());
}

#[test]
fn the_manual_lists_the_metrics_of_the_code() {
    is_current("metrics.md", &metrics());
}
