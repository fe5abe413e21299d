//! Lines about stores, as people read them.

use std::fmt;

use crate::history::{AtRest, Found, GivenBack, Kind, SpoolFound, StoreAnswer, StoreCall};

/// Events that are named of those that a spool gave back.
const GIVEN: usize = 3;

pub(super) fn write(f: &mut fmt::Formatter<'_>, kind: &Kind) -> fmt::Result {
    match kind {
        Kind::StoreCall(StoreCall { op, thread, id, sha, keep, variant, .. }) => {
            write!(f, "{op} called")?;
            if let Some(thread) = thread {
                write!(f, ", thread {thread:?}")?;
            }
            if let Some(id) = id {
                write!(f, ", id {id:?}")?;
            }
            if let Some(sha) = sha {
                write!(f, ", state {sha}")?;
            }
            if let Some(keep) = keep {
                write!(f, ", keeping {keep}")?;
            }
            variant.as_ref().map_or(Ok(()), |variant| write!(f, ", as {variant}"))
        }
        Kind::StoreAnswer(StoreAnswer { op, error, id, thread, sha, ids, count, text, .. }) => {
            if let Some(error) = error {
                return write!(f, "{op} answered the error {error}: {text}");
            }
            write!(f, "{op} answered ok")?;
            if let Some(id) = id {
                write!(f, ", id {id:?}")?;
            }
            if let Some(thread) = thread {
                write!(f, ", thread {thread:?}")?;
            }
            if let Some(sha) = sha {
                write!(f, ", state {sha}")?;
            }
            if !ids.is_empty() {
                write!(f, ", {ids:?}")?;
            }
            count.map_or(Ok(()), |count| write!(f, ", {count} went"))
        }
        Kind::AtRest(AtRest { thread, id, sha, path, by }) => write!(
            f,
            "{path} was there before the run, by {by}: {id:?} of {thread:?} with state {sha}"
        ),
        Kind::DamageSeen(seen) => {
            write!(f, "{} of {}, which holds {:?}", seen.how, seen.path, seen.id)
        }
        _ => Ok(()),
    }
}

pub(super) fn write_crash(f: &mut fmt::Formatter<'_>, kind: &Kind) -> fmt::Result {
    match kind {
        Kind::CrashState(state) => {
            write!(f, "crash state {}, after {} operations:", state.state, state.ops)?;
            if let Some(error) = &state.error {
                return write!(f, " open failed with {error}");
            }
            if let Some(SpoolFound { epoch, events }) = &state.spool {
                write!(f, " epoch {epoch} begins, {} given back", events.len())?;
                for GivenBack { event, sequence, main, dlq } in events.iter().take(GIVEN) {
                    let (main, dlq) = (main.as_str(), dlq.as_str());
                    write!(f, "; {event} sequence {sequence}, main {main}, dlq {dlq}")?;
                }
                return if events.len() > GIVEN { f.write_str("; …") } else { Ok(()) };
            }
            for (thread, found) in &state.latest {
                write!(f, " {thread:?} {};", Latest(found))?;
            }
            if state.left.is_empty() { Ok(()) } else { write!(f, " left: {:?}", state.left) }
        }
        Kind::CrashTally(tally) => write!(
            f,
            "{} crash states at {} points, {} duplicates, {} points sampled",
            tally.states, tally.points, tally.duplicates, tally.sampled
        ),
        _ => Ok(()),
    }
}

/// What a store gave for a thread.
struct Latest<'a>(&'a Found);

impl fmt::Display for Latest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { id, sha, error, listed } = self.0;
        match (error, id) {
            (Some(error), _) => write!(f, "fails with {error}")?,
            (None, Some(id)) => write!(f, "{id:?} with {}", sha.as_deref().unwrap_or("?"))?,
            (None, None) => f.write_str("none")?,
        }
        write!(f, " of {}", listed.len())
    }
}
