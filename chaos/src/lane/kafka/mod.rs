//! Apache Kafka in containers, the subject in a child process.

mod admin;
mod certs;
mod disks;
mod docker;
mod fleet;
mod identity;
mod node;
mod open;
mod process;
mod pulse;
mod realm;
mod secure;
mod shape;
mod warm;
mod world;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::time::Instant;

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
use certs::{Certificates, Directory, expired_token, renew_token};
pub use docker::{Docked, IMAGE_VARIABLE, Missing, OFFICIAL, OWN, look};
use fleet::{Alone, Lent};
pub use fleet::{Fleet, abandon, containers};
pub use open::{NotStarted, OpenCluster};
use process::{Processes, ROUNDS};
use realm::Realm;
pub use realm::{tools, unbuilt};
use shape::Shape;
use warm::make;
pub(in crate::lane) use warm::produce as warm_up;
use world::{KafkaWorld, Stalls};

/// Runs one cell on the clusters of this run. A few may run at once.
pub async fn run(input: &RunInput, fleet: &Fleet) -> RunOutput {
    // before anything is started for it
    let cannot = real::cannot_express(LaneName::Kafka, &input.scenario);
    if let Some(why) = cannot.or_else(|| no_cluster_for(&input.scenario)) {
        return RunOutput { not_applicable: Some(why), ..RunOutput::default() };
    }
    if input.scenario.listener.is_kerberos()
        && let Err(missing) = tools()
    {
        return RunOutput { not_run: Some(missing.to_string()), ..RunOutput::default() };
    }
    let docked = match fleet.docked().await {
        Ok(docked) => docked,
        Err(missing) => {
            return RunOutput { not_run: Some(missing.to_string()), ..RunOutput::default() };
        }
    };
    let (lent, alone) = match lend(&input.scenario, fleet, docked).await {
        Ok(lent) => lent,
        Err(error) => {
            return RunOutput { error: Some(environment(&error)), ..RunOutput::default() };
        }
    };
    let facts = vec![("kafka".to_owned(), docked.image.clone())];
    let ground = Arc::clone(&lent.ground);
    let arena = async |scenario: Arc<Scenario>, recorder: Recorder| {
        let place = Place::prepare(&scenario, input, fleet.next_cell(), lent, recorder).await;
        let place = place.map_err(|error| environment(&error))?;
        let scenario = place.scenario(&scenario.spread_by(input.seed));
        let bootstrap = place.world.bootstrap();
        let world = Arc::clone(&place.world) as Arc<dyn World>;
        let secrets = Arc::clone(&place.secrets);
        let variables = place.variables();
        Ok((Arena { scenario, bootstrap, world, secrets, variables }, (place, alone)))
    };
    let mut output = real::run(input, LaneName::Kafka, facts, arena).await;
    // a realm that has died refuses everybody, and would pass for one that refuses the wrong ones
    if output.error.is_none()
        && let Some(realm) = &ground.realm
        && let Err(why) = realm.is_alive().await
    {
        output.error = Some(environment(&why));
    }
    output
}

/// Why no cluster of this lane is the one that a scenario is about.
fn no_cluster_for(scenario: &Scenario) -> Option<String> {
    if scenario.listener.is_kerberos()
        && let Some(why) = unbuilt()
    {
        return Some(why);
    }
    let known = matches!(scenario.brokers, 1 | 3);
    (!known).then(|| {
        format!("its clusters have 1 broker or 3, and this scenario asks for {}", scenario.brokers)
    })
}

/// A place on the shared cluster of the scenario's shape, or on one that nobody else has.
async fn lend(
    scenario: &Scenario,
    fleet: &Fleet,
    docked: &Docked,
) -> Result<(Lent, Option<Alone>), String> {
    if scenario.is_alone() {
        let brokers = if scenario.brokers == 1 { 1 } else { 3 };
        let shape = Shape::Own { brokers, disks: scenario.small_disks() };
        let (ground, alone) = fleet.own(docked, shape).await?;
        return Ok((ground.lend().await?, Some(alone)));
    }
    Ok((fleet.ground(docked, shared(scenario)).await?.lend().await?, None))
}

/// The shape of the cluster that a scenario shares with others.
fn shared(scenario: &Scenario) -> Shape {
    match scenario.brokers {
        1 if scenario.listener.is_kerberos() => Shape::Kerberos,
        1 => Shape::Single,
        _ => Shape::Cluster,
    }
}

/// Starts the clusters that these scenarios will share.
pub async fn begin<'s>(fleet: &Fleet, scenarios: impl IntoIterator<Item = &'s Scenario>) {
    let runs = |scenario: &&Scenario| {
        let expressed = real::cannot_express(LaneName::Kafka, scenario).is_none();
        let tooled = !scenario.listener.is_kerberos() || tools().is_ok();
        expressed && tooled && no_cluster_for(scenario).is_none() && !scenario.is_alone()
    };
    let shapes: BTreeSet<Shape> = scenarios.into_iter().filter(runs).map(shared).collect();
    if !shapes.is_empty() {
        fleet.begin(shapes).await;
    }
}

/// Topics and listeners of one cell.
struct Place {
    main: String,
    dlq: String,
    world: Arc<KafkaWorld>,
    /// After the world, which listens there.
    slot: Arc<Lent>,
    /// Files that the scenario's settings name.
    files: Option<Directory>,
    /// What of them must not show up.
    secrets: Arc<OwnSecrets>,
}

