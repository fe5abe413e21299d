//! What the walker makes of a node: typed values that still know where they stand.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::model::{At, Bound, Brokers, LaneName, Laws, Size, Within};
use super::names;
use super::node::Node;

/// A value of the shape its key demands.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    /// Strings with the place of each.
    List(Vec<(String, Range<usize>)>),
    Span(Duration),
    Count(u64),
    Share(f64),
    Flag(bool),
    Bytes(Vec<u8>),
    At(At),
    Size(Size),
    Rate(f64),
    Brokers(Brokers),
    Code(i16),
    Laws(Laws),
    Outcomes(Vec<(String, Bound)>),
    Agree(Vec<(String, Within)>),
    Bound(Bound),
    Producer(Node),
    Table(Fields),
    Tables(Vec<Fields>),
}

/// The values of one table, by key. Keys whose values were refused are absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    /// Where the table begins.
    pub(crate) at: Range<usize>,
    /// Values with their places.
    pub(crate) values: BTreeMap<&'static str, (Range<usize>, Value)>,
}

impl Fields {
    /// Where a key's value stands; the table itself when the key is not given.
    pub(crate) fn place(&self, key: &str) -> Range<usize> {
        self.values.get(key).map_or_else(|| self.at.clone(), |(at, _)| at.clone())
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).map(|(_, value)| value)
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        match self.get(key) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        self.list_with_places(key).iter().map(|(text, _)| text.clone()).collect()
    }

    pub(crate) fn list_with_places(&self, key: &str) -> &[(String, Range<usize>)] {
        match self.get(key) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    pub(crate) fn lanes(&self, key: &str) -> Vec<LaneName> {
        self.list(key).iter().filter_map(|name| names::lane(name)).collect()
    }

    pub(crate) fn span(&self, key: &str) -> Option<Duration> {
        match self.get(key) {
            Some(Value::Span(span)) => Some(*span),
            _ => None,
        }
    }

    pub(crate) fn count<T: TryFrom<u64>>(&self, key: &str) -> Option<T> {
        match self.get(key) {
            Some(Value::Count(count)) => T::try_from(*count).ok(),
            _ => None,
        }
    }

    pub(crate) fn share(&self, key: &str) -> Option<f64> {
        match self.get(key) {
            Some(Value::Share(share) | Value::Rate(share)) => Some(*share),
            _ => None,
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key) {
            Some(Value::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self, key: &str) -> Vec<u8> {
        match self.get(key) {
            Some(Value::Bytes(bytes)) => bytes.clone(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn moment(&self, key: &str) -> Option<At> {
        match self.get(key) {
            Some(Value::At(at)) => Some(at.clone()),
            _ => None,
        }
    }

    pub(crate) fn size(&self, key: &str) -> Option<Size> {
        match self.get(key) {
            Some(Value::Size(size)) => Some(size.clone()),
            _ => None,
        }
    }

    pub(crate) fn brokers(&self) -> Brokers {
        match self.get("brokers") {
            Some(Value::Brokers(brokers)) => brokers.clone(),
            _ => Brokers::All,
        }
    }

    pub(crate) fn code(&self, key: &str) -> Option<i16> {
        match self.get(key) {
            Some(Value::Code(code)) => Some(*code),
            _ => None,
        }
    }

    pub(crate) fn laws(&self) -> Option<Laws> {
        match self.get("laws") {
            Some(Value::Laws(laws)) => Some(laws.clone()),
            _ => None,
        }
    }

    pub(crate) fn outcomes(&self) -> Vec<(String, Bound)> {
        match self.get("outcomes") {
            Some(Value::Outcomes(outcomes)) => outcomes.clone(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn within(&self) -> Vec<(String, Within)> {
        match self.get("agree") {
            Some(Value::Agree(agree)) => agree.clone(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn bound(&self, key: &str) -> Option<Bound> {
        match self.get(key) {
            Some(Value::Bound(bound)) => Some(*bound),
            _ => None,
        }
    }

    pub(crate) fn producer(&self) -> Option<&Node> {
        match self.get("producer") {
            Some(Value::Producer(node)) => Some(node),
            _ => None,
        }
    }

    pub(crate) fn table(&self, key: &str) -> Option<&Self> {
        match self.get(key) {
            Some(Value::Table(fields)) => Some(fields),
            _ => None,
        }
    }

    pub(crate) fn tables(&self, key: &str) -> &[Self] {
        match self.get(key) {
            Some(Value::Tables(tables)) => tables,
            _ => &[],
        }
    }
}
