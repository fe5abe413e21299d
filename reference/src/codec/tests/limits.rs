//! Every limit at its edge: what is at the limit passes, one more is refused with the limit and the
//! place of the first thing too many.

use prost::Message as _;

use super::super::scan::{Usage, scan};
use super::{envelope, event, plain_header, strict};
use crate::codec::{DecodeErrorKind as Kind, DecodePolicy, Decoder, Limits};
use crate::proto::dash_stream_message::Message;
use crate::proto::{DashStreamMessage, Error, EventBatch, MetricValue, Metrics, TokenChunk};

fn usage(message: &DashStreamMessage) -> Usage {
    scan::<true>(&message.encode_to_vec(), &Limits::default()).unwrap()
}

fn batch(events: usize) -> DashStreamMessage {
    let header = Some(plain_header());
    envelope(Message::EventBatch(EventBatch { header, events: vec![event("x"); events] }))
}

fn tokens(n: usize) -> DashStreamMessage {
    let chunk = TokenChunk { token_ids: vec![300; n], ..TokenChunk::default() };
    envelope(Message::TokenChunk(chunk))
}

fn tags(n: usize) -> DashStreamMessage {
    let tags = (0..n).map(|i| (i.to_string(), String::new())).collect();
    envelope(Message::Metrics(Metrics { tags, ..Metrics::default() }))
}

#[test]
fn the_scan_counts_what_a_message_holds() {
    let seven = usage(&batch(7));
    assert_eq!((seven.batch_members, seven.elements, seven.map_entries), (7, 7, 7));
    let numbers = usage(&tokens(50));
    assert_eq!((numbers.batch_members, numbers.elements, numbers.map_entries), (0, 50, 0));
    assert_eq!(usage(&tags(9)).map_entries, 9);
    let suggestions = vec!["a".to_owned(); 4];
    let error = Error { suggestions, ..Error::default() };
    assert_eq!(usage(&envelope(Message::Error(error))).elements, 4);
}

#[test]
fn packed_and_unpacked_numbers_count_alike() {
    // token_ids = 4, packed [1, 2, 300], then 5 by itself; logprobs = 5, packed, then alone.
    let chunk = [
        &[0x22, 4, 1, 2, 0xAC, 2, 0x20, 5][..],
        &[0x2A, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0x2D, 0, 0, 0, 0],
    ]
    .concat();
    let mut payload = vec![0x1A, u8::try_from(chunk.len()).unwrap()];
    payload.extend(chunk);
    assert_eq!(scan::<true>(&payload, &Limits::default()).unwrap().elements, 4 + 3);
}

#[test]
fn a_map_entry_counts_whatever_wire_type_its_key_names_as_the_library_reads_it() {
    for wire in 0..6 {
        // Metrics, with an entry in `tags` = 5 that is empty.
        let payload = [0x32, 2, 5 << 3 | wire, 0];
        assert!(DashStreamMessage::decode(&payload[..]).is_ok());
        assert_eq!(scan::<true>(&payload, &Limits::default()).unwrap().map_entries, 1);
    }
}

#[test]
fn each_count_binds_one_above_its_limit_and_says_so() {
    let limits = Limits::default;
    let cases = [
        (batch(12), Limits { batch_members: 11, ..limits() }, Kind::BatchMembers, 11),
        (batch(12), Limits { elements: 11, ..limits() }, Kind::TotalElements, 11),
        (tokens(12), Limits { repeated: 11, ..limits() }, Kind::RepeatedElements, 11),
        (tokens(12), Limits { elements: 11, ..limits() }, Kind::TotalElements, 11),
        (tags(12), Limits { map_entries: 11, ..limits() }, Kind::MapEntries, 11),
    ];
    for (message, tight, kind, limit) in cases {
        let mut frame = vec![0];
        message.encode_raw(&mut frame);
        let policy = |limits| DecodePolicy { limits, lenient: true, ..DecodePolicy::default() };
        let error = Decoder::new(policy(tight.clone())).decode(&frame).unwrap_err();
        assert_eq!((error.kind, error.limit), (kind, Some(limit)));
        assert!(error.offset > 0 && error.offset < frame.len());
        let roomy = Limits {
            batch_members: tight.batch_members.max(12),
            repeated: tight.repeated.max(12),
            elements: tight.elements.max(12),
            map_entries: tight.map_entries.max(12),
            ..tight
        };
        assert_eq!(Decoder::new(policy(roomy)).decode(&frame).as_ref(), Ok(&message));
    }
}

#[test]
fn the_first_element_too_many_is_where_the_error_points() {
    let message = batch(3);
    let mut frame = vec![0];
    message.encode_raw(&mut frame);
    let limits = Limits { batch_members: 2, ..Limits::default() };
    let policy = DecodePolicy { limits, ..DecodePolicy::default() };
    let error = Decoder::new(policy).decode(&frame).unwrap_err();
    let one = event("x").encoded_len();
    // The third event ends the frame: its key and its length take a byte each.
    assert_eq!(error.offset, frame.len() - one - 2);
}

#[test]
fn the_memory_bound_binds_before_the_counts_where_entries_are_costly() {
    let metrics = (0..250_000).map(|i| (i.to_string(), MetricValue::default())).collect();
    let big = Metrics { header: Some(plain_header()), metrics, ..Metrics::default() };
    let limits = Limits { map_entries: u64::MAX, ..Limits::default() };
    let policy = DecodePolicy { limits: limits.clone(), ..DecodePolicy::default() };
    let mut frame = vec![0];
    envelope(Message::Metrics(big)).encode_raw(&mut frame);
    let result = Decoder::new(policy).decode(&frame);
    let error = result.map(drop).unwrap_err();
    assert_eq!((error.kind, error.limit), (Kind::DecodedBytes, Some(limits.decoded_bytes)));
}

#[test]
fn the_payload_limit_binds_on_plain_frames_at_its_edge() {
    let mut frame = vec![0];
    envelope(Message::Event(event("abc"))).encode_raw(&mut frame);
    let decoder = |payload| {
        let limits = Limits { payload, ..Limits::default() };
        Decoder::new(DecodePolicy { limits, ..DecodePolicy::default() })
    };
    assert!(decoder(frame.len() - 1).decode(&frame).is_ok());
    let error = decoder(frame.len() - 2).decode(&frame).unwrap_err();
    assert_eq!(error.kind, Kind::FrameTooLarge);
    assert_eq!(error.limit, Some(frame.len() as u64 - 2));
}

#[test]
fn ten_mebibytes_of_legitimate_events_pass_the_default_limits() {
    let fill = "x".repeat(500);
    let mut frame = vec![0];
    let message = envelope(Message::EventBatch(EventBatch {
        header: Some(plain_header()),
        events: vec![event(&fill); 18_000],
    }));
    message.encode_raw(&mut frame);
    assert!(frame.len() > 10_000_000);
    assert_eq!(strict().decode(&frame).unwrap(), message);
}

#[test]
fn under_the_defaults_payloads_up_to_200_kilobytes_need_no_scan() {
    // As the manual says.
    assert_eq!(Limits::default().unreachable_up_to(), 200_000);
}

#[test]
fn every_limit_has_a_kind_of_error_and_only_they_have() {
    for kind in Kind::ALL {
        assert_eq!(Limits::default().of(kind).is_some(), kind.is_limit(), "{kind}");
    }
}
