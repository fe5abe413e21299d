//! What does not fit together about listeners, security settings and refusals.

use super::diagnostic::suggest;
use super::expectation::{Amount, Cmp};
use super::model::{FaultKind, LaneName, Laws, Listener, Scenario, Why};
use super::node::{Body, Node};
use super::security::{FILES, PLACE};
use super::value::Fields;
use super::walk::Walker;
use crate::fault::proxy::{ON_BYTES, applies_to_bytes};
use crate::oracle::LawId;
use crate::oracle::lanes::judging;

/// Refuses what no run can honour, and what nobody would judge.
pub(super) fn check(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    if let Some(fields) = root.table("cluster") {
        listener(walker, fields, scenario);
    }
    if let Some(settings) = root.table("subject").and_then(Fields::producer) {
        files(walker, settings, scenario);
    }
    if walker.incomplete {
        return;
    }
    faults(walker, root, scenario);
    hidden(walker, root, scenario);
    spoken(walker, root, scenario);
    refused(walker, root, scenario);
}

/// Only real brokers have more than a plaintext listener, and those are on their own.
fn listener(walker: &mut Walker<'_>, fields: &Fields, scenario: &Scenario) {
    if scenario.listener == Listener::Plaintext {
        return;
    }
    let at = fields.place("listener");
    if let Some(lane) = scenario.lanes.iter().find(|lane| **lane != LaneName::Kafka) {
        let message = format!("the brokers of the lane `{}` speak plaintext only", lane.as_str());
        walker.refuse(&at, message, Some("lanes = [\"kafka\"]".into()));
    }
    if scenario.brokers != 1 {
        let message = "a secured listener is that of a single broker";
        walker.refuse(&at, message, Some("add `brokers = 1`".into()));
    }
}

/// Files that a run makes, each where it belongs.
fn files(walker: &mut Walker<'_>, settings: &Node, scenario: &Scenario) {
    let mut named = Vec::new();
    collect("", settings, &mut named);
    for (setting, text, node) in named {
        let file = text.strip_prefix(PLACE);
        let known = file.and_then(|file| FILES.into_iter().find(|(name, ..)| *name == file));
        let Some((file, belongs, about)) = known else {
            // certificates are made anew for every run: no other file is of this cluster
            if file.is_none() && text.starts_with('/') && is_external(scenario) {
                continue;
            }
            let fit = FILES.into_iter().filter(|(_, place, _)| *place == setting);
            let fit: Vec<String> = fit.map(|(name, ..)| format!("{PLACE}{name}")).collect();
            let all = FILES.map(|(name, ..)| format!("{PLACE}{name}"));
            let known = if fit.is_empty() { all.as_slice() } else { fit.as_slice() };
            // the name is what was meant, whatever stands before it
            let name = text.rsplit([':', '/']).next().unwrap_or(text);
            let help = suggest(&format!("{PLACE}{name}"), known.iter().map(String::as_str));
            walker.refuse(&node.at, format!("no run makes the file `{text}`"), help);
            continue;
        };
        if belongs != setting {
            let message = format!("`{PLACE}{file}` is {about}, and no `{setting}`");
            let fit = FILES.into_iter().filter(|(_, place, _)| *place == setting);
            let fit: Vec<String> = fit.map(|(name, ..)| format!("`{PLACE}{name}`")).collect();
            let help = match fit.as_slice() {
                [] => format!("it belongs into `{belongs}`"),
                fit => format!("write {}", fit.join(" or ")),
            };
            walker.refuse(&node.at, message, Some(help));
        } else if file.ends_with(".keytab") && !scenario.listener.is_kerberos() {
            let message = format!("`{PLACE}{file}` is made where brokers ask a Kerberos realm");
            walker.refuse(&node.at, message, Some("`listener = \"gssapi\"` in [cluster]".into()));
        } else if scenario.lanes.iter().any(|lane| *lane != LaneName::Kafka)
            || scenario.brokers != 1
        {
            let message =
                format!("`{PLACE}{file}` is made for a single broker on the lane `kafka`");
            let help = "lanes = [\"kafka\"], and `brokers = 1` in [cluster]".to_owned();
            walker.refuse(&node.at, message, Some(help));
        }
    }
}

