//! The spool behind a producer, on a file system in memory, with and without the blocking pool.

use super::fake::Treat;
use super::*;
use crate::core::{ErrorClass, Persistence};
use crate::fs::Fs;
use crate::runtime::OpenError;
use crate::runtime::desk::{Job, take_group};
use crate::spool::tests::mem::MemFs;

fn config() -> ProducerConfig {
    let mut config = ProducerConfig::default();
    config.dlq.enabled = false;
    config.spool.directory = Some("/spool".to_owned());
    config
}

struct Life {
    producer: Producer,
    main: Fake,
    registry: Registry,
    seen: Arc<Mutex<Vec<OutcomeRecord>>>,
}

impl Life {
    async fn try_open(fs: &MemFs, config: ProducerConfig, inline: bool) -> Result<Self, OpenError> {
        let connect = FakeConnect::default();
        let registry = Registry::new();
        let seen: Arc<Mutex<Vec<OutcomeRecord>>> = Arc::default();
        let told = Arc::clone(&seen);
        let fs: Arc<dyn Fs> = Arc::new(fs.clone());
        let builder = Producer::builder(config)
            .connect(Arc::new(connect.clone()))
            .registry(registry.clone())
            .fs(fs)
            .seed(7)
            .on_outcome(move |record| told.lock().unwrap().push(record.clone()));
        let builder = if inline { builder.inline_files() } else { builder };
        let producer = builder.open().await?;
        let main = connect.clients(Route::Main).pop().unwrap();
        Ok(Self { producer, main, registry, seen })
    }

    async fn open(fs: &MemFs, inline: bool) -> Self {
        Self::try_open(fs, config(), inline).await.unwrap()
    }

