//! Lines about state diffs, as people read them.

use std::fmt;

use crate::history::{Kind, StateAnswered, StateHeap, StateOffered, StateReceived};

/// Digits of a hash that are shown.
const DIGITS: usize = 16;

fn short(hash: &str) -> &str {
    hash.get(..DIGITS).unwrap_or(hash)
}

pub(super) fn write(f: &mut fmt::Formatter<'_>, kind: &Kind) -> fmt::Result {
    match kind {
        Kind::StateOffered(StateOffered { step, thread, bytes, depth, sha, defect }) => {
            write!(f, "state {step} of {thread:?} offered, {bytes} bytes, {depth} deep, ")?;
            write!(f, "{}", short(sha))?;
            defect.as_ref().map_or(Ok(()), |defect| write!(f, ", {defect}"))
        }
        Kind::StateAnswered(StateAnswered { step, what, reason, base, hash, bytes, text }) => {
            write!(f, "state {step} answered {what}")?;
            if let Some(reason) = reason {
                write!(f, " ({reason}): {text}")?;
            }
            if !base.is_empty() {
                write!(f, " on {}", short(base))?;
            }
            if hash.is_empty() { Ok(()) } else { write!(f, " to {}, {bytes} bytes", short(hash)) }
        }
        Kind::StateReceived(StateReceived { step, event, message, error, sha }) => {
            let event = if *event { "its event arrived" } else { "its event did NOT arrive" };
            write!(f, "state {step}: {event}, message {message}; ")?;
            if let Some(error) = error {
                write!(f, "the receiver could not follow: {error}; ")?;
            }
            match sha.as_str() {
                "" => f.write_str("it has no state"),
                sha => write!(f, "it has {}", short(sha)),
            }
        }
        Kind::StateHeap(StateHeap { step, peak_kib, kept_kib }) => {
            write!(f, "state {step} took {peak_kib} KiB of heap, {kept_kib} KiB are kept")
        }
        Kind::StateLost(lost) => write!(f, "told that the message of state {} is lost", lost.step),
        _ => Ok(()),
    }
}
