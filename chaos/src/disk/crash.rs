//! Every disk that a crash could leave.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::image::{self, Image};
use super::log::{Content, Log, Medium, Version, named};
use crate::history::CrashTally;

/// The unit in which a medium writes.
const SECTOR: usize = 512;
/// Changes of names whose every subset is tried.
const SUBSETS: usize = 4;
/// Subsets that are drawn where there are more changes.
const DRAWN: u64 = 16;
/// Combinations of the files' contents that are all tried.
const COMBINATIONS: usize = 64;

/// A disk that a crash could leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// `op17.v3`: after 17 operations, the fourth disk. Two disks of one name are equal, as long as
    /// log, base and seed are.
    pub name: String,
    /// Operations before the crash.
    pub ops: u64,
    /// What the disk holds.
    pub image: Image,
    /// Of the image: equal ones have equal digests.
    pub digest: [u8; 32],
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct States {
    /// In the order of their points; those of one point differ.
    pub states: Vec<State>,
    /// How thoroughly they were made.
    pub tally: CrashTally,
}

/// Every disk that a crash could leave before the first operation of the log and after each. Where
/// there are too many they are sampled by seed, and that is counted.
#[must_use]
pub fn states(log: &Log, base: &Image, seed: u64) -> States {
    let mut out = States::default();
    let mut medium = Medium::new(base);
    at(&medium, 0, seed, &mut out);
    for (ops, op) in (1..).zip(&log.0) {
        medium.apply(op);
        at(&medium, ops, seed, &mut out);
    }
    out
}

/// The disks of each of these points, which are numbers of operations, in their order: the log is
/// gone through once.
pub fn states_at<'l>(
    log: &'l Log,
    base: &Image,
    points: &'l BTreeSet<u64>,
    seed: u64,
) -> impl Iterator<Item = States> + use<'l> {
    let mut medium = Medium::new(base);
    let mut done = 0_usize;
    points.iter().map(move |point| {
        let end = usize::try_from(*point).unwrap_or(usize::MAX).min(log.0.len());
        log.0.get(done..end).unwrap_or_default().iter().for_each(|op| medium.apply(op));
        done = end;
        let mut out = States::default();
        at(&medium, end as u64, seed, &mut out);
        out
    })
}

/// The disks of one point: after so many operations.
#[must_use]
pub fn states_after(log: &Log, base: &Image, ops: u64, seed: u64) -> States {
    states_at(log, base, &BTreeSet::from([ops]), seed).next().unwrap_or_default()
}

/// The disk of this name, if there is one.
#[must_use]
pub fn state(log: &Log, base: &Image, seed: u64, name: &str) -> Option<State> {
    let ops: u64 = name.strip_prefix("op")?.split('.').next()?.parse().ok()?;
    states_after(log, base, ops, seed).states.into_iter().find(|state| state.name == name)
}

fn at(medium: &Medium, ops: u64, seed: u64, out: &mut States) {
    let mut known = BTreeSet::new();
    let (subsets, drawn) = subsets(medium.naming.len(), seed ^ ops);
    let mut sampled = drawn;
    let mut version = 0_u64;
    for subset in subsets {
        let changes = medium.naming.iter().zip(&subset).filter(|(_, kept)| **kept);
        let names = named(&medium.names, changes.map(|(change, _)| &change.naming));
        let (contents, reduced) = contents(medium, &names);
        sampled |= reduced;
        for files in contents {
            let digest = image::digest(
                &medium.dirs,
                files.iter().map(|(path, version)| (path.as_path(), &version.digest)),
            );
            let name = format!("op{ops}.v{version}");
            version += 1;
            if known.insert(digest) {
                let files = files.into_iter().map(|(path, version)| (path, version.bytes));
                let image = Image { dirs: medium.dirs.clone(), files: files.collect() };
                out.states.push(State { name, ops, image, digest });
                out.tally.states += 1;
            } else {
                out.tally.duplicates += 1;
            }
        }
    }
    out.tally.points += 1;
    out.tally.sampled += u64::from(sampled);
}

