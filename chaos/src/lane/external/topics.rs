//! Topics on somebody else's cluster: made for one cell, and deleted after it.
//!
//! A topic is deleted only if it is surely of this program: its name is
//! `dashproof-RUN-STARTED-CHECK-NUMBER-KIND`, in which `CHECK` is made from the rest, and its
//! `retention.ms` is the number that goes with that name. Those of the run itself are deleted at
//! its end. Those of another run are deleted once they are [`OLD`]: nobody here can tell whether
//! that run still goes on, and none goes on for so long.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeConfigsRequest, MetadataResponse,
};
use sha2::{Digest as _, Sha256};

use super::cluster::{Cluster, METADATA};
use crate::broker::codes;
use crate::broker::requests::{all_made, metadata, setting, text, topic};

pub(super) const CREATE: i16 = 5;
pub(super) const DELETE: i16 = 4;
pub(super) const DESCRIBE: i16 = 2;
/// How long the brokers may take to carry out a change.
const TIMEOUT_MS: i32 = 15_000;
/// The number of the protocol.
const TOPIC: i8 = 2;
/// What every name begins with.
const PREFIX: &str = "dashproof";
/// Age from which on a topic of another run is deleted.
pub(super) const OLD: Duration = Duration::from_secs(6 * 60 * 60);
/// Topics expire after a week and a bit, which is the mark of their name.
const RETENTION_MS: u64 = 7 * 24 * 60 * 60 * 1000;
const MARK: &str = "retention.ms";

/// The topics of this process.
struct Own {
    /// Those that it has made, or is making, and not deleted.
    made: BTreeMap<String, Made>,
    /// The process is about to end.
    no_more: bool,
}

struct Made {
    cluster: Arc<Cluster>,
    /// Its request has no answer yet: that it is not there says nothing.
    on_its_way: bool,
}

static OWN: Mutex<Own> = Mutex::new(Own { made: BTreeMap::new(), no_more: false });

fn own() -> std::sync::MutexGuard<'static, Own> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on no topic is made.
pub(super) fn make_no_more() {
    own().no_more = true;
}

/// One run of this program, as it stands in names of topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    id: u64,
    /// Seconds since 1970.
    started: u64,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Run {
    /// A run that begins now.
    pub(super) fn new() -> Self {
        Self { id: fastrand::Rng::new().u64(..), started: now() }
    }

    /// The name of a topic: of cell `number`, `main` or `dlq`.
    pub(super) fn name(self, number: u64, kind: &str) -> String {
        let Self { id, started } = self;
        let [check, _] = digest(id, started, number, kind);
        format!("{PREFIX}-{id:016x}-{started:x}-{check:08x}-{number}-{kind}")
    }
}

/// Two numbers that go with a name: one stands in it, the other in the topic's settings.
fn digest(id: u64, started: u64, number: u64, kind: &str) -> [u32; 2] {
    let text = format!("{PREFIX} topic {id:016x} {started:x} {number} {kind}");
    let digest: [u8; 32] = Sha256::digest(text).into();
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte));
    let (check, rest) = digest.split_at(4);
    let (mark, _) = rest.split_at(3);
    [number(check), number(mark)]
}

/// What the name of a topic says, if it is one of this program's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    run: Run,
    /// What its retention must be.
    retention_ms: u64,
}

fn named(topic: &str) -> Option<Named> {
    let mut parts = topic.split('-');
    if parts.next()? != PREFIX {
        return None;
    }
    let id = u64::from_str_radix(parts.next()?, 16).ok()?;
    let started = u64::from_str_radix(parts.next()?, 16).ok()?;
    let _check = parts.next()?;
    let number = parts.next()?.parse().ok()?;
    let kind = parts.next()?;
    let run = Run { id, started };
    // to the letter: numbers can be written in more than one way
    let same = parts.next().is_none() && run.name(number, kind) == topic;
    let [_, mark] = digest(id, started, number, kind);
    same.then(|| Named { run, retention_ms: RETENTION_MS + u64::from(mark) })
}