/// True for a cluster that somebody else has, with files of its own.
fn is_external(scenario: &Scenario) -> bool {
    scenario.lanes.iter().all(|lane| *lane == LaneName::External)
}

/// Every value that names such a file or stands where one belongs, with the last part of its
/// setting's name.
fn collect<'a>(setting: &'a str, node: &'a Node, out: &mut Vec<(&'a str, &'a str, &'a Node)>) {
    let takes_file = || FILES.into_iter().any(|(_, place, _)| place == setting);
    match &node.body {
        Body::Text(text) if text.starts_with(PLACE) || takes_file() => {
            out.push((setting, text, node));
        }
        Body::Table(entries) => {
            for entry in entries {
                collect(&entry.key, &entry.node, out);
            }
        }
        _ => {}
    }
}

fn setting<'a>(scenario: &'a Scenario, path: &str) -> Option<&'a str> {
    scenario.producer.pointer(path).and_then(serde_json::Value::as_str)
}

fn protocol(scenario: &Scenario) -> &str {
    setting(scenario, "/security/protocol").unwrap_or("plaintext")
}

fn bears_token(scenario: &Scenario) -> bool {
    let mechanism = setting(scenario, "/security/sasl/mechanism");
    mechanism.is_some_and(|mechanism| mechanism.eq_ignore_ascii_case("OAUTHBEARER"))
}

/// Faults of a user, or of a token, that nobody has.
fn faults(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    for (fields, fault) in root.tables("fault").iter().zip(&scenario.faults) {
        let (message, help) = match fault.kind {
            FaultKind::AclDenied { .. } if !scenario.listener.asks_who() => (
                "`acl.denied` is about alice, and this listener asks nobody who it is",
                "`listener = \"sasl\"` in [cluster]",
            ),
            FaultKind::TokenStale if !bears_token(scenario) => (
                "`token.stale` without a token",
                "sasl = { mechanism = \"OAUTHBEARER\", token_location = \"certs:token.json\" }",
            ),
            _ => continue,
        };
        walker.refuse(&fields.place("kind"), message, Some(help.to_owned()));
    }
}

/// Under TLS the proxy sees no frames, so a fault of frames would never be met. The simulation
/// takes no notice of a producer's security settings.
fn hidden(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let theirs = scenario.listener.is_encrypted();
    let own = is_encrypted(protocol(scenario)) && !scenario.lanes.contains(&LaneName::Sim);
    if !theirs && !own {
        return;
    }
    let who = if theirs {
        format!("the listener `{}`", scenario.listener.name())
    } else {
        "the producer".to_owned()
    };
    for (fields, fault) in root.tables("fault").iter().zip(&scenario.faults) {
        // it is told of processes that their brokers have a plaintext listener
        if applies_to_bytes(&fault.kind).is_ok() || matches!(fault.kind, FaultKind::Process(_)) {
            continue;
        }
        let message = format!(
            "`{}` is met in requests and answers, and {who} speaks TLS: nobody between them sees \
             more than bytes",
            fault.kind.name()
        );
        let bytes = ON_BYTES.map(|name| format!("`{name}`")).join(", ");
        let help = format!("a listener without TLS, or what is done to bytes: {bytes}");
        walker.refuse(&fields.place("kind"), message, Some(help));
    }
}

fn is_encrypted(protocol: &str) -> bool {
    matches!(protocol, "ssl" | "sasl_ssl")
}

/// A client that does not speak what the listener speaks gets nowhere, which a file must expect.
fn spoken(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let (own, theirs) = (protocol(scenario), scenario.listener.protocol());
    if own == theirs
        || scenario.listener == Listener::Plaintext
        || scenario.expect.refused.is_some()
    {
        return;
    }
    let place = root.table("cluster").map_or_else(|| root.at.clone(), |c| c.place("listener"));
    let message = format!("the listener speaks {theirs}, and the producer {own}");
    let help = format!(
        "protocol = \"{theirs}\" in [subject.producer.security], or expect it: refused = {{ why = \
         \"closed_at_once\", within = \"4s\" }}"
    );
    walker.refuse(&place, message, Some(help));
}

