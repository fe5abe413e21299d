//! What is wrong with a scenario file, where, and what would be right.

use std::fmt;
use std::ops::Range;

/// One problem of one file. A file is reported with all of its problems at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as the user named it.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The reason, a lower-case sentence without a full stop.
    pub message: String,
    /// The remedy: the nearest valid name, or what is accepted.
    pub help: Option<String>,
    /// The line itself, for the reader; empty when there is none.
    pub source: String,
    /// How many characters of the line are meant.
    pub width: usize,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:{}:{}: {}", self.path, self.line, self.column, self.message)?;
        if !self.source.is_empty() {
            let number = self.line.to_string();
            let lead: String = self
                .source
                .chars()
                .take(self.column - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            writeln!(f, "  {number} | {}", self.source)?;
            writeln!(f, "  {} | {lead}{}", " ".repeat(number.len()), "^".repeat(self.width))?;
        }
        match &self.help {
            Some(help) => writeln!(f, "  help: {help}"),
            None => Ok(()),
        }
    }
}

/// The text of a file and its name: turns byte ranges into places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// The file, as the user named it.
    pub(crate) path: &'a str,
    /// Its text.
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// A diagnostic at the bytes `at` of the text. Ranges outside the text point at its end.
    #[must_use]
    pub(crate) fn problem(
        &self,
        at: &Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Diagnostic {
        let start = floor(self.text, at.start);
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let source = rest.lines().next().unwrap_or_default();
        let meant = self.text.get(start..floor(self.text, at.end)).unwrap_or_default();
        Diagnostic {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            message: message.into(),
            help,
            source: source.to_owned(),
            width: meant.lines().next().unwrap_or_default().chars().count().max(1),
        }
    }
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A diagnostic about a file as a whole.
#[must_use]
pub(crate) fn about_file(
    path: &str,
    message: impl Into<String>,
    help: Option<String>,
) -> Diagnostic {
    Source { path, text: "" }.problem(&(0..0), message, help)
}

/// The valid name nearest to `wrong`, if one is near enough to have been meant: no more than a
/// third of the shorter of both is wrong.
#[must_use]
pub fn nearest<'n>(wrong: &str, valid: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wrong = wrong.to_lowercase();
    let length = wrong.chars().count();
    valid
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.chars().count().min(length).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `did you mean ...?` if a name is near, otherwise the list of valid ones (cut when long).
#[must_use]
pub fn suggest<'n>(wrong: &str, valid: impl IntoIterator<Item = &'n str>) -> Option<String> {
    const SHOWN: usize = 20;
    let valid: Vec<&str> = valid.into_iter().collect();
    if let Some(name) = nearest(wrong, valid.iter().copied()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let shown: Vec<String> = valid.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    match valid.len() {
        0 => None,
        n if n > SHOWN => Some(format!("one of {}, and {} more", shown.join(", "), n - SHOWN)),
        _ => Some(format!("one of {}", shown.join(", "))),
    }
}
