//! Values that may be written in more than one way.

use std::collections::BTreeMap;

use dashproof_reference::core::Reason;

use super::diagnostic::suggest;
use super::keys::Names;
use super::model::{At, Bound, Brokers, Laws, Size, Within};
use super::node::{Body, Entry, Node};
use super::value::Value;
use super::walk::Walker;
use super::{names, units};

/// `"1s"`, `{ offered = 500 }`, `{ unanswered = 20 }`.
pub(super) fn at(walker: &mut Walker<'_>, node: &Node) -> Option<At> {
    const HELP: &str = "write \"1s\", { offered = 500 } or { unanswered = 20 }";
    match &node.body {
        Body::Text(text) => {
            walker.unit(node, units::duration(text), units::DURATION_HELP).map(At::Time)
        }
        Body::Table(entries) => {
            let [entry] = entries.as_slice() else {
                walker.refuse(&node.at, "a moment is one condition", Some(HELP.to_owned()));
                return None;
            };
            let known = ["offered", "unanswered"];
            if !known.contains(&entry.key.as_str()) {
                let message = format!("unknown condition `{}`", entry.key);
                walker.refuse(&entry.key_at, message, suggest(&entry.key, known));
                return None;
            }
            let count = positive(walker, &entry.node)?;
            Some(if entry.key == "offered" { At::Offered(count) } else { At::Unanswered(count) })
        }
        _ => {
            let message = format!("a moment cannot be {}", node.body.type_name());
            walker.refuse(&node.at, message, Some(HELP.to_owned()));
            None
        }
    }
}

fn positive(walker: &mut Walker<'_>, node: &Node) -> Option<u64> {
    match node.body {
        Body::Int(n) if n > 0 => u64::try_from(n).ok(),
        Body::Int(n) => {
            walker.refuse(&node.at, format!("{n} is out of range"), Some("from 1".to_owned()));
            None
        }
        _ => walker.wrong_type(node, "an integer"),
    }
}

/// Bytes as an integer or with a unit.
pub(super) fn bytes(walker: &mut Walker<'_>, node: &Node) -> Option<usize> {
    let parsed = match &node.body {
        Body::Int(n) => usize::try_from(*n).map_err(|_| format!("{n} is not a size")),
        Body::Text(text) => units::bytes(text),
        other => Err(format!("a size cannot be {}", other.type_name())),
    };
    walker.unit(node, parsed, units::BYTES_HELP)
}

/// What stands in the place of bytes where every byte count is meant.
pub(super) const EVERY: &str = "every";

/// Bytes, or `every`.
pub(super) fn room(walker: &mut Walker<'_>, node: &Node) -> Option<Value> {
    match &node.body {
        Body::Text(text) if text == EVERY => Some(Value::Text(text.clone())),
        _ => bytes(walker, node).map(|bytes| Value::Count(bytes as u64)),
    }
}

/// Bytes, or `{ uniform = [MIN, MAX] }`.
pub(super) fn size(walker: &mut Walker<'_>, node: &Node) -> Option<Size> {
    const HELP: &str = "write bytes, or { uniform = [MIN, MAX] }";
    let Body::Table(entries) = &node.body else {
        return bytes(walker, node).map(Size::Fixed);
    };
    let [entry] = entries.as_slice() else {
        walker.refuse(&node.at, "a size is one distribution", Some(HELP.to_owned()));
        return None;
    };
    if entry.key != "uniform" {
        let message = format!("unknown distribution `{}`", entry.key);
        walker.refuse(&entry.key_at, message, suggest(&entry.key, ["uniform"]));
        return None;
    }
    let [low, high] = walker.list(&entry.node)? else {
        walker.refuse(&entry.node.at, "a range has two ends", Some(HELP.to_owned()));
        return None;
    };
    let (min, max) = (bytes(walker, low)?, bytes(walker, high)?);
    if min > max {
        walker.refuse(
            &entry.node.at,
            format!("the range is empty: {min} > {max}"),
            Some(HELP.to_owned()),
        );
        return None;
    }
    Some(Size::Uniform(min, max))
}

/// `"all"`, `"leader"` or ids.
pub(super) fn brokers(walker: &mut Walker<'_>, node: &Node) -> Option<Brokers> {
    match &node.body {
        Body::Text(text) => match text.as_str() {
            "all" => Some(Brokers::All),
            "leader" => Some(Brokers::Leader),
            _ => {
                let help = suggest(text, ["all", "leader"])
                    .map(|help| format!("{help} or a list of ids, as in [1, 2]"));
                walker.refuse(&node.at, format!("unknown broker `{text}`"), help);
                None
            }
        },
        Body::List(list) if list.is_empty() => {
            walker.refuse(
                &node.at,
                "an empty list of brokers",
                Some("leave it out for all".into()),
            );
            None
        }
        Body::List(list) => {
            let mut ids = Vec::new();
            for item in list {
                let id = i32::try_from(positive(walker, item)?).ok()?;
                if ids.contains(&id) {
                    walker.refuse(
                        &item.at,
                        format!("broker {id} is listed twice"),
                        Some("list it once".into()),
                    );
                } else {
                    ids.push(id);
                }
            }
            Some(Brokers::Ids(ids))
        }
        _ => walker.wrong_type(node, "\"all\", \"leader\" or a list of ids"),
    }
}

