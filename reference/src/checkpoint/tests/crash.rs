//! A small crash model: at every point of a run, everything un-synced is kept, lost, or kept in
//! part. The harness has the large one.

use std::collections::BTreeMap;

use super::faulty::{FaultyFs, Op};
use super::*;

type Bytes = fn(&[u8]) -> Vec<u8>;

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// Of the bytes of a file.
    data: Bytes,
    /// Bit `n` decides on the `n`-th pending directory operation.
    directory: u64,
}

#[derive(Default)]
struct Disk {
    contents: BTreeMap<usize, (Vec<u8>, bool)>,
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    pending: Vec<Op>,
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, op: &Op, inode: Option<usize>) {
    match op {
        Op::Create(path) => {
            names.extend(inode.map(|inode| (path.clone(), inode)));
        }
        Op::Rename(from, to) => {
            if let Some(inode) = names.remove(from).or(inode) {
                names.insert(to.clone(), inode);
            }
        }
        Op::Remove(path) => {
            names.remove(path);
        }
        _ => {}
    }
}

impl Disk {
    fn run(log: &[Op]) -> Self {
        let mut disk = Self::default();
        for (number, op) in log.iter().enumerate() {
            match op {
                Op::Create(_) => {
                    disk.contents.insert(number, (Vec::new(), false));
                    apply(&mut disk.live, op, Some(number));
                    disk.pending.push(op.clone());
                }
                Op::Write(path, bytes) => {
                    let (content, synced) = disk.contents.get_mut(&disk.live[path]).unwrap();
                    content.extend(bytes);
                    *synced = false;
                }
                Op::Sync(path) => disk.contents.get_mut(&disk.live[path]).unwrap().1 = true,
                Op::Rename(..) | Op::Remove(_) => {
                    apply(&mut disk.live, op, None);
                    disk.pending.push(op.clone());
                }
                Op::SyncDir => {
                    disk.durable = disk.live.clone();
                    disk.pending.clear();
                }
            }
        }
        disk
    }

    /// The directory after a crash.
    fn crashed(&self, log: &[Op], fate: Fate) -> MemoryFs {
        let mut names = self.durable.clone();
        let kept = self.pending.iter().enumerate().filter(|(n, _)| fate.directory >> n & 1 == 1);
        for (_, op) in kept {
            // a rename whose creation was lost still names the file
            let inode = match op {
                Op::Create(path) | Op::Rename(path, _) => {
                    log.iter().rposition(|o| matches!(o, Op::Create(p) if p == path))
                }
                _ => None,
            };
            apply(&mut names, op, inode);
        }
        let fs = MemoryFs::new();
        fs.create_dir(Path::new("/c")).unwrap();
        for (path, inode) in names {
            let (content, synced) = &self.contents[&inode];
            let bytes = if *synced { content.clone() } else { (fate.data)(content) };
            fs.create_new(&path).unwrap().write_all(&bytes).unwrap();
        }
        fs
    }
}

fn fates() -> Vec<Fate> {
    let data: [Bytes; 4] = [
        |all| all.to_vec(),
        |_| Vec::new(),
        |all| all[..all.len() / 2].to_vec(),
        |all| vec![0; all.len()],
    ];
    let all = (0..64).flat_map(|directory| data.map(|data| Fate { data, directory }));
    all.chain([Fate { data: data[0], directory: u64::MAX }]).collect()
}

/// Opens the directory of every crash at every point of a run.
fn every_crash(log: &[Op], mut check: impl FnMut(usize, &Store<String>)) -> usize {
    let mut count = 0;
    for at in 0..=log.len() {
        let log = &log[..at];
        let disk = Disk::run(log);
        for fate in fates() {
            let store = open(&disk.crashed(log, fate));
            check(at, &store);
            count += 1;
        }
    }
    count
}

/// Four saves, and after which operation each was acknowledged.
fn four_saves() -> (Vec<Op>, Vec<(usize, u32)>) {
    let fs = FaultyFs::default();
    let store = open_on(fs.clone(), options(7).keep_newest(keep(2)));
    let mut acknowledged = Vec::new();
    for n in 1..=4_u32 {
        save(&store, "t", &n.to_string());
        acknowledged.push((fs.log().len(), n));
    }
    store.close();
    (fs.log(), acknowledged)
}

/// Crashes after which `latest` is neither the last acknowledged save nor the one in flight, or a
/// file is damaged; and how many crashes there were.
fn violations(log: &[Op], acknowledged: &[(usize, u32)]) -> (Vec<String>, usize) {
    let mut found = Vec::new();
    let crashes = every_crash(log, |at, store| {
        let last = acknowledged.iter().rfind(|(end, _)| *end <= at).map_or(0, |(_, n)| *n);
        let latest = store.latest("t").map(|c| c.map_or(0, |c| c.state.parse::<u32>().unwrap()));
        let counts = store.counters().all();
        let corrupt = counts.iter().filter(|(s, ..)| s.contains("corrupt_files"));
        let corrupt: u64 = corrupt.map(|(.., n)| n).sum();
        if corrupt > 0 || !latest.as_ref().is_ok_and(|n| *n == last || *n == last + 1) {
            found.push(format!("crash at {at}: {latest:?} after {last}, {corrupt} damaged"));
        }
    });
    (found, crashes)
}

#[test]
fn after_any_crash_latest_is_the_last_acknowledged_save_or_the_one_in_flight() {
    let (log, acknowledged) = four_saves();
    let (found, crashes) = violations(&log, &acknowledged);
    assert!(found.is_empty(), "{found:#?}");
    assert!(crashes > 5_000, "{crashes}");
}

#[test]
fn the_crash_model_catches_a_save_without_either_sync() {
    let (log, acknowledged) = four_saves();
    for kind in ["sync", "sync_dir"] {
        let nothing = || Op::Remove(path("nothing"));
        let without: Vec<Op> =
            log.iter().map(|op| if op.kind() == kind { nothing() } else { op.clone() }).collect();
        assert!(!violations(&without, &acknowledged).0.is_empty(), "without {kind}");
    }
}

#[test]
fn after_any_crash_an_acknowledged_delete_stays_and_no_older_checkpoint_becomes_the_latest() {
    let fs = FaultyFs::default();
    let store = open_on(fs.clone(), options(7));
    for n in 1..=3 {
        save(&store, "t", &n.to_string());
    }
    let begun = fs.log().len();
    store.delete_thread("t").unwrap();
    let done = fs.log().len();
    drop(store);
    every_crash(&fs.log(), |at, store| {
        let found = latest(store, "t");
        if at >= done {
            assert_eq!(found, None, "crash at {at}");
        } else if at >= begun {
            assert!(matches!(found.as_deref(), None | Some("3")), "crash at {at}: {found:?}");
        }
    });
}
