//! The rdkafka crate, as the reference uses it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::rig::{COUNT, Read, Rig, TOPIC, compare, key, partition, value};

const LONG: Duration = Duration::from_secs(20);

fn settings(rig: &Rig) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &rig.bootstrap);
    config
}

fn write(rig: &Rig) {
    let mut config = settings(rig);
    config.set("enable.idempotence", "true").set("compression.type", "zstd").set("linger.ms", "5");
    let producer: BaseProducer = config.create().unwrap();
    for n in 0..COUNT {
        let (key, value) = (key(n), value(n));
        let record = BaseRecord::to(TOPIC).partition(partition(n)).key(&key).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(LONG).unwrap();
}

fn member(rig: &Rig, group: &str) -> BaseConsumer {
    let consumer: BaseConsumer = settings(rig)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "200")
        .create()
        .unwrap();
    consumer.subscribe(&[TOPIC]).unwrap();
    consumer
}

/// Polls once; the record that came.
fn poll(consumer: &BaseConsumer) -> Option<Read> {
    let message = consumer.poll(Duration::from_millis(20))?.unwrap();
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    Some(Read {
        partition: message.partition(),
        offset: message.offset(),
        key: text(message.key()),
        value: text(message.payload()),
    })
}

fn assigned(consumer: &BaseConsumer) -> BTreeSet<i32> {
    let assigned = consumer.assignment().unwrap();
    assigned
        .elements()
        .iter()
        .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
        .collect()
}

#[test]
fn rdkafka_writes_and_reads_back_every_record_in_a_group() {
    let rig = Rig::new();
    write(&rig);
    compare(rig.logged(), |n| Some(partition(n)));
    let consumer = member(&rig, "alone");
    let (mut read, until) = (Vec::new(), Instant::now() + LONG);
    while read.len() < COUNT && Instant::now() < until {
        read.extend(poll(&consumer));
    }
    compare(read, |n| Some(partition(n)));
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(consumer);
    assert!(rig.asked("LeaveGroup") >= 1);
    let next = member(&rig, "alone");
    let until = Instant::now() + LONG;
    while assigned(&next).len() < 3 && Instant::now() < until {
        assert_eq!(poll(&next), None);
    }
    (0..20).for_each(|_| assert_eq!(poll(&next), None, "the group goes on where it was"));
}

#[test]
fn two_members_share_the_partitions_and_the_one_that_is_left_takes_them_all() {
    let rig = Rig::new();
    let (first, second) = (member(&rig, "pair"), member(&rig, "pair"));
    let shared = |all: usize| all == 3;
    let until = Instant::now() + LONG;
    loop {
        poll(&first);
        poll(&second);
        let (one, two) = (assigned(&first), assigned(&second));
        if shared(one.len() + two.len()) && !one.is_empty() && !two.is_empty() {
            assert!(one.is_disjoint(&two));
            break;
        }
        assert!(Instant::now() < until, "{one:?} {two:?}");
    }
    assert!(rig.asked("Heartbeat") >= 1);
    drop(second);
    while assigned(&first).len() < 3 {
        poll(&first);
        assert!(Instant::now() < until);
    }
}
