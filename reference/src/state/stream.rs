//! The canonical text of a state as a stream, in bounded memory.
//!
//! SHA-256 wants the text in the order of sorted keys; a `Serialize` gives it in any order, and a
//! struct's first field may be 100 MB that belong last. So a state that does not fit the window is
//! walked more than once. Each walk keeps a *position*: the containers that are open in the output,
//! and for each how far it is. What is not next is skipped without being serialised. In the
//! innermost open map the entries with the smallest keys that are still missing are collected in
//! the window and written when the map ends; an entry that does not fit the window becomes an open
//! container itself in the next walk. A state that fits the window takes one walk.

use std::io::{self, Write};

use serde::Serialize;

use super::error::StateError;
use super::probe::Probe;
use super::text::Text;
use super::walk::{Shape, Visit, walk};

/// What bounds a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Longest canonical text.
    pub(super) max_bytes: u64,
    /// Deepest nesting.
    pub(super) max_depth: usize,
    /// Bytes that text on its way may take.
    pub(super) window: usize,
}

/// Takes the canonical text piece by piece.
pub(super) trait Outlet {
    fn push(&mut self, bytes: &[u8]);
}

/// Streams a state into the outlet that is made for a text of its length, and told whether the
/// window holds the text anyway. Answers the outlet, and
/// the text itself if it fitted the window.
///
/// # Errors
/// The state's own, `TooDeep` and `TooLarge`.
pub(super) fn stream<S: Serialize + ?Sized, O: Outlet>(
    state: &S,
    bounds: &Bounds,
    outlet: impl FnOnce(u64, bool) -> O,
) -> Result<(O, Option<Vec<u8>>), StateError> {
    let mut probe = Probe::new(bounds);
    walk(state, &mut probe, bounds.max_depth)?;
    let total = probe.total();
    let mut outlet = outlet(total, probe.fits());
    if probe.fits() {
        outlet.push(probe.text.bytes());
        return Ok((outlet, Some(probe.text.take())));
    }
    let mut emitter = Emitter {
        text: probe.text,
        window: bounds.window,
        outlet: Counted { outlet, bytes: 0 },
        frames: Vec::new(),
        entered: 0,
        inner: 0,
        target: Target::Output,
        progress: false,
        complete: false,
        current: String::new(),
    };
    while !emitter.complete {
        emitter.start();
        walk(state, &mut emitter, bounds.max_depth)?;
        if !emitter.progress || emitter.outlet.bytes > total {
            return Err(StateError::changed());
        }
    }
    if emitter.outlet.bytes != total {
        return Err(StateError::changed());
    }
    Ok((emitter.outlet.outlet, None))
}

struct Counted<O> {
    outlet: O,
    bytes: u64,
}

impl<O: Outlet> Counted<O> {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.outlet.push(bytes);
    }
}

impl<O: Outlet> Write for Counted<O> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the value that is being walked goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Straight to the output: it is what comes next.
    Output,
    /// To the window.
    Window,
    /// Nowhere: it did not fit the window.
    Nowhere,
}

/// Keys of a map from this one on are for a later walk.
struct Limit {
    key: String,
    /// Its entry is too long for the window.
    long: bool,
}

/// A container that is open in the output.
struct Frame {
    shape: Shape,
    /// Children written whole.
    done: usize,
    /// The last key written whole.
    last: Option<String>,
    /// A map's child that is written as an open container, or will be in the next walk.
    next: Option<String>,
    /// The same of an array: the child at `done`.
    next_element: bool,
    /// Whether the open child's key or comma is written.
    begun: bool,
    // Of this walk:
    /// Children from here on are for a later walk.
    stalled: bool,
    limit: Option<Limit>,
    /// The child that comes next.
    index: usize,
}

impl Frame {
    fn new(shape: Shape) -> Self {
        Self {
            shape,
            done: 0,
            last: None,
            next: None,
            next_element: false,
            begun: false,
            stalled: false,
            limit: None,
            index: 0,
        }
    }

    fn start_walk(&mut self) {
        (self.stalled, self.limit, self.index) = (false, None, 0);
    }

