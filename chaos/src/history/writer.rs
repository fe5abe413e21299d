//! Writes histories: one JSON object per line, a line feed after each.

use std::io::{self, Write};

use super::Line;

/// Writes the lines, in order. Buffering is the caller's business.
///
/// # Errors
/// Whatever the writer answers.
pub fn write(lines: &[Line], out: &mut impl Write) -> io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The text of a history file.
///
/// # Errors
/// Only when the memory for it cannot be written to, which no allocator in use reports.
pub fn to_text(lines: &[Line]) -> io::Result<String> {
    let mut out = Vec::with_capacity(lines.len() * 128);
    write(lines, &mut out)?;
    String::from_utf8(out).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}
