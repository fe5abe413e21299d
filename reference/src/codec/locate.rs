//! Where in a payload a message or batch member starts, for error messages. Only asked once
//! something is known to be wrong, so it is simple rather than fast.

use super::wire::{self, WireType};

/// `EventBatch` in the envelope.
const BATCH: u32 = 8;
/// `events` in `EventBatch`.
const EVENTS: u32 = 2;

/// Offset in the payload of the message in the envelope, or of a member of its batch; 0 if there is
/// none.
pub(super) fn message(payload: &[u8], member: Option<usize>) -> usize {
    let mut found = 0;
    let mut members = 0;
    walk(payload, |offset, number, content| {
        let Some(wanted) = member else {
            if (1..=9).contains(&number) {
                found = offset;
            }
            return;
        };
        if number == BATCH {
            let base = subslice_offset(payload, content);
            walk(content, |offset, number, _| {
                if number == EVENTS {
                    if members == wanted {
                        found = base + offset;
                    }
                    members += 1;
                }
            });
        }
    });
    found
}

fn subslice_offset(outer: &[u8], inner: &[u8]) -> usize {
    (inner.as_ptr() as usize).saturating_sub(outer.as_ptr() as usize)
}

/// Calls `f` with the offset, number and content of every length-delimited field of a message.
fn walk<'a>(buf: &'a [u8], mut f: impl FnMut(usize, u32, &'a [u8])) {
    let mut pos = 0;
    while pos < buf.len() {
        let start = pos;
        let Ok((number, wire)) = wire::key(buf, &mut pos) else { return };
        let skipped = match wire {
            WireType::Varint => wire::varint(buf, &mut pos).map(|_| ()),
            WireType::Fixed64 => wire::skip(buf, &mut pos, 8),
            WireType::Fixed32 => wire::skip(buf, &mut pos, 4),
            WireType::Len => wire::len(buf, &mut pos).map(|content| f(start, number, content)),
            WireType::StartGroup | WireType::EndGroup => Ok(()),
        };
        if skipped.is_err() {
            return;
        }
    }
}
