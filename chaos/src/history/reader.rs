//! Reads histories back, so that a verdict can be had again from the file alone.

use std::io::{self, BufRead, Read as _};

use serde::Deserialize;

use super::writer::{End, Trailer};
use super::{FORMAT_VERSION, Line};

/// Why a history cannot be read. Says the file, the line and what was expected there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be read.
    #[error("{path}:{line}: the history could not be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// Line from 1.
        line: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The line is not what a writer of this version writes.
    #[error(
        "{path}:{line}:{column}: expected a history line {{v, n, t_us, inc, src, kind, …}}: {text}"
    )]
    Malformed {
        /// The file.
        path: String,
        /// Line from 1.
        line: u64,
        /// Byte in the line, from 1.
        column: usize,
        /// What the parser stumbled over.
        text: String,
    },
    /// The line is longer than any that a writer writes.
    #[error("{path}:{line}: the line is longer than {most} bytes: that is no history")]
    TooLong {
        /// The file.
        path: String,
        /// Line from 1.
        line: u64,
        /// Most bytes of a line.
        most: u64,
    },
    /// The last line stops in the middle.
    #[error(
        "{path}:{line}: the last line is cut off after {bytes} bytes: the writer was stopped \
         in the middle; a history without its end proves nothing, run the scenario again"
    )]
    Truncated {
        /// The file.
        path: String,
        /// Line from 1.
        line: u64,
        /// How much of it is there.
        bytes: usize,
    },
    /// Written by another version.
    #[error(
        "{path}:{line}: the line has version {found}, this program reads version {FORMAT_VERSION}: \
         judge it with the dashproof that wrote it"
    )]
    Version {
        /// The file.
        path: String,
        /// Line from 1.
        line: u64,
        /// `v` of the line.
        found: u64,
    },
    /// A line is missing, repeated or moved.
    #[error(
        "{path}:{line}: expected line number n = {expected}, found {found}: lines are missing, \
         repeated or moved"
    )]
    Gap {
        /// The file.
        path: String,
        /// Line from 1.
        line: u64,
        /// The number that follows from the line before.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// The line that ends a history is missing.
    #[error(
        "{path}: the history ends after line {line} without its `end` line: it was cut off, or its \
         writer was stopped; a history without its end proves nothing, run the scenario again"
    )]
    NoEnd {
        /// The file.
        path: String,
        /// The last line, from 1.
        line: u64,
    },
    /// The lines are not those that were written.
    #[error(
        "{path}:{line}: the lines before the end are not those that were written ({expected}, \
         found {found}): the file was edited or damaged, run the scenario again"
    )]
    Changed {
        /// The file.
        path: String,
        /// The `end` line, from 1.
        line: u64,
        /// What the end says.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Something stands after the end.
    #[error("{path}:{line}: the history has ended here; what follows is not part of it")]
    AfterEnd {
        /// The file.
        path: String,
        /// The first line after the end, from 1.
        line: u64,
    },
    /// There is no line.
    #[error("{path}:1: expected a `run` line, found an empty file")]
    Empty {
        /// The file.
        path: String,
    },
}

/// Most bytes of a line. The longest there is holds a whole log of records.
const LONGEST: u64 = 1 << 28;

/// Reads a whole history; `path` is for messages only.
///
/// # Errors
/// [`ReadError`]: the first line that is not as it must be.
pub fn read(input: impl BufRead, path: &str) -> Result<Vec<Line>, ReadError> {
    read_lines(input, path, LONGEST)
}

fn read_lines(mut input: impl BufRead, path: &str, longest: u64) -> Result<Vec<Line>, ReadError> {
    let mut lines: Vec<Line> = Vec::new();
    let mut text = Vec::new();
    let mut crc = crc32fast::Hasher::new();
    let mut end: Option<End> = None;
    loop {
        let line = lines.len() as u64 + 1 + u64::from(end.is_some());
        text.clear();
        let read = input.by_ref().take(longest + 1).read_until(b'\n', &mut text);
        let bytes = read.map_err(|source| ReadError::Io { path: path.to_owned(), line, source })?;
        if bytes == 0 {
            break;
        }
        if bytes as u64 > longest {
            return Err(ReadError::TooLong { path: path.to_owned(), line, most: longest });
        }
        if end.is_some() {
            return Err(ReadError::AfterEnd { path: path.to_owned(), line });
        }
        if let Ok(Trailer { v: FORMAT_VERSION, end: found }) = serde_json::from_slice(&text) {
            end = Some(found);
            continue;
        }
        let parsed = parse(&text, path, line)?;
        crc.update(&text);
        if parsed.n + 1 != line {
            let (expected, found) = (line - 1, parsed.n);
            return Err(ReadError::Gap { path: path.to_owned(), line, expected, found });
        }
        lines.push(parsed);
    }
    if lines.is_empty() {
        return Err(ReadError::Empty { path: path.to_owned() });
    }
    let line = lines.len() as u64;
    let Some(expected) = end else {
        return Err(ReadError::NoEnd { path: path.to_owned(), line });
    };
    let found = End::new(line, crc.finalize());
    if found != expected {
        let shown = |end: &End| format!("{} lines with CRC {}", end.lines, end.crc32);
        return Err(ReadError::Changed {
            path: path.to_owned(),
            line: line + 1,
            expected: shown(&expected),
            found: shown(&found),
        });
    }
    Ok(lines)
}

#[derive(Deserialize)]
struct Version {
    v: u64,
}

fn parse(text: &[u8], path: &str, line: u64) -> Result<Line, ReadError> {
    let (whole, body) = match text {
        [body @ .., b'\n'] => (true, body),
        body => (false, body),
    };
    let result = match serde_json::from_slice::<Line>(body) {
        Ok(parsed) if parsed.v == FORMAT_VERSION => return Ok(parsed),
        Ok(parsed) => Err((0, format!("version {}", parsed.v))),
        Err(e) if e.is_eof() && !whole => Ok(()),
        Err(e) => Err((e.column(), e.to_string())),
    };
    let path = path.to_owned();
    // A line of another version may look any way at all, so its version is looked for first.
    if let Ok(Version { v: found }) = serde_json::from_slice(body)
        && found != u64::from(FORMAT_VERSION)
    {
        return Err(ReadError::Version { path, line, found });
    }
    match result {
        Ok(()) => Err(ReadError::Truncated { path, line, bytes: body.len() }),
        Err((column, text)) => Err(ReadError::Malformed { path, line, column, text }),
    }
}

#[cfg(test)]
pub(crate) mod tests;
