use std::io;
use std::sync::Arc;

use tokio::io::DuplexStream;

use crate::broker::reader::{Dial, ReadError, Reader, record_logs};
use crate::broker::tests::kit::*;
use crate::broker::{Cluster, Identity, codes, serve};
use crate::fault::Target as _;
use crate::history::{Kind, Line, Route};
use crate::scenario::model::{FaultKind, TopicSel};

struct InMemory(Arc<Cluster>);

impl Dial for InMemory {
    type Stream = DuplexStream;

    async fn dial(&self, host: &str, _port: u16) -> io::Result<DuplexStream> {
        let broker = host.trim_start_matches("broker").parse().map_err(io::Error::other)?;
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(serve(Arc::clone(&self.0), broker, theirs));
        Ok(ours)
    }
}

async fn filled() -> (Arc<Cluster>, crate::history::Recorder) {
    let (cluster, recorder) = cluster();
    for n in 0..30 {
        let partition = i32::try_from(n % 3).unwrap();
        let request = produce_to("events", partition, -1, batch(PLAIN, &[n, n + 100], b"value"));
        let response = connect(&cluster, partition + 1).call(9, &request).await.unwrap();
        assert_eq!(answer(&response).0, codes::NONE);
    }
    (cluster, recorder)
}

fn logs(lines: Vec<Line>) -> Vec<Kind> {
    lines.into_iter().map(|line| line.kind).filter(|k| matches!(k, Kind::Log { .. })).collect()
}

#[tokio::test]
async fn what_is_read_over_the_wire_is_what_the_broker_holds() {
    let (cluster, recorder) = filled().await;
    let mut reader = Reader::new(InMemory(Arc::clone(&cluster)), "broker2", 9092);
    let main = reader.topic("events").await.unwrap();
    let dlq = reader.topic("dead").await.unwrap();
    let held: i64 = main.iter().flat_map(|log| &log.batches).map(|(_, b)| b.offsets()).sum();
    assert_eq!((main.len(), held), (3, 60));
    let _ = recorder.take();
    record_logs(&recorder, &mut Identity::new([7; 10]), &main, &dlq, |route| {
        Arc::from(if route == Route::Main { "events" } else { "dead" })
    });
    let read = logs(recorder.take());
    cluster.snapshot_logs();
    assert_eq!(read, logs(recorder.take()));
}

#[tokio::test]
async fn a_topic_that_does_not_exist_has_no_partitions_and_one_without_leaders_cannot_be_read() {
    let (cluster, _) = filled().await;
    let mut reader = Reader::new(InMemory(Arc::clone(&cluster)), "broker1", 9092);
    assert!(reader.topic("nowhere").await.unwrap().is_empty());
    cluster.arm(0, &FaultKind::Leaderless { topic: TopicSel::Main }, &[]);
    assert!(matches!(reader.topic("events").await, Err(ReadError::Io { .. })));
}
