//! Laws about what is exported: M1 to M6.

mod compare;
mod limiter;
mod reasons;
mod series;
mod tally;
pub mod text;

pub(super) use limiter::judge as judge_limit;
pub(super) use reasons::judge as judge_reasons;
pub use series::{LEGAL, Labels, SERIES, Series, SeriesKind, Unit, series};
pub(crate) use tally::Tally;

use super::findings::{Evidence, Findings};
use super::index::{At, Incarnation, Index};
use super::laws::LawId::{M1, M2, M3, M4, M5, M6};
use super::ledger;
use crate::history::{Kind, Line, Outcome, Src};
use series::Value;
use text::{Exposition, Family, Type};

/// A scrape of an incarnation that could be read.
struct Scrape {
    at: At,
    last: bool,
    read: Exposition,
}

/// The scrapes of an incarnation; those that cannot be read are violations of M1.
fn scrapes(index: &Index<'_>, inc: &Incarnation, f: &mut Findings) -> Vec<Scrape> {
    let mut out = Vec::new();
    for at in &inc.scrapes {
        let Some(Line { kind: Kind::Scrape { text, last }, .. }) = index.line(*at) else {
            continue;
        };
        match text::parse(text) {
            Ok(read) => out.push(Scrape { at: *at, last: *last, read }),
            Err(error) => f.broken(M1, "readable", Evidence::line(*at), || {
                let expected = "the scrape is Prometheus text that a server would take".to_owned();
                (expected, format!("{error}"))
            }),
        }
    }
    out
}

/// M1 to M4, incarnation by incarnation.
pub(super) fn judge_scrapes(index: &Index<'_>, f: &mut Findings) {
    if index.scenario.checkpoint.is_some() || index.scenario.state.is_some() {
        return; // stores and state diffs have series of their own
    }
    for (slot, inc) in index.incs.iter().enumerate() {
        // A crashed incarnation is not scraped, and one without a producer exports nothing.
        if inc.crashed.is_some() || inc.lives.is_empty() && inc.scrapes.is_empty() {
            continue;
        }
        let scrapes = scrapes(index, inc, f);
        zero_from_start(index, inc, scrapes.first(), f);
        scrapes.windows(2).for_each(|pair| {
            if let [before, after] = pair {
                never_back(before, after, f);
            }
        });
        match scrapes.iter().rev().find(|scrape| scrape.last) {
            Some(last) if inc.is_closed() => {
                compare::rows(&last.read, last.at, &Tally::at(index, slot, last.at.line), f);
                idle(&last.read, last.at, f);
            }
            _ if inc.is_closed() && inc.scrapes.is_empty() => {
                f.undecided(M1, format!("incarnation {} was not scraped", inc.number));
            }
            _ => f.unjudged(M1, "no judging scrape of this incarnation"),
        }
    }
}

/// M2: a first scrape before anything was offered shows every closed series at zero.
fn zero_from_start(index: &Index<'_>, inc: &Incarnation, first: Option<&Scrape>, f: &mut Findings) {
    let lives = inc.lives.iter().filter_map(|slot| index.lives.get(*slot));
    let offered = lives.filter_map(|life| life.offered).min();
    let Some(first) = first.filter(|s| offered.is_none_or(|at| s.at < at) && !s.last) else {
        f.unjudged(M2, "no scrape between open and the first event");
        return;
    };
    for series in SERIES.iter().filter(|s| s.is_closed()) {
        for values in series.labels.values().unwrap_or_default() {
            f.checked(M2, 1);
            let found = compare::sample(&first.read, series, &values);
            // a spool is read by `open`: its events count before the first scrape
            let drains = inc.number > 0 && index.settings.spool.directory.is_some();
            if found.is_none() || (found != Some(0.0) && !drains) {
                f.broken(M2, series.name, Evidence::line(first.at), || {
                    let name = compare::name(series, &values);
                    let found = found.map_or_else(|| "absent".to_owned(), |v| v.to_string());
                    (format!("{name} 0 before the first event"), found)
                });
            }
        }
    }
}

/// M4: between two scrapes.
fn never_back(before: &Scrape, after: &Scrape, f: &mut Findings) {
    let counts = |name: &str, family: &Family| {
        family.kind == Type::Counter || series(name).is_some_and(|s| s.kind == SeriesKind::Counter)
    };
    let evidence = || Evidence::line(before.at).and(after.at);
    for (name, family) in before.read.families.iter().filter(|(n, family)| counts(n, family)) {
        for (labels, old) in &family.samples {
            f.checked(M4, 1);
            let new = after.read.families.get(name).and_then(|f| f.samples.get(labels));
            match new {
                Some(new) if new >= old => {}
                Some(new) => f.broken(M4, "back", evidence(), || {
                    let name = compare::labelled(name, labels);
                    (format!("{name} at least {old}"), format!("{new} in the next scrape"))
                }),
                None => f.broken(M4, "vanished", evidence(), || {
                    let name = compare::labelled(name, labels);
                    (format!("{name} stays exported"), "absent in the next scrape".to_owned())
                }),
            }
        }
    }
}

