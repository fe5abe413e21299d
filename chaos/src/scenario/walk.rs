//! Holds a document against the table of keys: unknown keys, missing keys and values of the wrong
//! shape are refused, everything else comes out typed.

use std::collections::BTreeSet;
use std::ops::Range;

use super::diagnostic::{Diagnostic, Source, nearest, suggest};
use super::keys::{Key, Kinds, Names, Shape};
use super::node::{Body, Entry, Node};
use super::value::{Fields, Value};
use super::{forms, units};

/// Walks one document and collects its problems.
pub(crate) struct Walker<'a> {
    /// The file.
    pub(crate) source: Source<'a>,
    /// What was refused so far.
    pub(crate) problems: Vec<Diagnostic>,
    /// A fault or action was refused whole: what is said about the others together means nothing.
    pub(crate) incomplete: bool,
}

impl Walker<'_> {
    /// Notes a problem.
    pub(crate) fn refuse(
        &mut self,
        at: &Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.problems.push(self.source.problem(at, message, help));
    }

    /// A table with exactly these keys. `place` names it in messages, as `[[load]]`.
    pub(crate) fn table(&mut self, node: &Node, keys: &[&'static [Key]], place: &str) -> Fields {
        let Body::Table(entries) = &node.body else {
            let _: Option<Fields> = self.wrong_type(node, "a table");
            return Fields { at: node.at.clone(), ..Fields::default() };
        };
        let mut fields = Fields { at: node.at.clone(), ..Fields::default() };
        let known = || keys.iter().copied().flatten();
        for entry in entries {
            match known().find(|key| key.name == entry.key) {
                Some(key) => {
                    if let Some(value) = self.value(&entry.node, key, place) {
                        fields.values.insert(key.name, (entry.node.at.clone(), value));
                    }
                }
                None => self.unknown_key(entry, known().map(|key| key.name), place),
            }
        }
        for key in known().filter(|key| key.required) {
            // A misspelt key has been told of: that it is missing too is no news.
            if !entries.iter().any(|entry| nearest(&entry.key, [key.name]).is_some()) {
                let message = format!("{place} has no `{}`", key.name);
                self.refuse(
                    &node.at,
                    message,
                    Some(format!("`{}` says: {}", key.name, fragment(key.about))),
                );
            }
        }
        fields
    }

    fn unknown_key(
        &mut self,
        entry: &Entry,
        known: impl Iterator<Item = &'static str>,
        place: &str,
    ) {
        let message = format!("unknown key `{}` in {place}", entry.key);
        self.refuse(&entry.key_at, message, suggest(&entry.key, known));
    }

    /// `None` when the node was refused.
    fn value(&mut self, node: &Node, key: &Key, place: &str) -> Option<Value> {
        match key.shape {
            Shape::Table(keys) => {
                let fields = self.table(node, &[keys], &inside(place, key.name, false));
                Some(Value::Table(fields))
            }
            Shape::Tables(keys) => {
                let place = inside(place, key.name, true);
                let list = self.list(node)?;
                Some(Value::Tables(list.iter().map(|n| self.table(n, &[keys], &place)).collect()))
            }
            Shape::Kinds(kinds) => {
                let place = inside(place, key.name, true);
                let list = self.list(node)?;
                Some(Value::Tables(
                    list.iter().filter_map(|n| self.kind(n, kinds, &place)).collect(),
                ))
            }
            Shape::Name(names) => self.name(node, names).map(Value::Text),
            Shape::NameList(names) => self.names(node, |walker, n| walker.name(n, names)),
            Shape::Ids => self.names(node, Self::id),
            Shape::Words => self.names(node, Self::text),
            Shape::Id => self.id(node).map(Value::Text),
            Shape::Text => self.text(node).map(Value::Text),
            Shape::Producer => match &node.body {
                Body::Table(_) => Some(Value::Producer(node.clone())),
                _ => self.wrong_type(node, "a table"),
            },
            Shape::Count(..) | Shape::Share | Shape::Flag | Shape::Bytes => self.scalar(node, key),
            Shape::Span { zero } => self.span(node, key, zero),
            Shape::Rate => {
                let text = self.text(node)?;
                self.unit(node, units::rate(&text), units::RATE_HELP).map(Value::Rate)
            }
            Shape::Bound => {
                let text = self.text(node)?;
                self.unit(node, units::bound(&text), units::BOUND_HELP).map(Value::Bound)
            }
            Shape::Ceiling => {
                let text = self.text(node)?;
                self.unit(node, units::ceiling(&text), units::CEILING_HELP).map(Value::Span)
            }
            Shape::Hex => {
                let text = self.text(node)?;
                self.unit(node, units::hex(&text), units::HEX_HELP).map(Value::Bytes)
            }
            Shape::At => forms::at(self, node).map(Value::At),
            Shape::Size => forms::size(self, node).map(Value::Size),
            Shape::Room => forms::room(self, node),
            Shape::Brokers => forms::brokers(self, node).map(Value::Brokers),
            Shape::Code => forms::code(self, node).map(Value::Code),
            Shape::Laws => forms::laws(self, node).map(Value::Laws),
            Shape::Agree => forms::agree(self, node).map(Value::Agree),
            Shape::Outcomes => forms::outcomes(self, node).map(Value::Outcomes),
        }
    }

    /// A fault or action: `kind` first, then the keys that kind takes.
    fn kind(&mut self, node: &Node, kinds: Kinds, place: &str) -> Option<Fields> {
        let Some(entry) = node.find("kind") else {
            self.table(node, &[kinds.common], place);
            self.incomplete = true;
            return None;
        };
        let Body::Text(name) = &entry.node.body else {
            self.incomplete = true;
            return self.wrong_type(&entry.node, "a string");
        };
        let Some(variant) = kinds.variants.iter().find(|variant| variant.name == *name) else {
            let what = place.trim_matches(['[', ']']);
            let message = format!("unknown {what} kind `{name}`");
            self.refuse(
                &entry.node.at,
                message,
                suggest(name, kinds.variants.iter().map(|v| v.name)),
            );
            self.incomplete = true;
            return None;
        };
        let place = format!("{place} of kind {name}");
        Some(self.table(node, &[kinds.common, variant.keys], &place))
    }

    fn scalar(&mut self, node: &Node, key: &Key) -> Option<Value> {
        match (key.shape, &node.body) {
            (Shape::Count(min, max), Body::Int(number)) => {
                let count = u64::try_from(*number).ok().filter(|n| (min..=max).contains(n));
                if count.is_none() {
                    let message = format!("`{}` is {number}, out of range", key.name);
                    self.refuse(&node.at, message, Some(format!("from {min} to {max}")));
                }
                count.map(Value::Count)
            }
            (Shape::Share, Body::Float(share)) if (0.0..=1.0).contains(share) => {
                Some(Value::Share(*share))
            }
            (Shape::Share, _) => self.wrong_type(node, "a float from 0.0 to 1.0"),
            (Shape::Flag, Body::Flag(flag)) => Some(Value::Flag(*flag)),
            (Shape::Flag, _) => self.wrong_type(node, "a boolean"),
            (Shape::Bytes, _) => forms::bytes(self, node).map(|n| Value::Count(n as u64)),
            _ => self.wrong_type(node, "an integer"),
        }
    }

    fn span(&mut self, node: &Node, key: &Key, zero: bool) -> Option<Value> {
        let (key, required) = (key.name, key.required);
        let Body::Text(text) = &node.body else {
            let message = format!("`{key}` is {}, not a duration", node.body.type_name());
            self.refuse(&node.at, message, Some(units::DURATION_HELP.to_owned()));
            return None;
        };
        let span = self.unit(node, units::duration(text), units::DURATION_HELP)?;
        if span.is_zero() && !zero {
            let help = if required { "write a time that is more" } else { "leave the key out" };
            self.refuse(&node.at, format!("`{key}` is zero"), Some(help.to_owned()));
            return None;
        }
        Some(Value::Span(span))
    }

    /// A parsed unit, or its problem noted.
    pub(crate) fn unit<T>(
        &mut self,
        node: &Node,
        parsed: Result<T, String>,
        help: &str,
    ) -> Option<T> {
        parsed.map_err(|message| self.refuse(&node.at, message, Some(help.to_owned()))).ok()
    }

    /// Notes a wrong type; always `None`.
    pub(crate) fn wrong_type<T>(&mut self, node: &Node, wanted: &str) -> Option<T> {
        let message = format!("expected {wanted}, found {}", node.body.type_name());
        self.refuse(&node.at, message, None);
        None
    }

    /// A string that is not empty.
    pub(crate) fn text(&mut self, node: &Node) -> Option<String> {
        match &node.body {
            Body::Text(text) if text.trim().is_empty() => {
                self.refuse(
                    &node.at,
                    "an empty string",
                    Some("write something, or drop the key".into()),
                );
                None
            }
            // it is printed on terminals
            Body::Text(text) if text.chars().any(char::is_control) => {
                let help = "write it in one line of printable characters".to_owned();
                self.refuse(&node.at, "a string with control characters", Some(help));
                None
            }
            Body::Text(text) => Some(text.clone()),
            _ => self.wrong_type(node, "a string"),
        }
    }

    fn id(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        if is_id(&text) {
            return Some(text);
        }
        let message = format!("`{text}` is not a scenario id");
        let help = "write family/name in lower-case letters, digits and hyphens";
        self.refuse(&node.at, message, Some(help.to_owned()));
        None
    }

    /// A name out of a closed list.
    pub(crate) fn name(&mut self, node: &Node, names: Names) -> Option<String> {
        let text = self.text(node)?;
        let list = (names.list)();
        if list.contains(&text.as_str()) {
            return Some(text);
        }
        self.refuse(&node.at, format!("unknown {} `{text}`", names.what), suggest(&text, list));
        None
    }

    /// The items of an array.
    pub(crate) fn list<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        match &node.body {
            Body::List(list) => Some(list),
            _ => self.wrong_type(node, "an array"),
        }
    }

    fn names(
        &mut self,
        node: &Node,
        one: impl Fn(&mut Self, &Node) -> Option<String>,
    ) -> Option<Value> {
        let mut seen = BTreeSet::new();
        let mut list = Vec::new();
        for item in self.list(node)? {
            let Some(name) = one(self, item) else { continue };
            if seen.insert(name.clone()) {
                list.push((name, item.at.clone()));
            } else {
                self.refuse(
                    &item.at,
                    format!("`{name}` is listed twice"),
                    Some("list it once".into()),
                );
            }
        }
        Some(Value::List(list))
    }
}

/// A sentence as part of another one.
fn fragment(sentence: &str) -> String {
    let mut chars = sentence.trim_end_matches('.').chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// How messages name a table inside another.
fn inside(place: &str, key: &str, array: bool) -> String {
    let path = place.strip_prefix('[').and_then(|p| p.strip_suffix(']'));
    let path = path.map_or_else(|| key.to_owned(), |path| format!("{path}.{key}"));
    if array { format!("[[{path}]]") } else { format!("[{path}]") }
}

/// `family/name` in lower-case letters, digits and hyphens.
pub(crate) fn is_id(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    text.split_once('/').is_some_and(|(family, name)| part(family) && part(name))
}
