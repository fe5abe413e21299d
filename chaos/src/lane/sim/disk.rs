//! The disk of a simulated machine: it outlives the subject, and forgets what was not durable.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashproof_reference::fs::Fs;

use super::crashes;
use crate::disk::{Break, Image, Machine, Seen, SimFs, crash};
use crate::fault::spool;
use crate::history::{FaultPhase, Kind, Recorder, Src};
use crate::lane::spool::is_segment;
use crate::scenario::model::{FsFault, SpoolDamage};
use crate::subject::reference::spool::Reopen;

struct Inner {
    /// The disk of the life that is, or comes next. Whoever holds that of an earlier life holds a
    /// dead machine's: it writes nothing, and its locks lock nobody out.
    fs: SimFs,
    rng: fastrand::Rng,
    /// Those whose crash states were tried.
    machines: Vec<Machine>,
}

/// Faults in force that no operation met yet, with their names.
type Unmet = Arc<Mutex<BTreeMap<usize, &'static str>>>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk.
#[derive(Clone)]
pub(super) struct SimDisk {
    inner: Arc<Mutex<Inner>>,
    recorder: Recorder,
    unmet: Unmet,
    /// Opens the subject's spool, if it has one.
    reopen: Option<Reopen>,
}

impl SimDisk {
    pub(super) fn new(seed: u64, recorder: Recorder, reopen: Option<Reopen>) -> Self {
        let fs = SimFs::new(Image::default());
        let unmet = Unmet::default();
        watch(&fs, &recorder, &unmet);
        let rng = fastrand::Rng::with_seed(seed ^ 0x6469_736b);
        let inner = Inner { fs, rng, machines: Vec::new() };
        Self { inner: Arc::new(Mutex::new(inner)), recorder, unmet, reopen }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        locked(&self.inner)
    }

    /// The file system of the life that begins.
    pub(super) fn mount(&self) -> Arc<dyn Fs> {
        Arc::new(self.inner().fs.clone())
    }

    /// The subject's machine dies. Its disk is one of those that it can be, by the seed, and the
    /// spool is opened on all of them.
    pub(super) fn power_off(&self) {
        let mut inner = self.inner();
        let Inner { fs, rng, machines } = &mut *inner;
        fs.die_after(0);
        let (log, base, seed) = (fs.log(), fs.base(), rng.u64(..));
        let mut all = crash::states_after(&log, &base, log.0.len() as u64, seed).states;
        let at = rng.usize(..all.len().max(1));
        let chosen = (at < all.len()).then(|| all.swap_remove(at));
        let number = machines.len();
        self.tried(machines, Machine { log, base: base.clone(), seed });
        if let Some(state) = &chosen {
            let path = format!("m{number}.{}", state.name);
            self.recorder.record(Src::Fs, Kind::Fs { op: "power_off".into(), path, error: None });
        }
        let next = SimFs::new(chosen.map_or(base, |state| state.image));
        // what is worn out, or full, is so in the next life too
        next.take_over(fs);
        *fs = next;
        watch(fs, &self.recorder, &self.unmet);
    }

    /// A fault of the file system begins.
    pub(super) fn break_by(&self, fault: usize, what: &FsFault) {
        locked(&self.unmet).insert(fault, what.name());
        let fs = &self.inner().fs;
        if let FsFault::Full { free } = what {
            fs.fill(*free, fault);
        }
        if let Some(waiting) = Break::by(fault, what) {
            fs.fail(waiting);
        }
    }

    /// It ends.
    pub(super) fn mend(&self, fault: usize) {
        self.inner().fs.mend(fault);
        locked(&self.unmet).remove(&fault);
    }

    /// Opens the spool on every disk that a crash could have left until now.
    pub(super) fn try_crashes(&self) {
        let mut inner = self.inner();
        let Inner { fs, rng, machines } = &mut *inner;
        let machine = Machine { log: fs.log(), base: fs.base(), seed: rng.u64(..) };
        self.tried(machines, machine);
    }

