//! What the encoder promises about threshold, level, checksum, size and refusals.

use prost::Message as _;
use zstd::zstd_safe::{CCtx, CParameter};

use super::{batch_message, encoder, envelope, event, event_message, noise, plain_header, strict};
use crate::codec::{
    CodecConfig, DecodeErrorKind, EncodeError, Encoder, FRAME_PLAIN, FRAME_ZSTD, header,
};
use crate::proto::dash_stream_message::Message;
use crate::proto::{CompressionType, DashStreamMessage, EventBatch, StateDiff};

/// An event message of exactly this many protobuf bytes.
fn message_of(len: usize) -> DashStreamMessage {
    let fill = (0..=len).find(|n| event_message(&"x".repeat(*n)).encoded_len() == len);
    event_message(&"x".repeat(fill.expect("a fill of the right length")))
}

#[test]
fn a_message_at_the_threshold_stays_plain_and_one_byte_more_is_compressed() {
    for (len, compressed) in [(511, false), (512, false), (513, true), (514, true)] {
        let mut message = message_of(len);
        let encoded = encoder().encode(&mut message).unwrap();
        assert_eq!((encoded.payload_len, encoded.compressed), (len, compressed));
    }
}

#[test]
fn a_message_that_already_says_zstd_is_judged_by_its_plain_length() {
    let mut message = message_of(512);
    super::super::header::set_compression(&mut message, CompressionType::Zstd);
    assert!(message.encoded_len() > 512);
    let encoded = encoder().encode(&mut message).unwrap();
    assert!(!encoded.compressed);
    assert_eq!(header(&message).unwrap().compression, CompressionType::None as i32);
}

#[test]
fn the_configured_threshold_binds() {
    let config = CodecConfig { threshold: 2000, ..CodecConfig::default() };
    let mut encoder = Encoder::new(&config);
    assert!(!encoder.encode(&mut message_of(2000)).unwrap().compressed);
    assert!(encoder.encode(&mut message_of(2001)).unwrap().compressed);
}

#[test]
fn compression_switched_off_leaves_everything_plain() {
    let config = CodecConfig { compression: false, threshold: 0, ..CodecConfig::default() };
    let mut encoder = Encoder::new(&config);
    let encoded = encoder.encode(&mut message_of(5000)).unwrap();
    assert_eq!(encoded.frame[0], FRAME_PLAIN);
    assert!(!encoded.compressed && !encoded.compression_failed);
    assert_eq!(encoder.compressions, 0);
}

#[test]
fn the_frame_is_what_zstd_makes_at_the_configured_level_and_checksum() {
    let fill: String = noise(300).repeat(40);
    for (level, checksum) in [(1, true), (3, true), (3, false), (19, true)] {
        let config = CodecConfig { level, checksum, ..CodecConfig::default() };
        let mut message = event_message(&fill);
        let encoded = Encoder::new(&config).encode(&mut message).unwrap();

        let mut context = CCtx::create();
        context.set_parameter(CParameter::CompressionLevel(level)).unwrap();
        context.set_parameter(CParameter::ChecksumFlag(checksum)).unwrap();
        let mut expected = Vec::with_capacity(20_000);
        context.compress2(&mut expected, &message.encode_to_vec()).unwrap();
        assert_eq!(encoded.frame[0], FRAME_ZSTD);
        assert_eq!(encoded.frame[1..], expected);
        // Bit 2 of the frame header descriptor.
        assert_eq!(encoded.frame[5] & 0x04 != 0, checksum);
    }
}

#[test]
fn a_message_that_compression_does_not_shrink_is_plain_after_one_try() {
    let mut diff = StateDiff { header: Some(plain_header()), ..StateDiff::default() };
    let mut rng = fastrand::Rng::with_seed(1);
    diff.full_state = (0..2000).map(|_| rng.u8(..)).collect();
    let mut message = envelope(Message::StateDiff(diff));
    let mut encoder = encoder();
    let encoded = encoder.encode(&mut message).unwrap();
    assert_eq!(encoded.frame[0], FRAME_PLAIN);
    assert!(!encoded.compression_failed);
    assert_eq!(header(&message).unwrap().compression, CompressionType::None as i32);
    assert_eq!(encoder.compressions, 1);
    assert_eq!(strict().decode(&encoded.frame).unwrap(), message);
}

