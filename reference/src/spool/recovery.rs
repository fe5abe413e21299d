//! From the files of a directory to what is live.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::entry::Body;
use super::{Damage, epoch, segment};
use crate::core::{PerRoute, Persistence, SpoolId};
use crate::fs::{Fs, FsError};

/// No segment is longer than this.
pub(super) const READ_LIMIT: u64 = 64 << 20;
/// How far a file that shows nothing of ours but its name may be ahead of the one before it. It
/// can be a segment that a crash left without its header; one further ahead is somebody else's, and
/// must not use up the generations.
const NAME_AHEAD: u64 = 1 << 32;

/// Files with these names belong to the spool without being read.
pub(super) const LOCK: &str = "spool.lock";

/// A record that is to be sent again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub(super) id: SpoolId,
    pub(super) offset: u64,
    pub(super) len: usize,
    /// Protobuf bytes of its event.
    pub(super) bytes: usize,
    pub(super) claims: PerRoute<Persistence>,
}

/// A segment on disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Segment {
    pub(super) bytes: u64,
    /// Records in it that are not resolved.
    pub(super) live: usize,
    /// The system did not read it: it may hold records, and ends.
    pub(super) unread: bool,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    pub(super) segments: BTreeMap<u64, Segment>,
    /// In the order in which they are to be sent again.
    pub(super) live: Vec<Live>,
    pub(super) damage: BTreeMap<Damage, u64>,
    /// Epochs that files stand for.
    pub(super) epochs: Vec<u32>,
    /// Highest epoch of any sequence seen.
    pub(super) seen_epoch: Option<u32>,
    /// Highest generation in use by any file.
    pub(super) last_generation: u64,
    /// Bytes of segments that are not ours to read.
    pub(super) other_bytes: u64,
}

struct Candidate {
    live: Live,
    thread: Arc<str>,
    sequence: u64,
}

impl Recovery {
    fn note(&mut self, damage: Damage, path: &Path, count: u64) {
        *self.damage.entry(damage).or_default() += count;
        tracing::warn!(
            path = %path.display(), damage = damage.as_str(), count,
            "the spool is damaged here; the rest of it is used"
        );
    }

    /// A file has the name of this generation, and perhaps more to show. True when it may be ours.
    /// Called in the order of names.
    fn take_name(&mut self, generation: u64, shows_more: bool) -> bool {
        let is_near = generation.saturating_sub(self.last_generation) <= NAME_AHEAD;
        if shows_more || is_near {
            self.last_generation = self.last_generation.max(generation);
        }
        shows_more || is_near
    }

    fn saw_epoch(&mut self, epoch: u32) {
        self.seen_epoch = self.seen_epoch.max(Some(epoch.min(epoch::LAST)));
    }
}

/// Reads a directory.
pub(super) fn recover(fs: &dyn Fs, dir: &Path) -> Result<Recovery, FsError> {
    let mut names = fs.list(dir).map_err(|e| FsError::new("list", dir, e))?;
    names.sort();
    let mut out = Recovery::default();
    let mut found: BTreeMap<SpoolId, Candidate> = BTreeMap::new();
    for entry in names {
        let path = dir.join(&entry.name);
        if let Some(epoch) = epoch::parse(&entry.name) {
            out.epochs.push(epoch);
            out.saw_epoch(epoch);
        } else if let Some(generation) = segment::generation(&entry.name) {
            match fs.read(&path, READ_LIMIT) {
                Ok(bytes) => read(&mut out, &mut found, &path, generation, &bytes),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a segment cannot be read");
                    out.note(Damage::Unreadable, &path, 1);
                    out.take_name(generation, false);
                    let segment = Segment { bytes: length(fs, &path), live: 0, unread: true };
                    out.segments.insert(generation, segment);
                }
            }
        } else if entry.name != LOCK {
            out.note(Damage::Foreign, &path, 1);
        }
    }
    arrange(&mut out, found);
    Ok(out)
}

/// Bytes of a file that was not read as a whole, as far as single ones can be.
fn length(fs: &dyn Fs, path: &Path) -> u64 {
    let has = |at: u64| fs.read_at(path, at, 1).is_ok_and(|bytes| !bytes.is_empty());
    let (mut len, mut step) = (0, 1);
    while has(step - 1) && step < 1 << 62 {
        (len, step) = (step, step * 2);
    }
    while step > 1 {
        step /= 2;
        if has(len + step - 1) {
            len += step;
        }
    }
    len
}

fn read(
    out: &mut Recovery,
    found: &mut BTreeMap<SpoolId, Candidate>,
    path: &Path,
    generation: u64,
    bytes: &[u8],
) {
    let scan = segment::scan(generation, bytes);
    let shows_more = scan.epoch.is_some() || scan.newer || !scan.entries.is_empty();
    if !out.take_name(generation, shows_more) {
        out.note(Damage::Foreign, path, 1);
        return;
    }
    let mut counts: BTreeMap<Damage, u64> = BTreeMap::new();
    scan.damage.iter().for_each(|damage| *counts.entry(*damage).or_default() += 1);
    for (damage, count) in counts {
        out.note(damage, path, count);
    }
    if scan.newer {
        out.other_bytes += bytes.len() as u64;
        return;
    }
    scan.epoch.into_iter().for_each(|epoch| out.saw_epoch(epoch));
    let segment = Segment { bytes: bytes.len() as u64, ..Segment::default() };
    out.segments.insert(generation, segment);
    for (offset, entry) in scan.entries {
        match entry.body {
            Body::Record(record) => {
                let id = SpoolId { segment: generation, ordinal: entry.ordinal };
                out.saw_epoch(u32::try_from(record.sequence >> 40).unwrap_or(epoch::LAST));
                let live = Live {
                    id,
                    offset: offset as u64,
                    len: entry.len,
                    bytes: record.bytes,
                    claims: record.claims,
                };
                let (thread, sequence) = (record.thread, record.sequence);
                found.insert(id, Candidate { live, thread, sequence });
            }
            Body::Claims(id, claims) => {
                if let Some(candidate) = found.get_mut(&id) {
                    candidate.live.claims = claims;
                }
            }
            Body::Resolved(id) => {
                found.remove(&id);
            }
        }
    }
}

/// Records come in the order in which they were given up. They are sent again in the order in which
/// their threads had accepted them, each thread in the places that it has.
fn arrange(out: &mut Recovery, found: BTreeMap<SpoolId, Candidate>) {
    let order: Vec<Candidate> = found.into_values().collect();
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, candidate) in order.iter().enumerate() {
        places.entry(&candidate.thread).or_default().push(place);
    }
    let mut live: Vec<Live> = order.iter().map(|c| c.live).collect();
    for places in places.values() {
        let mut thread: Vec<&Candidate> =
            places.iter().filter_map(|place| order.get(*place)).collect();
        thread.sort_by_key(|c| (c.sequence, c.live.id));
        for (place, candidate) in places.iter().zip(thread) {
            if let Some(slot) = live.get_mut(*place) {
                *slot = candidate.live;
            }
        }
    }
    out.live = live;
    for live in &out.live {
        if let Some(segment) = out.segments.get_mut(&live.id.segment) {
            segment.live += 1;
        }
    }
}
