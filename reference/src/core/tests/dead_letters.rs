use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::core::letter::Letter;

fn json(record: &Record) -> Value {
    serde_json::from_slice(&record.value).unwrap()
}

#[test]
fn the_record_says_what_is_known_of_the_event_and_its_source() {
    let mut pair = Pair::new(plain());
    pair.main().rest = PERMANENT;
    pair.run(ms(1500));
    pair.send("thread-1");
    pair.run_to_rest();
    let (_, record) = &pair.wires.dlq.records[0];
    insta::assert_snapshot!(String::from_utf8_lossy(&record.value));
    assert_eq!(record.topic.as_ref(), "dashstream-dlq");
    assert_eq!(record.key.as_deref(), Some(pair::id(1).to_string().as_bytes()));
    assert_eq!(record.timestamp_ms, pair::WALL_US / 1000 + 1500);
    let header = |name| record.headers.iter().find(|h| h.0 == name).unwrap().1;
    assert_eq!(*header(MESSAGE_ID_HEADER), pair::id(1).0);
    assert_eq!(*header(CRC32_HEADER), crate::codec::crc32_hex(&record.value));
    let payload = json(record)["original_payload_base64"].as_str().unwrap().to_owned();
    assert_eq!(STANDARD.decode(payload).unwrap(), b"payload 1");
}

fn letter(payload: Bytes) -> Letter {
    Letter {
        payload,
        error: "permanent_error: MESSAGE_TOO_LARGE (10): too large".to_owned(),
        source_topic: "dashstream-events".into(),
        source_partition: 3,
        source_offset: -1,
        ended_us: pair::WALL_US,
        consumer: "producer:default".into(),
        thread: "a".into(),
        message_id: pair::id(7),
        payload_cut: 512 << 10,
        max_record_bytes: 1_000_000,
    }
}

fn size(parts: &(Option<Bytes>, Bytes, HeaderValue)) -> usize {
    let headers = MESSAGE_ID_HEADER.len() + 16 + CRC32_HEADER.len() + parts.2.len();
    parts.0.as_ref().unwrap().len() + parts.1.len() + headers
}

#[test]
fn a_payload_over_the_cut_is_cut_with_its_size_and_hash_said() {
    let whole = Bytes::from(vec![7; (512 << 10) + 1]);
    let (_, value, _) = letter(whole.clone()).into_parts();
    let json: Value = serde_json::from_slice(&value).unwrap();
    assert_eq!(json["original_payload_truncated"], true);
    assert_eq!(json["original_payload_size_bytes"], whole.len());
    assert_eq!(json["original_payload_included_bytes"], 512 << 10);
    let digest: String = Sha256::digest(&whole).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(json["original_payload_sha256"], digest);
    let part = STANDARD.decode(json["original_payload_base64"].as_str().unwrap()).unwrap();
    assert_eq!(part, whole[..512 << 10]);
}

#[test]
fn a_payload_at_the_cut_is_whole_and_says_nothing_of_a_cut() {
    let (_, value, _) = letter(Bytes::from(vec![7; 512 << 10])).into_parts();
    let json: Value = serde_json::from_slice(&value).unwrap();
    assert_eq!(json.get("original_payload_truncated"), None);
    assert_eq!(json.get("original_payload_sha256"), None);
}

#[test]
fn the_whole_record_stays_under_the_limit_whatever_is_in_it() {
    let hostile = "\u{1}\"\\\u{7f}é".repeat(2000);
    for limit in [4096, 5000, 65_536, 1_000_000] {
        for payload in [0, 1, 3000, limit, 600_000] {
            for (thread, error) in [("a", "e"), (hostile.as_str(), hostile.as_str())] {
                let mut letter = letter(Bytes::from(vec![0xA5; payload]));
                letter.max_record_bytes = limit;
                letter.thread = thread.into();
                letter.error = error.to_owned();
                letter.consumer = format!("producer:{thread}").into();
                letter.source_topic = "t".repeat(249).into();
                let parts = letter.into_parts();
                let size = size(&parts);
                assert!(size <= limit, "{size} over {limit} with {payload} of payload");
                assert!(serde_json::from_slice::<Value>(&parts.1).is_ok());
            }
        }
    }
}

#[test]
fn tenant_node_and_parent_are_read_from_the_event_itself() {
    use crate::proto::{DashStreamMessage, Event, Header, dash_stream_message::Message};
    let header =
        Header { tenant_id: "acme".to_owned(), parent_id: vec![0xAB; 16], ..Header::default() };
    let node_id = "planner".to_owned();
    let event = Event { header: Some(header), node_id, ..Event::default() };
    let mut message = DashStreamMessage { message: Some(Message::Event(event)) };
    let config = crate::codec::CodecConfig::default();
    let encoded = crate::codec::Encoder::new(&config).encode(&mut message).unwrap();
    let (_, value, _) = letter(encoded.frame).into_parts();
    let json: Value = serde_json::from_slice(&value).unwrap();
    assert_eq!(json["tenant_id"], "acme");
    assert_eq!(json["node_id"], "planner");
    assert_eq!(json["parent_trace_id"], "ab".repeat(16));
    assert_eq!(json["consumer_id"], "producer:default");
}

