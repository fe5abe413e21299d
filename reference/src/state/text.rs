//! Canonical JSON text of a value, built in memory: compact, keys sorted bytewise.
//!
//! Entries are written as they come and put in order when their map ends, so the buffer holds the
//! text once, and during a sort the text of the map that is sorted a second time.

use std::io::{self, Write};

use super::error::StateError;
use super::keys::{compare_literals, string_of};
use super::walk::Shape;

/// An entry of a map that is not over: `out[start..end]` is `"key":value`.
#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    key_end: usize,
    end: usize,
}

struct Frame {
    shape: Shape,
    /// Where its text starts.
    start: usize,
    /// Its entries are those from here on, until a map inside adds its own.
    entries: usize,
    /// The entry that is being written.
    current: Option<usize>,
    empty: bool,
}

/// Builds the text of one value, or of the entries of one map.
#[derive(Default)]
pub(super) struct Text {
    out: Vec<u8>,
    entries: Vec<Entry>,
    frames: Vec<Frame>,
    scratch: Vec<u8>,
}

/// Refuses to grow over a limit, so that one long string cannot.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Text {
    /// Bytes that the text and the sorting of it can take.
    pub(super) fn used(&self) -> usize {
        2 * self.out.len() + size_of::<Entry>() * self.entries.len()
    }

    /// Takes room for a whole window at once, before doubling would take more than that.
    pub(super) fn reserve(&mut self, window: usize) {
        // The last value may pass the limit by a number or a bracket.
        let room = window / 2 + 256;
        if self.out.len() > room / 8 && self.out.capacity() < room {
            self.out.reserve_exact(room - self.out.len());
        }
        if self.scratch.len() > room / 8 && self.scratch.capacity() < room {
            self.scratch.reserve_exact(room - self.scratch.len());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.out
    }

    pub(super) fn clear(&mut self) {
        self.out.clear();
        self.entries.clear();
        self.frames.clear();
    }

    /// The finished text; the builder is empty again.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        out.shrink_to_fit();
        self.clear();
        out
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Commas that the open maps have not yet: they are written when a map ends.
    pub(super) fn missing_commas(&self) -> u64 {
        let maps = self.frames.iter().filter(|frame| frame.shape == Shape::Map && !frame.empty);
        self.entries.len() as u64 - maps.count() as u64
    }

    /// For each open container, whether it is empty so far.
    pub(super) fn open_frames(&self) -> impl Iterator<Item = (Shape, bool)> {
        self.frames.iter().map(|frame| (frame.shape, frame.empty))
    }

    /// Adds a string; `false` if the text would exceed the limit, and then it is unfinished.
    pub(super) fn string(&mut self, value: &str, limit: usize) -> bool {
        let bounded = Bounded { out: &mut self.out, limit };
        serde_json::to_writer(bounded, value).is_ok()
    }

    pub(super) fn literal(&mut self, json: &[u8]) {
        self.out.extend_from_slice(json);
    }

    pub(super) fn begin(&mut self, shape: Shape) {
        self.out.push(shape.open());
        self.frame(shape);
    }

    /// Starts the entries of a map whose braces are written elsewhere.
    pub(super) fn begin_entries(&mut self) {
        self.clear();
        self.frame(Shape::Map);
    }

    fn frame(&mut self, shape: Shape) {
        let (start, entries) = (self.out.len(), self.entries.len());
        self.frames.push(Frame { shape, start, entries, current: None, empty: true });
    }

    /// Starts an entry; `false` if its key would exceed the limit.
    pub(super) fn key(&mut self, key: &str, limit: usize) -> bool {
        self.close_entry();
        let start = self.out.len();
        if !self.string(key, limit) {
            self.out.truncate(start);
            return false;
        }
        let key_end = self.out.len();
        self.out.push(b':');
        let at = self.entries.len();
        self.entries.push(Entry { start, key_end, end: key_end });
        if let Some(frame) = self.frames.last_mut() {
            frame.current = Some(at);
            frame.empty = false;
        }
        true
    }

    pub(super) fn element(&mut self) {
        let Some(frame) = self.frames.last_mut() else { return };
        if !frame.empty {
            self.out.push(b',');
        }
        frame.empty = false;
    }

    fn close_entry(&mut self) {
        let end = self.out.len();
        let current = self.frames.last_mut().and_then(|frame| frame.current.take());
        if let Some(entry) = current.and_then(|at| self.entries.get_mut(at)) {
            entry.end = end;
        }
    }

    /// Takes back the entry of the outermost map that is being written.
    pub(super) fn abandon_entry(&mut self) {
        self.frames.truncate(1);
        let current = self.frames.first_mut().and_then(|frame| frame.current.take());
        let Some((at, entry)) = current.and_then(|at| Some((at, *self.entries.get(at)?))) else {
            return;
        };
        self.out.truncate(entry.start);
        self.entries.truncate(at);
    }

    /// Ends the innermost container.
    ///
    /// # Errors
    /// When a map has a key twice.
    pub(super) fn end(&mut self) -> Result<(), StateError> {
        self.close_entry();
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        if frame.shape == Shape::Map {
            self.sort(frame.entries)?;
            self.join(&frame);
        }
        self.out.push(frame.shape.close());
        Ok(())
    }

    fn sort(&mut self, from: usize) -> Result<(), StateError> {
        let (out, entries) = (&self.out, self.entries.get_mut(from..).unwrap_or_default());
        let key = |entry: &Entry| out.get(entry.start..entry.key_end).unwrap_or_default();
        let less = |a: &Entry, b: &Entry| compare_literals(key(a), key(b)).is_lt();
        if !entries.is_sorted_by(less) {
            entries.sort_unstable_by(|a, b| compare_literals(key(a), key(b)));
        }
        let mut pairs = entries.iter().zip(entries.iter().skip(1));
        pairs.find(|(a, b)| key(a) == key(b)).map_or(Ok(()), |(twice, _)| {
            let key = String::from_utf8_lossy(key(twice));
            Err(StateError::unserialisable(&format!("a map has the key {key} twice")))
        })
    }

    /// Rewrites a map's text in order and with commas.
    fn join(&mut self, frame: &Frame) {
        self.scratch.clear();
        for entry in self.entries.drain(frame.entries..) {
            if !self.scratch.is_empty() {
                self.scratch.push(b',');
            }
            self.scratch.extend_from_slice(self.out.get(entry.start..entry.end).unwrap_or(&[]));
        }
        self.out.truncate(frame.start);
        self.out.extend_from_slice(&self.scratch);
    }

    /// The entries of a map begun with [`Self::begin_entries`], sorted, each with its raw key.
    ///
    /// # Errors
    /// When a key is there twice.
    pub(super) fn sorted_entries(
        &mut self,
    ) -> Result<impl Iterator<Item = (String, &[u8])>, StateError> {
        self.close_entry();
        self.sort(0)?;
        Ok(self.entries.iter().map(|entry| {
            let key = self.out.get(entry.start..entry.key_end).unwrap_or_default();
            let text = self.out.get(entry.start..entry.end).unwrap_or_default();
            (string_of(key).into_owned(), text)
        }))
    }

    /// Drops the largest keys of a map begun with [`Self::begin_entries`] until what is left fits
    /// into so many bytes; the smallest key always stays. Answers the smallest that was dropped.
    ///
    /// # Errors
    /// When a key is there twice.
    pub(super) fn keep_smallest(&mut self, bytes: usize) -> Result<Option<String>, StateError> {
        self.close_entry();
        self.sort(0)?;
        self.scratch.clear();
        let mut kept = 0;
        for entry in &mut self.entries {
            let text = self.out.get(entry.start..entry.end).unwrap_or_default();
            let cost = 2 * (self.scratch.len() + text.len()) + size_of::<Entry>() * (kept + 1);
            if kept > 0 && cost > bytes {
                break;
            }
            let (start, key) = (self.scratch.len(), entry.key_end - entry.start);
            self.scratch.extend_from_slice(text);
            *entry = Entry { start, key_end: start + key, end: self.scratch.len() };
            kept += 1;
        }
        let dropped = self.entries.get(kept).map(|entry| {
            string_of(self.out.get(entry.start..entry.key_end).unwrap_or_default()).into_owned()
        });
        self.entries.truncate(kept);
        std::mem::swap(&mut self.out, &mut self.scratch);
        Ok(dropped)
    }
}