    fn child_done(&mut self) {
        self.done += 1;
        self.begun = false;
        self.next_element = false;
        if let Some(key) = self.next.take() {
            self.last = Some(key);
            // Entries that came before it in this walk were skipped.
            self.stalled = true;
        }
    }
}

/// The walks after the first.
struct Emitter<O> {
    text: Text,
    window: usize,
    outlet: Counted<O>,
    frames: Vec<Frame>,
    /// How many of the frames this walk has entered.
    entered: usize,
    /// Depth inside a child that goes to the window, or nowhere.
    inner: usize,
    target: Target,
    progress: bool,
    complete: bool,
    /// Key of the entry that is built in the window.
    current: String,
}

impl<O: Outlet> Emitter<O> {
    fn start(&mut self) {
        (self.entered, self.inner) = (0, 0);
        (self.target, self.progress) = (Target::Output, false);
        self.text.clear();
    }

    fn frame(&mut self) -> Option<&mut Frame> {
        self.entered.checked_sub(1).and_then(|at| self.frames.get_mut(at))
    }

    /// A value straight to the output is whole.
    fn direct_done(&mut self) {
        self.progress = true;
        self.target = Target::Window;
        match self.frame() {
            Some(frame) => frame.child_done(),
            None => self.complete = true,
        }
    }

    fn fit(&mut self) {
        self.text.reserve(self.window);
        if self.target == Target::Window && self.text.used() > self.window {
            self.overflow();
        }
    }

    fn overflow(&mut self) {
        self.target = Target::Nowhere;
        match self.frame().map(|frame| frame.shape) {
            Some(Shape::Map) => self.text.abandon_entry(),
            _ => self.text.clear(),
        }
    }

    /// A value in the window is whole, or was given up.
    fn window_done(&mut self) {
        let overflown = self.target == Target::Nowhere;
        self.target = Target::Window;
        let Some(frame) = self.entered.checked_sub(1).and_then(|at| self.frames.get_mut(at)) else {
            return;
        };
        match frame.shape {
            Shape::Map if overflown => {
                frame.limit = Some(Limit { key: self.current.clone(), long: true });
            }
            Shape::Map => {}
            Shape::Seq if overflown => {
                (frame.next_element, frame.stalled) = (true, true);
                self.progress = true;
            }
            Shape::Seq => {
                if frame.done > 0 {
                    self.outlet.push(b",");
                }
                self.outlet.push(self.text.bytes());
                self.text.clear();
                frame.child_done();
                self.progress = true;
            }
        }
    }

    fn after(&mut self) {
        self.fit();
        if self.inner == 0 {
            self.window_done();
        }
    }

    fn map_key(&mut self, key: &str) -> Result<bool, StateError> {
        let compact = self.text.used() > self.window / 4 * 3;
        let Some(frame) = self.entered.checked_sub(1).and_then(|at| self.frames.get_mut(at)) else {
            return Ok(false);
        };
        if frame.stalled || frame.last.as_deref().is_some_and(|last| key <= last) {
            return Ok(false);
        }
        if let Some(next) = &frame.next {
            if key != next {
                return Ok(false);
            }
            if !frame.begun {
                if frame.done > 0 {
                    self.outlet.push(b",");
                }
                let written = serde_json::to_writer(&mut self.outlet, key);
                written.map_err(|error| StateError::unserialisable(&error.to_string()))?;
                self.outlet.push(b":");
                frame.begun = true;
            }
            self.target = Target::Output;
            return Ok(true);
        }
        if compact && let Some(dropped) = self.text.keep_smallest(self.window / 2)? {
            // What was behind an older limit is of no use and may be what was dropped.
            if frame.limit.as_ref().is_none_or(|limit| dropped < limit.key) {
                frame.limit = Some(Limit { key: dropped, long: false });
            }
        }
        if frame.limit.as_ref().is_some_and(|limit| *key >= *limit.key) {
            return Ok(false);
        }
        self.current.clear();
        self.current.push_str(key);
        if !self.text.key(key, self.window / 2) {
            frame.limit = Some(Limit { key: key.to_owned(), long: true });
            return Ok(false);
        }
        Ok(true)
    }

