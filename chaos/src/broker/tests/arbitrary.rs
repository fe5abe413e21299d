//! Any bytes at all: a value or a refusal, never a panic and never memory for a made-up length.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Request;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::broker::api::{self, From, SERVED};
use crate::broker::batch::Batch;
use crate::broker::letter::Letter;
use crate::broker::log::{Appended, Log};
use crate::broker::outgoing::framed;
use crate::broker::tests::kit::*;

fn serve(frame: Bytes) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (cluster, recorder) = cluster();
        let served = api::serve(&cluster, From { broker: 1, conn: 0 }, frame).await;
        // Whatever was carried out is on record, and nothing else.
        assert_eq!(recorder.lines().len(), usize::from(served.is_ok()));
    });
}

fn request<R: Request>(version: i16, body: &R) -> Bytes {
    framed("x", 0, version, body).unwrap().freeze().slice(4..)
}

/// A change at a place: what hostile or broken peers do to a sound request.
fn mutated(
    sound: &Bytes,
    changes: &[(prop::sample::Index, u8)],
    cut: prop::sample::Index,
) -> Bytes {
    let mut bytes = sound.to_vec();
    for (at, byte) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    let keep = cut.index(bytes.len() + 1);
    if keep.is_multiple_of(3) {
        bytes.truncate(keep);
    }
    Bytes::from(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_body_of_any_served_request_is_answered_or_refused(
        api in 0..SERVED.len(),
        version in 0_i16..15,
        body in vec(any::<u8>(), 0..200),
    ) {
        let mut frame = BytesMut::new();
        frame.put_i16(SERVED[api].0 as i16);
        frame.put_i16(version);
        frame.put_i32(1);
        frame.put_i16(-1);
        frame.put_slice(&body);
        serve(frame.freeze());
    }

    #[test]
    fn any_damage_to_a_produce_is_answered_or_refused(
        version in 3_i16..=10,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let sound = request(version, &produce(batch(PLAIN, &[0, 1, 2], b"value")));
        serve(mutated(&sound, &changes, cut));
    }

    #[test]
    fn any_damage_to_a_batch_gives_a_batch_or_an_error(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = mutated(&batch(PLAIN, &[0, 1, 2], b"value"), &changes, cut);
        let _ = Batch::split(bytes.clone());
        if let Ok(batch) = Batch::check(bytes, 1 << 20) {
            prop_assert_eq!(batch.records().map(<[_]>::len), Some(3));
        }
    }

    #[test]
    fn any_text_is_a_letter_or_none(text in "\\{?\"?(original_payload_base64)?\"?:?.{0,60}") {
        let _ = Letter::parse(text.as_bytes());
    }

    /// Whatever a client repeats, each sequence stands in the log once and in order.
    #[test]
    fn repetitions_never_get_into_the_log_twice(offers in vec((0_i32..40, 1_usize..4), 1..80)) {
        let mut log = Log::default();
        let mut first: BTreeMap<i32, i64> = BTreeMap::new();
        for (sequence, count) in offers {
            let events: Vec<u32> = (0..count).map(|n| u32::try_from(n).unwrap()).collect();
            let of = Batched { pid: 1, epoch: 0, sequence };
            let batch = Batch::check(batch(of, &events, b"x"), 1 << 20).unwrap();
            let end = log.end();
            match log.append(&batch, 0) {
                Ok(Appended::New(base)) => {
                    prop_assert_eq!(base, end);
                    prop_assert_eq!(first.insert(sequence, base), None);
                }
                Ok(Appended::Duplicate(base)) => {
                    prop_assert_eq!(first.get(&sequence), Some(&base));
                    prop_assert_eq!(log.end(), end);
                }
                Err(_) => prop_assert_eq!(log.end(), end),
            }
        }
        let offsets: Vec<i64> = first.values().copied().collect();
        prop_assert!(offsets.is_sorted());
    }
}
