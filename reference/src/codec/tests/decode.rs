//! Policies, counters, compressed frames of other makers, and what errors say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message as _;

use super::{batch_message, encoder, envelope, event, event_message, noise, strict};
use crate::codec::{
    CodecCounters, DecodeError, DecodeErrorKind as Kind, DecodePolicy, Decoder, FRAME_PLAIN,
    FRAME_ZSTD, Legacy, Limits, Region, SchemaPolicy,
};
use crate::proto::dash_stream_message::Message;
use crate::proto::{DashStreamMessage, Event};

fn framed(message: &DashStreamMessage) -> Vec<u8> {
    let mut frame = vec![FRAME_PLAIN];
    message.encode_raw(&mut frame);
    frame
}

fn zipped(body: &[u8]) -> Vec<u8> {
    [&[FRAME_ZSTD], zstd::bulk::compress(body, 3).unwrap().as_slice()].concat()
}

/// A zstd frame that does not declare its size.
fn streamed(body: &[u8]) -> Vec<u8> {
    [&[FRAME_ZSTD], zstd::stream::encode_all(body, 3).unwrap().as_slice()].concat()
}

fn versioned(version: u32) -> DashStreamMessage {
    let mut event = event("");
    event.header.as_mut().unwrap().schema_version = version;
    envelope(Message::Event(event))
}

fn fails(frame: &[u8]) -> DecodeError {
    strict().decode(frame).unwrap_err()
}

#[test]
fn each_schema_policy_takes_its_versions_in_messages_and_in_batch_members() {
    let table = [
        (SchemaPolicy::Exact, [true, true, false, false]),
        (SchemaPolicy::Forward, [true, true, true, true]),
        (SchemaPolicy::Backward, [true, true, false, false]),
    ];
    for (schema, accepted) in table {
        let policy = DecodePolicy { schema, ..DecodePolicy::default() };
        for (version, accepted) in [0, 1, 2, u32::MAX].into_iter().zip(accepted) {
            let message = versioned(version);
            let Some(Message::Event(member)) = message.message.clone() else { panic!("event") };
            let batch = batch_message(vec![event(""), member]);
            for message in [message, batch] {
                let result = Decoder::new(policy.clone()).decode(&framed(&message));
                assert_eq!(result.is_ok(), accepted, "{schema:?} {version}");
            }
        }
    }
}

#[test]
fn the_default_is_strict() {
    let policy = DecodePolicy::default();
    assert_eq!(policy.schema, SchemaPolicy::Exact);
    assert_eq!(policy.legacy, Legacy::Refuse);
    assert!(!policy.lenient);
}

#[test]
fn an_error_in_a_batch_points_at_the_member() {
    let mut bare = event("second");
    bare.header = None;
    let message = batch_message(vec![event("first"), bare.clone(), event("third")]);
    let frame = framed(&message);
    let error = fails(&frame);
    assert_eq!((error.kind, error.region), (Kind::MissingHeader, Region::Frame));
    let at = &frame[error.offset..];
    assert_eq!(at[0], 2 << 3 | 2);
    assert!(at[2..].starts_with(&bare.encode_to_vec()));

    let inflated = fails(&zipped(&frame[1..]));
    assert_eq!((inflated.kind, inflated.offset), (Kind::MissingHeader, error.offset - 1));
    assert_eq!(inflated.region, Region::Inflated);
}

#[test]
fn legacy_records_are_let_in_only_when_asked_for_and_are_counted() {
    let message = event_message(&"x".repeat(40));
    let bare = message.encode_to_vec();
    let bare_zstd = zstd::bulk::compress(&bare, 3).unwrap();
    let table = [
        (Legacy::Refuse, false, false),
        (Legacy::Protobuf, true, false),
        (Legacy::ProtobufOrZstd, true, true),
    ];
    for (legacy, protobuf, zstd) in table {
        let mut decoder = Decoder::new(DecodePolicy { legacy, ..DecodePolicy::default() });
        assert_eq!(decoder.decode(&bare).is_ok(), protobuf);
        assert_eq!(decoder.decode(&bare_zstd).is_ok(), zstd);
        let expected = u64::from(protobuf) + u64::from(zstd);
        assert_eq!(decoder.counters().legacy_decodes(), expected);
        assert_eq!(decoder.counters().decode_failures(), 2 - expected);
    }
}

