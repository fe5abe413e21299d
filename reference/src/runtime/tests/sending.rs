//! What `send` makes of a message.

use prost::Message as _;

use super::fake::Treat;
use super::*;
use crate::codec::{DecodePolicy, Decoder, crc32_hex, header};
use crate::core::{CRC32_HEADER, MESSAGE_ID_HEADER, Reason};
use crate::proto::{EventBatch, MessageType};

#[tokio::test(start_paused = true)]
async fn the_header_is_completed_and_nothing_else_changed() {
    let bench = Bench::open(ProducerConfig::default().tenant("acme")).await;
    tokio::time::sleep(SECOND).await;
    let accepted = bench.producer.send(event("a")).await.unwrap();
    let record = &bench.main.records()[0];
    let decoded = Decoder::new(DecodePolicy::default()).decode(&record.value).unwrap();
    let got = header(&decoded).unwrap();
    assert_eq!(got.message_id, accepted.message_id.0);
    assert_eq!((got.sequence, got.schema_version), (1, 1));
    assert_eq!((got.tenant_id.as_str(), got.thread_id.as_str()), ("acme", "a"));
    assert_eq!(got.timestamp_us, 1_735_689_601_000_000);
    assert_eq!(got.r#type, MessageType::Event as i32);
    assert_eq!(record.timestamp_ms, 1_735_689_601_000);
    let value = |name| record.headers.iter().find(|h| h.0 == name).unwrap().1;
    assert_eq!(*value(MESSAGE_ID_HEADER), accepted.message_id.0);
    assert_eq!(*value(CRC32_HEADER), crc32_hex(&record.value));
}

#[tokio::test(start_paused = true)]
async fn what_the_application_set_in_the_header_stays_but_for_the_sequence() {
    let bench = Bench::open(ProducerConfig::default()).await;
    let given = Header {
        message_id: vec![9; 16],
        timestamp_us: 5,
        tenant_id: "t".to_owned(),
        thread_id: "a".to_owned(),
        sequence: 77,
        r#type: MessageType::Event as i32,
        parent_id: vec![1, 2],
        schema_version: 1,
        ..Header::default()
    };
    let message = Event { header: Some(given.clone()), ..Event::default() };
    let message = DashStreamMessage { message: Some(Message::Event(message)) };
    let accepted = bench.producer.send(message).await.unwrap();
    assert_eq!(accepted.message_id.0, [9; 16]);
    let record = &bench.main.records()[0];
    let decoded = Decoder::new(DecodePolicy::default()).decode(&record.value).unwrap();
    assert_eq!(*header(&decoded).unwrap(), Header { sequence: 1, ..given });
}

#[tokio::test(start_paused = true)]
async fn ids_made_here_follow_from_the_seed_and_differ() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let bench = Bench::open(ProducerConfig::default()).await;
        for _ in 0..2 {
            seen.push(bench.producer.send(event("a")).await.unwrap().message_id);
        }
    }
    assert_eq!(seen[..2], seen[2..]);
    assert_ne!(seen[0], seen[1]);
}

