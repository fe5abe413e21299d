//! C1, C3 and C6 over messages of every type and over any bytes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use prost::Message as _;

use super::super::scan::scan;
use super::generate::{damage, damages, payload, strict_message, tape};
use crate::codec::{
    CodecConfig, DecodePolicy, Decoder, Encoder, FRAME_PLAIN, FRAME_ZSTD, Legacy, Limits, Region,
    SchemaPolicy, header, measure,
};
use crate::proto::dash_stream_message::Message;
use crate::proto::{CompressionType, DashStreamMessage};

fn config() -> impl Strategy<Value = CodecConfig> {
    (any::<bool>(), 0usize..2000, -5i32..12, any::<bool>()).prop_map(
        |(compression, threshold, level, checksum)| CodecConfig {
            compression,
            threshold,
            level,
            checksum,
            ..CodecConfig::default()
        },
    )
}

fn policy() -> impl Strategy<Value = DecodePolicy> {
    let schema = prop_oneof![
        Just(SchemaPolicy::Exact),
        Just(SchemaPolicy::Forward),
        Just(SchemaPolicy::Backward)
    ];
    let legacy =
        prop_oneof![Just(Legacy::Refuse), Just(Legacy::Protobuf), Just(Legacy::ProtobufOrZstd)];
    (schema, legacy, any::<bool>()).prop_map(|(schema, legacy, lenient)| DecodePolicy {
        schema,
        legacy,
        lenient,
        ..DecodePolicy::default()
    })
}

fn flags(message: &DashStreamMessage) -> Vec<i32> {
    let mut all = vec![header(message).expect("strict").compression];
    if let Some(Message::EventBatch(batch)) = &message.message {
        all.extend(batch.events.iter().map(|e| e.header.as_ref().expect("strict").compression));
    }
    all
}

#[test]
fn the_generator_reaches_every_kind_in_both_forms_of_frame() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..2000 {
        let mut message = strict_message().new_tree(&mut runner).unwrap().current();
        let kind = kind_of(&message);
        let encoded = Encoder::new(&CodecConfig::default()).encode(&mut message).unwrap();
        seen.insert((kind, encoded.compressed));
    }
    assert_eq!(seen.len(), 18, "{seen:?}");
}

