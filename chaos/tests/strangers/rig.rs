//! A cluster for strangers, and what each of them must have written and read.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use dashproof::broker::reader::{Reader, Tcp};
use dashproof::broker::{Cluster, ClusterConfig, accept_loop, bind_loopback};
use dashproof::history::{Clock, Kind, Recorder};
use kafka_protocol::records::Compression;
use tokio::runtime::Runtime;

/// Records that each of them writes.
pub(crate) const COUNT: usize = 10_000;
/// Partitions of the topic.
pub(crate) const PARTITIONS: i32 = 3;
/// The topic.
pub(crate) const TOPIC: &str = "events";

struct Wall(Instant);

impl Clock for Wall {
    fn now_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// Three brokers on loopback, served by a runtime of their own.
pub(crate) struct Rig {
    pub(crate) bootstrap: String,
    recorder: Recorder,
    runtime: Runtime,
    port: u16,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let sockets: Vec<_> = (0..3).map(|_| runtime.block_on(bind_loopback()).unwrap()).collect();
        let advertised: Vec<(String, u16)> =
            sockets.iter().map(|(_, port)| ("127.0.0.1".to_owned(), *port)).collect();
        let bootstrap: Vec<String> = advertised.iter().map(|(h, p)| format!("{h}:{p}")).collect();
        let port = advertised[0].1;
        let config = ClusterConfig {
            brokers: 3,
            partitions: PARTITIONS,
            main_topic: TOPIC.to_owned(),
            dlq_topic: "dead".to_owned(),
            advertised,
            min_insync: 2,
            auto_create: false,
            message_max_bytes: 1 << 20,
            run: [1; 10],
        };
        let recorder = Recorder::new(Arc::new(Wall(Instant::now())));
        let cluster = Cluster::new(config, recorder.clone(), 1);
        for (broker, (socket, _)) in (1..).zip(sockets) {
            runtime.spawn(accept_loop(Arc::clone(&cluster), broker, socket));
        }
        Self { bootstrap: bootstrap.join(","), recorder, runtime, port }
    }

    /// How many requests of this kind came.
    pub(crate) fn asked(&self, wanted: &str) -> usize {
        let is = |kind: &Kind| matches!(kind, Kind::Request { api, .. } if api == wanted);
        self.recorder.lines().iter().filter(|line| is(&line.kind)).count()
    }

    /// What an independent reader finds in the log, once it is known that an idempotent producer
    /// wrote it with zstd.
    pub(crate) fn logged(&self) -> Vec<Read> {
        let mut reader = Reader::new(Tcp, "127.0.0.1", self.port);
        let logs = self.runtime.block_on(reader.topic(TOPIC)).unwrap();
        let mut found = Vec::new();
        for log in logs {
            for (base, batch) in log.batches {
                assert_eq!(batch.compression, Compression::Zstd, "{}@{base}", log.partition);
                assert!(batch.pid >= 0, "{}@{base}", log.partition);
                for record in batch.records().unwrap() {
                    let text = |bytes: &Option<bytes::Bytes>| {
                        String::from_utf8(bytes.clone().unwrap().to_vec()).unwrap()
                    };
                    found.push(Read {
                        partition: log.partition,
                        offset: base + i64::from(record.offset_delta),
                        key: text(&record.key),
                        value: text(&record.value),
                    });
                }
            }
        }
        found
    }
}

/// A record as somebody read it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Read {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: String,
    pub(crate) value: String,
}

impl Read {
    /// From `partition offset key value`.
    pub(crate) fn parse(line: &str) -> Self {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line}")).to_owned();
        let (partition, offset) = (word().parse().unwrap(), word().parse().unwrap());
        Self { partition, offset, key: word(), value: word() }
    }
}

pub(crate) fn key(n: usize) -> String {
    format!("key-{n}")
}

pub(crate) fn value(n: usize) -> String {
    format!("value-{n}-{}", "x".repeat(n % 200))
}

pub(crate) fn partition(n: usize) -> i32 {
    i32::try_from(n).unwrap() % PARTITIONS
}

/// Every record once, each partition in order and without a gap; `at`: where each must be.
pub(crate) fn compare(mut read: Vec<Read>, at: impl Fn(usize) -> Option<i32>) {
    read.sort();
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    let mut seen = vec![false; COUNT];
    let mut newest: BTreeMap<i32, usize> = BTreeMap::new();
    for record in read {
        let expected = next.entry(record.partition).or_default();
        assert_eq!(record.offset, *expected, "{record:?}");
        *expected += 1;
        let n: usize = record.key.strip_prefix("key-").unwrap().parse().unwrap();
        assert_eq!((&record.key, &record.value), (&key(n), &value(n)));
        assert!(!std::mem::replace(&mut seen[n], true), "twice: {record:?}");
        assert!(at(n).is_none_or(|at| at == record.partition), "{record:?}");
        let before = newest.insert(record.partition, n);
        assert!(before.is_none_or(|before| before < n), "out of order: {record:?}");
    }
    let lost: Vec<usize> = (0..COUNT).filter(|n| !seen[*n]).collect();
    assert!(lost.is_empty(), "not there: {lost:?}");
    assert_eq!(next.len(), usize::try_from(PARTITIONS).unwrap());
}

/// True when every tool answers; otherwise says that `tests` were not run. Past the capture of the
/// test runner: nobody shall take it for green.
pub(crate) fn have(tests: &str, tools: &[&[&str]]) -> bool {
    for tool in tools {
        let (program, args) = tool.split_first().unwrap();
        let answers = Command::new(program).args(args).output().is_ok_and(|o| o.status.success());
        if !answers {
            not_run(tests, &format!("there is no working `{program}`"));
            return false;
        }
    }
    true
}

pub(crate) fn not_run(tests: &str, why: &str) {
    let text = format!("NOT RUN: {tests}: {why}\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// Runs a command; what it wrote to stdout.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