#[test]
fn a_legacy_record_still_needs_its_header_and_its_limits() {
    let policy = DecodePolicy { legacy: Legacy::ProtobufOrZstd, ..DecodePolicy::default() };
    let bare = envelope(Message::Event(Event::default())).encode_to_vec();
    let error = Decoder::new(policy.clone()).decode(&bare).unwrap_err();
    assert_eq!((error.kind, error.offset), (Kind::MissingHeader, 0));
    let bomb = zstd::bulk::compress(&vec![0; 11 << 20], 3).unwrap();
    let error = Decoder::new(policy).decode(&bomb).unwrap_err();
    assert_eq!((error.kind, error.offset), (Kind::PayloadTooLarge, 0));
}

#[test]
fn lenient_decoding_lets_in_what_lacks_a_header_and_counts_it() {
    let mut decoder = Decoder::new(DecodePolicy { lenient: true, ..DecodePolicy::default() });
    let empty = DashStreamMessage { message: None };
    let bare = envelope(Message::Event(Event::default()));
    for message in [&empty, &bare, &versioned(9)] {
        assert_eq!(decoder.decode(&framed(message)).as_ref(), Ok(message));
    }
    assert_eq!(decoder.counters().lenient_decodes(), 3);
    assert!(decoder.decode(&framed(&event_message(""))).is_ok());
    assert_eq!(decoder.counters().lenient_decodes(), 3);
    assert_eq!(decoder.counters().decode_failures(), 0);
}

#[test]
fn shared_counters_count_every_frame_and_every_failure_once() {
    let counters = Arc::new(CodecCounters::default());
    let good = framed(&event_message(""));
    let mut one = Decoder::with_counters(DecodePolicy::default(), counters.clone());
    let mut two = Decoder::with_counters(DecodePolicy::default(), counters.clone());
    assert!(one.decode(&good).is_ok());
    assert!(one.decode(&[]).is_err());
    assert!(two.decode_record(&good, Some(b"00000000")).is_err());
    assert_eq!((counters.messages_received(), counters.decode_failures()), (3, 2));
}

#[test]
fn a_frame_that_does_not_declare_its_size_inflates_up_to_the_cap() {
    for len in [0, 10, 100_000, 3_000_000] {
        let message = event_message(&noise(1000).repeat(len / 1000));
        assert_eq!(strict().decode(&streamed(&message.encode_to_vec())), Ok(message));
    }
    let limits = Limits { payload: 50_000, ..Limits::default() };
    let mut small = Decoder::new(DecodePolicy { limits, ..DecodePolicy::default() });
    for (len, fits) in [(50_000, true), (50_001, false)] {
        // One unknown field that fills the payload exactly, before a message.
        let mut body = event_message("").encode_to_vec();
        body.push(15 << 3 | 2);
        // The length takes three bytes.
        prost::encoding::encode_varint((len - body.len() - 3) as u64, &mut body);
        body.resize(len, b'x');
        for frame in [streamed(&body), zipped(&body)] {
            match small.decode(&frame) {
                Ok(_) => assert!(fits),
                Err(e) => {
                    assert!(!fits, "{e:?}");
                    assert_eq!((e.kind, e.limit), (Kind::PayloadTooLarge, Some(50_000)));
                }
            }
        }
    }
}

#[test]
fn bytes_behind_the_zstd_frame_are_refused_where_they_start() {
    let body = event_message("").encode_to_vec();
    let frame = zipped(&body);
    let mut twice = frame.clone();
    twice.extend_from_slice(&frame[1..]);
    let mut skippable = frame.clone();
    skippable.extend([0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 9]);
    let mut byte = frame.clone();
    byte.push(0);
    for damaged in [twice, skippable, byte] {
        let error = fails(&damaged);
        assert_eq!((error.kind, error.offset), (Kind::ZstdTrailing, frame.len()));
    }
}

#[test]
fn a_declared_size_that_lies_is_an_error() {
    let body = event_message(&"x".repeat(1000)).encode_to_vec();
    let mut frame = zipped(&body);
    // Single segment, two bytes of content size less 256, behind the descriptor.
    assert_eq!(frame[5] & 0xE0, 0x60);
    for lie in [frame[6].wrapping_add(1), frame[6].wrapping_sub(1)] {
        frame[6] = lie;
        assert_eq!(fails(&frame).kind, Kind::Zstd);
    }
}

