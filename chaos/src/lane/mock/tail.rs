//! Reads the logs on while the run goes on: the mock forgets what is old.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::broker::reader::{PartitionLog, ReadError, Reader, Tcp};

/// Between two looks. The mock keeps 5 MiB of a partition: a hundred times what the loads that are
/// meant for it write meanwhile.
const EVERY: Duration = Duration::from_millis(100);
/// How long one look may take; a broker may be slow or gone.
const LOOK: Duration = Duration::from_secs(2);
/// How long the last look is tried.
const LAST: Duration = Duration::from_secs(15);

/// What was read of some topics.
pub(super) struct Tail {
    /// `host:port` of the brokers.
    addresses: Vec<(String, u16)>,
    topics: Vec<String>,
    logs: Mutex<BTreeMap<String, BTreeMap<i32, PartitionLog>>>,
    /// One look at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Tail {
    pub(super) fn new(addresses: &[String], topics: &[String]) -> Self {
        let parsed = |text: &String| {
            let (host, port) = text.rsplit_once(':')?;
            Some((host.to_owned(), port.parse().ok()?))
        };
        let addresses = addresses.iter().filter_map(parsed).collect();
        let topics = topics.to_vec();
        Self { addresses, topics, logs: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Reads on until it is dropped. What cannot be read now is read later.
    pub(super) async fn follow(&self) {
        loop {
            drop(timeout(LOOK, self.look()).await);
            sleep(EVERY).await;
        }
    }

    /// Reads what is there at the end.
    ///
    /// # Errors
    /// Some of it cannot be read, or is gone already.
    pub(super) async fn finish(&self) -> Result<(), ReadError> {
        let until = Instant::now() + LAST;
        loop {
            match self.look().await {
                Err(_) if Instant::now() < until => sleep(EVERY).await,
                ended => return ended,
            }
        }
    }

    /// What was read of a topic, by partition.
    pub(super) fn take(&self, topic: &str) -> Vec<PartitionLog> {
        let mut logs = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        logs.remove(topic).unwrap_or_default().into_values().collect()
    }

    /// Batches of a topic that were read.
    #[cfg(test)]
    pub(super) fn read(&self, topic: &str) -> usize {
        let logs = self.logs.lock().unwrap();
        logs.get(topic).map_or(0, |log| log.values().map(|log| log.batches.len()).sum())
    }

    async fn look(&self) -> Result<(), ReadError> {
        let _turn = self.turn.lock().await;
        for topic in &self.topics {
            let mut known = {
                let mut logs = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                Back { logs: &self.logs, topic, log: logs.remove(topic).unwrap_or_default() }
            };
            let mut read = Ok(());
            for (host, port) in &self.addresses {
                read = Reader::new(Tcp, host, *port).on(topic, &mut known.log).await;
                if read.is_ok() {
                    break;
                }
            }
            read?;
        }
        Ok(())
    }
}

/// Puts back what was read, also when the look is given up.
struct Back<'a> {
    logs: &'a Mutex<BTreeMap<String, BTreeMap<i32, PartitionLog>>>,
    topic: &'a str,
    log: BTreeMap<i32, PartitionLog>,
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        let mut logs = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        logs.insert(self.topic.to_owned(), std::mem::take(&mut self.log));
    }
}