/// A Kafka error code by name or number.
pub(super) fn code(walker: &mut Walker<'_>, node: &Node) -> Option<i16> {
    let codes = names::kafka_codes();
    match &node.body {
        Body::Text(text) => {
            let found = codes.iter().find(|(name, _)| name == text).map(|(_, code)| *code);
            if found.is_none() {
                let help = suggest(text, codes.iter().map(|(name, _)| name.as_str()));
                walker.refuse(&node.at, format!("unknown Kafka error code `{text}`"), help);
            }
            found
        }
        Body::Int(number) => {
            let found = codes.iter().map(|(_, code)| *code).find(|c| i64::from(*c) == *number);
            if found.is_none() {
                let help = "write its name, as in \"NOT_LEADER_OR_FOLLOWER\"".to_owned();
                walker.refuse(&node.at, format!("{number} is not a Kafka error code"), Some(help));
            }
            found
        }
        _ => walker.wrong_type(node, "a Kafka error code"),
    }
}

const LAWS: Names = Names { what: "law", list: names::laws };

/// `"all"`, a list, or `{ all_but = { D6 = "reason" } }`.
pub(super) fn laws(walker: &mut Walker<'_>, node: &Node) -> Option<Laws> {
    const HELP: &str = "write \"all\", a list, or { all_but = { D6 = \"reason\" } }";
    match &node.body {
        Body::Text(text) if text == "all" => Some(Laws::All),
        Body::List(list) if !list.is_empty() => {
            let mut laws: Vec<String> = Vec::new();
            for item in list {
                let law = walker.name(item, LAWS)?;
                if laws.contains(&law) {
                    walker.refuse(
                        &item.at,
                        format!("`{law}` is listed twice"),
                        Some("list it once".into()),
                    );
                } else {
                    laws.push(law);
                }
            }
            Some(Laws::These(laws))
        }
        Body::Table(entries) => match entries.as_slice() {
            [Entry { key, node, .. }] if key == "all_but" => all_but(walker, node),
            _ => {
                walker.refuse(&node.at, "laws take one form", Some(HELP.to_owned()));
                None
            }
        },
        _ => {
            walker.refuse(&node.at, "not a choice of laws", Some(HELP.to_owned()));
            None
        }
    }
}

fn all_but(walker: &mut Walker<'_>, node: &Node) -> Option<Laws> {
    let Body::Table(entries) = &node.body else {
        let help = "give each its reason, as in { D6 = \"reason\" }".to_owned();
        walker.refuse(&node.at, "laws left out need a reason each", Some(help));
        return None;
    };
    let mut left_out = BTreeMap::new();
    for entry in entries {
        let valid = names::laws();
        if !valid.contains(&entry.key.as_str()) {
            let message = format!("unknown law `{}`", entry.key);
            walker.refuse(&entry.key_at, message, suggest(&entry.key, valid));
            continue;
        }
        match &entry.node.body {
            Body::Text(reason) if !reason.trim().is_empty() => {
                left_out.insert(entry.key.clone(), reason.clone());
            }
            _ => {
                let message = format!("`{}` is left out without a reason", entry.key);
                walker.refuse(&entry.node.at, message, Some("say why, in a string".to_owned()));
            }
        }
    }
    Some(Laws::AllBut(left_out))
}

/// `{ acked = "== offered", "dropped/deadline" = ">= 1" }`.
pub(super) fn outcomes(walker: &mut Walker<'_>, node: &Node) -> Option<Vec<(String, Bound)>> {
    let Body::Table(entries) = &node.body else { return walker.wrong_type(node, "a table") };
    let mut out = Vec::new();
    for entry in entries {
        outcome_key(walker, entry);
        let bound = match &entry.node.body {
            Body::Int(n) => units::bound(&format!("== {n}")),
            Body::Text(text) => units::bound(text),
            other => Err(format!("a count cannot be {}", other.type_name())),
        };
        if let Some(bound) = walker.unit(&entry.node, bound, units::BOUND_HELP) {
            out.push((entry.key.clone(), bound));
        }
    }
    Some(out)
}

/// `{ acked = "±5%" }`.
pub(super) fn agree(walker: &mut Walker<'_>, node: &Node) -> Option<Vec<(String, Within)>> {
    let Body::Table(entries) = &node.body else { return walker.wrong_type(node, "a table") };
    let mut out = Vec::new();
    for entry in entries {
        outcome_key(walker, entry);
        let Some(text) = walker.text(&entry.node) else { continue };
        if let Some(within) = walker.unit(&entry.node, units::within(&text), units::WITHIN_HELP) {
            out.push((entry.key.clone(), within));
        }
    }
    Some(out)
}

/// Refuses an outcome that does not exist, and a reason that this outcome cannot have.
fn outcome_key(walker: &mut Walker<'_>, entry: &Entry) {
    let (outcome, reason) = match entry.key.split_once('/') {
        Some((outcome, reason)) => (outcome, Some(reason)),
        None => (entry.key.as_str(), None),
    };
    if !names::OUTCOMES.contains(&outcome) {
        let message = format!("unknown outcome `{outcome}`");
        let help = suggest(outcome, names::OUTCOMES.iter().copied());
        walker.refuse(&entry.key_at, message, help);
        return;
    }
    let Some(reason) = reason else { return };
    let valid: Vec<&str> = reasons(outcome);
    if !valid.contains(&reason) {
        let message = format!("`{outcome}` has no reason `{reason}`");
        let help = suggest(reason, valid).or_else(|| Some(format!("write `{outcome}` alone")));
        walker.refuse(&entry.key_at, message, help);
    }
}

/// The reasons an outcome may carry.
pub(crate) fn reasons(outcome: &str) -> Vec<&'static str> {
    let of = |wanted: fn(&Reason) -> bool| {
        Reason::ALL.iter().filter(|r| wanted(r)).map(|r| r.as_str()).collect()
    };
    match outcome {
        "rejected" => of(|reason| reason.is_rejection()),
        "dead_lettered" | "in_doubt" | "dropped" => of(|reason| !reason.is_rejection()),
        _ => Vec::new(),
    }
}
