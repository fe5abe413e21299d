//! A cluster that the user names, the subject in a child process.
//!
//! The proxy stands before each of its brokers and writes the addresses in their answers anew, so
//! nothing of the cluster is changed but for topics of the run, which are deleted at its end.

mod cluster;
mod topics;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::child::environment;
use super::kafka::{Missing, warm_up, with};
use super::real::{self, Arena};
use super::world::cluster_config;
use super::{RunInput, RunOutput};
use crate::broker::codes;
use crate::broker::reader::Reader;
use crate::broker::requests;
use crate::fault::proxy::{Mode, Proxy, ProxyConfig, ProxyWorld, TopicNames};
use crate::history::Recorder;
use crate::scenario::model::{Brokers, FaultKind, LaneName, Listener, Scenario};
use crate::subject::runner::World;
pub use cluster::{BOOTSTRAP_VARIABLE, Bootstrap, Cluster, look};
use cluster::{METADATA, shown};
use topics::{Left, NewTopic, OLD, Run};

/// How histories call what the user named.
pub const BOOTSTRAP: &str = "bootstrap";
/// Cells at once: as many as share a cluster of the lane `kafka`.
const SLOTS: usize = 4;
/// How long fresh topics may take to have leaders everywhere, and each partition to take records.
const FRESH: Duration = Duration::from_secs(30);
/// Records that a fresh partition takes before the run begins.
const ROUNDS: i32 = 3;
/// How long topics that are being made are waited for, to be deleted: as long as the brokers may
/// take to make them.
const ABANDON: Duration = Duration::from_secs(15);
/// Topics that are named one by one.
const SHOWN: usize = 3;

/// The user's cluster, for one run.
#[derive(Debug)]
pub struct Outside {
    bootstrap: Bootstrap,
    /// Where notes go.
    told: fn(&str),
    run: Run,
    cluster: OnceCell<Result<Arc<Cluster>, Missing>>,
    slots: Semaphore,
    cells: AtomicU64,
}

impl Outside {
    /// Nobody is asked yet. `told` is called with one line for each thing worth a note.
    #[must_use]
    pub fn new(bootstrap: Bootstrap, told: fn(&str)) -> Self {
        Self {
            bootstrap,
            told,
            run: Run::new(),
            cluster: OnceCell::new(),
            slots: Semaphore::new(SLOTS),
            cells: AtomicU64::new(0),
        }
    }

    /// The cluster; at the first time what other runs left there is looked for.
    async fn cluster(&self) -> Result<Arc<Cluster>, Missing> {
        let look = async {
            let cluster = look(&self.bootstrap).await?;
            match topics::sweep(&cluster, self.run).await {
                Ok(left) => notes(&left).iter().for_each(|note| (self.told)(note)),
                Err(error) => (self.told)(&format!("note: old topics are not looked for: {error}")),
            }
            Ok(Arc::new(cluster))
        };
        self.cluster.get_or_init(|| look).await.clone()
    }

    /// Deletes what cells left; tells what stays.
    pub async fn end(&self) {
        if let Err(stays) = topics::delete_all().await {
            (self.told)(&format!("note: topics of this run stay on the cluster: {stays}"));
        }
    }
}

fn notes(left: &Left) -> Vec<String> {
    let named = |all: &[String]| {
        let some = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = all.len().saturating_sub(SHOWN);
        if more > 0 { format!("{some} and {more} more") } else { some }
    };
    let hours = OLD.as_secs() / 3600;
    let mut notes = Vec::new();
    if !left.removed.is_empty() {
        let all = named(&left.removed);
        notes.push(format!("note: topics of earlier runs were removed: {all}"));
    }
    if !left.stay.is_empty() {
        let all = named(&left.stay);
        notes.push(format!(
            "note: topics of other runs stay on the cluster until they are {hours} h old: {all}"
        ));
    }
    notes
}

