use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dashproof_reference::codec::{CodecConfig, Encoder, crc32_header};
use dashproof_reference::proto::dash_stream_message::Message;
use dashproof_reference::proto::{DashStreamMessage, Event, EventBatch, Header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::broker::tests::kit::*;
use crate::broker::{Cluster, codes};
use crate::history::{Kind, LogRecord, Recorder, Route};

const RUN: [u8; 10] = [7; 10];

fn event(n: u32, sequence: u64) -> Event {
    let message_id = id(n).message_id(RUN).to_vec();
    let thread_id = "t0".to_owned();
    let schema_version = 1;
    let header = Header { message_id, thread_id, sequence, schema_version, ..Header::default() };
    Event { header: Some(header), node_id: "n".repeat(2000), ..Event::default() }
}

fn encode(message: Message, compression: bool) -> Bytes {
    let config = CodecConfig { compression, ..CodecConfig::default() };
    let mut message = DashStreamMessage { message: Some(message) };
    Encoder::new(&config).encode(&mut message).unwrap().frame
}

/// A plain frame of what the encoder would not write.
fn raw(event: Event) -> Bytes {
    let message = DashStreamMessage { message: Some(Message::Event(event)) };
    Bytes::from([vec![0], prost::Message::encode_to_vec(&message)].concat())
}

fn frame(n: u32) -> Bytes {
    encode(Message::Event(event(n, u64::from(n) + 1)), true)
}

/// What the snapshot says of one record that was appended to a topic.
async fn inspect(route: Route, records: Vec<Bytes>) -> Vec<LogRecord> {
    let (cluster, recorder) = cluster();
    fill(&cluster, route, records).await;
    snapshot(&cluster, &recorder, route)
}

async fn fill(cluster: &Arc<Cluster>, route: Route, batches: Vec<Bytes>) {
    let topic = if route == Route::Main { "events" } else { "dead" };
    for records in batches {
        let request = produce_to(topic, 0, -1, records);
        let response = connect(cluster, 1).call(9, &request).await.unwrap();
        assert_eq!(answer(&response).0, codes::NONE);
    }
}

fn snapshot(cluster: &Cluster, recorder: &Recorder, wanted: Route) -> Vec<LogRecord> {
    cluster.snapshot_logs();
    let lines = recorder.take().into_iter();
    let logs = lines.filter_map(|line| match line.kind {
        Kind::Log { route, records, .. } if route == Some(wanted) => Some(records),
        _ => None,
    });
    logs.flatten().collect()
}

fn classes(records: &[LogRecord]) -> Vec<&str> {
    let all = records.iter().flat_map(|r| &r.defects);
    all.map(|defect| defect.split(':').next().unwrap()).collect()
}

#[tokio::test]
async fn a_sound_main_record_is_read_with_thread_sequence_and_event() {
    let crc = crc32_header(&frame(3));
    let headers = [("dashstream-crc32", crc)];
    let read = inspect(Route::Main, vec![one(Some(3), &headers, &frame(3))]).await;
    assert_eq!((&*read[0].thread, read[0].sequence), ("t0", Some(4)));
    assert_eq!((read[0].events.as_slice(), classes(&read).is_empty()), (&[id(3)][..], true));
}

#[tokio::test]
async fn without_a_kafka_header_the_frame_tells_who_it_is() {
    let read = inspect(Route::Main, vec![one(None, &[], &frame(5))]).await;
    assert_eq!(read[0].events, [id(5)]);
}

#[tokio::test]
async fn a_batch_resolves_to_its_members_in_the_log_and_in_the_request() {
    let (cluster, recorder) = cluster();
    let events = (0..3).map(|n| event(n, u64::from(n) + 1)).collect();
    let header = event(9, 0).header;
    let batch = encode(Message::EventBatch(EventBatch { header, events }), false);
    fill(&cluster, Route::Main, vec![one(None, &[], &batch)]).await;
    assert_eq!(truths(&recorder.lines())[0].events, [Some(id(0)), Some(id(1)), Some(id(2))]);
    assert_eq!(snapshot(&cluster, &recorder, Route::Main)[0].events, [id(0), id(1), id(2)]);
}

#[tokio::test]
async fn a_learnt_digest_resolves_what_says_nothing_itself() {
    let (cluster, recorder) = cluster();
    cluster.learn_digest(Sha256::digest(b"foreign").into(), id(8));
    let foreign = one(None, &[], &Bytes::from_static(b"foreign"));
    fill(&cluster, Route::Main, vec![foreign]).await;
    assert_eq!(truths(&recorder.lines())[0].events, [Some(id(8))]);
}

#[tokio::test]
async fn another_runs_record_and_plain_rubbish_resolve_to_nobody() {
    let rubbish = one(None, &[("dashstream-message-id", Bytes::from_static(&[1; 16]))], b"");
    let read = inspect(Route::Main, vec![rubbish]).await;
    assert_eq!((read[0].events.len(), classes(&read)), (0, vec!["frame"]));
}

#[tokio::test]
async fn what_is_wrong_with_a_main_record_is_said_by_class() {
    let wrong = [("dashstream-crc32", Bytes::from_static(b"00000000"))];
    assert_eq!(
        classes(&inspect(Route::Main, vec![one(Some(0), &wrong, &frame(0))]).await),
        ["crc"]
    );
    let mut old = event(0, 1);
    old.header.as_mut().unwrap().schema_version = 2;
    let old = one(Some(0), &[], &raw(old));
    assert_eq!(classes(&inspect(Route::Main, vec![old]).await), ["schema"]);
    let headless = one(Some(0), &[], &raw(Event { header: None, ..event(0, 1) }));
    assert_eq!(classes(&inspect(Route::Main, vec![headless]).await), ["schema"]);
    let mut flagged = event(0, 1);
    flagged.header.as_mut().unwrap().compression = 1;
    let flagged = one(Some(0), &[], &raw(flagged));
    assert_eq!(classes(&inspect(Route::Main, vec![flagged]).await), ["compression"]);
    let other = one(Some(1), &[], &frame(0));
    assert_eq!(classes(&inspect(Route::Main, vec![other]).await), ["frame"]);
}

fn letter(payload: &[u8]) -> Value {
    json!({
        "original_payload_base64": STANDARD.encode(payload),
        "error": "timed out", "source_topic": "events", "source_partition": -1,
        "source_offset": -1, "timestamp": "2026-01-01T00:00:00Z", "consumer_id": "producer:x",
        "thread_id": "t0", "error_type": "kafka_send_error", "trace_id": "abc",
    })
}

fn with(mut letter: Value, name: &str, value: Value) -> Value {
    letter[name] = value;
    letter
}

async fn letter_classes(letter: Value) -> Vec<String> {
    let value = Bytes::from(serde_json::to_vec(&letter).unwrap());
    let read = inspect(Route::Dlq, vec![one(Some(0), &[], &value)]).await;
    classes(&read).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_sound_dead_letter_has_no_defect_and_tells_its_event_without_a_header() {
    assert!(letter_classes(letter(&frame(0))).await.is_empty());
    let value = Bytes::from(serde_json::to_vec(&letter(&frame(6))).unwrap());
    let read = inspect(Route::Dlq, vec![one(None, &[], &value)]).await;
    assert_eq!((read[0].events.as_slice(), &*read[0].thread), (&[id(6)][..], "t0"));
}

#[tokio::test]
async fn a_cut_payload_needs_its_size_and_hash() {
    let frame = frame(0);
    let half = &frame[..frame.len() / 2];
    let cut = with(letter(half), "original_payload_truncated", json!(true));
    assert_eq!(letter_classes(cut.clone()).await, ["payload"]);
    let size = with(cut, "original_payload_size_bytes", json!(frame.len()));
    assert_eq!(letter_classes(size.clone()).await, ["payload"]);
    let hash = Sha256::digest(&frame).iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert!(letter_classes(with(size, "original_payload_sha256", json!(hash))).await.is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_dead_letter_is_said_by_class() {
    let sound = letter(&frame(0));
    let not_cut = with(sound.clone(), "original_payload_size_bytes", json!(1));
    assert_eq!(letter_classes(not_cut).await, ["payload"]);
    assert_eq!(letter_classes(letter(&frame(1))).await, ["payload"]);
    assert_eq!(letter_classes(letter(b"\x00rubbish")).await, ["payload"]);
    assert_eq!(letter_classes(json!({"hello": 1})).await, ["payload"]);
    for name in ["source_topic", "trace_id", "error", "timestamp"] {
        assert_eq!(
            letter_classes(with(sound.clone(), name, json!(""))).await,
            ["context"],
            "{name}"
        );
    }
    assert_eq!(letter_classes(with(sound.clone(), "source_offset", json!("x"))).await, ["context"]);
    assert_eq!(letter_classes(with(sound.clone(), "thread_id", json!("t1"))).await, ["context"]);
    assert_eq!(letter_classes(with(sound.clone(), "source_topic", json!("dead"))).await, ["loop"]);
    let inside = serde_json::to_vec(&sound).unwrap();
    assert_eq!(letter_classes(letter(&inside)).await, ["loop"]);
}

#[tokio::test]
async fn a_dead_letter_is_compared_with_the_main_record_of_its_event() {
    let (cluster, recorder) = cluster();
    fill(&cluster, Route::Main, vec![one(Some(0), &[], &frame(0))]).await;
    let other = encode(Message::Event(event(0, 77)), true);
    let value = Bytes::from(serde_json::to_vec(&letter(&other)).unwrap());
    fill(&cluster, Route::Dlq, vec![one(Some(0), &[], &value)]).await;
    let read = snapshot(&cluster, &recorder, Route::Dlq);
    assert_eq!(read[0].defects, ["payload: not the bytes of the main record 0@0"]);
}
