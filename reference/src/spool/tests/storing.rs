//! What a spool promises while its disk is sound, or dies.

use proptest::prelude::*;

use super::mem::Crash;
use super::*;

#[test]
fn what_was_written_comes_back_at_the_next_open_in_order_with_everything_it_had() {
    let fs = MemFs::default();
    let mut kept = record(7, "a");
    kept.from_dlq = true;
    kept.claims.main = Persistence::Possibly;
    write(&mut open(&fs), &[keep(6, "b"), SpoolEntry::Record(Box::new(kept.clone()))]);
    let taken = open(&fs).take(10, 1000).unwrap();
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0].record, record(6, "b"));
    assert_eq!(taken[1].record, kept);
}

#[test]
fn a_record_written_in_this_life_is_not_given_back_in_it() {
    let mut spool = open(&MemFs::default());
    write(&mut spool, &[keep(1, "a")]);
    assert_eq!((spool.pending(), spool.status().live), (0, 1));
}

#[test]
fn threads_come_back_in_the_order_of_their_sequences_in_the_places_they_have() {
    let fs = MemFs::default();
    write(&mut open(&fs), &[keep(5, "a"), keep(9, "b"), keep(3, "a"), keep(4, "a")]);
    assert_eq!(drain(&mut open(&fs)), [3, 9, 4, 5]);
}

#[test]
fn a_resolved_record_never_comes_back_and_its_segment_goes() {
    let fs = MemFs::default();
    let mut spool = open(&fs);
    let ids = write(&mut spool, &[keep(1, "a"), keep(2, "a")]);
    write(&mut spool, &[SpoolEntry::Resolved(ids[0])]);
    drop(spool);
    let mut spool = open(&fs);
    assert_eq!(drain(&mut spool), [2]);
    write(&mut spool, &[SpoolEntry::Resolved(ids[1])]);
    drop(spool);
    let spool = open(&fs);
    assert_eq!((spool.pending(), spool.status().bytes), (0, 0));
    assert_eq!(fs.names(), ["epoch-00000002"]);
}

#[test]
fn what_was_given_back_counts_as_possibly_persisted_until_a_later_entry_knows_better() {
    let fs = MemFs::default();
    write(&mut open(&fs), &[keep(1, "a"), keep(2, "a")]);
    let mut spool = open(&fs);
    assert_eq!(drain(&mut spool), [1, 2]);
    let again = fs.crashed(Crash::Nothing);
    let taken = open(&again).take(10, 1000).unwrap();
    let possibly = PerRoute { main: Persistence::Possibly, dlq: Persistence::Possibly };
    assert_eq!(taken[0].record.claims, possibly);
    write(&mut spool, &[SpoolEntry::Claims(taken[0].id, NOT)]);
    drop(spool);
    let taken = open(&fs).take(10, 1000).unwrap();
    assert_eq!(taken[0].record.claims, NOT);
    assert_eq!(taken[1].record.claims, possibly);
}

#[test]
fn only_so_much_is_given_back_as_was_asked_for_and_the_rest_keeps_its_claims() {
    let fs = MemFs::default();
    write(&mut open(&fs), &[keep(1, "a"), keep(2, "a"), keep(3, "a")]);
    let mut spool = open(&fs);
    assert_eq!(spool.take(1, 1000).unwrap().len(), 1);
    assert_eq!(spool.take(10, 199).unwrap().len(), 1);
    assert_eq!(spool.take(10, 99).unwrap().len(), 0);
    assert_eq!(spool.pending(), 1);
    drop(spool);
    let taken = open(&fs).take(10, 1000).unwrap();
    assert_eq!(taken[2].record.claims, NOT);
}

#[test]
fn the_epoch_counts_opens_from_zero_also_over_crashes() {
    let mut fs = MemFs::default();
    for epoch in 0..5 {
        assert_eq!(open(&fs).epoch(), epoch);
        fs = fs.crashed(Crash::Nothing);
    }
}

#[test]
fn a_lost_epoch_file_is_made_good_by_the_segments() {
    let fs = MemFs::default();
    let mut high = record(1, "a");
    high.sequence = (6 << 40) + 1;
    let mut spool = open(&fs);
    write(&mut spool, &[SpoolEntry::Record(Box::new(high))]);
    drop(spool);
    crate::fs::Fs::remove(&fs, std::path::Path::new("/spool/epoch-00000000")).unwrap();
    assert_eq!(open(&fs).epoch(), 7);
}

#[test]
fn a_second_producer_is_refused_and_told_who_has_the_directory() {
    let fs = MemFs::default();
    let first = open(&fs);
    let second = Spool::open(Arc::new(fs.clone()), SpoolOptions::new("/spool"), "another");
    let text = second.unwrap_err().to_string();
    assert_eq!(
        text,
        "the spool in /spool is in use by a test; close that producer, or give this one a \
         directory of its own"
    );
    drop(first);
    open(&fs);
}

#[test]
fn a_full_spool_takes_no_record_but_ends_and_claims() {
    let fs = MemFs::default();
    let mut options = SpoolOptions::new("/spool");
    options.max_bytes = 500;
    let mut spool = Spool::open(Arc::new(fs.clone()), options.clone(), "a test").unwrap();
    let answers = spool.write(&[keep(1, "a"), keep(2, "a"), keep(3, "a")]);
    let ids: Vec<SpoolId> = answers.iter().flatten().copied().collect();
    assert_eq!(ids.len(), 2, "{answers:?}");
    assert_eq!(answers[2], Err(SpoolFault::Full));
    write(&mut spool, &[SpoolEntry::Claims(ids[0], NOT), SpoolEntry::Resolved(ids[0])]);
    assert!(spool.status().bytes <= 500, "{:?}", spool.status());
}

