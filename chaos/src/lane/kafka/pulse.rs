//! How badly the brokers themselves stand still: where the machine gives them no processor or no
//! disk for a while, that is an outage which no scenario asked for.
//!
//! Every broker that cells share leads a partition of a topic that is none of theirs. A record is
//! appended to each a few times a second, past all proxies and confirmed by all replicas; how long
//! that takes at worst while a cell runs is part of what the machine's own stalls are.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::admin::{Admin, Behind};
use super::warm::{TOPIC, append, leaders};
use crate::broker::client::Client;

/// From one record to the next.
const BEAT: Duration = Duration::from_millis(200);
/// After so long a connection is given up for another one; the beat goes on.
const ANSWER: Duration = Duration::from_secs(10);
/// What is shorter is remembered nowhere.
const SHORT: Duration = Duration::from_millis(50);

/// Appends, partition by partition.
#[derive(Debug, Default)]
struct Beats {
    /// Those that took long.
    slow: Vec<(Instant, Instant)>,
    /// Those that are not confirmed yet.
    open: BTreeMap<i32, Instant>,
}

/// See the module. The beats end when it is dropped.
#[derive(Debug)]
pub(super) struct Pulse {
    beats: Arc<Mutex<Beats>>,
    _tasks: JoinSet<()>,
}

fn lock(beats: &Mutex<Beats>) -> MutexGuard<'_, Beats> {
    beats.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pulse {
    /// Begins to feel it, of so many partitions.
    pub(super) fn start(behind: &Behind, partitions: i32) -> Self {
        let beats = Arc::default();
        let mut tasks = JoinSet::new();
        for partition in 0..partitions {
            tasks.spawn(beat(Admin::new(behind.clone()), partition, Arc::clone(&beats)));
        }
        Self { beats, _tasks: tasks }
    }

    /// The longest that an append has taken, as far as it was after this moment.
    pub(super) fn worst(&self, since: Instant) -> Duration {
        let beats = lock(&self.beats);
        let now = Instant::now();
        let open = beats.open.values().map(|begun| (*begun, now));
        let all = beats.slow.iter().copied().chain(open);
        let after = all.map(|(begun, ended)| ended.saturating_duration_since(begun.max(since)));
        after.max().unwrap_or_default()
    }
}

/// Appends to a partition until it is aborted. A beat begins with its first attempt and ends when
/// one succeeds, over however many connections and leaders.
async fn beat(admin: Admin, partition: i32, beats: Arc<Mutex<Beats>>) {
    loop {
        lock(&beats).open.entry(partition).or_insert_with(Instant::now);
        if let Err(error) = connected(&admin, partition, &beats).await {
            tracing::debug!(partition, %error, "a beat of the brokers' pulse failed");
        }
        sleep(SHORT).await;
    }
}

/// Beats for as long as one connection lasts.
async fn connected(admin: &Admin, partition: i32, beats: &Mutex<Beats>) -> io::Result<()> {
    let metadata = admin.metadata(&[TOPIC]).await?;
    let leaders = leaders(admin, &metadata).map_err(io::Error::other)?;
    let leader = leaders.into_iter().find(|(_, _, index)| *index == partition);
    let (port, ..) = leader.ok_or_else(|| io::Error::other("a partition without a leader"))?;
    let mut client = Client::new(timeout(ANSWER, TcpStream::connect(("127.0.0.1", port))).await??);
    let topic = TopicName(StrBytes::from_static_str(TOPIC));
    loop {
        lock(beats).open.entry(partition).or_insert_with(Instant::now);
        timeout(ANSWER, append(&mut client, &topic, partition)).await??;
        {
            let mut beats = lock(beats);
            let begun = beats.open.remove(&partition);
            if let Some(begun) = begun.filter(|begun| begun.elapsed() > SHORT) {
                beats.slow.push((begun, Instant::now()));
            }
        }
        sleep(BEAT).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(slow: &[(Instant, Instant)], open: &[Instant]) -> Pulse {
        let open = (0..).zip(open.iter().copied()).collect();
        let beats = Arc::new(Mutex::new(Beats { slow: slow.to_vec(), open }));
        Pulse { beats, _tasks: JoinSet::new() }
    }

    #[test]
    fn only_what_of_a_slow_append_came_after_the_moment_counts() {
        let now = Instant::now();
        let ago = |ms| now.checked_sub(Duration::from_millis(ms)).unwrap();
        let felt = pulse(&[(ago(9000), ago(6000)), (ago(2000), ago(1500))], &[]);
        assert_eq!(felt.worst(ago(10_000)), Duration::from_secs(3));
        assert_eq!(felt.worst(ago(7000)), Duration::from_secs(1));
        assert_eq!(felt.worst(ago(5000)), Duration::from_millis(500));
        assert_eq!(felt.worst(ago(1000)), Duration::ZERO);
    }

    #[test]
    fn an_append_that_is_not_confirmed_yet_counts_too() {
        let now = Instant::now();
        let begun = now.checked_sub(Duration::from_secs(4)).unwrap();
        assert!(pulse(&[], &[begun]).worst(begun) >= Duration::from_secs(4));
        assert!(pulse(&[], &[begun]).worst(now) < Duration::from_secs(1));
    }
}
