//! Damage costs what it hit, is counted, and nothing else.

use super::*;

/// Four records in one segment, and its name.
fn four() -> (MemFs, String) {
    let fs = MemFs::default();
    write(&mut open(&fs), &[keep(1, "a"), keep(2, "a"), keep(3, "a"), keep(4, "a")]);
    let name = segments(&fs).remove(0);
    (fs, name)
}

fn damage(spool: &Spool) -> Vec<(Damage, u64)> {
    spool.status().damage.into_iter().collect()
}

#[test]
fn a_flipped_bit_anywhere_costs_at_most_the_record_it_hit() {
    let (fs, name) = four();
    let whole = fs.bytes(&name);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let fs = MemFs::default();
        fs.put(&name, &bytes);
        let mut spool = open(&fs);
        let total: u64 = damage(&spool).iter().map(|(_, n)| n).sum();
        let back = drain(&mut spool);
        assert_eq!(total, 1, "bit {bit}");
        let header = bit / 8 < crate::spool::segment::HEADER;
        assert_eq!(back.len(), if header { 4 } else { 3 }, "bit {bit}: {back:?}");
    }
}

#[test]
fn a_torn_tail_costs_what_was_torn() {
    let (fs, name) = four();
    let whole = fs.bytes(&name);
    let mut counts = Vec::new();
    for len in 0..whole.len() {
        let fs = MemFs::default();
        fs.put(&name, &whole[..len]);
        let mut spool = open(&fs);
        assert!(damage(&spool).iter().all(|(d, n)| *d == Damage::TornTail && *n == 1), "{len}");
        let back = drain(&mut spool);
        assert!(back.iter().copied().eq(1..=back.len() as u64), "{back:?} of {len}");
        counts.push(back.len());
    }
    counts.dedup();
    assert_eq!(counts, [0, 1, 2, 3]);
}

#[test]
fn two_hits_in_one_segment_cost_two_records() {
    let (fs, name) = four();
    let mut bytes = fs.bytes(&name);
    let third = bytes.len() / 4;
    bytes[third] ^= 0xff;
    bytes[3 * third] ^= 0xff;
    fs.put(&name, &bytes);
    let mut spool = open(&fs);
    assert_eq!(damage(&spool), [(Damage::Corrupt, 2)]);
    assert_eq!(drain(&mut spool).len(), 2);
}

#[test]
fn a_foreign_file_is_counted_and_left_alone() {
    let (fs, _) = four();
    fs.put("notes.txt", b"not a spool");
    fs.put("000000000000000G.spool", b"nor this");
    let mut spool = open(&fs);
    assert_eq!(damage(&spool), [(Damage::Foreign, 2)]);
    assert_eq!(drain(&mut spool), [1, 2, 3, 4]);
    assert_eq!(fs.bytes("notes.txt"), b"not a spool");
}

#[test]
fn a_newer_version_is_counted_and_left_alone_and_its_name_is_not_taken() {
    let (fs, _) = four();
    let mut newer = crate::spool::segment::header(9, 0).to_vec();
    newer[4] = 2;
    let crc = crc32fast::hash(&newer[..20]).to_le_bytes();
    newer[20..].copy_from_slice(&crc);
    let name = "0000000000000009.spool";
    fs.put(name, &newer);
    let mut spool = open(&fs);
    assert_eq!(damage(&spool), [(Damage::Newer, 1)]);
    assert_eq!(drain(&mut spool), [1, 2, 3, 4]);
    write(&mut spool, &[keep(5, "a")]);
    assert_eq!(fs.bytes(name), newer);
}

#[test]
fn an_entry_inside_of_a_frame_is_not_taken_for_a_record() {
    let fs = MemFs::default();
    write(&mut open(&fs), &[keep(1, "a")]);
    let inner = fs.bytes(&fs.names()[1]);
    let mut outer = record(2, "a");
    outer.frame = Bytes::from(inner);
    let fs = MemFs::default();
    write(&mut open(&fs), &[SpoolEntry::Record(Box::new(outer)), keep(3, "a")]);
    let name = segments(&fs).remove(0);
    let mut bytes = fs.bytes(&name);
    bytes[crate::spool::segment::HEADER + 5] ^= 1;
    fs.put(&name, &bytes);
    assert_eq!(drain(&mut open(&fs)), [3]);
}

#[test]
fn a_record_that_went_bad_after_open_is_counted_and_the_others_are_given_back() {
    let (fs, name) = four();
    let mut spool = open(&fs);
    let mut bytes = fs.bytes(&name);
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    fs.put(&name, &bytes);
    assert_eq!(drain(&mut spool), [1, 2, 3]);
    assert_eq!(damage(&spool), [(Damage::Unreadable, 1)]);
}
