//! What happens to files at rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::DIR;
use super::session::{Known, Session, is_index};
use crate::disk::Image;
use crate::history::{DamageSeen, FaultPhase, Kind, Src};

impl Session {
    /// Damages checkpoint files.
    pub(super) fn damage_files(&mut self, fault: usize, which: &str, how: &str) {
        if which == "directory" {
            return self.delete_directory(fault);
        }
        let live = self.ground.live();
        let there: Vec<Known> = self
            .known
            .iter()
            .filter(|known| live.files.contains_key(&known.path))
            .cloned()
            .collect();
        let chosen: Vec<Known> = match which {
            "newest" => there.last().cloned().into_iter().collect(),
            "oldest" => there.first().cloned().into_iter().collect(),
            "middle" => there.get(there.len() / 2).cloned().into_iter().collect(),
            _ => there,
        };
        for known in &chosen {
            let Some(bytes) = live.files.get(&known.path) else { continue };
            let bytes = self.damaged(bytes.to_vec(), how);
            self.put(&known.path, bytes);
            self.damage_seen(fault, how, known);
        }
        if !chosen.is_empty() {
            self.met(fault);
        }
    }

    fn damage_seen(&mut self, fault: usize, how: &str, known: &Known) {
        if how != "deleted" {
            self.damaged.push(known.clone());
        }
        let Known { thread, id, path } = known.clone();
        let (how, path) = (how.to_owned(), path.display().to_string());
        let seen = DamageSeen { fault, how, path, id, thread };
        self.recorder.record(Src::Fs, Kind::DamageSeen(seen));
    }

    /// Somebody deletes the directory while the store has it, or while nobody has.
    fn delete_directory(&mut self, fault: usize) {
        if self.known.is_empty() {
            return; // nobody misses anything
        }
        self.ground.remove_dir();
        let (op, path) = ("rest".to_owned(), DIR.to_owned());
        self.recorder.record(Src::Fs, Kind::Fs { op, path, error: None });
        for known in std::mem::take(&mut self.known) {
            self.damage_seen(fault, "deleted", &known);
        }
        self.met(fault);
    }

    /// What is left of a file; `None` when it is gone.
    fn damaged(&mut self, mut bytes: Vec<u8>, how: &str) -> Option<Vec<u8>> {
        match how {
            "bit" => {
                let at = self.rng.usize(..bytes.len().max(1));
                let bit = 1 << self.rng.u8(..8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bit;
                }
            }
            "cut" => bytes.truncate(bytes.len() / 2),
            "empty" => bytes.clear(),
            "zeros" => bytes.fill(0),
            "trailing" => bytes.extend([0x5a; 16]),
            "garbage" => bytes.iter_mut().for_each(|byte| *byte = self.rng.u8(..)),
            // The version behind the magic, and a header checksum that only its writer could check.
            "newer_version" => {
                for (at, byte) in [(4, 3), (8, 0x5a), (9, 0xa5), (10, 0x5a), (11, 0xa5)] {
                    if let Some(old) = bytes.get_mut(at) {
                        *old = byte;
                    }
                }
            }
            _ => return None,
        }
        Some(bytes)
    }

    pub(super) fn put(&mut self, path: &Path, bytes: Option<Vec<u8>>) {
        self.ground.put(path, bytes);
        let path = path.display().to_string();
        self.recorder.record(Src::Fs, Kind::Fs { op: "rest".to_owned(), path, error: None });
    }

    pub(super) fn met(&self, fault: usize) {
        let name = self.scenario.faults.get(fault).map_or("", |fault| fault.kind.name());
        self.recorder.fault(fault, name, FaultPhase::Effect);
    }

    /// Damages the index, or puts another one in its place.
    pub(super) fn damage_index(&mut self, fault: usize, how: &str) {
        let live = self.ground.live();
        let indexes: BTreeMap<PathBuf, Vec<u8>> = live
            .files
            .iter()
            .filter(|(path, _)| is_index(path))
            .map(|(path, bytes)| (path.clone(), bytes.to_vec()))
            .collect();
        let others = match how {
            "stale" => self.indexes.first().cloned().unwrap_or_default(),
            "foreign" => self.index_of(Image::default()),
            "names_missing" => self.index_of(live),
            _ => BTreeMap::new(),
        };
        let mut changed = false;
        for (path, old) in indexes {
            let new = match how {
                "missing" => None,
                "stale" | "foreign" | "names_missing" => match others.get(&path) {
                    Some(other) => Some(other.clone()),
                    None => continue,
                },
                how => self.damaged(old.clone(), how),
            };
            if new.as_ref() != Some(&old) {
                changed = true;
                self.put(&path, new);
            }
        }
        if changed {
            self.met(fault);
        }
    }

    /// The index that a store leaves on another disk after one more save: of this subject, under
    /// its names.
    fn index_of(&mut self, files: Image) -> BTreeMap<PathBuf, Vec<u8>> {
        let opening = self.opening(self.variant);
        let there = self.ground.elsewhere(files, opening).unwrap_or_default();
        let index = there.files.iter().filter(|(path, _)| is_index(path));
        index.map(|(path, bytes)| (path.clone(), bytes.to_vec())).collect()
    }

    /// Temporary files as an interrupted process leaves them: named as the subject names its own,
    /// with other digits.
    pub(super) fn leave(&mut self, fault: usize, count: u32) {
        let known = super::session::locked(&self.noticed).temporary.first().cloned();
        let pattern = known
            .unwrap_or_else(|| Path::new(DIR).join("tmp-00000000000000000000000000000000.dck"));
        self.ground.make_dir();
        let name =
            pattern.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        // the first part is the subject's word for them
        let word = name.split_inclusive(['-', '.', '_']).next().unwrap_or_default().len();
        for _ in 0..count {
            let digit = |(at, char): (usize, char)| {
                let drawn = (char.is_ascii_hexdigit() && at >= word).then(|| self.rng.u32(..16));
                drawn.and_then(|digit| char::from_digit(digit, 16)).unwrap_or(char)
            };
            let end = name.rfind('.').unwrap_or(name.len());
            let (stem, extension) = name.split_at(end);
            let stem: String = stem.char_indices().map(digit).collect();
            let path = Path::new(DIR).join(format!("{stem}{extension}"));
            let bytes = vec![0x5a; self.rng.usize(..2000)];
            self.put(&path, Some(bytes));
            self.leftovers.insert(path);
        }
        self.met(fault);
    }
}