    /// Writes what the window has of the innermost map; answers whether that was all.
    fn flush_map(&mut self) -> Result<bool, StateError> {
        let Some(frame) = self.entered.checked_sub(1).and_then(|at| self.frames.get_mut(at)) else {
            return Ok(false);
        };
        if frame.next.is_some() || frame.stalled {
            return Ok(false);
        }
        let limit = frame.limit.take();
        for (key, text) in self.text.sorted_entries()? {
            if limit.as_ref().is_some_and(|limit| key >= limit.key) {
                break;
            }
            if frame.done > 0 {
                self.outlet.push(b",");
            }
            self.outlet.push(text);
            frame.done += 1;
            frame.last = Some(key);
            self.progress = true;
        }
        self.text.clear();
        let whole = limit.is_none();
        if let Some(limit) = limit.filter(|limit| limit.long) {
            frame.next = Some(limit.key);
            self.progress = true;
        }
        Ok(whole)
    }
}

impl<O: Outlet> Visit for Emitter<O> {
    fn literal(&mut self, json: &[u8]) -> Result<(), StateError> {
        match self.target {
            Target::Output => {
                self.outlet.push(json);
                self.direct_done();
                return Ok(());
            }
            Target::Window => self.text.literal(json),
            Target::Nowhere => {}
        }
        self.after();
        Ok(())
    }

    fn string(&mut self, value: &str) -> Result<(), StateError> {
        if self.target == Target::Output {
            let written = serde_json::to_writer(&mut self.outlet, value);
            written.map_err(|error| StateError::unserialisable(&error.to_string()))?;
            self.direct_done();
            return Ok(());
        }
        if self.target == Target::Window && !self.text.string(value, self.window / 2) {
            self.overflow();
        }
        self.after();
        Ok(())
    }

    fn begin(&mut self, shape: Shape) -> Result<(), StateError> {
        if self.target != Target::Output {
            if self.target == Target::Window {
                self.text.begin(shape);
            }
            self.inner += 1;
            self.fit();
            return Ok(());
        }
        self.target = Target::Window;
        match self.frames.get_mut(self.entered) {
            Some(frame) if frame.shape == shape => frame.start_walk(),
            Some(_) => return Err(StateError::changed()),
            None => {
                self.outlet.push(&[shape.open()]);
                self.frames.push(Frame::new(shape));
                self.progress = true;
            }
        }
        self.entered += 1;
        match shape {
            Shape::Map => self.text.begin_entries(),
            Shape::Seq => self.text.clear(),
        }
        Ok(())
    }

    fn key(&mut self, key: &str) -> Result<bool, StateError> {
        if self.inner == 0 {
            return self.map_key(key);
        }
        if self.target == Target::Window && !self.text.key(key, self.window / 2) {
            self.overflow();
        }
        self.fit();
        Ok(self.target == Target::Window)
    }

    fn element(&mut self) -> Result<bool, StateError> {
        if self.inner > 0 {
            if self.target == Target::Window {
                self.text.element();
            }
            return Ok(self.target == Target::Window);
        }
        let Some(frame) = self.entered.checked_sub(1).and_then(|at| self.frames.get_mut(at)) else {
            return Ok(false);
        };
        let index = frame.index;
        frame.index += 1;
        if frame.stalled || index != frame.done {
            return Ok(false);
        }
        if frame.next_element {
            self.target = Target::Output;
            if frame.done > 0 && !frame.begun {
                self.outlet.push(b",");
            }
            frame.begun = true;
        }
        Ok(true)
    }

    fn end(&mut self) -> Result<(), StateError> {
        if self.inner > 0 {
            self.inner -= 1;
            if self.target == Target::Window {
                self.text.end()?;
            }
            self.after();
            return Ok(());
        }
        let Some((shape, stalled)) = self.frame().map(|frame| (frame.shape, frame.stalled)) else {
            return Ok(());
        };
        let whole = match shape {
            Shape::Map => self.flush_map()?,
            Shape::Seq => !stalled,
        };
        self.entered -= 1;
        if whole {
            self.outlet.push(&[shape.close()]);
            self.frames.truncate(self.entered);
            self.direct_done();
        } else if let Some(frame) = self.frame() {
            frame.stalled = true;
        }
        Ok(())
    }
}
