//! Writes histories: one JSON object per line, a line feed after each, and a last one that says how
//! many there are, so that a history that was cut or edited is not taken for a whole one.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, Line};

/// The last line of a history file: `{"v":1,"end":{"lines":N,"crc32":"…"}}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trailer {
    pub(super) v: u32,
    pub(super) end: End,
}

/// What a whole history holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    /// Lines before this one.
    pub(super) lines: u64,
    /// CRC-32 (IEEE) of their bytes, line feeds included, in eight hex digits.
    pub(super) crc32: String,
}

impl End {
    pub(super) fn new(lines: u64, crc32: u32) -> Self {
        Self { lines, crc32: format!("{crc32:08x}") }
    }
}

/// Writes the lines, in order, and the end of the history. Buffering is the caller's business.
///
/// # Errors
/// Whatever the writer answers.
pub fn write(lines: &[Line], out: &mut impl Write) -> io::Result<()> {
    let mut crc = crc32fast::Hasher::new();
    let mut text = Vec::with_capacity(256);
    for line in lines {
        text.clear();
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
        crc.update(&text);
        out.write_all(&text)?;
    }
    let end = End::new(lines.len() as u64, crc.finalize());
    serde_json::to_writer(&mut *out, &Trailer { v: FORMAT_VERSION, end })?;
    out.write_all(b"\n")
}

/// The text of one line, without a line feed.
///
/// # Errors
/// Only when the memory for it cannot be written to, which no allocator in use reports.
pub fn line_text(line: &Line) -> io::Result<String> {
    Ok(serde_json::to_string(line)?)
}

/// The text of a history file.
///
/// # Errors
/// As [`line_text`].
pub fn to_text(lines: &[Line]) -> io::Result<String> {
    let mut out = Vec::with_capacity(lines.len() * 128);
    write(lines, &mut out)?;
    String::from_utf8(out).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}
