//! The depth limit, at its edge: the scan, the protobuf library and the encoder agree.

use prost::Message as _;

use super::super::scan::scan;
use super::{encoder, envelope, event, strict, text};
use crate::codec::{DecodeErrorKind, EncodeError, Limits};
use crate::proto::attribute_value::Value;
use crate::proto::dash_stream_message::Message;
use crate::proto::{AttributeArray, AttributeMap, AttributeValue, DashStreamMessage};

type Wrapper = fn(AttributeValue) -> AttributeValue;

fn in_array(inner: AttributeValue) -> AttributeValue {
    AttributeValue { value: Some(Value::ArrayValue(AttributeArray { values: vec![inner] })) }
}

fn in_map(inner: AttributeValue) -> AttributeValue {
    let values = [("k".to_owned(), inner)].into();
    AttributeValue { value: Some(Value::MapValue(AttributeMap { values })) }
}

/// An event with an attribute wrapped so many times by arrays and maps in turn.
fn nested(wrappers: &[Wrapper], times: usize) -> DashStreamMessage {
    nested_around(text("leaf"), wrappers, times)
}

fn nested_around(leaf: AttributeValue, wrappers: &[Wrapper], times: usize) -> DashStreamMessage {
    let value = (0..times).fold(leaf, |value, i| wrappers[i % wrappers.len()](value));
    let mut event = event("");
    event.attributes = [("deep".to_owned(), value)].into();
    envelope(Message::Event(event))
}

#[test]
fn the_encoder_refuses_exactly_the_nesting_that_decoding_refuses() {
    let shapes: [&[Wrapper]; 3] = [&[in_array], &[in_map], &[in_array, in_map]];
    let leaves = [text("leaf"), AttributeValue { value: None }];
    for (shape, leaf) in shapes.iter().flat_map(|s| leaves.iter().map(move |l| (s, l))) {
        let mut refused = 0;
        for times in 0..60 {
            let mut message = nested_around(leaf.clone(), shape, times);
            let library = DashStreamMessage::decode(message.encode_to_vec().as_slice());
            let encoded = encoder().encode(&mut message);
            assert_eq!(encoded.is_ok(), library.is_ok(), "{times} wrappers");
            match encoded {
                Ok(encoded) => assert_eq!(strict().decode(&encoded.frame).unwrap(), message),
                Err(e) => {
                    refused += 1;
                    let kind = DecodeErrorKind::Depth;
                    assert_eq!(e, EncodeError::Limit { kind, limit: 100 });
                }
            }
        }
        assert!(refused > 0);
    }
}

#[test]
fn a_batch_counts_one_level_more_than_its_events() {
    for times in 40..52 {
        let mut single = nested(&[in_array], times);
        let Some(Message::Event(event)) = single.message.clone() else { panic!("an event") };
        let mut batch = super::batch_message(vec![event]);
        let library = DashStreamMessage::decode(batch.encode_to_vec().as_slice()).is_ok();
        assert_eq!(encoder().encode(&mut batch).is_ok(), library);
        assert!(encoder().encode(&mut single).is_ok() || !library);
    }
}

#[test]
fn nesting_a_million_deep_is_refused_before_anything_recurses_into_it() {
    let mut value = text("leaf");
    for _ in 0..1_000_000 {
        value = in_array(value);
    }
    let mut event = event("");
    event.attributes = [("deep".to_owned(), value)].into();
    let mut message = envelope(Message::Event(event));
    let refused = encoder().encode(&mut message);
    assert!(matches!(refused, Err(EncodeError::Limit { kind: DecodeErrorKind::Depth, .. })));
    // Dropping it would recurse; that is the caller's own structure.
    std::mem::forget(message);
}

/// `depth` levels of field 1 around `inner`, as an unknown field's content would never be looked
/// at: so the levels are `AttributeMap` entries' values of an event.
fn levels(depth: usize, inner: &[u8]) -> Vec<u8> {
    // Event, attribute entry, value; then array and value in turn.
    let numbers = [1u8, 4, 2].into_iter().chain([6u8, 1].into_iter().cycle()).take(depth);
    let mut bytes = inner.to_vec();
    for number in numbers.collect::<Vec<_>>().into_iter().rev() {
        let mut outer = vec![number << 3 | 2];
        prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
        outer.extend_from_slice(&bytes);
        bytes = outer;
    }
    bytes
}

#[test]
fn scan_and_library_agree_at_the_deepest_level_on_known_and_unknown_fields_and_groups() {
    // Nothing, an unknown varint, an unknown group with a varint in it, a group in a group.
    let inners: [&[u8]; 4] = [&[], &[0x78, 1], &[0x7B, 0x78, 1, 0x7C], &[0x7B, 0x7B, 0x7C, 0x7C]];
    for depth in 90..105 {
        for inner in inners {
            let payload = levels(depth, inner);
            let library = DashStreamMessage::decode(payload.as_slice());
            let scanned = scan::<true>(&payload, &Limits::default());
            assert_eq!(library.is_ok(), scanned.is_ok(), "{depth} {inner:?} {scanned:?}");
            if let Err(fault) = scanned {
                assert_eq!(fault.kind, DecodeErrorKind::Depth);
            }
        }
    }
}

#[test]
fn a_lower_depth_limit_binds_at_its_own_edge() {
    for limit in [0u32, 1, 3, 10, 99] {
        let limits = Limits { depth: limit, ..Limits::default() };
        let at = levels(limit as usize, &[]);
        let beyond = levels(limit as usize + 1, &[]);
        assert!(scan::<true>(&at, &limits).is_ok(), "{limit}");
        let fault = scan::<true>(&beyond, &limits).unwrap_err();
        assert_eq!(fault.kind, DecodeErrorKind::Depth);
        assert_eq!(limits.of(fault.kind), Some(limit.into()));
    }
}

#[test]
fn groups_nested_without_end_are_an_error_and_not_an_overflow() {
    let mut frame = vec![0u8];
    frame.extend(std::iter::repeat_n(0x7Bu8, 5_000_000));
    let error = strict().decode(&frame).unwrap_err();
    assert_eq!((error.kind, error.limit), (DecodeErrorKind::Depth, Some(100)));
}
