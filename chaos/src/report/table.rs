//! The summary as a table for people.

use std::collections::{BTreeMap, BTreeSet};

use super::summary::{LawSummary, Row, Summary};
use crate::oracle::LawId;

const OUTCOMES: [(&str, &str); 7] = [
    ("acked", "acked"),
    ("dead_lettered", "dead-let."),
    ("spooled", "spooled"),
    ("in_doubt", "in doubt"),
    ("dropped", "dropped"),
    ("rejected", "rejected"),
    ("lost_in_crash", "lost"),
];

/// Rows per family and lane, then the laws: `in_full` with the reason of each that was not judged.
#[must_use]
pub fn summary(summary: &Summary, in_full: bool) -> String {
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut head: Vec<String> =
        ["family", "lane", "pass", "fail", "inconcl.", "n/a", "error", "offered"]
            .map(str::to_owned)
            .to_vec();
    let shown: Vec<&(&str, &str)> =
        OUTCOMES.iter().filter(|(outcome, _)| summary.total.ended(outcome) > 0).collect();
    head.extend(shown.iter().map(|(_, title)| (*title).to_owned()));
    if summary.total.unresolved > 0 {
        head.push("UNRESOLVED".to_owned());
    }
    head.push("time".to_owned());
    lines.push(head);
    let mut add = |family: &str, lane: &str, row: &Row| {
        let v = &row.verdicts;
        let mut line = vec![family.to_owned(), lane.to_owned()];
        let counts =
            [v.pass, v.fail, v.inconclusive, v.not_applicable, v.harness_error, row.offered];
        line.extend(counts.iter().map(|n| number(*n)));
        line.extend(shown.iter().map(|(outcome, _)| number(row.ended(outcome))));
        if summary.total.unresolved > 0 {
            line.push(number(row.unresolved));
        }
        line.push(format!("{:.1} s", row.took.as_secs_f64()));
        lines.push(line);
    };
    for ((family, lane), row) in &summary.rows {
        add(family, lane.as_str(), row);
    }
    if summary.rows.len() > 1 {
        add("all", "", &summary.total);
    }
    let mut out = aligned(&lines, 2);
    out.push('\n');
    out.push_str(&survived(summary));
    out.push_str(&laws(summary, in_full));
    out
}

/// Crash states by variant and operation, where any were tried.
fn survived(summary: &Summary) -> String {
    let parts = |(what, count): (&String, &u64)| {
        let (variant, operation) = what.split_once('/').unwrap_or((what, ""));
        (variant.to_owned(), operation.to_owned(), *count)
    };
    let all: Vec<(String, String, u64)> = summary.survived.iter().map(parts).collect();
    let operations: BTreeSet<&str> = all.iter().map(|(_, operation, _)| &**operation).collect();
    let variants: BTreeSet<&str> = all.iter().map(|(variant, ..)| &**variant).collect();
    if all.is_empty() {
        return String::new();
    }
    let mut head = vec!["crash states survived, by operation".to_owned()];
    head.extend(operations.iter().map(|operation| (*operation).to_owned()));
    let mut lines = vec![head];
    for variant in variants {
        let of = |operation: &&str| {
            let same = all.iter().find(|(v, o, _)| v == variant && o == operation);
            number(same.map_or(0, |(.., count)| *count))
        };
        let counts = operations.iter().map(of);
        lines.push(std::iter::once(variant.to_owned()).chain(counts).collect());
    }
    format!("{}\n", aligned(&lines, 1))
}

/// Zero is a dot: the eye looks for what is not zero.
fn number(n: u64) -> String {
    if n == 0 { "·".to_owned() } else { n.to_string() }
}

/// Columns as wide as their widest cell; the first `left` begin at the left, the others end at the
/// right.
#[must_use]
pub(crate) fn aligned(lines: &[Vec<String>], left: usize) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let cells: Vec<String> =
            line.iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| {
                    if column < left {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                })
                .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn laws(summary: &Summary, in_full: bool) -> String {
    let mut judged = Vec::new();
    let mut idle = Vec::new();
    let mut not_judged = Vec::new();
    let mut reasons: BTreeMap<&str, Vec<LawId>> = BTreeMap::new();
    for (law, status) in &summary.laws {
        match status {
            LawSummary::Judged { .. } => judged.push(*law),
            LawSummary::NothingToJudge => idle.push(*law),
            LawSummary::NotJudged(reason) => {
                not_judged.push(*law);
                reasons.entry(reason).or_default().push(*law);
            }
        }
    }
    let mut out = String::new();
    for (what, laws) in
        [("judged", &judged), ("nothing to judge", &idle), ("not judged", &not_judged)]
    {
        if !laws.is_empty() {
            out.push_str(&format!("laws {what} ({}): {}\n", laws.len(), ids(laws)));
        }
    }
    if in_full {
        for (reason, laws) in reasons {
            out.push_str(&format!("  {}: {reason}\n", ids(&laws)));
        }
    }
    for ((law, why), count) in &summary.unjudged {
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        out.push_str(&format!("  {law} not judged {times}: {why}\n"));
    }
    out
}

/// `D1-D4 D6 M1`: laws that follow each other are joined.
fn ids(laws: &[LawId]) -> String {
    let split = |law: LawId| {
        let name = law.as_str();
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        (name.trim_end_matches(digits), digits.parse::<u32>().ok())
    };
    let mut groups: Vec<(LawId, LawId)> = Vec::new();
    for law in laws {
        let (family, number) = split(*law);
        match groups.last_mut() {
            Some((_, last))
                if number.is_some()
                    && split(*last) == (family, number.and_then(|n| n.checked_sub(1))) =>
            {
                *last = *law;
            }
            _ => groups.push((*law, *law)),
        }
    }
    let text = |(first, last): &(LawId, LawId)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    groups.iter().map(text).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_that_follow_each_other_are_joined() {
        use LawId::{D1, D2, D3, D5, M1, M2};
        assert_eq!(ids(&[D1, D2, D3, D5, M1, M2, LawId::Expect]), "D1-D3 D5 M1-M2 EXPECT");
        assert_eq!(ids(&[]), "");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let line = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let lines: Vec<Vec<String>> = vec![line(&["a", "bb", "c"]), line(&["aa", "b", "ccc"])];
        assert_eq!(aligned(&lines, 2), "a   bb    c\naa  b   ccc\n");
    }
}