/// Which of so many changes are kept: every subset, or all, none, each beginning and some drawn
/// ones; true when it is not every one.
fn subsets(changes: usize, seed: u64) -> (Vec<Vec<bool>>, bool) {
    if changes <= SUBSETS {
        let all = 0..1_usize << changes;
        let subset = |bits: usize| (0..changes).map(|at| bits >> at & 1 == 1).collect();
        return (all.map(subset).collect(), false);
    }
    let mut out: Vec<Vec<bool>> =
        (0..=changes).map(|end| (0..changes).map(|at| at < end).collect()).collect();
    let mut rng = fastrand::Rng::with_seed(seed);
    out.extend((0..DRAWN).map(|_| (0..changes).map(|_| rng.bool()).collect()));
    (out, true)
}

type Files = BTreeMap<PathBuf, Version>;
type Pick = fn(&[Version]) -> Option<&Version>;

/// The contents that named files can have together: every combination, or each file's own with the
/// others whole and with the others lost; true when it is not every one.
fn contents(medium: &Medium, names: &BTreeMap<PathBuf, u64>) -> (Vec<Files>, bool) {
    let mut fixed = Files::new();
    let mut open: Vec<(&PathBuf, &[Version])> = Vec::new();
    for (path, number) in names {
        let Some(content) = medium.files.get(number) else { continue };
        match content.versions() {
            [only] => drop(fixed.insert(path.clone(), only.clone())),
            versions => open.push((path, versions)),
        }
    }
    let product = open.iter().map(|(_, v)| v.len()).fold(1_usize, usize::saturating_mul);
    if product <= COMBINATIONS {
        let mut all = vec![fixed];
        for (path, versions) in open {
            let with = |files: &Files, version: &Version| {
                let mut files = files.clone();
                files.insert(path.clone(), version.clone());
                files
            };
            all = all.iter().flat_map(|f| versions.iter().map(|v| with(f, v))).collect();
        }
        return (all, false);
    }
    let mut out = Vec::new();
    let others: [Pick; 2] = [<[Version]>::first, <[Version]>::last];
    for (path, versions) in &open {
        for (version, others) in versions.iter().flat_map(|v| others.map(|others| (v, others))) {
            let mut files = fixed.clone();
            let rest = open.iter().filter_map(|(p, v)| Some(((*p).clone(), others(v)?.clone())));
            files.extend(rest);
            files.insert((*path).clone(), version.clone());
            out.push(files);
        }
    }
    (out, true)
}

/// What a file can hold: what is durable, and of each write after it nothing, half, all but the
/// last sector, or all; the last write as garbage; each before it as zeros with the others whole;
/// all of them as zeros, since a file's length can be durable before its bytes are. The whole file
/// is the last.
pub(super) fn versions(content: &Content) -> Vec<Arc<[u8]>> {
    let durable = &content.durable;
    let pending: Vec<&[u8]> =
        content.pending.iter().map(|bytes| &**bytes).filter(|bytes| !bytes.is_empty()).collect();
    let mut out: Vec<Arc<[u8]>> = vec![durable.as_slice().into()];
    let mut whole = durable.clone();
    for bytes in &pending {
        for kept in [bytes.len() / 2, bytes.len().saturating_sub(SECTOR)] {
            let kept = bytes.get(..kept).unwrap_or_default();
            out.push([&whole, kept].concat().into());
        }
        whole.extend_from_slice(bytes);
        out.push(whole.as_slice().into());
    }
    if let Some((last, before)) = pending.split_last() {
        let garbage: Vec<u8> = last.iter().map(|byte| byte ^ 0xa5).collect();
        let tail = garbage.len().min(SECTOR);
        let (sound, _) = last.split_at(last.len() - tail);
        let lost = garbage.get(garbage.len() - tail..).unwrap_or_default();
        out.push([durable, &*before.concat(), sound, lost].concat().into());
        for hole in (0..before.len()).map(Some).chain([None]) {
            let mut holed = durable.clone();
            for (at, bytes) in pending.iter().enumerate() {
                let lost = hole.is_none_or(|hole| hole == at);
                holed.extend(bytes.iter().map(|byte| if lost { 0 } else { *byte }));
            }
            out.push(holed.into());
        }
    }
    let mut seen = BTreeSet::new();
    out.retain(|version| seen.insert(version.clone()));
    if let Some(at) = out.iter().position(|version| **version == *whole) {
        let whole = out.remove(at);
        out.push(whole);
    }
    out
}
