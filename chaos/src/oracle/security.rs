//! S1 and S2: secured brokers let the right ones in and nobody else. S3: secrets appear in no text
//! that leaves the process.

use super::findings::{Evidence, Findings};
use super::index::{At, Index, micros, ms};
use super::laws::LawId::{S1, S2, S3};
use crate::history::{Kind, Line};
use crate::scenario::model::{Listener, Refused, Why};
use crate::subject::logs::secrets;

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
            let told = complaint(index, |_| true).map(|(_, text)| text);
            (expected, told.map_or_else(|| "none did".to_owned(), |text| format!("none: {text}")))
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
    // Who may not write to one topic may write to the other; what is acked is D2's.
    let through = index.events.iter().position(|e| !e.main.is_empty() || !e.dlq.is_empty());
    if let Some(slot) = through.filter(|_| why != Why::Authorization) {
        f.broken(S2, "refused", Evidence::event(slot), || {
            let expected = format!("no event gets through: it fails for {}", why.name());
            (expected, "its record is in a log".to_owned())
        });
    }
    let offered = index.events.iter().filter_map(|event| event.offered).min();
    let denied = index.faults.values().filter_map(|fault| fault.begin).min();
    let from = if why == Why::Authorization { denied.or(offered) } else { offered };
    // what is refused when it opens offers nothing
    let called = index.lines.iter().enumerate();
    let mut called = called.filter(|(_, line)| matches!(line.kind, Kind::Call { .. }));
    let opened = called.next().map(|(line, found)| At { line, t_us: found.t_us });
    let Some(from) = from.or(opened) else { return };
    let about = |text: &str| {
        let text = text.to_lowercase();
        why.words().iter().any(|word| text.contains(word))
    };
    let bound = micros(within).saturating_add(index.tolerance_us());
    let late = |at: At| at.t_us.saturating_sub(from.t_us) > bound;
    let expected = || {
        let words = why.words().join(", ");
        format!("an error that says why ({words}) within {} of the first offer", ms(micros(within)))
    };
    match complaint(index, about) {
        Some((at, _)) if !late(at) => {}
        Some((at, text)) => f.broken(S2, "told", Evidence::default().and(at), || {
            let after = ms(at.t_us.saturating_sub(from.t_us));
            (expected(), format!("said after {after}: {text}"))
        }),
        None => f.broken(S2, "told", Evidence::default(), || {
            let other = complaint(index, |_| true).map(|(_, text)| format!(", but: {text}"));
            (expected(), format!("nothing of the kind was said{}", other.unwrap_or_default()))
        }),
    }
}

/// The first error that the subject told and that is of the kind.
fn complaint<'a>(index: &Index<'a>, is: impl Fn(&str) -> bool) -> Option<(At, &'a str)> {
    index.lines.iter().enumerate().find_map(|(n, line)| {
        let text = match &line.kind {
            Kind::Return { error, .. } => error.as_deref(),
            Kind::Refused { error, .. } => Some(&*error.reason),
            Kind::Delivery { error, .. } => error.as_ref().map(|error| &*error.reason),
            _ => None,
        };
        let text = text.filter(|text| is(text))?;
        Some((At { line: n, t_us: line.t_us }, text))
    })
}

/// Looks for every secret of the scenario's settings in every text of the history, but for the run
/// line: that is the scenario file itself, which hands the secret out.
pub(super) fn judge(index: &Index<'_>, f: &mut Findings) {
    let secrets = secrets(&index.scenario.producer);
    if secrets.is_empty() {
        f.unjudged(S3, "the scenario hands out no secret");
        return;
    }
    for (n, line) in index.lines.iter().enumerate() {
        if matches!(line.kind, Kind::Run { .. }) {
            continue;
        }
        f.checked(S3, 1);
        let Some(text) = texts(line, &secrets) else { continue };
        // Neither the line nor the secret is shown: the report must not repeat it.
        f.broken(S3, "leaked", Evidence::default(), || {
            let expected = "no secret of the settings in any text".to_owned();
            (expected, format!("line {n} of the history, {text}, holds one"))
        });
    }
}

/// Which text of the line holds a secret.
fn texts(line: &Line, secrets: &[String]) -> Option<&'static str> {
    let holds = |text: &str| secrets.iter().any(|secret| text.contains(secret.as_str()));
    let (found, what) = match &line.kind {
        Kind::Return { error, answer, .. } => {
            let answer = answer.to_string();
            (error.as_deref().is_some_and(holds) || holds(&answer), "an answer")
        }
        Kind::Refused { error, .. } => (holds(&error.reason), "a refusal"),
        Kind::Delivery { error, .. } => {
            (error.as_ref().is_some_and(|error| holds(&error.reason)), "a delivery error")
        }
        Kind::Scrape { text, .. } => (holds(text), "a scrape"),
        Kind::Proc { text, .. } => (holds(text), "a logged or printed line"),
        Kind::Log { records, .. } => {
            let defects = records.iter().flat_map(|record| record.defects.iter());
            let threads = records.iter().map(|record| &*record.thread);
            let letters = records.iter().map(|record| record.letter.as_str());
            let texts = defects.map(String::as_str).chain(threads).chain(letters);
            (texts.into_iter().any(holds), "a record")
        }
        Kind::Fs { path, error, .. } => {
            (holds(path) || error.as_deref().is_some_and(holds), "a file name")
        }
        _ => (false, ""),
    };
    found.then_some(what)
}