#[test]
fn every_cut_of_a_compressed_frame_is_an_error() {
    let frame = encoder().encode(&mut event_message(&"abc".repeat(300))).unwrap().frame;
    assert_eq!(frame[0], FRAME_ZSTD);
    for len in 0..frame.len() {
        assert!(strict().decode(&frame[..len]).is_err(), "{len}");
    }
}

#[test]
fn a_small_frame_after_a_large_one_is_not_mixed_up_with_it() {
    let mut decoder = strict();
    let large = event_message(&noise(1000).repeat(3000));
    let small = event_message("small");
    for message in [&small, &large, &small, &large] {
        let body = message.encode_to_vec();
        assert_eq!(decoder.decode(&zipped(&body)).as_ref(), Ok(message));
        assert_eq!(decoder.decode(&streamed(&body)).as_ref(), Ok(message));
    }
}

#[test]
fn a_frame_that_inflates_too_far_leaves_no_large_buffer_behind() {
    let mut decoder = strict();
    assert!(decoder.decode(&streamed(&vec![0; 20 << 20])).is_err());
    assert!(decoder.decode(&streamed(&event_message(&noise(3_000_000)).encode_to_vec())).is_ok());
    assert!(decoder.inflater.buffer.capacity() <= 1 << 20);
}

struct CountWarnings(Arc<AtomicU64>);

impl tracing::Subscriber for CountWarnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn legacy_and_lenient_decodes_are_logged_at_each_power_of_two() {
    let warnings = Arc::new(AtomicU64::new(0));
    let policy =
        DecodePolicy { lenient: true, legacy: Legacy::Protobuf, ..DecodePolicy::default() };
    tracing::subscriber::with_default(CountWarnings(warnings.clone()), || {
        let mut decoder = Decoder::new(policy);
        let bare = envelope(Message::Event(Event::default())).encode_to_vec();
        for _ in 0..100 {
            decoder.decode(&bare).unwrap();
        }
    });
    // 1, 2, 4, … 64, for each of the two.
    assert_eq!(warnings.load(Ordering::Relaxed), 14);
}

#[test]
fn errors_say_what_where_and_the_limit_that_bound() {
    let mut newer = event("");
    newer.header.as_mut().unwrap().schema_version = 3;
    let good = framed(&event_message("abc"));
    let frames: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("another first byte", vec![0x7F, 1, 2]),
        ("bare protobuf", good[1..].to_vec()),
        ("bare zstd", zipped(&good[1..])[1..].to_vec()),
        ("too large", vec![0; (10 << 20) + 2]),
        ("bomb", zipped(&vec![0; 64 << 20])),
        ("no zstd frame", vec![FRAME_ZSTD, 1, 2, 3, 4]),
        ("cut zstd frame", zipped(&good[1..])[..20].to_vec()),
        ("bytes behind", [zipped(&good[1..]), vec![1]].concat()),
        ("cut message", good[..good.len() - 1].to_vec()),
        ("zero key", [good.clone(), vec![0]].concat()),
        ("wire type", vec![0, 0x08, 1]),
        ("long varint", [vec![0, 0x78], vec![0xFF; 10]].concat()),
        ("lost group end", vec![0, 0x7C]),
        ("not utf-8", vec![0, 0x0A, 3, 0x1A, 1, 0xFF]),
        ("not utf-8, inflated", zipped(&[0x0A, 3, 0x1A, 1, 0xFF])),
        ("no message", vec![0]),
        ("no header", vec![0, 0x0A, 0]),
        ("newer member", framed(&batch_message(vec![event(""), newer]))),
    ];
    let mut texts: Vec<String> = frames
        .iter()
        .map(|(name, f)| format!("{name}: [{}] {}", fails(f).kind, fails(f)))
        .collect();
    for header in ["xyz", "00000000"] {
        let error = strict().decode_record(&good, Some(header.as_bytes())).unwrap_err();
        texts.push(format!("crc {header}: [{}] {error}", error.kind));
    }
    insta::assert_snapshot!(texts.join("\n"));
}