async fn rejection(message: DashStreamMessage) -> String {
    let bench = Bench::open(ProducerConfig::default()).await;
    let error = bench.producer.send(message).await.unwrap_err();
    assert_eq!(bench.outcomes(), [Outcome::Rejected { reason: error.reason }]);
    assert!(bench.main.records().is_empty());
    // the next event of the thread is the first
    assert_eq!(bench.producer.send(event("a")).await.unwrap().sequence, 1);
    error.to_string()
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_encoded_is_rejected_with_the_cause_and_takes_no_sequence() {
    let no_header = DashStreamMessage { message: Some(Message::Event(Event::default())) };
    let mut short_id = event("a");
    crate::codec::header_mut(&mut short_id).unwrap().message_id = vec![1, 2, 3];
    let mut newer = event("a");
    crate::codec::header_mut(&mut newer).unwrap().schema_version = 2;
    let Some(Message::Event(member)) = event("a").message else { panic!() };
    let batch = |events| {
        let batch = EventBatch { header: member.header.clone(), events };
        DashStreamMessage { message: Some(Message::EventBatch(batch)) }
    };
    let bad_member = batch(vec![member.clone(), Event::default()]);
    let crowd = batch(vec![Event { header: Some(Header::default()), ..Event::default() }; 200_000]);
    let mut texts = Vec::new();
    for message in [DashStreamMessage::default(), no_header, short_id, newer, bad_member, crowd] {
        texts.push(rejection(message).await);
    }
    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn an_oversize_event_is_rejected_to_the_byte() {
    let config = ProducerConfig::default();
    let limit = config.max_message_bytes;
    let bench = Bench::open(config).await;
    let sized = |filler: usize| {
        let mut message = event("a");
        if let Some(Message::Event(event)) = &mut message.message {
            event.llm_request_id = "x".repeat(filler);
        }
        message
    };
    // what the producer adds, measured on a small one
    bench.producer.send(sized(1000)).await.unwrap();
    let record = &bench.main.records()[0];
    let decoded = Decoder::new(DecodePolicy::default()).decode(&record.value).unwrap();
    let mut plain = decoded.clone();
    crate::codec::header_mut(&mut plain).unwrap().compression = 0;
    let mut filler = limit - plain.encoded_len() + 1000;
    if let Some(Message::Event(event)) = &mut plain.message {
        event.llm_request_id = "x".repeat(filler);
    }
    filler -= plain.encoded_len() - limit;
    bench.producer.send(sized(filler)).await.unwrap();
    let error = bench.producer.send(sized(filler + 1)).await.unwrap_err();
    assert_eq!(error.reason, Reason::Oversize);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_can_reject_instead_of_waiting() {
    let mut config = ProducerConfig::default();
    config.queue.max_events = 1;
    config.queue.when_full = crate::config::WhenFull::Reject;
    let bench = Bench::open(config).await;
    bench.main.treat(Treat::Hold);
    bench.producer.send(event("a")).await.unwrap();
    let error = bench.producer.send(event("a")).await.unwrap_err();
    insta::assert_snapshot!(error);
}

#[tokio::test(start_paused = true)]
async fn a_resent_event_is_not_dead_lettered_again() {
    let bench = Bench::open(ProducerConfig::default()).await;
    let failure = (crate::core::Persistence::Not, 10, crate::core::ErrorClass::Permanent);
    bench.main.treat(Treat::Fail(failure.0, failure.1, failure.2));
    bench.producer.resend(event("a")).await.unwrap();
    let report = bench.producer.close(SECOND).await;
    assert_eq!(report.counts, [(("dropped", "permanent_error"), 1)].into());
    assert!(bench.dlq.records().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_many_workers_lose_nothing_and_keep_each_threads_order() {
    let mut config = ProducerConfig::default();
    config.queue.max_events = 50;
    config.max_in_flight = 20;
    let bench = Bench::open(config).await;
    let (tasks, each) = (16, 300);
    let senders: Vec<_> = (0..tasks)
        .map(|t| {
            let producer = bench.producer.clone();
            tokio::spawn(async move {
                for n in 1..=each {
                    let accepted = producer.send(event(&format!("t{t}"))).await.unwrap();
                    assert_eq!(accepted.sequence, n);
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    bench.producer.flush(30 * SECOND).await.unwrap();
    let report = bench.producer.close(30 * SECOND).await;
    assert_eq!(report.counts, [(("acked", ""), tasks * each)].into());
    assert_eq!(bench.outcomes().len() as u64, tasks * each);
    let mut last = std::collections::BTreeMap::new();
    for record in bench.main.records() {
        let decoded = Decoder::new(DecodePolicy::default()).decode(&record.value).unwrap();
        let header = header(&decoded).unwrap();
        let before = last.insert(header.thread_id.clone(), header.sequence).unwrap_or(0);
        assert_eq!(header.sequence, before + 1);
    }
    assert!(bench.metric("dashstream_queue_events_max").unwrap() <= 50);
    assert!(bench.metric("dashstream_open_attempts_max").unwrap() <= 20);
}
