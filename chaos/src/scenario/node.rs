//! A TOML document as a tree in which every key and value knows its place.
//!
//! Inline tables, `[tables]` and `[[arrays of tables]]` look alike here: a scenario may be written
//! either way.

use std::ops::Range;

use toml_edit::{Document, Item, TableLike, Value};

use super::diagnostic::{Diagnostic, Source};

/// A value with its bytes in the file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where.
    pub(crate) at: Range<usize>,
    /// What.
    pub(crate) body: Body,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) key_at: Range<usize>,
    /// Its value.
    pub(crate) node: Node,
}

/// The types TOML has.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Text(String),
    Int(i64),
    Float(f64),
    Flag(bool),
    Date,
    List(Vec<Node>),
    Table(Vec<Entry>),
}

impl Body {
    /// For messages.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Flag(_) => "a boolean",
            Self::Date => "a date",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// The value under a dotted path of keys, with the place of its last key.
    pub(crate) fn find(&self, path: &str) -> Option<&Entry> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let Body::Table(entries) = &self.body else { return None };
        let entry = entries.iter().find(|e| e.key == first)?;
        if rest.is_empty() { Some(entry) } else { entry.node.find(rest).or(Some(entry)) }
    }

    /// The same value as JSON; dates become their text.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.body {
            Body::Text(s) => s.as_str().into(),
            Body::Int(i) => (*i).into(),
            Body::Float(x) => (*x).into(),
            Body::Flag(b) => (*b).into(),
            Body::Date => serde_json::Value::Null,
            Body::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Body::Table(entries) => serde_json::Value::Object(
                entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect(),
            ),
        }
    }
}

/// Parses a document.
///
/// # Errors
/// The first place that is not TOML, a key given twice included.
pub(crate) fn parse(source: &Source<'_>) -> Result<Node, Box<Diagnostic>> {
    let document = Document::parse(source.text).map_err(|error| {
        let at = error.span().unwrap_or(0..0);
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        Box::new(source.problem(&at, format!("not valid TOML: {message}"), None))
    })?;
    let table = document.as_table();
    Ok(Node { at: 0..0, body: Body::Table(entries(table)) })
}

fn entries(table: &dyn TableLike) -> Vec<Entry> {
    let mut found: Vec<Entry> = table
        .iter()
        .filter_map(|(name, item)| {
            let key_at = table.key(name).and_then(toml_edit::Key::span).unwrap_or(0..0);
            let node = from_item(item, &key_at)?;
            Some(Entry { key: name.to_owned(), key_at, node })
        })
        .collect();
    // File order, whatever order the parser keeps sub-tables in.
    found.sort_by_key(|e| e.key_at.start);
    found
}

fn from_item(item: &Item, key_at: &Range<usize>) -> Option<Node> {
    let at = item.span().unwrap_or_else(|| key_at.clone());
    let body = match item {
        Item::None => return None,
        Item::Value(value) => return Some(from_value(value, key_at)),
        Item::Table(table) => Body::Table(entries(table)),
        Item::ArrayOfTables(tables) => Body::List(
            tables
                .iter()
                .map(|t| Node {
                    at: t.span().unwrap_or_else(|| key_at.clone()),
                    body: Body::Table(entries(t)),
                })
                .collect(),
        ),
    };
    Some(Node { at, body })
}

fn from_value(value: &Value, key_at: &Range<usize>) -> Node {
    let at = value.span().unwrap_or_else(|| key_at.clone());
    let body = match value {
        Value::String(s) => Body::Text(s.value().clone()),
        Value::Integer(i) => Body::Int(*i.value()),
        Value::Float(x) => Body::Float(*x.value()),
        Value::Boolean(b) => Body::Flag(*b.value()),
        Value::Datetime(_) => Body::Date,
        Value::Array(array) => Body::List(array.iter().map(|v| from_value(v, key_at)).collect()),
        Value::InlineTable(table) => Body::Table(entries(table)),
    };
    Node { at, body }
}
