//! M1: the judging scrape against the ledger, row by row and in both directions.

use super::series::{Series, SeriesKind, Unit, Value, series};
use super::tally::Tally;
use super::text::{self, Exposition, Family, Type};
use super::{Labels, SERIES};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, NO_ATTEMPTS};
use crate::oracle::laws::LawId::M1;

/// Prefix of the names that the table closes. Others (`process_…`) belong to somebody else.
const PREFIX: &str = "dashstream_";

/// The sample of a series for a combination of label values.
pub(super) fn sample(read: &Exposition, series: &Series, values: &[&str]) -> Option<f64> {
    let names = series.labels.names().iter().copied();
    let labels: Vec<(&str, &str)> = names.zip(values.iter().copied()).collect();
    read.value(series.name, &labels)
}

/// `name{label="value"}`.
pub(super) fn name(series: &Series, values: &[&str]) -> String {
    let names = series.labels.names().iter().zip(values);
    let labels = names.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    labelled(series.name, &labels)
}

/// `name{label="value"}`.
pub(super) fn labelled(name: &str, labels: &text::Labels) -> String {
    if labels.is_empty() {
        return name.to_owned();
    }
    let list: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
    format!("{name}{{{}}}", list.join(","))
}

/// Counts are whole and far below 2^52, so that `f64` holds them exactly.
pub(super) fn differs(sample: f64, count: u64) -> bool {
    sample.to_bits() != (count as f64).to_bits()
}

/// Judges one scrape.
pub(super) fn rows(read: &Exposition, at: At, tally: &Tally<'_>, f: &mut Findings) {
    for series in SERIES {
        let about_attempts = matches!(series.unit, Unit::Attempt | Unit::Client);
        let stated = matches!(series.value, Value::Exact(_) | Value::Between(_));
        if about_attempts && stated && !tally.tells_attempts {
            f.unjudged(M1, NO_ATTEMPTS);
            continue;
        }
        row(read, at, series, tally, f);
    }
    for (name, family) in read.families.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        exported(name, family, at, f);
    }
}

fn row(read: &Exposition, at: At, series: &Series, tally: &Tally<'_>, f: &mut Findings) {
    let wrong = |f: &mut Findings, name: String, wanted: String, found: Option<f64>| {
        f.broken(M1, series.name, Evidence::line(at), || {
            let found = found.map_or_else(|| "absent".to_owned(), |v| v.to_string());
            (format!("{name} {wanted} ({})", series.means), found)
        });
    };
    match series.value {
        Value::Exact(expression) => {
            for values in series.labels.values().unwrap_or_default() {
                f.checked(M1, 1);
                let (wanted, found) = (expression(tally, &values), sample(read, series, &values));
                if found.is_none_or(|found| differs(found, wanted)) {
                    wrong(f, name(series, &values), wanted.to_string(), found);
                }
            }
        }
        Value::Sum(expression) => {
            f.checked(M1, 1);
            let (wanted, found) = (expression(tally), read.sum(series.name).unwrap_or(0.0));
            if differs(found, wanted) {
                wrong(f, format!("sum({})", series.name), wanted.to_string(), Some(found));
            }
        }
        Value::Between(expression) => {
            let open = series.labels == Labels::Tenant;
            for values in series.labels.values().unwrap_or_else(|| vec![Vec::new()]) {
                f.checked(M1, 1);
                let (least, most) = expression(tally, &values);
                let found = if open {
                    Some(read.sum(series.name).unwrap_or(0.0))
                } else {
                    sample(read, series, &values)
                };
                let inside = |v: f64| v >= least as f64 && v <= most as f64 && v.fract() == 0.0;
                if !found.is_some_and(inside) {
                    let wanted = if least == most {
                        least.to_string()
                    } else {
                        format!("between {least} and {most}")
                    };
                    wrong(f, name(series, &values), wanted, found);
                }
            }
        }
        Value::Consumer => {
            f.checked(M1, 1);
            if let Some(found) = read.sum(series.name).filter(|v| differs(*v, 0)) {
                wrong(f, series.name.to_owned(), "0 in a producer".to_owned(), Some(found));
            }
        }
        Value::Idle | Value::HighWater => {}
    }
}

/// The other direction: every exported series has a row, and its labels are the row's.
fn exported(name: &str, family: &Family, at: At, f: &mut Findings) {
    f.checked(M1, 1);
    let Some(series) = series(name) else {
        f.broken(M1, "unknown_series", Evidence::line(at), || {
            let near = nearest(name);
            let expected = format!("every {PREFIX} series has a row in the table; nearest: {near}");
            (expected, format!("{name} is exported and means nothing"))
        });
        return;
    };
    let kind = match series.kind {
        SeriesKind::Counter => Type::Counter,
        SeriesKind::Gauge => Type::Gauge,
    };
    if family.kind != kind {
        f.broken(M1, "type", Evidence::line(at), || {
            (format!("{name} is typed {kind:?}"), format!("{:?}", family.kind))
        });
    }
    let legal = series.labels.values();
    for (labels, value) in &family.samples {
        let names: Vec<&str> = labels.keys().map(String::as_str).collect();
        let mut wanted = series.labels.names().to_vec();
        wanted.sort_unstable();
        let known = names == wanted
            && legal.as_ref().is_none_or(|legal| {
                let find = |n: &&str| labels.get(*n).map_or("", String::as_str);
                let values: Vec<&str> = series.labels.names().iter().map(find).collect();
                legal.contains(&values)
            });
        if !known {
            f.broken(M1, "unknown_labels", Evidence::line(at), || {
                let expected = match series.labels {
                    Labels::None => format!("{name} without labels"),
                    other => format!("{name} with legal values of {}", other.names().join(", ")),
                };
                (expected, format!("{} {value}", labelled(name, labels)))
            });
        }
    }
}

/// The table's name that is most like this one.
fn nearest(name: &str) -> &'static str {
    let distance = |s: &&Series| strsim::levenshtein(s.name, name);
    SERIES.iter().min_by_key(distance).map_or("", |s| s.name)
}
