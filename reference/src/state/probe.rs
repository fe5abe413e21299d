//! The first walk of a stream: the whole text if it fits the window, else its length.

use std::io::{self, Write};

use super::error::{StateError, StateErrorKind};
use super::stream::Bounds;
use super::text::Text;
use super::walk::{Shape, Visit};

/// Finds out what the walks after it must know, and refuses what is too long.
pub(super) struct Probe {
    pub(super) text: Text,
    window: usize,
    max_bytes: u64,
    /// Set when the text did not fit.
    measuring: Option<Measure>,
}

/// Counts the bytes of a text that nobody keeps.
struct Measure {
    bytes: u64,
    /// For each open container, whether it is empty so far.
    empty: Vec<bool>,
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Measure {
    fn separator(&mut self) {
        if let Some(empty) = self.empty.last_mut() {
            self.bytes += u64::from(!*empty);
            *empty = false;
        }
    }

    fn string(&mut self, value: &str) -> Result<(), StateError> {
        serde_json::to_writer(self, value).map_err(|e| StateError::unserialisable(&e.to_string()))
    }
}

impl Probe {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let (window, max_bytes) = (bounds.window, bounds.max_bytes);
        Self { text: Text::default(), window, max_bytes, measuring: None }
    }

    /// Whether the window has the whole text.
    pub(super) fn fits(&self) -> bool {
        self.measuring.is_none()
    }

    /// Length of the canonical text so far.
    pub(super) fn total(&self) -> u64 {
        self.measuring.as_ref().map_or(self.text.len() as u64, |measure| measure.bytes)
    }

    fn check(&self, bytes: u64) -> Result<(), StateError> {
        if bytes > self.max_bytes {
            let kind = StateErrorKind::TooLarge { limit: self.max_bytes, at_least: bytes };
            return Err(StateError::new(kind));
        }
        Ok(())
    }

    /// Turns to measuring, from what the text has so far: its length is that of any order, but for
    /// the commas of maps, which are written when a map ends.
    fn measure(&mut self) -> &mut Measure {
        self.measuring.get_or_insert_with(|| {
            let empty = self.text.open_frames().map(|(_, empty)| empty).collect();
            let bytes = self.text.len() as u64 + self.text.missing_commas();
            self.text.clear();
            Measure { bytes, empty }
        })
    }

    fn fit(&mut self) -> Result<(), StateError> {
        self.text.reserve(self.window);
        if self.measuring.is_none() && self.text.used() > self.window {
            self.measure();
        }
        self.check(self.total())
    }
}

impl Visit for Probe {
    fn literal(&mut self, json: &[u8]) -> Result<(), StateError> {
        match &mut self.measuring {
            Some(measure) => measure.bytes += json.len() as u64,
            None => self.text.literal(json),
        }
        self.fit()
    }

    fn string(&mut self, value: &str) -> Result<(), StateError> {
        if self.measuring.is_none() {
            let before = self.text.len();
            if self.text.string(value, self.window / 2) {
                return self.fit();
            }
            self.text.truncate(before);
        }
        self.measure().string(value)?;
        self.check(self.total())
    }

    fn begin(&mut self, shape: Shape) -> Result<(), StateError> {
        match &mut self.measuring {
            Some(measure) => {
                measure.bytes += 1;
                measure.empty.push(true);
            }
            None => self.text.begin(shape),
        }
        self.fit()
    }

    fn key(&mut self, key: &str) -> Result<bool, StateError> {
        if self.measuring.is_none() && !self.text.key(key, self.window / 2) {
            self.measure();
        } else if self.measuring.is_none() {
            return self.fit().map(|()| true);
        }
        let measure = self.measure();
        measure.separator();
        measure.string(key)?;
        measure.bytes += 1;
        self.fit().map(|()| true)
    }

    fn element(&mut self) -> Result<bool, StateError> {
        match &mut self.measuring {
            Some(measure) => measure.separator(),
            None => self.text.element(),
        }
        self.fit().map(|()| true)
    }

    fn end(&mut self) -> Result<(), StateError> {
        match &mut self.measuring {
            Some(measure) => {
                measure.bytes += 1;
                measure.empty.pop();
            }
            None => self.text.end()?,
        }
        self.fit()
    }
}
