//! S3: secrets appear in no text that leaves the process.

use super::findings::{Evidence, Findings};
use super::index::Index;
use super::laws::LawId::S3;
use crate::history::{Kind, Line};
use crate::subject::logs::secrets;

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
