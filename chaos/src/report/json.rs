//! Results for programs: one JSON object per line.

use serde_json::{Value, json};

use super::cell::CellResult;
use super::summary::{Row, Summary};
use super::violation::Violation;
use crate::oracle::{Judgement, LawStatus};

/// One cell.
#[must_use]
pub fn cell(result: &CellResult) -> Value {
    let mut out = json!({
        "type": "cell",
        "scenario": result.cell.scenario.id,
        "lane": result.cell.lane.as_str(),
        "seed": result.cell.seed,
        "verdict": result.verdict.as_str(),
        "exit": result.exit_code(),
        "why": result.why,
        "not_run": result.not_run,
        "tries": result.tries,
        "stood_still": result.stood_still,
        "took_ms": u64::try_from(result.took.as_millis()).unwrap_or(u64::MAX),
    });
    if let (Value::Object(map), Some(judgement)) = (&mut out, &result.judgement)
        && let Value::Object(more) = judged(judgement)
    {
        map.extend(more);
    }
    out
}

/// What the oracle says; the body of `ledger.json` as well.
#[must_use]
pub fn judged(judgement: &Judgement) -> Value {
    let laws: serde_json::Map<String, Value> = judgement
        .laws
        .iter()
        .map(|(law, status)| (law.as_str().to_owned(), Value::from(law_status(status))))
        .collect();
    let marks: serde_json::Map<String, Value> =
        judgement.marks.iter().map(|mark| (mark.name.to_owned(), mark.reached.into())).collect();
    let unjudged: Vec<Value> = judgement
        .unjudged
        .iter()
        .map(|(law, why, count)| json!({ "law": law.as_str(), "why": why, "count": count }))
        .collect();
    json!({
        "ledger": judgement.ledger,
        "counts": judgement.counts,
        "laws": laws,
        "unjudged": unjudged,
        "marks": marks,
        "violations": judgement.violations.iter().map(violation).collect::<Vec<_>>(),
        "notes": judgement.notes,
    })
}

fn law_status(status: &LawStatus) -> String {
    match status {
        LawStatus::Held { checks } => format!("held ({checks} checks)"),
        LawStatus::Broken { count } => format!("broken ({count} times)"),
        LawStatus::Undecided(why) => format!("undecided: {why}"),
        LawStatus::NotJudged(why) => format!("not judged: {why}"),
        LawStatus::LeftOut(why) => format!("left out: {why}"),
    }
}

fn violation(violation: &Violation) -> Value {
    json!({
        "law": violation.law.as_str(),
        "sentence": violation.sentence,
        "rule": violation.rule,
        "expected": violation.expected,
        "observed": violation.observed,
        "event": violation.event.map(|event| event.to_string()),
        "count": violation.count,
        "blame": violation.blame.as_str(),
        "history": violation.history,
        "reproduce": violation.reproduce,
    })
}

/// The last line of a run.
#[must_use]
pub fn summary(summary: &Summary, elapsed: std::time::Duration) -> Value {
    let rows: Vec<Value> = summary
        .rows
        .iter()
        .map(|((family, lane), row)| {
            json!({ "family": family, "lane": lane.as_str(), "row": self::row(row) })
        })
        .collect();
    let left_out = &summary.left_out;
    let named = |(id, why): &(String, String)| json!({ "scenario": id, "why": why });
    let idle = |(lane, why): &(String, String)| json!({ "lane": lane, "why": why });
    json!({
        "type": "summary",
        "rows": rows,
        "total": row(&summary.total),
        "crash_states_survived": summary.survived,
        "not_run": summary.not_run(),
        "scenarios_not_run": left_out.named.iter().map(named).collect::<Vec<_>>(),
        "lanes_without_cells": left_out.idle.iter().map(idle).collect::<Vec<_>>(),
        "left_out": { "scenarios": left_out.unfit, "why": left_out.why_unfit },
        "only": left_out.only,
        "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        "exit": summary.exit_code(),
        "line": summary.line(elapsed),
    })
}

fn row(row: &Row) -> Value {
    json!({
        "pass": row.verdicts.pass,
        "fail": row.verdicts.fail,
        "inconclusive": row.verdicts.inconclusive,
        "not_applicable": row.verdicts.not_applicable,
        "harness_error": row.verdicts.harness_error,
        "offered": row.offered,
        "ended": row.ended,
        "unresolved": row.unresolved,
    })
}