#[test]
fn without_a_zstd_context_messages_stay_plain_and_say_that_compression_failed() {
    let mut encoder = encoder();
    encoder.context = None;
    let mut message = message_of(2000);
    let encoded = encoder.encode(&mut message).unwrap();
    assert!(encoded.compression_failed && !encoded.compressed);
    assert_eq!(strict().decode(&encoded.frame).unwrap(), message);
    assert!(!encoder.encode(&mut message_of(300)).unwrap().compression_failed);
}

#[test]
fn every_member_of_a_batch_carries_the_flag_of_its_frame() {
    let fill = "abc".repeat(200);
    let mut message = batch_message(vec![event(&fill), event(&fill), event(&fill)]);
    assert!(encoder().encode(&mut message).unwrap().compressed);
    let Some(Message::EventBatch(batch)) = &message.message else { panic!("still a batch") };
    for event in &batch.events {
        let header = event.header.as_ref().unwrap();
        assert_eq!(header.compression, CompressionType::Zstd as i32);
    }
}

#[test]
fn a_message_of_the_size_limit_passes_and_one_byte_more_is_refused() {
    let config = CodecConfig { max_payload: 1000, ..CodecConfig::default() };
    let mut encoder = Encoder::new(&config);
    assert!(encoder.encode(&mut message_of(1000)).is_ok());
    let refused = encoder.encode(&mut message_of(1001));
    assert_eq!(refused, Err(EncodeError::Oversize { size: 1001, limit: 1000 }));
}

#[test]
fn at_the_size_limit_a_frame_never_inflates_to_more_than_the_limit() {
    // The flag in the header would make the inflated message 1002 bytes long.
    let config = CodecConfig { max_payload: 1000, ..CodecConfig::default() };
    let encoded = Encoder::new(&config).encode(&mut message_of(1000)).unwrap();
    assert!(!encoded.compressed);
    let encoded = Encoder::new(&config).encode(&mut message_of(998)).unwrap();
    assert!(encoded.compressed);
}

#[test]
fn what_strict_decoding_would_refuse_is_refused_by_name() {
    let refuse = |mut message| encoder().encode(&mut message).unwrap_err();
    let empty = DashStreamMessage { message: None };
    assert_eq!(refuse(empty), EncodeError::MissingMessage);
    let batch = EventBatch { header: None, events: vec![] };
    let no_header = envelope(Message::EventBatch(batch));
    assert_eq!(refuse(no_header), EncodeError::MissingHeader { member: None });

    let mut bare = event("");
    bare.header = None;
    let member = batch_message(vec![event(""), bare]);
    assert_eq!(refuse(member), EncodeError::MissingHeader { member: Some(1) });

    let mut newer = event("");
    newer.header.as_mut().unwrap().schema_version = 2;
    let expected = EncodeError::SchemaVersion { member: Some(0), found: 2 };
    assert_eq!(refuse(batch_message(vec![newer])), expected);
}

#[test]
fn a_batch_that_no_strict_decoder_takes_is_refused() {
    let mut small = event("");
    small.attributes.clear();
    small.header = Some(crate::proto::Header::default());
    let mut message = batch_message(vec![small; 100_001]);
    let expected = EncodeError::Limit { kind: DecodeErrorKind::BatchMembers, limit: 100_000 };
    assert_eq!(encoder().encode(&mut message), Err(expected));
}

#[test]
fn a_large_message_leaves_no_large_buffer_behind() {
    let mut encoder = encoder();
    encoder.encode(&mut event_message(&noise(3_000_000))).unwrap();
    assert!(encoder.payload.capacity() <= 1024 * 1024);
    assert!(encoder.frame.capacity() <= 1024 * 1024);
}

#[test]
fn encode_errors_say_what_to_do() {
    let place = |member| EncodeError::MissingHeader { member };
    let errors = [
        EncodeError::Oversize { size: 2_000_000, limit: 1_048_576 },
        EncodeError::MissingMessage,
        place(None),
        place(Some(3)),
        EncodeError::SchemaVersion { member: None, found: 7 },
        EncodeError::Limit { kind: DecodeErrorKind::Depth, limit: 100 },
    ];
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(texts.join("\n"));
}
