//! What a spool's files hold, by a reader of the harness's own.
//!
//! It knows the byte layout from the reference's manual and shares no code with the writer, so that
//! a spool that only its own writer can read is found out. What is damaged it passes over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::history::{EventId, Kind, Recorder, Src};

/// Name of the line that says that the files were read.
pub const READ: &str = "spool.read";
/// Name of a line that says that the spool holds an event, which is the line's path.
pub const HOLDS: &str = "spool.holds";

/// The file is a segment of a spool, by its name.
#[must_use]
pub fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "spool")
}

const HEADER: usize = 24;
const MARKER: &[u8; 4] = b"DSPE";
const VERSION: u32 = 1;

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at + N)?;
    Some(field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// The body of the intact entry at this offset.
fn body(segment: u64, bytes: &[u8], at: usize) -> Option<&[u8]> {
    let head = bytes.get(at..at + 12)?;
    if !head.starts_with(MARKER) {
        return None;
    }
    let (len, crc) = (number::<4>(head, 4)?, number::<4>(head, 8)?);
    let begin = at + 12;
    let body = bytes.get(begin..begin.checked_add(usize::try_from(len).ok()?)?)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&VERSION.to_le_bytes());
    hasher.update(&segment.to_le_bytes());
    hasher.update(&(at as u64).to_le_bytes());
    hasher.update(&len.to_le_bytes());
    hasher.update(body);
    (u64::from(hasher.finalize()) == crc).then_some(body)
}

fn generation(path: &Path) -> Option<u64> {
    u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok()
}

/// The last six bytes of a message id are the harness's own.
fn event(message_id: &[u8]) -> Option<EventId> {
    let [l0, l1, n0, n1, n2, n3] = *message_id.get(10..16)? else { return None };
    let (load, n) = (u16::from_be_bytes([l0, l1]), u32::from_be_bytes([n0, n1, n2, n3]));
    Some(EventId { load, n })
}

/// Events with a record that no later entry ended, in the order of the records.
#[must_use]
pub fn live(segments: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<EventId> {
    let mut live: BTreeMap<(u64, u64), EventId> = BTreeMap::new();
    for (path, bytes) in segments {
        let Some(segment) = generation(path) else { continue };
        if number::<4>(bytes, 4).is_some_and(|version| version > u64::from(VERSION)) {
            continue;
        }
        let mut at = HEADER;
        while at < bytes.len() {
            let Some(body) = body(segment, bytes, at) else {
                at += 1;
                continue;
            };
            let ordinal = number::<4>(body, 1);
            match (body.first(), ordinal) {
                (Some(1), Some(ordinal)) => {
                    if let Some(event) = body.get(28..44).and_then(event) {
                        live.insert((segment, ordinal), event);
                    }
                }
                (Some(3), _) => {
                    if let (Some(of), Some(n)) = (number::<8>(body, 5), number::<4>(body, 13)) {
                        live.remove(&(of, n));
                    }
                }
                _ => {}
            }
            at += 12 + body.len();
        }
    }
    live.into_values().collect()
}

/// Writes into the history what the files hold at the end of a run.
pub(crate) fn record(recorder: &Recorder, segments: &BTreeMap<PathBuf, Vec<u8>>) {
    let line = |op: &str, path: String| {
        recorder.record(Src::Fs, Kind::Fs { op: op.to_owned(), path, error: None });
    };
    line(READ, String::new());
    for event in live(segments) {
        line(HOLDS, event.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dashproof_reference::core::{MessageId, PerRoute, Persistence};
    use dashproof_reference::fs::Fs;
    use dashproof_reference::runtime::StdFs;
    use dashproof_reference::spool::{Spool, SpoolEntry, SpoolOptions, SpoolRecord};

    use super::*;

    fn record(n: u32) -> SpoolEntry {
        let mut message_id = [0; 16];
        message_id[12..].copy_from_slice(&n.to_be_bytes());
        SpoolEntry::Record(Box::new(SpoolRecord {
            message_id: MessageId(message_id),
            thread: "a thread".into(),
            sequence: u64::from(n),
            accepted_us: 0,
            bytes: 10,
            from_dlq: false,
            claims: PerRoute { main: Persistence::Not, dlq: Persistence::Not },
            frame: "a frame".into(),
        }))
    }

    #[test]
    fn the_independent_reader_finds_what_the_spool_keeps_and_not_what_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(StdFs);
        let mut spool = Spool::open(fs, SpoolOptions::new(dir.path()), "a test").unwrap();
        let ids: Vec<_> = spool.write(&[record(1), record(2), record(3)]);
        spool.write(&[SpoolEntry::Resolved(ids[1].unwrap())]);
        drop(spool);
        let mut segments = BTreeMap::new();
        for entry in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            if entry.path().extension().is_some_and(|e| e == "spool") {
                segments.insert(entry.path(), std::fs::read(entry.path()).unwrap());
            }
        }
        let event = |n| EventId { load: 0, n };
        assert_eq!(live(&segments), [event(1), event(3)]);
        let bytes = segments.values_mut().next().unwrap();
        bytes[HEADER + 20] ^= 1;
        assert_eq!(live(&segments), [event(3)]);
    }
}