#[test]
fn a_wall_clock_out_of_range_still_gives_a_timestamp() {
    for us in [i64::MIN, -1, 0, i64::MAX] {
        let mut letter = letter(Bytes::new());
        letter.ended_us = us;
        let (_, value, _) = letter.into_parts();
        let json: Value = serde_json::from_slice(&value).unwrap();
        assert!(json["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}

#[test]
fn the_dlq_retries_by_the_same_rule() {
    let mut pair = Pair::new(plain());
    pair.main().rest = PERMANENT;
    pair.dlq().script([NOT, NOT]);
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.times(Route::Dlq), [0, 100, 300].map(ms));
    assert!(matches!(pair.told()[..], [Outcome::DeadLettered { .. }]));
    assert_eq!(pair.core.counters().dlq_send_retries, 2);
}

#[test]
fn the_dlq_does_not_send_again_what_it_may_have() {
    let mut pair = Pair::new(plain());
    pair.main().rest = PERMANENT;
    pair.dlq().rest = POSSIBLY;
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.times(Route::Dlq).len(), 1);
}

#[test]
fn the_dlq_time_covers_attempts_back_offs_and_the_wait_for_a_permit() {
    let mut config = plain();
    config.dlq.max_concurrent = 1;
    config.dlq.max_attempts = 9;
    let mut pair = Pair::new(config);
    pair.main().rest = PERMANENT;
    pair.dlq().rest = Treat::FailAfter(1500, Persistence::Not, TIMED_OUT);
    pair.send("a");
    pair.send("b");
    pair.run_to_rest();
    // the first: 0, 1600, 3300, and no fourth, for its back-off would end past 5 s
    // the second waits for the permit and is over at 5 s, one attempt later at most
    assert_eq!(pair.times(Route::Dlq)[..3], [0, 1600, 3300].map(ms));
    assert!(pair.now <= ms(5000 + 1500), "{:?}", pair.now);
    assert!(pair.told().iter().all(|o| matches!(o, Outcome::Dropped { .. })));
}

#[test]
fn at_most_so_many_events_are_on_their_way_and_the_rest_wait_and_are_counted() {
    let mut config = plain();
    config.dlq.max_concurrent = 2;
    let mut pair = Pair::new(config);
    pair.main().rest = PERMANENT;
    pair.dlq().rest = Treat::Hold;
    for _ in 0..5 {
        pair.send("a");
    }
    pair.run(ms(1));
    assert_eq!(pair.dlq().open.len(), 2);
    assert_eq!(pair.core.gauges().open_attempts.dlq, 2);
    assert_eq!(pair.core.counters().dlq_over_limit, 3);
    let open = pair.dlq().open[0];
    pair.deliver(open, Persistence::Persisted, 0);
    assert_eq!(pair.dlq().open.len(), 2);
    assert_eq!(pair.handed(Route::Dlq), [1, 2, 3]);
}

#[test]
fn an_event_that_came_from_a_dlq_is_not_dead_lettered_again() {
    let mut pair = Pair::new(plain());
    pair.main().rest = PERMANENT;
    let admission = pair.offer_unsupplied("a", 100, true);
    pair.supply(admission);
    pair.run_to_rest();
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::PermanentError }]);
    assert_eq!(pair.times(Route::Dlq), []);
    assert_eq!(pair.core.counters().dlq_dropped, 0);
}

#[test]
fn a_failed_dlq_attempt_is_reported_with_its_whole_source() {
    let mut pair = Pair::new(plain());
    pair.main().rest = PERMANENT;
    pair.dlq().script([NOT]);
    pair.send("thread-1");
    pair.run_to_rest();
    let [failure] = &pair.failures[..] else { panic!("{:?}", pair.failures) };
    assert_eq!(failure.topic.as_ref(), "dashstream-events");
    assert_eq!((failure.partition, failure.offset), (2, -1));
    assert_eq!(failure.thread.as_ref(), "thread-1");
    assert_eq!(failure.trace_id, pair::id(1));
    assert_eq!((failure.attempt, failure.code, failure.will_retry), (1, TIMED_OUT, true));
}

#[test]
fn a_dlq_that_refuses_for_good_ends_the_event() {
    let mut pair = Pair::new(plain());
    pair.main().rest = PERMANENT;
    pair.dlq().rest = Treat::Refuse(ErrorClass::Permanent);
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::PermanentError }]);
    // no attempt was made, so no delivery failed
    assert_eq!(pair.core.counters().dlq_send_failures, 0);
    assert_eq!(pair.failures.len(), 1);
}

#[test]
fn a_dlq_that_refuses_for_now_is_asked_again_until_the_dlq_time_is_over() {
    let mut pair = Pair::new(plain());
    pair.main().rest = PERMANENT;
    pair.dlq().rest = Treat::Refuse(ErrorClass::Retryable);
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.now, ms(5000));
    assert_eq!(pair.told(), [Outcome::Dropped { reason: Reason::PermanentError }]);
    assert_eq!(pair.core.gauges().open_attempts, PerRoute::default());
}

#[test]
fn without_a_dlq_nothing_is_sent_there() {
    let mut pair = Pair::new(no_dlq());
    pair.main().rest = PERMANENT;
    pair.send("a");
    pair.run_to_rest();
    assert_eq!(pair.times(Route::Dlq), []);
    assert_eq!(pair.core.counters().dlq_dropped, 0);
}
