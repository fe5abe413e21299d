//! S1 and S2: secured brokers let the right ones in and nobody else. S3: secrets appear in no text
//! that leaves the process.

use super::findings::{Evidence, Findings};
use super::index::{At, Index, micros, ms};
use super::laws::LawId::{S1, S2, S3};
use crate::history::{CONNECTED, DeliveryError, Kind, Line, Src, Trouble, WATCHED};
use crate::scenario::model::{FaultKind, Listener, Refused, Why};
use crate::subject::secrets::{LEAKED, SEARCHED, found_in, secrets};

/// S1: through a secured listener events arrive, unless they must not.
pub(super) fn judge_let_in(index: &Index<'_>, f: &mut Findings) {
    let listener = index.scenario.listener;
    if listener == Listener::Plaintext || index.scenario.expect.refused.is_some() {
        f.unjudged(S1, "the scenario uses no secured listener that must let it in");
        return;
    }
    f.checked(S1, 1);
    if index.events.iter().all(|event| event.main.is_empty()) {
        f.broken(S1, "let_in", Evidence::default(), || {
            let expected = format!("events arrive through the listener `{}`", listener.name());
            let told = complaint(index, At { line: 0, t_us: 0 }, |_| true);
            let told = told.map(|told| format!("none: {}", told.shown()));
            (expected, told.unwrap_or_else(|| "none did".to_owned()))
        });
    }
}

/// S2: who must not get through does not, and says why, in time.
pub(super) fn judge_refused(index: &Index<'_>, f: &mut Findings) {
    let Some(Refused { why, within }) = index.scenario.expect.refused else {
        f.unjudged(S2, "the scenario expects nobody to be refused");
        return;
    };
    f.checked(S2, 2);
    let turned = turned(index, why);
    if let Some(slot) = got_through(index, why, turned) {
        f.broken(S2, "refused", Evidence::event(slot), || {
            let expected = format!("no event gets through: it fails for {}", why.name());
            (expected, "its record is in a log".to_owned())
        });
    }
    let Some(from) = since(index, turned) else { return };
    let bound = micros(within).saturating_add(index.tolerance_us());
    let late = |at: At| at.t_us.saturating_sub(from.t_us) > bound;
    let expected = || {
        let (name, within) = (why.name(), ms(micros(within)));
        format!("an error that names the reason, {name}, within {within} of the first refusal")
    };
    let told = complaint(index, from, |told| why.is_told(told.why, told.text));
    if let Some(told) = &told {
        judge_tried(index, why, told, f);
    }
    match told {
        Some(told) if !late(told.at) => {}
        Some(told) => f.broken(S2, "told", Evidence::default().and(told.at), || {
            let after = ms(told.at.t_us.saturating_sub(from.t_us));
            (expected(), format!("said after {after}: {}", told.shown()))
        }),
        None => f.broken(S2, "told", Evidence::default(), || {
            let other = complaint(index, from, |_| true);
            let other = other.map(|told| format!(", but: {}", told.shown()));
            (expected(), format!("it was never said{}", other.unwrap_or_default()))
        }),
    }
}

/// Whoever was refused has asked: a connection came to the proxy before the reason was told.
fn judge_tried(index: &Index<'_>, why: Why, told: &Told<'_>, f: &mut Findings) {
    // a key that its password does not open is refused before anybody is asked
    let locked = index.scenario.producer.pointer("/security/ssl/key_password").is_some();
    if why == Why::Tls && locked {
        return;
    }
    let says = |line: &Line, word: &str| match &line.kind {
        Kind::Proc { what, .. } => line.src == Src::Proxy && what == word,
        _ => false,
    };
    let came = |line: &Line| says(line, CONNECTED);
    // a history of a build that put no connections on record tells nothing about them
    if !index.lines.iter().any(|line| says(line, WATCHED) || came(line)) {
        f.unjudged(S2, "the history puts no connections on record: whether one came is not known");
        return;
    }
    f.checked(S2, 1);
    if !index.lines.iter().take(told.at.line).any(came) {
        f.broken(S2, "tried", Evidence::default().and(told.at), || {
            let expected = format!("a connection before it says that it fails for {}", why.name());
            (expected, format!("refused without having connected: {}", told.shown()))
        });
    }
}

