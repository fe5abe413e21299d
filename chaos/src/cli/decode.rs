//! `dashproof decode`: looks into frames, one JSON object per frame.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dashproof_reference::codec::{
    DecodeError, DecodePolicy, Decoder, Legacy, Limits, Region, SchemaPolicy, to_json,
};
use dashproof_reference::proto::DashStreamMessage;
use prost::Message as _;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::failure::Failure;
use crate::exit;

/// `decode`
#[derive(Clone, Debug, Args)]
pub(crate) struct DecodeArgs {
    /// File that holds one record value, or `-` for standard input.
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// Read one frame per line, as hex digits; an empty line is an empty frame.
    #[arg(long)]
    pub(crate) hex_lines: bool,
    /// Schema versions to accept.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) policy: Policy,
    /// Also accept records without a frame byte.
    #[arg(long)]
    pub(crate) legacy: bool,
    /// Also accept an empty envelope, a missing header, any schema version.
    #[arg(long)]
    pub(crate) lenient: bool,
}

/// Schema versions to accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// Version 1.
    #[default]
    Exact,
    /// Version 1 and newer.
    Forward,
    /// Version 1 and older.
    Backward,
}

/// What came of the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DecodeSummary {
    /// Frames read.
    pub(crate) frames: u64,
    /// Frames that did not decode.
    pub(crate) failed: u64,
}

impl DecodeArgs {
    fn policy(&self) -> DecodePolicy {
        DecodePolicy {
            schema: match self.policy {
                Policy::Exact => SchemaPolicy::Exact,
                Policy::Forward => SchemaPolicy::Forward,
                Policy::Backward => SchemaPolicy::Backward,
            },
            legacy: if self.legacy { Legacy::ProtobufOrZstd } else { Legacy::Refuse },
            lenient: self.lenient,
            limits: Limits::default(),
        }
    }
}

/// `dashproof decode`: proven when every frame decodes.
pub(crate) fn decode(args: &DecodeArgs) -> Result<u8, Failure> {
    let summary = run(args, &mut io::stdout().lock())?;
    Ok(if summary.failed == 0 { exit::PROVEN } else { exit::VIOLATION })
}

/// Decodes what the arguments name and writes one line of JSON per frame.
///
/// # Errors
/// When the file cannot be read, or the lines cannot be written.
pub(crate) fn run(args: &DecodeArgs, out: &mut impl Write) -> Result<DecodeSummary, Failure> {
    let unreadable =
        |e: io::Error| Failure::usage(format!("{} cannot be read: {e}", args.file.display()));
    let mut input: Box<dyn BufRead> = if args.file.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(&args.file).map_err(unreadable)?))
    };
    let mut decoder = Decoder::new(args.policy());
    let mut summary = DecodeSummary::default();
    let mut show = |line: &Value, ok: bool| {
        summary.frames += 1;
        summary.failed += u64::from(!ok);
        match writeln!(out, "{line}") {
            // A reader that went away is no error worth telling.
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::environment(format!("the answer cannot be written: {e}")))
            }
            _ => Ok(()),
        }
    };
    if args.hex_lines {
        let mut number = 0_u64;
        while let Some(line) = read_line(&mut *input).map_err(unreadable)? {
            number += 1;
            let (mut value, ok) = match unhex(&line) {
                Ok(frame) => look(&mut decoder, &frame),
                Err(at) => (not_hex(at), false),
            };
            if !ok && let Value::Object(answer) = &mut value {
                answer.insert("line".to_owned(), number.into());
            }
            show(&value, ok)?;
        }
    } else {
        let mut frame = Vec::new();
        // Two bytes more than can be a frame are enough for the decoder to say so.
        input.take(max_frame() + 1).read_to_end(&mut frame).map_err(unreadable)?;
        let (value, ok) = look(&mut decoder, &frame);
        show(&value, ok)?;
    }
    Ok(summary)
}

fn max_frame() -> u64 {
    Limits::default().payload as u64 + 1
}

/// The next line without its end, or `None` at the end of the input. Of a line that is longer than
/// any frame, what is needed to see that it is.
fn read_line(input: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let longest = 2 * (max_frame() + 1) + 2;
    let mut line = Vec::new();
    if input.take(longest).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|b| *b == b'\n').is_some() {
        line.pop_if(|b| *b == b'\r');
    } else if line.len() as u64 == longest {
        skip_line(input)?;
    }
    Ok(Some(line))
}

fn skip_line(input: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (used, done) = match buffer.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        if done {
            return Ok(());
        }
    }
}

/// The bytes that hex digits stand for, or the column of what is no hex digit or lacks its pair.
fn unhex(line: &[u8]) -> Result<Vec<u8>, usize> {
    let digit = |at: usize| {
        let text = line.get(at).copied().map(char::from);
        text.and_then(|c| c.to_digit(16)).and_then(|d| u8::try_from(d).ok()).ok_or(at)
    };
    (0..line.len()).step_by(2).map(|at| Ok(digit(at)? << 4 | digit(at + 1)?)).collect()
}

fn not_hex(column: usize) -> Value {
    let message = format!("column {}: two hex digits are needed for each byte", column + 1);
    json!({"ok": false, "error": {"kind": "hex", "offset": column, "message": message}})
}

/// The answer for one frame, and whether it decoded.
fn look(decoder: &mut Decoder, frame: &[u8]) -> (Value, bool) {
    let counters = decoder.counters().clone();
    let before = (counters.legacy_decodes(), counters.lenient_decodes());
    match decoder.decode(frame) {
        Ok(message) => {
            let mut answer = Map::new();
            answer.insert("ok".to_owned(), true.into());
            // Only when that is how it got in.
            if counters.legacy_decodes() > before.0 {
                answer.insert("legacy".to_owned(), true.into());
            }
            if counters.lenient_decodes() > before.1 {
                answer.insert("lenient".to_owned(), true.into());
            }
            answer.insert("sha256".to_owned(), sha256(&message).into());
            answer.insert("message".to_owned(), to_json(&message));
            (Value::Object(answer), true)
        }
        Err(error) => (json!({"ok": false, "error": explain(&error)}), false),
    }
}

fn explain(error: &DecodeError) -> Value {
    let mut out = Map::new();
    out.insert("kind".to_owned(), error.kind.as_str().into());
    out.insert("offset".to_owned(), error.offset.into());
    if error.region == Region::Inflated {
        out.insert("region".to_owned(), error.region.as_str().into());
    }
    if let Some(limit) = error.limit {
        out.insert("limit".to_owned(), limit.into());
    }
    out.insert("message".to_owned(), error.message.clone().into());
    Value::Object(out)
}

/// SHA-256 of the message encoded in field order, as hex: what the compatibility vectors call
/// `ok_sha256`.
fn sha256(message: &DashStreamMessage) -> String {
    let digest = Sha256::digest(message.encode_to_vec());
    digest.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests;
