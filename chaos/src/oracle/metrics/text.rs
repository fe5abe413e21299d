//! Prometheus' text format, read strictly: a scrape that a server would refuse is a violation.

use std::collections::BTreeMap;

/// Type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only goes up.
    Counter,
    /// Goes anywhere.
    Gauge,
    /// `histogram` or `summary`: read, never judged.
    Other,
    /// No `TYPE` line.
    Untyped,
}

/// Labels of a sample, sorted by name.
pub type Labels = BTreeMap<String, String>;

/// All samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// From the `TYPE` line.
    pub kind: Type,
    /// Value by labels.
    pub samples: BTreeMap<Labels, f64>,
}

/// A scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    /// Families by name.
    pub families: BTreeMap<String, Family>,
}

impl Exposition {
    /// The sample of a name with exactly these labels.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.families.get(name)?.samples.get(&labels).copied()
    }

    /// Sum over all samples of a name; `None` when there is none.
    #[must_use]
    pub fn sum(&self, name: &str) -> Option<f64> {
        let samples = &self.families.get(name)?.samples;
        (!samples.is_empty()).then(|| samples.values().sum())
    }
}

/// What is wrong with a line of a scrape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Not a metric or label name.
    #[error("`{0}` is no name: expected a letter or `_`, then letters, digits and `_`")]
    Name(String),
    /// The labels stop in the middle or are badly quoted.
    #[error("the labels are not closed: expected name=\"value\", … and `}}`")]
    Labels,
    /// A label twice.
    #[error("label `{0}` is given twice")]
    LabelTwice(String),
    /// Not a number.
    #[error("`{0}` is no number")]
    Value(String),
    /// The same sample twice.
    #[error("the sample is exported twice")]
    SampleTwice,
    /// TYPE twice, or after samples.
    #[error("the type of `{0}` is stated twice, or after its samples")]
    TypeLate(String),
    /// An unknown type.
    #[error("`{0}` is no type: expected counter, gauge, histogram, summary or untyped")]
    Type(String),
    /// The last line has no end.
    #[error("the last line lacks its line feed")]
    Unfinished,
}

/// The first line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct TextError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub fault: Fault,
}

/// Reads a scrape.
///
/// # Errors
/// [`TextError`] for the first line that a strict reader refuses.
pub fn parse(text: &str) -> Result<Exposition, TextError> {
    let mut out = Exposition::default();
    let lines = text.split('\n').count();
    for (n, line) in text.split('\n').enumerate() {
        let result = if n + 1 == lines && !line.is_empty() {
            Err(Fault::Unfinished)
        } else {
            read_line(line.trim_matches([' ', '\t']), &mut out)
        };
        result.map_err(|fault| TextError { line: n + 1, fault })?;
    }
    Ok(out)
}

fn read_line(line: &str, out: &mut Exposition) -> Result<(), Fault> {
    if let Some(comment) = line.strip_prefix('#') {
        return match comment.trim_start().strip_prefix("TYPE ") {
            Some(rest) => read_type(rest.trim(), out),
            None => Ok(()),
        };
    }
    if line.is_empty() {
        return Ok(());
    }
    let end = line.bytes().position(|c| matches!(c, b'{' | b' ' | b'\t')).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    check_name(name, true)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest)?,
        None => (Labels::new(), rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let word = words.next().unwrap_or("");
    let value: f64 = word.parse().map_err(|_| Fault::Value(word.to_owned()))?;
    if let Some(time) = words.next() {
        time.parse::<i64>().map_err(|_| Fault::Value(time.to_owned()))?;
    }
    if let Some(more) = words.next() {
        return Err(Fault::Value(more.to_owned()));
    }
    let family = out
        .families
        .entry(name.to_owned())
        .or_insert_with(|| Family { kind: Type::Untyped, samples: BTreeMap::new() });
    match family.samples.insert(labels, value) {
        Some(_) => Err(Fault::SampleTwice),
        None => Ok(()),
    }
}

fn read_type(rest: &str, out: &mut Exposition) -> Result<(), Fault> {
    let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
    check_name(name, true)?;
    let kind = match kind.trim() {
        "counter" => Type::Counter,
        "gauge" => Type::Gauge,
        "histogram" | "summary" => Type::Other,
        "untyped" => Type::Untyped,
        other => return Err(Fault::Type(other.to_owned())),
    };
    let family = Family { kind, samples: BTreeMap::new() };
    match out.families.insert(name.to_owned(), family) {
        Some(_) => Err(Fault::TypeLate(name.to_owned())),
        None => Ok(()),
    }
}

fn check_name(name: &str, metric: bool) -> Result<(), Fault> {
    let first = |c: u8| c.is_ascii_alphabetic() || c == b'_' || (metric && c == b':');
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(first) && bytes.all(|c| first(c) || c.is_ascii_digit());
    if good { Ok(()) } else { Err(Fault::Name(name.to_owned())) }
}

/// The labels after the brace, and what follows them.
fn read_labels(mut rest: &str) -> Result<(Labels, &str), Fault> {
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = rest.split_once('=').ok_or(Fault::Labels)?;
        let name = name.trim();
        check_name(name, false)?;
        let quoted = after.trim_start().strip_prefix('"').ok_or(Fault::Labels)?;
        let (value, after) = read_quoted(quoted)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(Fault::LabelTwice(name.to_owned()));
        }
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(after) => after,
            None if after.starts_with('}') => after,
            None => return Err(Fault::Labels),
        };
    }
}

/// A label value up to its closing quote, and what follows it.
fn read_quoted(text: &str) -> Result<(String, &str), Fault> {
    let mut value = String::new();
    let plain = text.bytes().position(|c| matches!(c, b'"' | b'\\'));
    let Some((plain, text)) = plain.and_then(|end| text.split_at_checked(end)) else {
        return Err(Fault::Labels);
    };
    value.push_str(plain);
    let mut chars = text.char_indices();
    while let Some((n, c)) = chars.next() {
        match c {
            '"' => return Ok((value, text.get(n + 1..).unwrap_or(""))),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('\\' | '"'))) => value.push(c),
                _ => return Err(Fault::Labels),
            },
            c => value.push(c),
        }
    }
    Err(Fault::Labels)
}

#[cfg(test)]
mod tests;
