//! Entries as bytes.

use proptest::prelude::*;

use super::*;
use crate::spool::entry::{self, Body};

fn persistence() -> impl Strategy<Value = Persistence> {
    prop::sample::select(vec![Persistence::Not, Persistence::Possibly, Persistence::Persisted])
}

fn claims() -> impl Strategy<Value = PerRoute<Persistence>> {
    (persistence(), persistence()).prop_map(|(main, dlq)| PerRoute { main, dlq })
}

fn id() -> impl Strategy<Value = SpoolId> {
    (any::<u64>(), any::<u32>()).prop_map(|(segment, ordinal)| SpoolId { segment, ordinal })
}

prop_compose! {
    fn any_record()(
        message_id in any::<[u8; 16]>(),
        thread in ".{0,20}",
        sequence in any::<u64>(),
        accepted_us in any::<i64>(),
        bytes in any::<u32>(),
        from_dlq in any::<bool>(),
        claims in claims(),
        frame in prop::collection::vec(any::<u8>(), 0..200),
    ) -> SpoolRecord {
        let (message_id, thread) = (MessageId(message_id), Arc::from(thread));
        let (bytes, frame) = (bytes as usize, Bytes::from(frame));
        SpoolRecord {
            message_id, thread, sequence, accepted_us, bytes, from_dlq, claims, frame,
        }
    }
}

fn any_entry() -> impl Strategy<Value = SpoolEntry> {
    prop_oneof![
        any_record().prop_map(|r| SpoolEntry::Record(Box::new(r))),
        (id(), claims()).prop_map(|(id, claims)| SpoolEntry::Claims(id, claims)),
        id().prop_map(SpoolEntry::Resolved),
    ]
}

fn encoded(entry: &SpoolEntry, at: u64, segment: u64, ordinal: u32) -> Vec<u8> {
    let mut out = Vec::new();
    entry::encode(&mut out, at, segment, ordinal, entry);
    out
}

proptest! {
    #[test]
    fn an_entry_reads_back_as_it_was_written_and_has_the_length_foretold(
        entry in any_entry(), at in any::<u64>(), segment in any::<u64>(), ordinal in any::<u32>(),
    ) {
        let bytes = encoded(&entry, at, segment, ordinal);
        prop_assert_eq!(bytes.len(), entry::len_of(&entry));
        let found = entry::decode(segment, at, &bytes, true).unwrap();
        let body = match found.body {
            Body::Record(record) => SpoolEntry::Record(Box::new(record)),
            Body::Claims(id, claims) => SpoolEntry::Claims(id, claims),
            Body::Resolved(id) => SpoolEntry::Resolved(id),
        };
        prop_assert_eq!(&body, &entry);
        prop_assert_eq!((found.ordinal, found.len), (ordinal, bytes.len()));
    }

    #[test]
    fn an_entry_with_one_flipped_bit_or_at_another_place_is_none(
        entry in any_entry(), bit in any::<prop::sample::Index>(), elsewhere in 1_u64..100,
    ) {
        let mut bytes = encoded(&entry, 24, 1, 0);
        prop_assert!(entry::decode(1, 24 + elsewhere, &bytes, true).is_none());
        prop_assert!(entry::decode(1 + elsewhere, 24, &bytes, true).is_none());
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(entry::decode(1, 24, &bytes, true).is_none());
    }

    #[test]
    fn any_bytes_are_scanned_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = crate::spool::segment::scan(1, &bytes);
    }
}