/// Deletes the topics of this process, from wherever it is, those that are being made too; it makes
/// no others.
pub async fn abandon() {
    topics::make_no_more();
    let until = Instant::now() + ABANDON;
    // what stays is named and removed by a later run
    while topics::delete_all().await.is_err() && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
    }
}

/// Topics of this process.
#[must_use]
pub fn topics() -> usize {
    topics::count()
}

/// Runs one cell on the user's cluster. A few may run at once.
pub async fn run(input: &RunInput, outside: &Outside) -> RunOutput {
    // before anybody is asked for it
    let cannot = real::cannot_express(LaneName::External, &input.scenario);
    if let Some(why) = cannot.or_else(|| no_cluster_for(&input.scenario)) {
        return RunOutput { not_applicable: Some(why), ..RunOutput::default() };
    }
    let cluster = match outside.cluster().await {
        Ok(cluster) => cluster,
        Err(missing) => {
            return RunOutput { not_run: Some(missing.to_string()), ..RunOutput::default() };
        }
    };
    if let Some(why) = too_small(&input.scenario, cluster.ids().len()) {
        return RunOutput { not_applicable: Some(why), ..RunOutput::default() };
    }
    let Ok(_slot) = outside.slots.acquire().await else { return RunOutput::default() };
    let number = outside.cells.fetch_add(1, Ordering::Relaxed);
    let replicas = replicas(&input.scenario, &cluster);
    let facts = vec![
        ("cluster".to_owned(), cluster.id.clone()),
        (BOOTSTRAP.to_owned(), outside.bootstrap.to_string()),
        ("brokers".to_owned(), cluster.ids().len().to_string()),
        ("replication_factor".to_owned(), replicas.len().to_string()),
    ];
    let names = ["main", "dlq"].map(|kind| outside.run.name(number, kind));
    let arena = async |scenario: Arc<Scenario>, recorder: Recorder| {
        let place = Place { cluster: &cluster, names: &names, on: replicas.clone() };
        let world = place.world(&scenario, input, recorder).await;
        let world = world.map_err(|error| environment(&error))?;
        let bootstrap = world.proxy().bootstrap();
        let mut own = scenario.as_ref().clone();
        own.producer = with(own.producer, &["topic"], &names[0]);
        own.producer = with(own.producer, &["dlq", "topic"], &names[1]);
        let (scenario, world) = (Arc::new(own), world as Arc<dyn World>);
        let secrets = Arc::default();
        Ok((Arena { scenario, bootstrap, world, secrets, variables: Vec::new() }, ()))
    };
    let output = real::run(input, LaneName::External, facts, arena).await;
    if let Err(error) = topics::delete(&cluster, &names).await {
        (outside.told)(&format!("note: {error}"));
    }
    output
}

/// What no cluster that a user names can be asked for.
fn no_cluster_for(scenario: &Scenario) -> Option<String> {
    if scenario.listener != Listener::Plaintext || scenario.producer.get("security").is_some() {
        let text = "it is about TLS, SASL or ACLs, and the cluster is spoken to in plaintext";
        return Some(text.to_owned());
    }
    None
}

/// Why the cluster is too small for a scenario. One that harms some of its brokers needs them all.
fn too_small(scenario: &Scenario, brokers: usize) -> Option<String> {
    let asked = usize::try_from(scenario.brokers).unwrap_or(usize::MAX);
    let harmed = scenario.faults.iter().find(|fault| is_about_some(&fault.kind))?;
    (brokers < asked).then(|| {
        let (kind, plural) = (harmed.kind.name(), if brokers == 1 { "" } else { "s" });
        format!(
            "{kind}: it harms some of {asked} brokers, and the cluster has {brokers} broker{plural}"
        )
    })
}

fn is_about_some(kind: &FaultKind) -> bool {
    // one after the other is never all of them
    let in_turn = matches!(kind, FaultKind::BrokerRollingRestart { .. });
    in_turn || kind.brokers().is_some_and(|brokers| *brokers != Brokers::All)
}

