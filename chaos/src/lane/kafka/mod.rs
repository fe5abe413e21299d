//! Apache Kafka in containers, the subject in a child process.

mod admin;
mod certs;
mod docker;
mod fleet;
mod node;
mod secure;
mod warm;
mod world;

use std::io;
use std::sync::Arc;

use tempfile::TempDir;

use super::child::environment;
use super::real::{self, Arena};
use super::world::cluster_config;
use super::{RunInput, RunOutput};
use crate::fault::proxy::{Mode, Proxy, ProxyConfig, ProxyWorld, TopicNames};
use crate::history::Recorder;
use crate::scenario::model::{LaneName, Listener, Scenario};
use crate::scenario::security::{placed, places};
use crate::subject::runner::World;
use crate::subject::secrets::OwnSecrets;
use admin::{Admin, NewTopic};
use certs::{Certificates, expired_token, renew_token};
pub use docker::{Docked, IMAGE_VARIABLE, Missing, OFFICIAL, OWN, look};
pub use fleet::{Fleet, abandon};
use fleet::{Ground, Lent, Shape};
use warm::make;
use world::KafkaWorld;

/// Runs one cell on the clusters of this run. A few may run at once.
pub async fn run(input: &RunInput, fleet: &Fleet) -> RunOutput {
    // before anything is started for it
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
        let place =
            Place::prepare(&scenario, input, fleet.next_cell(), ground, slot, recorder).await;
        let place = place.map_err(|error| environment(&error))?;
        let scenario = place.scenario(&scenario);
        let bootstrap = place.world.bootstrap();
        let world = Arc::clone(&place.world) as Arc<dyn World>;
        let secrets = Arc::clone(&place.secrets);
        Ok((Arena { scenario, bootstrap, world, secrets }, place))
    };
    real::run(input, LaneName::Kafka, facts, arena).await
}

/// Topics and listeners of one cell.
struct Place<'a> {
    main: String,
    dlq: String,
    world: Arc<KafkaWorld>,
    /// After the world, which listens there.
    _slot: Lent<'a>,
    /// Files that the scenario's settings name.
    files: Option<TempDir>,
    /// What of them must not show up.
    secrets: Arc<OwnSecrets>,
}

impl<'a> Place<'a> {
    async fn prepare(
        scenario: &Scenario,
        input: &RunInput,
        number: u64,
        ground: &'a Ground,
        slot: Lent<'a>,
        recorder: Recorder,
    ) -> Result<Self, String> {
        let run = input.digest(LaneName::Kafka);
        let config = cluster_config(scenario, run, Vec::new());
        let own = |topic: &str| TopicNames {
            real: format!("{topic}-{number}"),
            logical: Arc::from(topic),
        };
        let (main, dlq) = (own(&config.main_topic), own(&config.dlq_topic));
        let plain = ground.behind(&slot, Listener::Plaintext).await?;
        let admin = Admin { behind: plain };
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
        make(&admin, &topics, 1).await?;
        let encrypted = scenario.listener.is_encrypted();
        let proxy = ProxyConfig {
            brokers: ground.ids(),
            main: main.clone(),
            dlq: dlq.clone(),
            run,
            mode: if encrypted { Mode::Bytes } else { Mode::Frames },
        };
        let failed = |error: io::Error| format!("cannot listen: {error}");
        let mut listeners = Vec::new();
        for held in slot.held(scenario.listener) {
            listeners.push(held.listen().await.map_err(failed)?);
        }
        let proxy = Proxy::on(listeners, proxy, recorder, input.seed).map_err(failed)?;
        let behind = ground.behind(&slot, scenario.listener).await?;
        for (id, port) in ground.ids().into_iter().zip(slot.advertised(scenario.listener)) {
            proxy.connect_to(id, "127.0.0.1", behind.port(port));
        }
        let secrets = Arc::new(OwnSecrets::default());
        let certificates = ground.certificates.as_ref().filter(|_| is_secured(scenario));
        let files = certificates.map(|certificates| files(certificates, &secrets)).transpose();
        let files = files.map_err(|error| format!("cannot write certificates: {error}"))?;
        let inner = ProxyWorld::new(scenario, Arc::new(proxy), Some(&admin.behind.ports));
        let topics = [main.real.clone(), dlq.real.clone()];
        let tokens = files.as_ref().map(|dir| (dir.path().to_owned(), Arc::clone(&secrets)));
        let world = KafkaWorld::new(scenario, inner, admin, topics, tokens);
        Ok(Self { main: main.real, dlq: dlq.real, world, _slot: slot, files, secrets })
    }

    /// The scenario, with the topics and files of this cell.
    fn scenario(&self, scenario: &Arc<Scenario>) -> Arc<Scenario> {
        let mut own = scenario.as_ref().clone();
        own.producer = with(own.producer, &["topic"], &self.main);
        own.producer = with(own.producer, &["dlq", "topic"], &self.dlq);
        if let Some(dir) = &self.files {
            placed(&mut own.producer, dir.path());
        }
        Arc::new(own)
    }
}

/// The listener asks for something, or the settings name a file.
fn is_secured(scenario: &Scenario) -> bool {
    scenario.listener != Listener::Plaintext || !places(&scenario.producer).is_empty()
}

/// A directory with everything that a scenario's settings may name.
fn files(certificates: &Certificates, secrets: &OwnSecrets) -> io::Result<TempDir> {
    let dir = tempfile::Builder::new().prefix("dashproof-certs-").tempdir()?;
    certificates.write(dir.path(), secrets)?;
    renew_token(dir.path(), secrets)?;
    expired_token(dir.path(), secrets)?;
    Ok(dir)
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
