//! Laws about stores, K1 to K11: what they answered, held against what was saved in them, what was
//! done to their disk, and what their disk did.
//!
//! The harness knows every state that it gave to be saved, and every answer; the simulated file
//! system shows every operation. From these the [`model`] follows what must be there, what may be
//! there and what must not, and each answer is held against it.

mod answers;
mod asked;
mod cause;
mod crash;
mod files;
pub(super) mod metrics;
mod model;
mod walk;

pub(super) use walk::CHANGES;

use std::collections::BTreeMap;

use super::findings::Findings;
use super::index::Index;
use super::laws::LawId;
use super::laws::LawId::{K1, K3, K5, K6, K9, K10, K11};
use crate::history::{CrashTally, FULL_AT, Kind};
use crate::lane::disk::{NOT_TRIED, SAMPLED};

/// Judges everything about stores but their metrics.
pub(super) fn judge(index: &Index<'_>, f: &mut Findings) {
    if index.scenario.checkpoint.is_none() {
        return;
    }
    walk::walk(index, f);
    if index.shows_files() {
        files::judge(index, f);
    } else {
        f.unjudged(K9, "a driver's file operations are not seen");
    }
    whole(index, K1, f);
    left_out(index, f);
    asked::judge(index, f);
}

/// A crash state that is not in the history was not judged, whatever the tally says.
pub(super) fn whole(index: &Index<'_>, law: LawId, f: &mut Findings) {
    let mut there = 0;
    for line in index.lines {
        match &line.kind {
            Kind::CrashState(_) => there += 1,
            Kind::CrashTally(tally) => {
                let said = std::mem::take(&mut there);
                if said != tally.states {
                    let all = tally.states;
                    f.undecided(law, format!("the history holds {said} of {all} crash states"));
                }
            }
            _ => {}
        }
    }
}

/// What was not tried, and what was not asked for, is said.
fn left_out(index: &Index<'_>, f: &mut Findings) {
    for proc in index.procs() {
        match proc.what {
            NOT_TRIED => f.unjudged(K1, format!("no crash states: {}", proc.text)),
            SAMPLED => f.unjudged(K10, format!("an audit asked for a part: {}", proc.text)),
            _ => {}
        }
    }
}

/// Saves that were asked of a store.
#[must_use]
pub(super) fn saves(index: &Index<'_>) -> u64 {
    let asked = |kind: &Kind| matches!(kind, Kind::StoreCall(call) if call.op == "save");
    index.lines.iter().filter(|line| asked(&line.kind)).count() as u64
}

/// Some save said Ok.
pub(super) fn has_saved(index: &Index<'_>) -> bool {
    let saved = |kind: &Kind| match kind {
        Kind::StoreAnswer(answer) => answer.op == "save" && answer.error.is_none(),
        _ => false,
    };
    index.lines.iter().any(|line| saved(&line.kind))
}

/// Crash states that were tried in a history, all disks together.
#[must_use]
pub(super) fn tally(index: &Index<'_>) -> CrashTally {
    let mut all = CrashTally::default();
    for line in index.lines {
        if let Kind::CrashTally(tally) = &line.kind {
            all.points += tally.points;
            all.states += tally.states;
            all.duplicates += tally.duplicates;
            all.sampled += tally.sampled;
        }
    }
    all
}

/// Crash states that were tried, as `variant/operation`: by the operation of the store whose
/// change of the disk was the last before the crash; `none` where there was none.
#[must_use]
pub(super) fn tried(index: &Index<'_>) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    let first = index.lines.iter().find_map(|line| match &line.kind {
        Kind::StoreCall(call) => call.variant.as_deref(),
        _ => None,
    });
    let (mut variant, mut op) = (first.unwrap_or("unknown"), "none");
    // the variant and operation of each change of this disk, after what was at its beginning
    let mut changes: Vec<(&str, &str)> = Vec::new();
    for line in index.lines {
        match &line.kind {
            Kind::StoreCall(call) => {
                op = &call.op;
                variant = call.variant.as_deref().unwrap_or(variant);
                if changes.is_empty() {
                    changes.push((variant, "none"));
                }
            }
            Kind::Fs { op: change, .. } if walk::CHANGES.contains(&change.as_str()) => {
                if changes.is_empty() {
                    changes.push((variant, "none"));
                }
                changes.push((variant, op));
            }
            Kind::Proc { what, .. } if what == "crash" || what == FULL_AT => changes.clear(),
            Kind::CrashState(state) => {
                let last = usize::try_from(state.ops).ok().and_then(|ops| changes.get(ops));
                let (variant, op) = last.unwrap_or(&("unknown", "none"));
                *out.entry(format!("{variant}/{op}")).or_default() += 1;
            }
            _ => {}
        }
    }
    out
}

/// Digest and listing by id.
type Listing = BTreeMap<String, Vec<String>>;

/// The laws that a wrong answer can break by its cause.
const CAUSES: [LawId; 6] = [K1, K3, K5, K6, K10, K11];