/// The brokers that have the topics of a scenario: as many as it asks for, or all.
fn replicas(scenario: &Scenario, cluster: &Cluster) -> Vec<i32> {
    let asked = usize::try_from(scenario.brokers).unwrap_or(usize::MAX);
    cluster.ids().into_iter().take(asked).collect()
}

/// What a cell needs on the cluster.
struct Place<'a> {
    cluster: &'a Arc<Cluster>,
    /// Main and dead-letter topic.
    names: &'a [String; 2],
    /// Brokers that have them.
    on: Vec<i32>,
}

impl Place<'_> {
    async fn world(
        &self,
        scenario: &Scenario,
        input: &RunInput,
        recorder: Recorder,
    ) -> Result<Arc<ProxyWorld>, String> {
        let run = input.digest(LaneName::External);
        let config = cluster_config(scenario, run, Vec::new());
        let in_sync = self.on.len().min(usize::try_from(config.min_insync).unwrap_or(usize::MAX));
        let [main, dlq] = self.names;
        let new = |name: &String, partitions| NewTopic {
            name: name.clone(),
            partitions,
            on: self.on.clone(),
            only: self.on.len() < self.cluster.ids().len(),
            // all that a cluster's own defaults could let records vanish or change by
            settings: vec![
                ("min.insync.replicas", in_sync.to_string()),
                ("max.message.bytes", config.message_max_bytes.to_string()),
                ("cleanup.policy", "delete".to_owned()),
                ("retention.bytes", "-1".to_owned()),
                ("unclean.leader.election.enable", "false".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("message.timestamp.type", "CreateTime".to_owned()),
            ],
        };
        let wanted = [new(main, config.partitions), new(dlq, 1)];
        let made = topics::create(self.cluster, &wanted).await;
        made.map_err(|error| format!("cannot make topics on the cluster: {error}"))?;
        let begin = self.fresh(&wanted).await?;
        let names = |real: &str, logical: &str| TopicNames {
            real: real.to_owned(),
            logical: Arc::from(logical),
        };
        let proxy = ProxyConfig {
            brokers: self.cluster.ids(),
            main: names(main, &config.main_topic),
            dlq: names(dlq, &config.dlq_topic),
            run,
            mode: Mode::Rewriting,
        };
        let proxy = Proxy::bind(proxy, recorder, input.seed).await;
        let proxy = proxy.map_err(|error| format!("cannot listen: {error}"))?;
        for (id, (host, port)) in &self.cluster.at {
            proxy.connect_to(*id, host, *port);
        }
        for (id, (host, port)) in &self.cluster.advertised {
            proxy.advertised(*id, host, *port);
        }
        let elsewhere = self.cluster.elsewhere();
        Ok(ProxyWorld::before_strangers(scenario, Arc::new(proxy), elsewhere, begin))
    }

    /// Ends when every partition has taken a record; where the logs of the run begin. A fresh
    /// partition confirms nothing until its followers fetch, and that would look like an outage.
    async fn fresh(
        &self,
        wanted: &[NewTopic],
    ) -> Result<BTreeMap<String, BTreeMap<i32, i64>>, String> {
        let leaders = self.leaders(wanted).await?;
        let failed = |error: io::Error| format!("fresh topics take no records: {error}");
        for (topic, partition, leader) in leaders {
            let used = async {
                let mut client = self.cluster.client(leader).await?;
                warm_up(&mut client, &requests::topic(&topic), partition, ROUNDS).await
            };
            let used = timeout(FRESH, used).await;
            used.map_err(|_| format!("fresh topics take no records within {FRESH:?}"))?
                .map_err(failed)?;
        }
        let mut begin = BTreeMap::new();
        for NewTopic { name, .. } in wanted {
            let mut ends = Err("no broker tells where the logs end".to_owned());
            for (host, port) in self.cluster.at.values() {
                let dial = Direct(self.cluster.elsewhere());
                match Reader::new(dial, host, *port).topic(name).await {
                    Ok(logs) => {
                        ends = Ok(logs.iter().map(|log| (log.partition, log.next)).collect());
                        break;
                    }
                    Err(error) => ends = Err(error.to_string()),
                }
            }
            begin.insert(name.clone(), ends?);
        }
        Ok(begin)
    }

    /// Every partition with its leader, once every broker knows one.
    async fn leaders(&self, wanted: &[NewTopic]) -> Result<Vec<(String, i32, i32)>, String> {
        let names: Vec<&str> = wanted.iter().map(|topic| topic.name.as_str()).collect();
        let count: usize =
            wanted.iter().map(|topic| usize::try_from(topic.partitions).unwrap_or(0)).sum();
        let until = Instant::now() + FRESH;
        loop {
            let mut least = None::<Vec<_>>;
            for address in self.cluster.at.values() {
                let request = requests::metadata(Some(&names));
                let said = Cluster::one(address, METADATA, &request).await;
                let said = said.map_err(|error| format!("{}: {error}", shown(address)))?;
                let led: Vec<_> = said.topics.iter().flat_map(led).collect();
                if least.as_ref().is_none_or(|least| led.len() < least.len()) {
                    least = Some(led);
                }
            }
            match least {
                Some(led) if led.len() == count => return Ok(led),
                least if Instant::now() > until => {
                    let led = least.map_or(0, |led| led.len());
                    return Err(format!("{led} of {count} partitions have leaders in {FRESH:?}"));
                }
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// The partitions of a topic that have a leader.
fn led(
    topic: &kafka_protocol::messages::metadata_response::MetadataResponseTopic,
) -> impl Iterator<Item = (String, i32, i32)> {
    let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
    let led = topic.partitions.iter();
    let led = led.filter(|found| found.error_code == codes::NONE && *found.leader_id >= 0);
    led.map(move |found| (name.clone(), found.partition_index, *found.leader_id))
}

/// Dials brokers where they are.
struct Direct(BTreeMap<(String, u16), (String, u16)>);

impl crate::broker::reader::Dial for Direct {
    type Stream = tokio::net::TcpStream;

    async fn dial(&self, host: &str, port: u16) -> io::Result<Self::Stream> {
        let at = self.0.get(&(host.to_owned(), port));
        let (host, port) = at.map_or((host, port), |(host, port)| (host.as_str(), *port));
        tokio::net::TcpStream::connect((host, port)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::model::{At, Fault};

    fn harming(brokers: Brokers) -> Scenario {
        let fault = Fault::new(At::Offered(1), None, FaultKind::NetReset { brokers });
        Scenario { faults: vec![fault], ..Scenario::default() }
    }

    #[test]
    fn who_harms_some_brokers_needs_as_many_as_it_asks_for() {
        for some in [Brokers::Leader, Brokers::Ids(vec![1])] {
            let why = too_small(&harming(some.clone()), 1).unwrap();
            assert_eq!(why, "net.reset: it harms some of 3 brokers, and the cluster has 1 broker");
            assert_eq!(too_small(&harming(some), 3), None);
        }
        assert_eq!(too_small(&harming(Brokers::All), 1), None);
    }

    #[test]
    fn what_is_about_security_is_for_no_cluster_of_a_user() {
        let secured = Scenario { listener: Listener::Sasl, ..Scenario::default() };
        assert!(no_cluster_for(&secured).is_some());
        let producer = serde_json::json!({ "security": { "protocol": "ssl" } });
        assert!(no_cluster_for(&Scenario { producer, ..Scenario::default() }).is_some());
        assert!(no_cluster_for(&Scenario::default()).is_none());
    }

    #[test]
    fn what_stays_of_other_runs_is_named_and_the_rest_counted() {
        let stay = (0..5).map(|n| format!("t{n}")).collect();
        let notes = notes(&Left { removed: vec!["old".to_owned()], stay });
        assert_eq!(
            notes,
            [
                "note: topics of earlier runs were removed: old",
                "note: topics of other runs stay on the cluster until they are 6 h old: t0, t1, t2 \
             and 2 more",
            ]
        );
    }
}
