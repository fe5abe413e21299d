//! A history of several plays of one scenario, each on a fresh disk with other room: every play is
//! judged as if it were alone.

use super::findings::Findings;
use super::index::Index;
use super::laws::LawId::K11;
use crate::history::{FULL_AT, FULL_TRIED, FaultPhase, Kind, Line, Src};
use crate::lane::disk::is_full_at_every_byte;

/// A line about plays: what it is, its number and its text.
fn about(line: &Line) -> Option<(&str, u64, &str)> {
    match &line.kind {
        Kind::Proc { what, value, text } if line.src == Src::Harness => {
            Some((what, u64::try_from(*value).unwrap_or(0), text))
        }
        _ => None,
    }
}

/// Bytes that are free in the play that begins with this line.
fn begins(line: &Line) -> Option<u64> {
    about(line).filter(|(what, ..)| *what == FULL_AT).map(|(_, free, _)| free)
}

/// Bytes that were free in the play that this place is in.
pub(super) fn free_at(lines: &[Line], place: usize) -> Option<u64> {
    lines.get(..=place)?.iter().rev().find_map(begins)
}

/// Plays in a history, and the text of the line that counts them.
pub(super) fn tried<'a>(index: &Index<'a>) -> (u64, Option<&'a str>) {
    let plays = index.lines.iter().filter(|line| begins(line).is_some()).count() as u64;
    let counted = index.lines.iter().rev().filter_map(about);
    let mut counted = counted.filter(|(what, ..)| *what == FULL_TRIED);
    (plays, counted.next().map(|(.., text)| text))
}

/// Has each play judged; a history without plays is one.
pub(super) fn judge(index: &Index<'_>, each: impl Fn(&Index<'_>, &mut Findings)) -> Findings {
    let mut all = Findings::default();
    let starts: Vec<(usize, u64)> =
        index.lines.iter().enumerate().filter_map(|(at, line)| Some((at, begins(line)?))).collect();
    if starts.is_empty() {
        each(index, &mut all);
    }
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([index.lines.len()]);
    for ((start, free), end) in starts.iter().zip(ends) {
        // whatever is said of the whole run stands in its first line
        let run = index.lines.first().into_iter();
        let own = index.lines.get(*start..end).unwrap_or_default();
        let part: Vec<Line> = run.chain(own).cloned().collect();
        let mut found = Findings::default();
        each(&Index::new(&part, index.scenario), &mut found);
        all.absorb(found, start.saturating_sub(1), &format!("with {free} bytes free: "));
    }
    if is_full_at_every_byte(index.scenario) {
        whole(index, starts.last().map_or(0, |(at, _)| *at), &mut all);
    }
    all
}

/// Every play that was counted is there, and the last one had room enough.
fn whole(index: &Index<'_>, last: usize, f: &mut Findings) {
    let (plays, _) = tried(index);
    let counted = index.lines.last().and_then(about).filter(|(what, ..)| *what == FULL_TRIED);
    match counted {
        None => f.undecided(K11, "the history does not say how many byte counts were tried"),
        Some((_, said, _)) if said != plays => {
            f.undecided(K11, format!("the history holds {plays} of {said} plays on a full disk"));
        }
        Some(_) => {}
    }
    let met = |line: &Line| match &line.kind {
        Kind::Fault { name, phase: FaultPhase::Effect, .. } => name == "fs.full",
        _ => false,
    };
    if index.lines.get(last..).unwrap_or_default().iter().any(met) {
        f.undecided(K11, "the play with most room still met a full disk");
    }
}
