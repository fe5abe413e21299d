//! Writes and reads that fail once, and what must not be lost by it.

use super::*;

/// A spool with one record of an earlier life, given back, in segments that are full with so many
/// bytes.
fn given_back(fs: &MemFs, segment_bytes: u64) -> (Spool, SpoolId) {
    write(&mut open(fs), &[keep(1, "a")]);
    let mut options = SpoolOptions::new("/spool");
    options.segment_bytes = segment_bytes;
    let mut spool = Spool::open(Arc::new(fs.clone()), options, "a test").unwrap();
    let id = spool.take(10, 1000).unwrap()[0].id;
    (spool, id)
}

#[test]
fn an_end_whose_write_failed_goes_with_the_next_write() {
    for fail in [MemFs::fail_syncs, MemFs::fail_creates] {
        let fs = MemFs::default();
        let (mut spool, id) = given_back(&fs, 1);
        fail(&fs, 2);
        assert_eq!(spool.write(&[SpoolEntry::Resolved(id)]), [Err(SpoolFault::Failed)]);
        assert!(spool.is_owing());
        write(&mut spool, &[keep(2, "a")]);
        assert_eq!((spool.is_owing(), spool.status().live), (false, 1));
        drop(spool);
        assert_eq!(drain(&mut open(&fs.crashed(mem::Crash::Nothing))), [2]);
    }
}

#[test]
fn an_end_whose_write_failed_is_written_when_the_spool_is_settled() {
    let fs = MemFs::default();
    let (mut spool, id) = given_back(&fs, 1);
    fs.fail_creates(2);
    assert_eq!(spool.write(&[SpoolEntry::Resolved(id)]), [Err(SpoolFault::Failed)]);
    spool.settle().unwrap();
    assert!(!spool.is_owing());
    drop(spool);
    assert_eq!(open(&fs.crashed(mem::Crash::Nothing)).pending(), 0);
}

#[test]
fn a_failed_creation_does_not_forget_records_of_a_failed_sync() {
    let fs = MemFs::default();
    let mut spool = open(&fs);
    write(&mut spool, &[keep(1, "a")]);
    fs.fail_syncs(1);
    fs.fail_creates(3);
    assert_eq!(spool.write(&[keep(2, "a")]), [Err(SpoolFault::Unsure)]);
    // nothing of this one came to any file
    assert_eq!(spool.write(&[keep(3, "a")]), [Err(SpoolFault::Failed)]);
    write(&mut spool, &[keep(4, "a")]);
    drop(spool);
    assert_eq!(drain(&mut open(&fs.crashed(mem::Crash::All))), [1, 4]);
}

#[test]
fn what_may_be_about_a_segment_that_was_not_read_stays_and_is_counted() {
    let fs = MemFs::default();
    let mut spool = open(&fs);
    let ids = write(&mut spool, &[keep(1, "a"), keep(2, "a")]);
    drop(spool);
    let first = segments(&fs).remove(0);
    // its end is in the segment of the next life
    write(&mut open(&fs), &[SpoolEntry::Resolved(ids[0])]);
    let bytes = open(&fs).status().bytes;
    fs.unreadable(Some(&first));
    let spool = open(&fs);
    assert_eq!(spool.status().bytes, bytes);
    assert_eq!(spool.status().damage, [(Damage::Unreadable, 1)].into());
    drop(spool);
    fs.unreadable(None);
    assert_eq!(drain(&mut open(&fs)), [2]);
}

#[test]
fn a_name_far_ahead_that_shows_nothing_of_ours_does_not_use_up_the_generations() {
    for bytes in [&b""[..], b"these are more bytes than a header has"] {
        let fs = MemFs::default();
        write(&mut open(&fs), &[keep(1, "a")]);
        fs.put("ffffffffffffffff.spool", bytes);
        write(&mut open(&fs), &[keep(2, "a")]);
        let mut spool = open(&fs);
        assert_eq!(drain(&mut spool), [1, 2]);
        assert_eq!(spool.status().damage.get(&Damage::Foreign), Some(&1));
        assert_eq!(segments(&fs)[..2], ["0000000000000001.spool", "0000000000000002.spool"]);
        assert_eq!(fs.bytes("ffffffffffffffff.spool"), bytes);
    }
}

#[test]
fn a_segment_of_the_last_generation_is_a_typed_error_at_open() {
    let fs = MemFs::default();
    fs.put("ffffffffffffffff.spool", &crate::spool::segment::header(u64::MAX, 0));
    let error = Spool::open(Arc::new(fs), SpoolOptions::new("/spool"), "a test").unwrap_err();
    assert!(matches!(error, SpoolError::Generations { .. }), "{error}");
}