    fn told(&self) -> Vec<(u64, Outcome)> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|r| (r.sequence.unwrap(), r.outcome)).collect()
    }

    fn metric(&self, series: &str) -> u64 {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line = text.lines().find(|l| l.split_whitespace().next() == Some(series)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

const REFUSED: Treat = Treat::Fail(Persistence::Not, -195, ErrorClass::Retryable);
const EPOCH_1: u64 = 1 << 40;

/// Sends two events in vain, closes, opens again with a main that works.
async fn round(inline: bool) {
    let fs = MemFs::default();
    let first = Life::open(&fs, inline).await;
    first.main.treat(REFUSED);
    for _ in 0..2 {
        first.producer.send(event("a")).await.unwrap();
    }
    let report = first.producer.close(10 * SECOND).await;
    assert_eq!(report.counts, [(("spooled", ""), 2)].into());
    assert_eq!(first.metric("dashstream_spool_records"), 2);
    let second = Life::open(&fs, inline).await;
    let sequence = second.producer.send(event("a")).await.unwrap().sequence;
    assert_eq!(sequence, EPOCH_1 + 1);
    let report = second.producer.close(10 * SECOND).await;
    assert_eq!(report.counts, [(("acked", ""), 3)].into());
    let acked = |sequence, offset| (sequence, Outcome::Acked { partition: 0, offset });
    assert_eq!(second.told(), [acked(1, 0), acked(2, 1), acked(EPOCH_1 + 1, 2)]);
    assert_eq!(second.metric("dashstream_spool_recovered_total"), 2);
    assert_eq!(second.metric("dashstream_spool_records"), 0);
    let third = Life::open(&fs, inline).await;
    assert!(third.producer.close(SECOND).await.counts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_close_could_not_deliver_is_spooled_and_acked_after_the_next_open() {
    round(true).await;
}

#[tokio::test]
async fn the_same_with_files_on_the_blocking_pool() {
    let mut short = config().delivery_timeout(Duration::from_millis(50));
    short.retry.max_attempts = 1;
    let fs = MemFs::default();
    let first = Life::try_open(&fs, short, false).await.unwrap();
    first.main.treat(REFUSED);
    for _ in 0..50 {
        first.producer.send(event("a")).await.unwrap();
    }
    let report = first.producer.close(5 * SECOND).await;
    assert_eq!(report.counts, [(("spooled", ""), 50)].into());
    let second = Life::open(&fs, false).await;
    let report = second.producer.flush(5 * SECOND).await;
    second.producer.send(event("a")).await.unwrap();
    assert!(report.is_ok());
    let report = second.producer.close(5 * SECOND).await;
    assert_eq!(report.counts, [(("acked", ""), 51)].into());
}

#[tokio::test(start_paused = true)]
async fn a_directory_in_use_is_refused_with_its_holder() {
    let fs = MemFs::default();
    let first = Life::open(&fs, true).await;
    let error = Life::try_open(&fs, config(), true).await.err().unwrap().to_string();
    assert!(error.contains("/spool is in use by producer dashproof of pid"), "{error}");
    first.producer.close(SECOND).await;
    Life::open(&fs, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_producer_lets_go_of_the_directory_and_keeps_what_was_on_the_spool() {
    let fs = MemFs::default();
    let first = Life::open(&fs, true).await;
    first.main.treat(REFUSED);
    first.producer.send(event("a")).await.unwrap();
    first.producer.close(10 * SECOND).await;
    // handed over, and dropped before its delivery was looked at
    let second = Life::open(&fs, true).await;
    drop(second.producer);
    let outcomes: Vec<Outcome> = second.seen.lock().unwrap().iter().map(|r| r.outcome).collect();
    assert!(matches!(outcomes[..], [Outcome::Spooled { .. }]), "{outcomes:?}");
    let third = Life::open(&fs, true).await;
    let report = third.producer.close(SECOND).await;
    assert_eq!(report.counts, [(("acked", ""), 1)].into());
}

#[tokio::test(start_paused = true)]
async fn without_a_directory_no_file_is_touched_and_sequences_begin_anew() {
    let fs = MemFs::default();
    let mut without = config();
    without.spool.directory = None;
    for _ in 0..2 {
        let life = Life::try_open(&fs, without.clone(), true).await.unwrap();
        assert_eq!(life.producer.send(event("a")).await.unwrap().sequence, 1);
    }
    assert_eq!(fs.ops(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_file_system_that_fails_leaves_events_dropped_and_counted() {
    let fs = MemFs::default();
    let life = Life::open(&fs, true).await;
    life.main.treat(REFUSED);
    life.producer.send(event("a")).await.unwrap();
    fs.die_after(0);
    let report = life.producer.close(10 * SECOND).await;
    assert_eq!(report.counts.keys().next().unwrap().0, "dropped");
    assert_eq!(life.metric("dashstream_spool_failures_total"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_write_failed_is_written_by_close() {
    for inline in [true, false] {
        let fs = MemFs::default();
        let first = Life::open(&fs, inline).await;
        first.main.treat(REFUSED);
        first.producer.send(event("a")).await.unwrap();
        first.producer.close(10 * SECOND).await;
        // the epoch's is the first sync of a life, then comes the one of the claims; what fails
        // once is mended at once
        fs.fail_syncs_after(2, 2);
        let second = Life::open(&fs, inline).await;
        second.producer.send(event("a")).await.unwrap();
        second.producer.close(10 * SECOND).await;
        assert_eq!(second.metric("dashstream_spool_failures_total"), 1);
        let third = Life::open(&fs, inline).await;
        assert!(third.producer.close(SECOND).await.counts.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn one_failed_recall_does_not_end_the_drain() {
    let fs = MemFs::default();
    let first = Life::open(&fs, true).await;
    first.main.treat(REFUSED);
    first.producer.send(event("a")).await.unwrap();
    first.producer.close(10 * SECOND).await;
    // the first creation of a life is its epoch, the second the segment of its claims
    fs.fail_create_after(1);
    let second = Life::open(&fs, true).await;
    second.producer.send(event("a")).await.unwrap();
    let report = second.producer.close(10 * SECOND).await;
    assert_eq!(report.counts, [(("acked", ""), 2)].into());
    assert_eq!(second.metric("dashstream_spool_failures_total"), 1);
}

#[test]
fn jobs_share_a_write_by_what_they_take_on_the_disk() {
    use crate::core::{MessageId, PerRoute, SpoolEntry, SpoolRecord, SpoolTicket, SpoolWrite};
    let thread: Arc<str> = "a".repeat(3 << 20).into();
    let not = Persistence::Not;
    let job = |n: u64| {
        let record = SpoolRecord {
            message_id: MessageId([0; 16]),
            thread: Arc::clone(&thread),
            sequence: n,
            accepted_us: 0,
            bytes: 1,
            from_dlq: false,
            claims: PerRoute { main: not, dlq: not },
            frame: "x".into(),
        };
        let entry = SpoolEntry::Record(Box::new(record));
        Job::Write(SpoolWrite { ticket: SpoolTicket::End, entry })
    };
    let mut jobs = (0..3).map(job).collect();
    assert_eq!(take_group(&mut jobs).len(), 1);
}