/// A topic to be made.
#[derive(Clone, Debug)]
pub(super) struct NewTopic {
    pub(super) name: String,
    pub(super) partitions: i32,
    /// The brokers that have it, in the order of their ids.
    pub(super) on: Vec<i32>,
    /// There are others, which must not have it.
    pub(super) only: bool,
    pub(super) settings: Vec<(&'static str, String)>,
}

impl NewTopic {
    fn request(&self) -> CreatableTopic {
        let mark = named(&self.name).map(|named| (MARK, named.retention_ms.to_string()));
        let settings = self.settings.iter().cloned().chain(mark);
        let settings = settings.map(|(key, value)| setting(key, &value));
        let new =
            CreatableTopic::default().with_name(topic(&self.name)).with_configs(settings.collect());
        if !self.only {
            let replicas = i16::try_from(self.on.len()).unwrap_or(i16::MAX);
            return new.with_num_partitions(self.partitions).with_replication_factor(replicas);
        }
        let count = self.on.len();
        let assigned = (0..self.partitions).zip(0_usize..).map(|(partition, first)| {
            let all = self.on.iter().cycle().skip(first % count.max(1)).take(count);
            CreatableReplicaAssignment::default()
                .with_partition_index(partition)
                .with_broker_ids(all.copied().map(BrokerId).collect())
        });
        new.with_num_partitions(-1).with_replication_factor(-1).with_assignments(assigned.collect())
    }
}

/// Makes topics; ends when they are made, not yet when every broker knows their leaders.
///
/// # Errors
/// The cluster refuses, or the process is about to end.
pub(super) async fn create(cluster: &Arc<Cluster>, topics: &[NewTopic]) -> io::Result<()> {
    // first, so that what a signal breaks off is known
    {
        let mut own = own();
        if own.no_more {
            return Err(io::Error::other("the run is being interrupted"));
        }
        let made = || Made { cluster: Arc::clone(cluster), on_its_way: true };
        own.made.extend(topics.iter().map(|topic| (topic.name.clone(), made())));
    }
    let answer = asked_for(cluster, topics).await;
    let mut own = own();
    for topic in topics {
        if let Some(made) = own.made.get_mut(&topic.name) {
            made.on_its_way = false;
        }
    }
    all_made(&answer?)
}

async fn asked_for(cluster: &Cluster, topics: &[NewTopic]) -> io::Result<CreateTopicsResponse> {
    let request = CreateTopicsRequest::default()
        .with_topics(topics.iter().map(NewTopic::request).collect())
        .with_timeout_ms(TIMEOUT_MS);
    let moved = |answer: &CreateTopicsResponse| {
        answer.topics.iter().any(|topic| topic.error_code == codes::NOT_CONTROLLER)
    };
    let mut answer = cluster.call_unless(CREATE, &request, moved).await?;
    // nobody else gives such a name: a broker before this one has made it and could not say so
    for topic in &mut answer.topics {
        if topic.error_code == codes::TOPIC_ALREADY_EXISTS {
            topic.error_code = codes::NONE;
        }
    }
    Ok(answer)
}

/// Deletes topics of this process, as far as they are there.
///
/// # Errors
/// The cluster does not answer, or refuses.
pub(super) async fn delete(cluster: &Cluster, topics: &[String]) -> io::Result<()> {
    if topics.is_empty() {
        return Ok(());
    }
    let request = DeleteTopicsRequest::default()
        .with_topic_names(topics.iter().map(|name| topic(name)).collect())
        .with_timeout_ms(TIMEOUT_MS);
    let moved = |answer: &DeleteTopicsResponse| {
        answer.responses.iter().any(|topic| topic.error_code == codes::NOT_CONTROLLER)
    };
    let answer = cluster.call_unless(DELETE, &request, moved).await?;
    let mut failed = None;
    for told in &answer.responses {
        let name = told.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        let mut own = own();
        let on_its_way = own.made.get(&name).is_some_and(|made| made.on_its_way);
        match told.error_code {
            codes::UNKNOWN_TOPIC_OR_PARTITION if on_its_way => {
                failed = Some(format!("topic {name} is being made"));
            }
            codes::NONE | codes::UNKNOWN_TOPIC_OR_PARTITION => drop(own.made.remove(&name)),
            code => failed = Some(format!("topic {name} stays: Kafka error {code}")),
        }
    }
    failed.map_or(Ok(()), |text| Err(io::Error::other(text)))
}

/// Topics of this process that are there.
pub(super) fn count() -> usize {
    own().made.len()
}

/// Deletes every topic that this process has made.
///
/// # Errors
/// Texts of what stays.
pub(super) async fn delete_all() -> Result<(), String> {
    let mut of = BTreeMap::<String, (Arc<Cluster>, Vec<String>)>::new();
    for (name, Made { cluster, .. }) in &own().made {
        let place = of.entry(cluster.id.clone());
        place.or_insert_with(|| (Arc::clone(cluster), Vec::new())).1.push(name.clone());
    }
    let mut failed = Vec::new();
    for (cluster, topics) in of.into_values() {
        if let Err(error) = delete(&cluster, &topics).await {
            failed.push(format!("some of {}: {error}", topics.join(", ")));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// What other runs left behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Deleted.
    pub(super) removed: Vec<String>,
    /// Not old enough, or not surely ours.
    pub(super) stay: Vec<String>,
}

/// Deletes what other runs left, if it is old and surely theirs.
///
/// # Errors
/// The cluster does not answer, or refuses.
pub(super) async fn sweep(cluster: &Cluster, own: Run) -> io::Result<Left> {
    let all: MetadataResponse = cluster.call(METADATA, &metadata(None)).await?;
    let names = all.topics.iter().filter_map(|topic| topic.name.as_ref());
    let found: BTreeMap<String, Named> = names
        .filter_map(|name| Some((name.to_string(), named(name)?)))
        .filter(|(_, named)| named.run != own)
        .collect();
    if found.is_empty() {
        return Ok(Left::default());
    }
    let marks = marks(cluster, found.keys()).await?;
    let (removed, stay): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|(name, named)| is_left(named, marks.get(name).copied(), now()));
    let left = |pairs: Vec<(String, Named)>| pairs.into_iter().map(|(name, _)| name).collect();
    let left = Left { removed: left(removed), stay: left(stay) };
    delete(cluster, &left.removed).await?;
    Ok(left)
}

/// True for a topic that may be deleted: it is marked as its name demands, and old.
fn is_left(named: &Named, mark: Option<u64>, now: u64) -> bool {
    let age = now.saturating_sub(named.run.started);
    mark == Some(named.retention_ms) && age >= OLD.as_secs()
}

/// The retention that each of these topics was made with.
async fn marks(
    cluster: &Cluster,
    topics: impl Iterator<Item = &String>,
) -> io::Result<BTreeMap<String, u64>> {
    let wanted = topics.map(|name| {
        DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name))
            .with_configuration_keys(Some(vec![text(MARK)]))
    });
    let request = DescribeConfigsRequest::default().with_resources(wanted.collect());
    let answer = cluster.call(DESCRIBE, &request).await?;
    let sound = answer.results.iter().filter(|found| found.error_code == codes::NONE);
    Ok(sound
        .filter_map(|found| {
            let mark = found.configs.iter().find(|config| config.name.as_str() == MARK)?;
            Some((found.resource_name.to_string(), mark.value.as_ref()?.parse().ok()?))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run { id: 0x1234, started: 1_700_000_000 };

    #[test]
    fn a_name_says_what_it_was_made_from() {
        let name = RUN.name(7, "main");
        assert_eq!(named(&name).unwrap().run, RUN);
        assert!(name.starts_with("dashproof-0000000000001234-6553f100-"), "{name}");
    }

    #[test]
    fn names_that_look_like_it_are_nobodys() {
        let name = RUN.name(7, "main");
        let other = RUN.name(8, "main");
        let (cut, more) = (&name[..name.len() - 1], format!("{name}-x"));
        let swapped = name.replace("-7-", "-8-");
        assert_ne!(swapped, other);
        let zero = name.replace("-7-", "-07-");
        let users = ["dashproof", "dashproof-events", "dashproof-1-2-3-4-main", "events"];
        for wrong in [cut, &more, &swapped, &zero, &name.to_uppercase()].into_iter().chain(users) {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_a_topic_that_is_old_and_marked_as_its_name_demands_may_be_deleted() {
        let named = named(&RUN.name(7, "main")).unwrap();
        let (mark, old) = (named.retention_ms, RUN.started + OLD.as_secs());
        assert!(is_left(&named, Some(mark), old));
        assert!(!is_left(&named, Some(mark), old - 1));
        assert!(!is_left(&named, Some(mark + 1), old));
        assert!(!is_left(&named, None, old));
        // a clock that is behind the one of the run
        assert!(!is_left(&named, Some(mark), 0));
    }

    #[test]
    fn a_topic_of_some_brokers_is_placed_on_these_and_its_leaders_take_turns() {
        let new = NewTopic {
            name: RUN.name(1, "dlq"),
            partitions: 3,
            on: vec![4, 9],
            only: true,
            settings: Vec::new(),
        };
        let request = new.request();
        let on = |p: &CreatableReplicaAssignment| p.broker_ids.iter().map(|id| **id).collect();
        let on: Vec<Vec<i32>> = request.assignments.iter().map(on).collect();
        assert_eq!(on, [[4, 9], [9, 4], [4, 9]]);
        let mark = request.configs.iter().find(|config| config.name.as_str() == MARK).unwrap();
        let expected = named(&new.name).unwrap().retention_ms.to_string();
        assert_eq!(mark.value.as_ref().unwrap().as_str(), expected);
    }
}