/// The number of the envelope's field.
fn kind_of(message: &DashStreamMessage) -> u8 {
    message.encode_to_vec()[0] >> 3
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn c1_decoding_gives_back_every_message_as_it_is_after_encoding(
        mut message in strict_message(),
        config in config(),
    ) {
        let before = message.clone();
        let encoded = Encoder::new(&config).encode(&mut message).unwrap();
        let decoded = Decoder::new(DecodePolicy::default()).decode(&encoded.frame).unwrap();
        // Compared as bytes, since NaN is not equal to itself.
        prop_assert_eq!(decoded.encode_to_vec(), message.encode_to_vec());

        // Nothing but the flag was changed.
        let mut unflagged = [before, message];
        for m in &mut unflagged {
            super::super::header::set_compression(m, CompressionType::None);
        }
        prop_assert_eq!(unflagged[0].encode_to_vec(), unflagged[1].encode_to_vec());
        prop_assert_eq!(encoded.payload_len, unflagged[0].encoded_len());
    }

    #[test]
    fn c6_frame_byte_header_flags_threshold_and_size_agree(
        mut message in strict_message(),
        config in config(),
    ) {
        let mut encoder = Encoder::new(&config);
        let encoded = encoder.encode(&mut message).unwrap();
        let due = config.compression && encoded.payload_len > config.threshold;
        let flag = if encoded.compressed { CompressionType::Zstd } else { CompressionType::None };
        let byte = if encoded.compressed { FRAME_ZSTD } else { FRAME_PLAIN };
        prop_assert_eq!(encoded.frame[0], byte);
        prop_assert!(flags(&message).iter().all(|f| *f == flag as i32));
        prop_assert_eq!(encoder.compressions, u64::from(due));
        prop_assert!(!encoded.compression_failed);
        if encoded.compressed {
            prop_assert!(due);
            prop_assert!(encoded.frame.len() - 1 < encoded.payload_len);
        } else {
            prop_assert_eq!(encoded.frame.len() - 1, encoded.payload_len);
        }
    }

    #[test]
    fn c3_any_bytes_give_a_message_or_an_error_with_its_place(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        first in proptest::sample::select(vec![
            None, Some(0), Some(1), Some(2), Some(0x0A), Some(0x28),
        ]),
        policy in policy(),
    ) {
        let mut frame: Vec<u8> = first.into_iter().collect();
        if first == Some(0x28) {
            frame.extend([0xB5, 0x2F, 0xFD]);
        }
        frame.extend(bytes);
        if let Err(e) = Decoder::new(policy).decode(&frame) {
            prop_assert!(e.region == Region::Inflated || e.offset <= frame.len(), "{e:?}");
            prop_assert!(!e.message.is_empty());
            prop_assert_eq!(e.kind.is_limit(), e.limit.is_some());
        }
    }

    #[test]
    fn c3_damaged_frames_give_a_message_or_an_error_with_its_place(
        mut message in strict_message(),
        config in config(),
        damages in damages(),
        policy in policy(),
    ) {
        let encoded = Encoder::new(&config).encode(&mut message).unwrap();
        let mut frame = encoded.frame.to_vec();
        damage(&mut frame, &damages);
        if let Err(e) = Decoder::new(policy).decode(&frame) {
            prop_assert!(e.region == Region::Inflated || e.offset <= frame.len(), "{e:?}");
        }
    }

    #[test]
    fn c3_damage_inside_a_compressed_frame_is_told_like_damage_in_a_plain_one(
        tape in tape(),
        damages in damages(),
    ) {
        let mut payload = payload(&tape);
        damage(&mut payload, &damages);
        let mut plain = vec![FRAME_PLAIN];
        plain.extend_from_slice(&payload);
        let mut zipped = vec![FRAME_ZSTD];
        zipped.extend(zstd::bulk::compress(&payload, 3).unwrap());
        let mut decoder = Decoder::new(DecodePolicy { lenient: true, ..DecodePolicy::default() });
        match (decoder.decode(&plain), decoder.decode(&zipped)) {
            (Ok(a), Ok(b)) => prop_assert_eq!(a.encode_to_vec(), b.encode_to_vec()),
            (Err(a), Err(b)) => {
                prop_assert_eq!((a.kind, a.offset, a.limit), (b.kind, b.offset + 1, b.limit));
                prop_assert_eq!(b.region, Region::Inflated);
                prop_assert!(b.offset <= payload.len());
            }
            (a, b) => prop_assert!(false, "{a:?} {b:?}"),
        }
    }

    #[test]
    fn c3_the_scan_accepts_exactly_what_the_protobuf_library_accepts(
        tape in tape(),
        damages in damages(),
    ) {
        let mut payload = payload(&tape);
        damage(&mut payload, &damages);
        let library = DashStreamMessage::decode(payload.as_slice());
        let scanned = scan::<true>(&payload, &Limits::default());
        prop_assert_eq!(library.is_ok(), scanned.is_ok(), "{:?} {:?}", library.err(), scanned);
        if scanned.is_ok() {
            prop_assert_eq!(scan::<false>(&payload, &Limits::default()), scanned);
        }
    }

    #[test]
    fn c3_a_payload_that_is_not_scanned_could_not_have_exceeded_a_limit(
        tape in tape(),
        damages in damages(),
        depth in 0u32..110,
        counts in proptest::array::uniform4(0u64..40),
        decoded_bytes in 0u64..20_000,
    ) {
        let [batch_members, repeated, elements, map_entries] = counts;
        let limits = Limits {
            depth, batch_members, repeated, elements, map_entries, decoded_bytes,
            ..Limits::default()
        };
        let mut payload = payload(&tape);
        damage(&mut payload, &damages);
        let whole = DashStreamMessage::decode(payload.as_slice()).is_ok();
        let over = scan::<false>(&payload, &limits).is_err_and(|f| f.kind.is_limit());
        if whole && over {
            prop_assert!(payload.len() as u64 > limits.unreachable_up_to());
        }
    }

    #[test]
    fn c2_what_is_encoded_is_what_a_strict_decoder_accepts(
        tape in tape(),
        config in config(),
    ) {
        let mut message = DashStreamMessage::decode(payload(&tape).as_slice()).unwrap();
        let strict = |m: &DashStreamMessage| {
            let mut frame = vec![FRAME_PLAIN];
            m.encode_raw(&mut frame);
            Decoder::new(DecodePolicy::default()).decode(&frame).is_ok()
        };
        let encoded = Encoder::new(&config).encode(&mut message.clone());
        prop_assert_eq!(encoded.is_ok(), strict(&message));
        let measured = measure(&mut message.clone(), config.max_payload);
        prop_assert_eq!(measured, encoded.map(|e| e.payload_len));
        super::generate::make_strict(&mut message);
        prop_assert!(Encoder::new(&config).encode(&mut message.clone()).is_ok());
    }
}