#[test]
fn no_segment_becomes_longer_than_an_open_reads() {
    let fs = MemFs::default();
    let mut options = SpoolOptions::new("/spool");
    options.segment_bytes = u64::MAX;
    let mut spool = Spool::open(Arc::new(fs.clone()), options, "a test").unwrap();
    let thread = "a".repeat(15 << 20);
    let entries: Vec<SpoolEntry> = (1..=5).map(|n| keep(n, &thread)).collect();
    write(&mut spool, &entries);
    write(&mut spool, &[keep(6, &thread)]);
    drop(spool);
    assert_eq!(drain(&mut open(&fs)), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_record_that_no_open_could_read_is_not_taken() {
    let fs = MemFs::default();
    let thread = "a".repeat(16 << 20);
    assert_eq!(open(&fs).write(&[keep(1, &thread)]), [Err(SpoolFault::Full)]);
}

#[test]
fn one_failure_is_over_when_its_records_are_ended_in_another_segment() {
    let fs = MemFs::default();
    let mut spool = open(&fs);
    let ids = write(&mut spool, &[keep(1, "a"), keep(2, "a")]);
    fs.fail_syncs(1);
    let answers = spool.write(&[keep(3, "a"), SpoolEntry::Resolved(ids[0])]);
    assert_eq!(answers, [Err(SpoolFault::Failed), Ok(ids[0])]);
    drop(spool);
    for crash in [mem::Crash::Nothing, mem::Crash::All] {
        assert_eq!(drain(&mut open(&fs.crashed(crash))), [2]);
    }
}

#[test]
fn a_segment_whose_only_write_failed_is_removed_and_takes_no_room() {
    let fs = MemFs::default();
    let mut spool = open(&fs);
    for n in 0..20 {
        fs.fail_syncs(1);
        assert_eq!(spool.write(&[keep(n, "a")]), [Err(SpoolFault::Failed)]);
    }
    assert_eq!((segments(&fs).len(), spool.status().bytes, spool.is_owing()), (0, 0, false));
}

const POSSIBLY: PerRoute<Persistence> =
    PerRoute { main: Persistence::Possibly, dlq: Persistence::Possibly };

fn limited(fs: &MemFs, max_bytes: u64) -> Spool {
    let mut options = SpoolOptions::new("/spool");
    options.max_bytes = max_bytes;
    Spool::open(Arc::new(fs.clone()), options, "a test").unwrap()
}

#[test]
fn a_spool_keeps_its_bound_however_often_its_records_fail_again() {
    let fs = MemFs::default();
    let mut spool = limited(&fs, 2000);
    let taken = (0..100).filter(|n| spool.write(&[keep(*n, "a")])[0].is_ok()).count();
    assert!(taken >= 5, "{taken}");
    drop(spool);
    for life in 0..200 {
        let mut spool = limited(&fs, 2000);
        let back = spool.take(usize::MAX, usize::MAX).unwrap();
        assert_eq!(back.len(), taken);
        for recovered in &back {
            write(&mut spool, &[SpoolEntry::Claims(recovered.id, NOT)]);
        }
        assert!(spool.status().bytes <= 2000, "life {life}: {:?}", spool.status());
    }
    for end in 0..taken {
        let mut spool = limited(&fs, 2000);
        let back = spool.take(1, usize::MAX).unwrap();
        write(&mut spool, &[SpoolEntry::Resolved(back[0].id)]);
        assert!(spool.status().bytes <= 2000, "end {end}: {:?}", spool.status());
    }
    assert_eq!(limited(&fs, 2000).pending(), 0);
}

#[test]
fn claims_that_the_disk_has_already_are_not_written_again() {
    let fs = MemFs::default();
    let (mut spool, id) = given_back(&fs, 1 << 20);
    let bytes = spool.status().bytes;
    write(&mut spool, &[SpoolEntry::Claims(id, POSSIBLY)]);
    assert_eq!(spool.status().bytes, bytes);
}

#[test]
fn after_claims_that_failed_the_disk_is_taken_to_say_the_least() {
    let fs = MemFs::default();
    let (mut spool, id) = given_back(&fs, 1 << 20);
    fs.fail_syncs(1);
    assert_eq!(spool.write(&[SpoolEntry::Claims(id, NOT)]), [Err(SpoolFault::Failed)]);
    // the failed ones may be what a crash leaves
    write(&mut spool, &[SpoolEntry::Claims(id, POSSIBLY)]);
    drop(spool);
    let back = open(&fs.crashed(mem::Crash::All)).take(10, 1000).unwrap();
    assert_eq!(back[0].record.claims, POSSIBLY);
}
