//! Apache Kafka in containers, the subject in a child process.

mod admin;
mod docker;
mod fleet;
mod node;
mod relay;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashproof_reference::core::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::child::environment;
use super::real::{self, Arena};
use super::world::cluster_config;
use super::{HarnessError, RunInput, RunOutput};
use crate::broker::reader::{PartitionLog, Reader, record_logs};
use crate::broker::{Identity, codes};
use crate::history::Recorder;
use crate::scenario::model::{LaneName, Scenario};
use crate::subject::runner::World;
use admin::{Admin, Behind, NewTopic};
pub use docker::{Docked, IMAGE_VARIABLE, Missing, OFFICIAL, OWN, look};
pub use fleet::{Fleet, abandon};
use fleet::{Ground, Lent, Shape};
use relay::Relay;

/// How long the leaders of fresh topics may take to be known everywhere.
const LEADERS: Duration = Duration::from_secs(30);

/// Runs one cell on the clusters of this run. A few may run at once.
pub async fn run(input: &RunInput, fleet: &Fleet) -> RunOutput {
    if let Some(why) = real::cannot_express(LaneName::Kafka, &input.scenario) {
        return RunOutput { not_applicable: Some(why), ..RunOutput::default() };
    }
    let docked = match fleet.docked().await {
        Ok(docked) => docked,
        Err(missing) => {
            return RunOutput { not_run: Some(missing.to_string()), ..RunOutput::default() };
        }
    };
    let shape = if input.scenario.brokers == 1 { Shape::Single } else { Shape::Cluster };
    let lent = match fleet.ground(docked, shape).await {
        Ok(ground) => ground.lend().await.map(|slot| (ground, slot)),
        Err(error) => Err(error),
    };
    let (ground, slot) = match lent {
        Ok(lent) => lent,
        Err(error) => {
            return RunOutput { error: Some(environment(&error)), ..RunOutput::default() };
        }
    };
    let facts = vec![("kafka".to_owned(), docked.image.clone())];
    let arena = async |scenario: Arc<Scenario>, recorder: Recorder| {
        let place = Place::prepare(&scenario, input, fleet, ground, slot, recorder).await;
        let place = place.map_err(|error| environment(&error))?;
        let scenario = place.scenario(&scenario);
        let bootstrap = place.bootstrap();
        let world = Arc::clone(&place.world) as Arc<dyn World>;
        Ok((Arena { scenario, bootstrap, world }, place))
    };
    real::run(input, LaneName::Kafka, facts, arena).await
}

/// Topics and listeners of one cell.
struct Place<'a> {
    slot: Lent<'a>,
    main: String,
    dlq: String,
    world: Arc<KafkaWorld>,
    _relays: Vec<Relay>,
}

impl<'a> Place<'a> {
    async fn prepare(
        scenario: &Scenario,
        input: &RunInput,
        fleet: &Fleet,
        ground: &'a Ground,
        slot: Lent<'a>,
        recorder: Recorder,
    ) -> Result<Self, String> {
        let digest = input.digest(LaneName::Kafka);
        let config = cluster_config(scenario, digest, Vec::new());
        let number = fleet.next_cell();
        let (main, dlq) =
            (format!("{}-{number}", config.main_topic), format!("{}-{number}", config.dlq_topic));
        let behind = ground.behind(&slot).await?;
        let admin = Admin::new(behind.clone(), slot.advertised());
        let replicas = i16::try_from(ground.shape.brokers()).unwrap_or(1);
        let topic = |name: &str, partitions| NewTopic {
            name: name.to_owned(),
            partitions,
            replicas,
            settings: vec![
                ("min.insync.replicas", config.min_insync.to_string()),
                ("max.message.bytes", config.message_max_bytes.to_string()),
            ],
        };
        let topics = [topic(&main, config.partitions), topic(&dlq, 1)];
        admin.create(&topics).await.map_err(|error| format!("cannot make topics: {error}"))?;
        led(&admin, &topics).await?;
        let relay = |(from, to): (&u16, &u16)| Relay::start(*from, *to);
        let relays: std::io::Result<Vec<Relay>> = behind.ports.iter().map(relay).collect();
        let relays = relays.map_err(|error| format!("cannot listen: {error}"))?;
        let world = KafkaWorld {
            behind,
            bootstrap: slot.advertised().first().copied().unwrap_or_default(),
            topics: [main.clone(), dlq.clone()],
            identity: Mutex::new(Identity::new(digest)),
            recorder,
        };
        Ok(Self { slot, main, dlq, world: Arc::new(world), _relays: relays })
    }

    fn bootstrap(&self) -> String {
        let ports = self.slot.advertised().into_iter();
        ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// The scenario, with the topics of this cell.
    fn scenario(&self, scenario: &Arc<Scenario>) -> Arc<Scenario> {
        let mut own = scenario.as_ref().clone();
        own.producer = with(own.producer, &["topic"], &self.main);
        own.producer = with(own.producer, &["dlq", "topic"], &self.dlq);
        Arc::new(own)
    }
}

/// A JSON object with a text at this path.
fn with(object: serde_json::Value, path: &[&str], text: &str) -> serde_json::Value {
    let Some((first, rest)) = path.split_first() else { return text.into() };
    let mut map = match object {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    let inner = map.remove(*first).unwrap_or_default();
    map.insert((*first).to_owned(), with(inner, rest, text));
    map.into()
}

/// Ends when every partition of these topics has a leader.
async fn led(admin: &Admin, topics: &[NewTopic]) -> Result<(), String> {
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let wanted: usize = topics.iter().map(|t| usize::try_from(t.partitions).unwrap_or(0)).sum();
    let until = Instant::now() + LEADERS;
    loop {
        let metadata = admin.metadata(&names).await.map_err(|error| error.to_string())?;
        let partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
        let led = partitions.filter(|p| p.error_code == codes::NONE && *p.leader_id > 0).count();
        if led == wanted {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{led} of {wanted} partitions have leaders after {LEADERS:?}"));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The brokers as the director sees them.
struct KafkaWorld {
    behind: Behind,
    /// Advertised port of the broker that a reader begins at.
    bootstrap: u16,
    topics: [String; 2],
    identity: Mutex<Identity>,
    recorder: Recorder,
}

impl KafkaWorld {
    async fn logs(&self) -> Result<[Vec<PartitionLog>; 2], String> {
        let mut reader = Reader::new(self.behind.clone(), "127.0.0.1", self.bootstrap);
        let [main, dlq] = &self.topics;
        let read = |error: crate::broker::reader::ReadError| error.to_string();
        Ok([reader.topic(main).await.map_err(read)?, reader.topic(dlq).await.map_err(read)?])
    }
}

impl World for KafkaWorld {
    fn begin(&self, _fault: usize) {}
    fn met(&self, _fault: usize) {}
    fn end(&self, _fault: usize) {}

    fn until_unanswered(&self, _records: u64) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<(), HarnessError>> {
        Box::pin(async move {
            let [main, dlq] = self.logs().await.map_err(|error| environment(&error))?;
            let mut identity = self.identity.lock().await;
            record_logs(&self.recorder, &mut identity, &main, &dlq);
            Ok(())
        })
    }
}