    fn tried(&self, machines: &mut Vec<Machine>, machine: Machine) {
        if machine.log.0.is_empty() {
            return;
        }
        if let Some(reopen) = &self.reopen {
            crashes::record(&self.recorder, machines.len(), &machine, reopen);
        }
        machines.push(machine);
    }

    /// The machines whose crash states were tried.
    pub(super) fn machines(&self) -> Vec<Machine> {
        self.inner().machines.clone()
    }

    /// Segments of spools with their content.
    pub(super) fn segments(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let live = self.inner().fs.live();
        let files = live.files.iter().filter(|(path, _)| is_segment(path));
        files.map(|(path, bytes)| (path.clone(), bytes.to_vec())).collect()
    }

    /// Damages the spool; false when there is nothing to damage.
    pub(super) fn damage(&self, what: SpoolDamage) -> bool {
        let Some((path, bytes)) = spool::damage(what, &self.segments()) else { return false };
        self.inner().fs.damage(&path, Some(bytes));
        let (op, path) = ("rest".to_owned(), path.display().to_string());
        self.recorder.record(Src::Fs, Kind::Fs { op, path, error: None });
        true
    }
}

/// Every operation that changes the disk goes into the history, and so does what a fault broke.
fn watch(fs: &SimFs, recorder: &Recorder, unmet: &Unmet) {
    let (recorder, unmet) = (recorder.clone(), unmet.clone());
    fs.watch(move |seen: Seen<'_>| {
        seen.record(&recorder);
        let unmet = |fault| locked(&unmet).remove(&fault);
        if let Some((fault, name)) = seen.fault.and_then(|fault| Some((fault, unmet(fault)?))) {
            recorder.fault(fault, name, FaultPhase::Effect);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::lane::sim::clock::SimClock;

    fn disk(seed: u64) -> SimDisk {
        SimDisk::new(seed, Recorder::new(Arc::new(SimClock::default())), None)
    }

    fn write(fs: &dyn Fs, name: &str, bytes: &[u8], sync: bool) {
        fs.create_dir(Path::new("/")).unwrap();
        let mut file = fs.create_new(Path::new(name)).unwrap();
        file.write_all(bytes).unwrap();
        if sync {
            file.sync().unwrap();
            fs.sync_dir(Path::new("/")).unwrap();
        }
    }

    #[test]
    fn what_was_synced_outlives_every_power_failure_and_the_rest_as_chance_has_it() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let disk = disk(seed);
            let fs = disk.mount();
            write(fs.as_ref(), "/a", b"synced", true);
            write(fs.as_ref(), "/b", &[7; 1200], false);
            disk.power_off();
            assert!(fs.read(Path::new("/a"), 100).is_err(), "an earlier life reads nothing");
            assert!(fs.create_new(Path::new("/c")).is_err(), "and writes nothing");
            let fs = disk.mount();
            assert_eq!(fs.read(Path::new("/a"), 100).unwrap(), b"synced");
            lengths.insert(fs.read(Path::new("/b"), 9999).map_or(9999, |b| b.len()));
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 600, 688, 1200, 9999]);
    }

    #[test]
    fn a_lock_dies_with_its_life() {
        let disk = disk(1);
        let fs = disk.mount();
        let held = fs.lock(Path::new("/lock"), "one").unwrap();
        assert!(fs.lock(Path::new("/lock"), "two").is_err());
        disk.power_off();
        let fs = disk.mount();
        let _two = fs.lock(Path::new("/lock"), "two").unwrap();
        drop(held);
        assert!(fs.lock(Path::new("/lock"), "three").is_err(), "a dead holder frees nothing");
    }

    #[test]
    fn operations_are_in_the_history_and_so_is_the_disk_that_a_power_failure_left() {
        let disk = disk(3);
        write(disk.mount().as_ref(), "/a", b"bytes", true);
        disk.power_off();
        let ops = disk.recorder.read(|lines| {
            let op = |line: &crate::history::Line| match &line.kind {
                Kind::Fs { op, .. } => op.clone(),
                other => panic!("{other:?}"),
            };
            lines.iter().map(op).collect::<Vec<_>>()
        });
        assert_eq!(ops, ["create_dir", "create", "write", "sync", "sync_dir", "power_off"]);
    }
}