/// When the subject is turned away that was let in before: an ACL denies it, or the last token has
/// expired. `None` where it is turned away from the start.
fn turned(index: &Index<'_>, why: Why) -> Option<At> {
    let seen = index.faults.iter().filter_map(|((n, _), seen)| {
        match (&index.scenario.faults.get(*n)?.kind, why) {
            (FaultKind::AclDenied { .. }, Why::Authorization) => seen.begin,
            // met when the newest token expires
            (FaultKind::TokenStale, Why::Token | Why::Authentication) => seen.effect,
            _ => None,
        }
    });
    seen.min()
}

/// An event that is in a log although it must not be.
fn got_through(index: &Index<'_>, why: Why, turned: Option<At>) -> Option<usize> {
    // Who may not write to one topic may write to the other; what is acked is D2's.
    if why == Why::Authorization {
        return None;
    }
    index.events.iter().position(|event| {
        let before = turned.is_some_and(|turned| event.offered.is_none_or(|at| at < turned));
        let nowhere = event.main.is_empty() && event.dlq.is_empty();
        !(before || nowhere)
    })
}

/// From when on the reason can be told: the first event that is offered once the subject is turned
/// away or, where it is refused when it opens and offers nothing, that call.
fn since(index: &Index<'_>, turned: Option<At>) -> Option<At> {
    let offered = index.events.iter().filter_map(|event| event.offered);
    let offered = offered.filter(|at| turned.is_none_or(|turned| *at >= turned)).min();
    let called = index.lines.iter().enumerate();
    let mut called = called.filter(|(_, line)| matches!(line.kind, Kind::Call { .. }));
    let opened = called.next().map(|(line, found)| At { line, t_us: found.t_us });
    offered.or(turned).or(opened)
}

/// An error that the subject told.
struct Told<'a> {
    at: At,
    text: &'a str,
    /// What it names, by itself or by one of Kafka's codes.
    why: Option<Trouble>,
}

impl Told<'_> {
    fn shown(&self) -> String {
        match self.why.map(serde_json::to_value) {
            Some(Ok(serde_json::Value::String(why))) => format!("{} ({why})", self.text),
            _ => self.text.to_owned(),
        }
    }
}

/// The first error of the kind that the subject told from then on.
fn complaint<'a>(index: &Index<'a>, from: At, is: impl Fn(&Told<'_>) -> bool) -> Option<Told<'a>> {
    let of = |error: &'a DeliveryError| {
        (&*error.reason, error.why.or_else(|| Trouble::of_code(error.code)))
    };
    index.lines.iter().enumerate().skip(from.line).find_map(|(n, line)| {
        let (text, why) = match &line.kind {
            Kind::Return { error, why, .. } => (error.as_deref()?, *why),
            Kind::Refused { error, .. } => of(error),
            Kind::Delivery { error, .. } => of(error.as_ref()?),
            Kind::Outcome { outcome, why: Some(why), .. } => (outcome.label(), Some(*why)),
            _ => return None,
        };
        let told = Told { at: At { line: n, t_us: line.t_us }, text, why };
        is(&told).then_some(told)
    })
}

/// Looks for every secret of the scenario's settings in every text of the history, but for the run
/// line: that is the scenario file itself, which hands the secret out. Keys and tokens that were
/// made for the run are not in the history, so the lane has looked for them and tells.
pub(super) fn judge(index: &Index<'_>, f: &mut Findings) {
    let secrets = secrets(&index.scenario.producer);
    let made = index.lines.iter().filter(|line| line.src == Src::Harness);
    let made: u64 = made.map(|line| made_for_the_run(line, f)).sum();
    if secrets.is_empty() && made == 0 {
        f.unjudged(S3, "the scenario hands out no secret");
        return;
    }
    f.checked(S3, made);
    for (n, line) in index.lines.iter().enumerate() {
        if matches!(line.kind, Kind::Run { .. }) || secrets.is_empty() {
            continue;
        }
        f.checked(S3, 1);
        let Some(text) = found_in(line, &secrets) else { continue };
        // Neither the line nor the secret is shown: the report must not repeat it.
        f.broken(S3, "leaked", Evidence::default(), || {
            let expected = "no secret of the settings in any text".to_owned();
            (expected, format!("line {n} of the history, {text}, holds one"))
        });
    }
}

/// How many secrets the lane has looked for; what it found is a violation.
fn made_for_the_run(line: &Line, f: &mut Findings) -> u64 {
    let Kind::Proc { what, value, text } = &line.kind else { return 0 };
    if what == LEAKED {
        f.broken(S3, "leaked", Evidence::default(), || {
            ("no key or token of the run in any text".to_owned(), text.clone())
        });
    }
    if what == SEARCHED { u64::try_from(*value).unwrap_or(0) } else { 0 }
}
