//! Fetches the values of a patch out of a state: one walk that serialises nothing else.

use serde::Serialize;

use super::compare::{Changes, Wanted};
use super::error::StateError;
use super::text::Text;
use super::walk::{Shape, Visit, walk};
use crate::proto::{DiffOperation, OpType};

/// Gives every operation but removals its value.
///
/// # Errors
/// The state's own, also when it has changed since the operations were found.
pub(super) fn collect<S: Serialize + ?Sized>(
    state: &S,
    changes: Changes,
    max_depth: usize,
) -> Result<Vec<DiffOperation>, StateError> {
    let Changes { operations, wanted } = changes;
    let mut collector = Collector {
        operations,
        text: Text::default(),
        open: Vec::new(),
        next: Some(&wanted),
        inner: 0,
    };
    walk(state, &mut collector, max_depth)?;
    let operations = collector.operations;
    let valued = |op: &DiffOperation| op.op() == OpType::Remove || !op.value.is_empty();
    if operations.iter().all(valued) { Ok(operations) } else { Err(StateError::changed()) }
}

struct Collector<'w> {
    operations: Vec<DiffOperation>,
    text: Text,
    /// The containers on the way to what is wanted, each with the index that comes next.
    open: Vec<(&'w Wanted, usize)>,
    /// What is wanted of the value that comes next.
    next: Option<&'w Wanted>,
    /// Depth inside a value that is wanted whole.
    inner: usize,
}

impl Collector<'_> {
    fn value_over(&mut self) {
        if self.inner > 0 {
            return;
        }
        let value = self.text.take();
        if let Some(Wanted::Whole(at)) = self.next.take()
            && let Some(operation) = self.operations.get_mut(*at)
        {
            operation.value = value;
        }
    }
}

impl Visit for Collector<'_> {
    fn literal(&mut self, json: &[u8]) -> Result<(), StateError> {
        self.text.literal(json);
        self.value_over();
        Ok(())
    }

    fn string(&mut self, value: &str) -> Result<(), StateError> {
        self.text.string(value, usize::MAX);
        self.value_over();
        Ok(())
    }

    fn begin(&mut self, shape: Shape) -> Result<(), StateError> {
        match self.next {
            Some(Wanted::Whole(_)) => {
                self.text.begin(shape);
                self.inner += 1;
            }
            Some(inside) => {
                self.open.push((inside, 0));
                self.next = None;
            }
            None => return Err(StateError::changed()),
        }
        Ok(())
    }

    fn key(&mut self, key: &str) -> Result<bool, StateError> {
        if self.inner > 0 {
            return Ok(self.text.key(key, usize::MAX));
        }
        let wanted = match self.open.last() {
            Some((Wanted::Map(parts), _)) => parts
                .binary_search_by(|(part, _)| part.as_str().cmp(key))
                .ok()
                .and_then(|at| parts.get(at)),
            _ => None,
        };
        self.next = wanted.map(|(_, part)| part);
        Ok(self.next.is_some())
    }

    fn element(&mut self) -> Result<bool, StateError> {
        if self.inner > 0 {
            self.text.element();
            return Ok(true);
        }
        let wanted = match self.open.last_mut() {
            Some((Wanted::Seq(parts), index)) => {
                let at = parts.binary_search_by_key(index, |(part, _)| *part);
                *index += 1;
                at.ok().and_then(|at| parts.get(at))
            }
            _ => None,
        };
        self.next = wanted.map(|(_, part)| part);
        Ok(self.next.is_some())
    }

    fn end(&mut self) -> Result<(), StateError> {
        if self.inner > 0 {
            self.text.end()?;
            self.inner -= 1;
            self.value_over();
        } else {
            self.open.pop();
        }
        Ok(())
    }
}
