//! Requests that were encoded before the clock starts, over one connection: what is left is what a
//! broker takes of one client.
//!
//! librdkafka spends more on a record than a broker does, so that a ratio of two brokers behind it
//! says little about them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dashproof::broker::client::Client;
use dashproof::broker::outgoing;
use dashproof::history::EventId;
use indexmap::IndexMap;
use kafka_protocol::messages::{ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Record;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::cluster::{RUN, runtime, say};

/// A version that every Kafka since 2.4 serves.
const PRODUCE: i16 = 8;
const PARTITIONS: u32 = 3;
/// Records of a batch: half of what librdkafka's default size of a batch would hold.
const BATCH: u32 = 500;
const BATCHES: u32 = 400;
/// Requests without an answer, as many as an idempotent librdkafka allows itself.
const OPEN: usize = 5;
const PAYLOAD: [u8; 1000] = [b'x'; 1000];

fn batch(first: u32) -> Bytes {
    let header = StrBytes::from_static_str("dashstream-message-id");
    let record = |i: u32| {
        let id = EventId { load: 0, n: first + i }.message_id(RUN);
        Record {
            timestamp: 1_700_000_000_000,
            key: Some(Bytes::copy_from_slice(&(i % 16).to_be_bytes())),
            headers: IndexMap::from([(header.clone(), Some(Bytes::copy_from_slice(&id)))]),
            ..outgoing::record(i.cast_signed(), Bytes::from_static(&PAYLOAD))
        }
    };
    outgoing::batch(&(0..BATCH).map(record).collect::<Vec<_>>()).unwrap()
}

/// A request as it goes on the wire.
fn framed(n: u32, topic: &TopicName) -> Bytes {
    let partition = (n % PARTITIONS).cast_signed();
    let request = outgoing::produce(topic, partition, batch(n * BATCH), Duration::from_secs(30));
    outgoing::framed("dashproof", n.cast_signed(), PRODUCE, &request).unwrap().freeze()
}

async fn send(client: &mut Client<TcpStream>, request: &[u8]) {
    client.stream().write_all(request).await.unwrap();
}

async fn confirmed(client: &mut Client<TcpStream>) {
    let answer = client.receive::<ProduceRequest>(PRODUCE).await.unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
}

/// Records per second over one connection to one broker, which leads every partition.
pub(crate) fn throughput(bootstrap: &str, topic: &str) -> f64 {
    let topic = TopicName(StrBytes::from_string(topic.to_owned()));
    let requests: Vec<Bytes> = (0..PARTITIONS + BATCHES).map(|n| framed(n, &topic)).collect();
    // the first of each partition opens its log
    let (first, requests) = requests.split_at(PARTITIONS as usize);
    runtime().block_on(async {
        let stream = TcpStream::connect(bootstrap).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client::new(stream);
        for request in first {
            send(&mut client, request).await;
            confirmed(&mut client).await;
        }
        let begin = Instant::now();
        for (n, request) in requests.iter().enumerate() {
            if n >= OPEN {
                confirmed(&mut client).await;
            }
            send(&mut client, request).await;
        }
        for _ in 0..OPEN {
            confirmed(&mut client).await;
        }
        f64::from(BATCH * BATCHES) / begin.elapsed().as_secs_f64()
    })
}

/// Stands before a broker as Docker's own forwarder does before one in a container, in a process of
/// its own: both brokers are behind one then.
pub(crate) fn forward(target: &str) {
    runtime().block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        say(&[listener.local_addr().unwrap().port()]);
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut broker = TcpStream::connect(target).await.unwrap();
            for stream in [&client, &broker] {
                stream.set_nodelay(true).unwrap();
            }
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut broker).await });
        }
    });
}