#[test]
fn segments_are_left_when_they_are_full() {
    let fs = MemFs::default();
    let mut options = SpoolOptions::new("/spool");
    options.segment_bytes = 90;
    let mut spool = Spool::open(Arc::new(fs.clone()), options, "a test").unwrap();
    for n in 1..=3 {
        write(&mut spool, &[keep(n, "a")]);
    }
    drop(spool);
    assert_eq!(segments(&fs).len(), 3);
    assert_eq!(drain(&mut open(&fs)), [1, 2, 3]);
}

#[test]
fn after_a_failed_sync_the_file_is_abandoned_and_its_records_do_not_come_back() {
    let fs = MemFs::default();
    let mut spool = open(&fs);
    write(&mut spool, &[keep(1, "a")]);
    fs.fail_syncs(1);
    assert_eq!(spool.write(&[keep(2, "a")]), [Err(SpoolFault::Failed)]);
    write(&mut spool, &[keep(3, "a")]);
    drop(spool);
    assert_eq!(drain(&mut open(&fs.crashed(Crash::All))), [1, 3]);
}

#[test]
fn a_full_disk_is_an_answer_and_the_spool_goes_on_when_there_is_room() {
    let fs = MemFs::default();
    let mut spool = open(&fs);
    write(&mut spool, &[keep(1, "a")]);
    fs.capacity(Some(150));
    assert_eq!(spool.write(&[keep(2, "a")]), [Err(SpoolFault::Failed)]);
    fs.capacity(None);
    write(&mut spool, &[keep(3, "a")]);
    drop(spool);
    assert_eq!(drain(&mut open(&fs)), [1, 3]);
}

/// What a test has been told.
#[derive(Default)]
struct Told {
    kept: Vec<u64>,
    resolved: Vec<u64>,
    offered: Vec<u64>,
    /// Its end was under way: it may come back, or not.
    ending: Vec<u64>,
}

/// Two lives: records are kept, some are resolved, the rest is given back and resolved in parts.
fn live_twice(fs: &MemFs, told: &mut Told) -> Option<()> {
    let open = || {
        let mut options = SpoolOptions::new("/spool");
        options.segment_bytes = 200;
        Spool::open(Arc::new(fs.clone()), options, "a test").ok()
    };
    let mut spool = open()?;
    let mut n = 0;
    for _ in 0..4 {
        let entries: Vec<SpoolEntry> = (n + 1..=n + 2).map(|n| keep(n, "a")).collect();
        told.offered.extend(n + 1..=n + 2);
        let ids: Option<Vec<SpoolId>> = spool.write(&entries).into_iter().map(Result::ok).collect();
        let ids = ids?;
        told.kept.extend(n + 1..=n + 2);
        told.ending.push(n + 1);
        let ended = spool.write(&[SpoolEntry::Resolved(ids[0])]);
        ended[0].ok()?;
        told.resolved.push(n + 1);
        n += 2;
    }
    drop(spool);
    let mut spool = open()?;
    while spool.pending() > 0 {
        for recovered in spool.take(2, 1000).ok()? {
            told.ending.push(recovered.record.sequence);
            spool.write(&[SpoolEntry::Resolved(recovered.id)])[0].ok()?;
            told.resolved.push(recovered.record.sequence);
        }
    }
    Some(())
}

#[test]
fn killed_at_any_point_nothing_kept_is_lost_and_nothing_resolved_comes_back() {
    let calm = MemFs::default();
    live_twice(&calm, &mut Told::default()).unwrap();
    let total = calm.ops();
    assert!(total > 40, "{total}");
    let mut states = 0;
    for ops in 0..total {
        let fs = MemFs::default();
        fs.die_after(ops);
        let mut told = Told::default();
        // the last operations of all are a sweep, which nobody waits for
        let _ = live_twice(&fs, &mut told);
        for how in [Crash::Nothing, Crash::NamesOnly, Crash::Half, Crash::All] {
            states += 1;
            let after = fs.crashed(how);
            let back = drain(&mut open(&after));
            let lost = |n: &&u64| !told.ending.contains(n) && !back.contains(n);
            assert_eq!(told.kept.iter().find(lost), None, "lost after {ops}, {how:?}");
            let wrong = |n: &&u64| told.resolved.contains(n) || !told.offered.contains(n);
            assert_eq!(back.iter().find(wrong), None, "came back after {ops}, {how:?}");
            assert!(back.is_sorted(), "{back:?} after {ops}, {how:?}");
        }
    }
    assert!(states > 160, "{states}");
}

proptest! {
    #[test]
    fn whatever_is_written_and_resolved_the_rest_comes_back(
        steps in prop::collection::vec((0_usize..5, any::<prop::sample::Index>()), 1..40),
        segment_bytes in 50_u64..2000,
    ) {
        let fs = MemFs::default();
        let open = || {
            let mut options = SpoolOptions::new("/spool");
            options.segment_bytes = segment_bytes;
            Spool::open(Arc::new(fs.clone()), options, "a test").unwrap()
        };
        let mut spool = open();
        let mut live: Vec<(u64, SpoolId)> = Vec::new();
        let mut n = 0;
        for (step, which) in steps {
            match step {
                0 | 1 => {
                    n += 1;
                    live.push((n, write(&mut spool, &[keep(n, "a")])[0]));
                }
                2 | 3 if !live.is_empty() => {
                    let (_, id) = live.remove(which.index(live.len()));
                    write(&mut spool, &[SpoolEntry::Resolved(id)]);
                }
                _ => {
                    drop(spool);
                    spool = open();
                }
            }
        }
        drop(spool);
        let wanted: Vec<u64> = live.iter().map(|(n, _)| *n).collect();
        prop_assert_eq!(drain(&mut open()), wanted);
    }
}