fn refused(walker: &mut Walker<'_>, root: &Fields, scenario: &Scenario) {
    let Some(fields) = root.table("expect") else { return };
    let Some(refused) = scenario.expect.refused else { return };
    let at = fields.place("refused");
    if let Some(message) = unjudged(scenario) {
        let help = "lanes = [\"kafka\"], and leave S2 among the laws".to_owned();
        walker.refuse(&at, message, Some(help));
    }
    if let Some((message, help)) = impossible(scenario, refused.why) {
        walker.refuse(&at, message, Some(help.to_owned()));
    }
    let turned = scenario
        .faults
        .iter()
        .any(|fault| matches!(fault.kind, FaultKind::AclDenied { .. } | FaultKind::TokenStale));
    let arrives = |amount: Amount| match amount {
        Amount::Count(n) => n > 0,
        Amount::ShareOfOffered(share) => share > 0.0,
    };
    let demanded = scenario.expect.outcomes.iter().any(|(name, bound)| {
        let some = match bound.cmp {
            Cmp::Eq | Cmp::Ge => arrives(bound.amount),
            Cmp::Gt => true,
            Cmp::Le | Cmp::Lt => false,
        };
        name == "acked" && some
    });
    if demanded && !turned {
        let message = "who is refused from the start has no acked events";
        let help = "drop `refused`, write `acked = 0`, or add the fault that turns it away";
        walker.refuse(&fields.place("outcomes"), message, Some(help.to_owned()));
    }
}

/// Why nobody would judge the refusal.
fn unjudged(scenario: &Scenario) -> Option<String> {
    let lane = scenario.lanes.iter().find(|lane| !judging(LawId::S2, **lane).is_judged());
    if let Some(lane) = lane {
        let lane = lane.as_str();
        return Some(format!(
            "the lane `{lane}` does not judge S2, so `refused` says nothing there"
        ));
    }
    let s2 = LawId::S2.to_string();
    let left_out = match &scenario.expect.laws {
        Laws::All => false,
        Laws::AllBut(laws) => laws.contains_key(&s2),
        Laws::These(laws) => !laws.contains(&s2),
    };
    left_out.then(|| "`refused` without the law S2, which judges it".to_owned())
}

/// A refusal that nothing in the file brings about, and what would.
fn impossible(scenario: &Scenario, why: Why) -> Option<(String, &'static str)> {
    let has = |kind: &str| scenario.faults.iter().any(|fault| fault.kind.name() == kind);
    let (own, theirs) = (protocol(scenario), scenario.listener.protocol());
    let (wrong, message, help) = match why {
        Why::Authorization => (
            !has("acl.denied"),
            "nobody is denied anything".to_owned(),
            "add a [[fault]] with kind = \"acl.denied\"",
        ),
        _ if has("acl.denied") => (
            true,
            format!("`acl.denied` makes brokers refuse for authorization, not for {}", why.name()),
            "why = \"authorization\"",
        ),
        Why::ClosedAtOnce => (
            own == theirs,
            format!("the listener and the producer both speak {own}"),
            "give the producer another security.protocol than the listener has",
        ),
        Why::Tls => (
            !(is_encrypted(own) && is_encrypted(theirs)),
            format!("no TLS handshake: the listener speaks {theirs}, the producer {own}"),
            "why = \"closed_at_once\" where only one of them speaks TLS",
        ),
        Why::Token => (
            !bears_token(scenario),
            "there is no token to be short of".to_owned(),
            "sasl = { mechanism = \"OAUTHBEARER\", token_location = \"certs:token.json\" }",
        ),
        Why::Authentication => (
            !scenario.listener.asks_who() || own != theirs,
            format!("nobody asks who it is: the listener speaks {theirs}, the producer {own}"),
            "a `listener` with SASL, and the security.protocol that it speaks",
        ),
    };
    wrong.then_some((message, help))
}