/// M3: at the end.
fn idle(read: &Exposition, at: At, f: &mut Findings) {
    for series in SERIES.iter().filter(|s| matches!(s.value, Value::Idle)) {
        for values in series.labels.values().unwrap_or_default() {
            f.checked(M3, 1);
            let found = compare::sample(read, series, &values);
            if found != Some(0.0) {
                f.broken(M3, series.name, Evidence::line(at), || {
                    let name = compare::name(series, &values);
                    let found = found.map_or_else(|| "absent".to_owned(), |v| v.to_string());
                    (format!("{name} 0 when all is over"), found)
                });
            }
        }
    }
}

/// M5: the application saw every outcome that was counted, and the close report is the ledger.
pub(super) fn judge_observed(index: &Index<'_>, f: &mut Findings) {
    for call in index.calls.iter().filter(|call| call.op == "close") {
        let Some(inc) = index.incs.get(call.inc) else { continue };
        // D10 speaks about a close that fails or does not return.
        let Some(returned) = call.returned.filter(|r| r.error.is_none()) else {
            f.unjudged(
                M5,
                match call.returned {
                    _ if inc.crashed.is_some() => "the process was killed while close was running",
                    Some(_) => "close failed and gave no report",
                    None => "close never returned and gave no report",
                },
            );
            continue;
        };
        // A second close returns the first one's report.
        let Some(first) = inc.ended else { continue };
        let Some(counts) = returned.answer.get("counts").and_then(|c| c.as_object()) else {
            f.unjudged(M5, "the close report states no counts");
            continue;
        };
        let mut told = ledger::Counts::new();
        for life in inc.lives.iter().filter_map(|slot| index.lives.get(*slot)) {
            for (at, outcome) in &life.outcomes {
                // Rejections go on while close runs and after it; they are not its report's.
                if *at < first && !matches!(outcome, Outcome::Rejected { .. }) {
                    *told.entry(ledger::key(outcome)).or_default() += 1;
                }
            }
        }
        let reported: ledger::Counts = counts
            .iter()
            .filter(|(key, _)| !key.starts_with("rejected"))
            .filter_map(|(key, count)| Some((key.clone(), count.as_u64()?)))
            .filter(|(_, count)| *count > 0)
            .collect();
        f.checked(M5, 1);
        if reported != told {
            f.broken(M5, "report", Evidence::line(call.at).and(returned.at), || {
                let expected = format!("the close report says {}", ledger::list(&told));
                (expected, ledger::list(&reported))
            });
        }
    }
    seen(index, f);
}

/// As many outcomes were told as the ledger's counter says.
fn seen(index: &Index<'_>, f: &mut Findings) {
    for inc in index.incs.iter().filter(|inc| inc.is_closed()) {
        let last = inc.scrapes.iter().rev().find_map(|at| match index.line(*at) {
            Some(Line { kind: Kind::Scrape { text, last: true }, .. }) => Some((*at, text)),
            _ => None,
        });
        let Some((at, text)) = last else { continue };
        let Some(counted) = text::parse(text).ok().and_then(|r| r.sum("dashstream_events_total"))
        else {
            continue;
        };
        let lives = inc.lives.iter().filter_map(|slot| index.lives.get(*slot));
        let told: usize =
            lives.map(|l| l.outcomes.iter().filter(|(told, _)| *told < at).count()).sum();
        f.checked(M5, 1);
        if compare::differs(counted, told as u64) {
            f.broken(M5, "seen", Evidence::line(at), || {
                let expected = format!("the application is told {counted} outcomes, as counted");
                (expected, format!("{told} were told"))
            });
        }
    }
}

/// M6: nothing is printed.
pub(super) fn judge_prints(index: &Index<'_>, f: &mut Findings) {
    f.checked(M6, 1);
    for line in index.procs().filter(|p| p.what == "stdout" || p.what == "stderr") {
        if line.src == Src::Harness {
            continue;
        }
        f.broken(M6, "print", Evidence::line(line.at), || {
            let expected = format!("the library prints nothing to {}", line.what);
            (expected, format!("{:?}", line.text))
        });
    }
}