impl Place {
    async fn prepare(
        scenario: &Scenario,
        input: &RunInput,
        number: u64,
        slot: Lent,
        recorder: Recorder,
    ) -> Result<Self, String> {
        let run = input.digest(LaneName::Kafka);
        let (ground, slot) = (Arc::clone(&slot.ground), Arc::new(slot));
        let config = cluster_config(scenario, run, Vec::new());
        let own = |topic: &str| TopicNames {
            real: format!("{topic}-{number}"),
            logical: Arc::from(topic),
        };
        let (main, dlq) = (own(&config.main_topic), own(&config.dlq_topic));
        let plain = ground.behind(&slot, Listener::Plaintext).await?;
        let admin = Admin::new(plain);
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
        make(&admin, &topics, ROUNDS).await?;
        let encrypted = scenario.listener.is_encrypted();
        let proxy = ProxyConfig {
            brokers: ground.ids(),
            main: main.clone(),
            dlq: dlq.clone(),
            run,
            mode: if encrypted { Mode::Bytes } else { Mode::Frames },
        };
        let proxy = before(&slot, scenario.listener, proxy, recorder.clone(), input.seed).await?;
        let secrets = Arc::new(OwnSecrets::default());
        let certificates = ground.certificates.as_ref().filter(|_| is_secured(scenario));
        let files = certificates.map(|c| files(c, ground.realm.as_ref(), &secrets)).transpose();
        let files = files.map_err(|error| format!("cannot write certificates: {error}"))?;
        let proxy = Arc::new(proxy);
        let topics = [main.real.clone(), dlq.real.clone()];
        let processes = scenario.is_alone().then(|| {
            let (slot, proxy) = (Arc::clone(&slot), Arc::clone(&proxy));
            Processes::new(scenario, slot, proxy, topics.clone(), recorder.clone())
        });
        // brokers that were started again are where the proxy has them, on its own listener
        let elsewhere = (!scenario.is_alone()).then_some(&admin.behind.ports);
        let inner = ProxyWorld::new(scenario, proxy, elsewhere);
        let tokens = files.as_ref().map(|dir| (dir.path().to_owned(), Arc::clone(&secrets)));
        let stalls = Stalls { ground, since: Instant::now(), recorder };
        let world = KafkaWorld::new(scenario, (inner, stalls), admin, processes, topics, tokens);
        Ok(Self { main: main.real, dlq: dlq.real, world, slot, files, secrets })
    }

    /// Variables of the subject's environment.
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let (realm, files) = (self.slot.ground.realm.as_ref(), self.files.as_ref());
        realm.zip(files).map(|(realm, files)| realm.of_client(files.path())).unwrap_or_default()
    }

    /// The scenario, with the topics and files of this cell.
    fn scenario(&self, scenario: &Scenario) -> Arc<Scenario> {
        let mut own = scenario.clone();
        own.producer = with(own.producer, &["topic"], &self.main);
        own.producer = with(own.producer, &["dlq", "topic"], &self.dlq);
        if let Some(dir) = &self.files {
            placed(&mut own.producer, dir.path());
        }
        Arc::new(own)
    }
}

/// A proxy on the ports of a slot, with the brokers behind it.
///
/// # Errors
/// Texts of the operating system's errors, and of Docker's.
async fn before(
    lent: &Lent,
    listener: Listener,
    proxy: ProxyConfig,
    recorder: Recorder,
    seed: u64,
) -> Result<Proxy, String> {
    let failed = |error: io::Error| format!("cannot listen: {error}");
    let mut listeners = Vec::new();
    for held in lent.held(listener) {
        listeners.push(held.listen().await.map_err(failed)?);
    }
    let proxy = Proxy::on(listeners, proxy, recorder, seed).map_err(failed)?;
    let behind = lent.ground.behind(lent, listener).await?;
    for (id, port) in lent.ground.ids().into_iter().zip(lent.advertised(listener)) {
        proxy.connect_to(id, "127.0.0.1", behind.port(port));
    }
    Ok(proxy)
}

/// The listener asks for something, or the settings name a file.
fn is_secured(scenario: &Scenario) -> bool {
    scenario.listener != Listener::Plaintext || !places(&scenario.producer).is_empty()
}

/// A directory with everything that a scenario's settings may name.
fn files(
    certificates: &Certificates,
    realm: Option<&Realm>,
    secrets: &OwnSecrets,
) -> io::Result<Directory> {
    let dir = Directory::make()?;
    realm.map(|realm| realm.write(dir.path(), secrets)).transpose()?;
    certificates.write(dir.path(), secrets)?;
    renew_token(dir.path(), secrets)?;
    expired_token(dir.path(), secrets)?;
    Ok(dir)
}

/// A JSON object with a text at this path.
pub(in crate::lane) fn with(
    object: serde_json::Value,
    path: &[&str],
    text: &str,
) -> serde_json::Value {
    let Some((first, rest)) = path.split_first() else { return text.into() };
    let mut map = match object {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    let inner = map.remove(*first).unwrap_or_default();
    map.insert((*first).to_owned(), with(inner, rest, text));
    map.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clusters_that_the_lane_has_are_promised() {
        let refused = |brokers| no_cluster_for(&Scenario { brokers, ..Scenario::default() });
        assert_eq!((refused(1), refused(3)), (None, None));
        for brokers in [2, 4, 5, 6, 7, 8, 9] {
            let why = refused(brokers).unwrap();
            assert!(why.ends_with(&format!("asks for {brokers}")), "{why}");
        }
    }
}
