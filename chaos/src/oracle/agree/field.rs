//! The names of what is compared, as files write them.

use crate::history::Persistence;
use crate::oracle::laws::LAWS;
use crate::scenario::{outcome_names, reason_names, suggest};

/// The class of an event that has no outcome.
pub(super) const UNRESOLVED: &str = "unresolved";

/// How fields look.
const FORMS: &str = "write law/D5, class/dropped/deadline, load/1/acked or count/acked, as the \
    difference was printed";

/// Refuses a field that no comparison of a scenario with so many loads can have.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn check(field: &str, loads: usize) -> Result<(), (String, Option<String>)> {
    let (what, rest) = field.split_once('/').unwrap_or((field, ""));
    match what {
        "law" => law(rest),
        "class" => class(rest),
        "count" => count(rest),
        "load" => {
            let (number, class_) = rest.split_once('/').unwrap_or((rest, ""));
            if number.parse::<usize>().is_ok_and(|n| (1..=loads).contains(&n)) {
                class(class_)
            } else {
                let help = if loads == 1 {
                    "it has one, load/1".to_owned()
                } else {
                    format!("they count from 1 to {loads}")
                };
                Err((format!("the scenario has no load `{number}`"), Some(help)))
            }
        }
        _ => Err((format!("`{field}` is nothing that is compared"), Some(FORMS.to_owned()))),
    }
}

fn law(name: &str) -> Result<(), (String, Option<String>)> {
    let all = || LAWS.iter().map(|law| law.id.as_str());
    if all().any(|law| law == name) {
        return Ok(());
    }
    Err((format!("unknown law `{name}`"), suggest(name, all())))
}

/// An outcome, its reason where it has one, and what it says of each log that it speaks of.
fn class(class: &str) -> Result<(), (String, Option<String>)> {
    let mut parts = class.split('/');
    let outcome = outcome(parts.next().unwrap_or_default(), true)?;
    if !reason_names(outcome).is_empty() {
        reason(outcome, parts.next().unwrap_or_default())?;
    }
    let logs: &[&str] = match outcome {
        "dead_lettered" => &["main"],
        "spooled" | "in_doubt" => &["main", "the DLQ"],
        _ => &[],
    };
    for log in logs {
        let said = parts.next().unwrap_or_default();
        let known = || [Persistence::Not, Persistence::Possibly, Persistence::Persisted];
        if !known().iter().any(|p| p.as_str() == said) {
            let message = format!("`{outcome}` says how {log} ended, and `{said}` is no such word");
            return Err((message, suggest(said, known().iter().map(|p| p.as_str()))));
        }
    }
    match parts.next() {
        Some(more) => Err((format!("`{more}` is too much"), Some(FORMS.to_owned()))),
        None => Ok(()),
    }
}

fn count(name: &str) -> Result<(), (String, Option<String>)> {
    let (label, rest) = name.split_once('/').unwrap_or((name, ""));
    let outcome = outcome(label, false)?;
    if rest.is_empty() && !name.contains('/') { Ok(()) } else { reason(outcome, rest) }
}

fn outcome(name: &str, unresolved: bool) -> Result<&'static str, (String, Option<String>)> {
    let none = unresolved.then_some(UNRESOLVED);
    let all = || outcome_names().iter().copied().chain(none);
    all().find(|known| *known == name).ok_or_else(|| {
        let message = format!("unknown outcome `{name}`");
        (message, suggest(name, all()))
    })
}

fn reason(outcome: &str, name: &str) -> Result<(), (String, Option<String>)> {
    let valid = reason_names(outcome);
    if valid.contains(&name) {
        return Ok(());
    }
    let help = suggest(name, valid).or_else(|| Some(FORMS.to_owned()));
    Err((format!("`{outcome}` has no reason `{name}`"), help))
}
