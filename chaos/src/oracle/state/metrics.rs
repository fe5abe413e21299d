//! M1 of state diffs: each sample equals the harness's count of the answers.

use std::collections::BTreeMap;

use dashproof_reference::state::DegradeReason;

use crate::history::{Kind, Src, StateAnswered};
use crate::oracle::findings::{Evidence, Findings};
use crate::oracle::index::{At, Index};
use crate::oracle::laws::LawId::M1;
use crate::oracle::metrics::text::{self, Exposition};

const DIFFS: &str = "dashstream_state_diffs_total";
const DEGRADED: &str = "dashstream_state_diff_degraded_total";
const KINDS: [&str; 3] = ["full", "patch", "unchanged"];

pub(in crate::oracle) fn judge(index: &Index<'_>, f: &mut Findings) {
    if index.scenario.state.is_none() {
        return;
    }
    let (mut kinds, mut reasons) = (BTreeMap::new(), BTreeMap::new());
    let mut judged = false;
    for (n, line) in index.lines.iter().enumerate() {
        let at = At { line: n, t_us: line.t_us };
        match (&line.kind, line.src) {
            (Kind::StateAnswered(StateAnswered { what, reason, .. }), Src::Subject) => match reason
            {
                Some(reason) if what == "degraded" => {
                    *reasons.entry(reason.as_str()).or_insert(0_u64) += 1;
                }
                _ => *kinds.entry(what.as_str()).or_insert(0) += 1,
            },
            (Kind::Scrape { text, last: true }, _) => {
                judged = true;
                match text::parse(text) {
                    Ok(read) => {
                        let all = DegradeReason::ALL.map(DegradeReason::as_str);
                        compare(&read, (DEGRADED, "reason"), &all, &reasons, at, f);
                        compare(&read, (DIFFS, "kind"), &KINDS, &kinds, at, f);
                    }
                    Err(error) => f.broken(M1, "readable", Evidence::line(at), || {
                        let expected = "the scrape is Prometheus text that a server would take";
                        (expected.to_owned(), error.to_string())
                    }),
                }
            }
            _ => {}
        }
    }
    if !judged {
        f.undecided(M1, "there is no judging scrape");
    }
}

fn compare(
    read: &Exposition,
    (series, label): (&str, &str),
    all: &[&str],
    counted: &BTreeMap<&str, u64>,
    at: At,
    f: &mut Findings,
) {
    let mut found: BTreeMap<&str, f64> = BTreeMap::new();
    for (labels, value) in read.families.get(series).into_iter().flat_map(|f| &f.samples) {
        *found.entry(labels.get(label).map_or("", String::as_str)).or_default() += value;
    }
    for value in all {
        f.checked(M1, 1);
        if !found.contains_key(value) {
            f.broken(M1, "missing", Evidence::line(at), || {
                let expected = format!("the scrape has {series}{{{label}={value:?}}}");
                (expected, "it has not".to_owned())
            });
        }
    }
    for (value, found) in found {
        let counted = counted.get(value).copied().unwrap_or(0);
        if !all.contains(&value) || (found - counted as f64).abs() > 0.5 {
            f.broken(M1, "equal", Evidence::line(at), || {
                let name = format!("{series}{{{label}={value:?}}}");
                (format!("{name} is {counted}, as the harness counted"), format!("it is {found}"))
            });
        }
    }
}
