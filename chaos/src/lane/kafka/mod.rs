//! Apache Kafka in containers, the subject in a child process.

mod admin;
mod docker;
mod fleet;
mod node;
mod warm;

use std::sync::Arc;

use super::child::environment;
use super::real::{self, Arena};
use super::world::cluster_config;
use super::{RunInput, RunOutput};
use crate::broker::HeldPort;
use crate::fault::proxy::{Mode, Proxy, ProxyConfig, ProxyWorld, TopicNames};
use crate::history::Recorder;
use crate::scenario::model::{LaneName, Scenario};
use crate::subject::runner::World;
use admin::{Admin, NewTopic, led};
pub use docker::{Docked, IMAGE_VARIABLE, Missing, OFFICIAL, OWN, look};
pub use fleet::{Fleet, abandon};
use fleet::{Ground, Lent, Shape};

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
        let bootstrap = place.world.proxy().bootstrap();
        let world = Arc::clone(&place.world) as Arc<dyn World>;
        Ok((Arena { scenario, bootstrap, world }, place))
    };
    real::run(input, LaneName::Kafka, facts, arena).await
}

/// Topics and listeners of one cell.
struct Place<'a> {
    _slot: Lent<'a>,
    main: String,
    dlq: String,
    world: Arc<ProxyWorld>,
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
        let run = input.digest(LaneName::Kafka);
        let config = cluster_config(scenario, run, Vec::new());
        let number = fleet.next_cell();
        let own = |topic: &str| TopicNames {
            real: format!("{topic}-{number}"),
            logical: Arc::from(topic),
        };
        let (main, dlq) = (own(&config.main_topic), own(&config.dlq_topic));
        let behind = ground.behind(&slot).await?;
        let admin = Admin::new(behind.clone(), slot.advertised());
        let replicas = i16::try_from(ground.shape.brokers()).unwrap_or(1);
        let topic = |names: &TopicNames, partitions| NewTopic {
            name: names.real.clone(),
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
        let brokers: Vec<i32> = ground.ids();
        let proxy = ProxyConfig {
            brokers: brokers.clone(),
            main: main.clone(),
            dlq: dlq.clone(),
            run,
            mode: Mode::Frames,
        };
        let listeners: std::io::Result<_> = slot.held.iter().map(HeldPort::listen).collect();
        let proxy = listeners.and_then(|l| Proxy::on(l, proxy, recorder, input.seed));
        let proxy = proxy.map_err(|error| format!("cannot listen: {error}"))?;
        for (id, port) in brokers.into_iter().zip(slot.advertised()) {
            proxy.connect_to(id, "127.0.0.1", behind.port(port));
        }
        let world = ProxyWorld::new(scenario, Arc::new(proxy));
        Ok(Self { _slot: slot, main: main.real, dlq: dlq.real, world })
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
