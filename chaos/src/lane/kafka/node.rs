//! One broker in a container.

use std::collections::BTreeMap;
use std::time::Duration;

use testcontainers::bollard::models::PortBinding;
use testcontainers::core::{ContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};

use super::docker::{LABEL, owner};

/// How long a broker may take to start: a busy machine with two processors needs ten seconds.
const START: Duration = Duration::from_secs(120);
/// The line that tells that a broker serves.
const STARTED: &str = "Kafka Server started";
/// Port inside the container on which brokers talk to each other.
const INTERNAL: u16 = 9092;
/// Port inside the container of the controller.
const CONTROLLER: u16 = 9093;
/// The first port inside the container for clients.
const FIRST: u16 = 9100;
/// Heap and other limits of the Java machine, for a cluster that fits a small machine.
const HEAP: &str = "-Xms128m -Xmx384m";

/// A listener for clients.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    /// Its name among the broker's listeners.
    pub(super) name: String,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub(super) protocol: &'static str,
    /// Port of the loopback interface that clients are sent to.
    pub(super) advertised: u16,
}

/// What a broker is started with.
#[derive(Clone, Debug)]
pub(super) struct NodeSpec {
    pub(super) image: String,
    pub(super) id: i32,
    /// Names of all brokers' containers, in the order of their ids.
    pub(super) names: Vec<String>,
    /// The network in which they find each other; none for a broker on its own.
    pub(super) network: Option<String>,
    pub(super) listeners: Vec<Listener>,
    /// Settings beyond those of every broker.
    pub(super) settings: Vec<(String, String)>,
    /// Files for the container.
    pub(super) files: Vec<(String, Vec<u8>)>,
}

/// A broker in a container.
pub(super) struct Node {
    container: ContainerAsync<GenericImage>,
    /// Port inside the container of each listener, by name.
    inside: BTreeMap<String, u16>,
}

/// `KAFKA_A_B` for `a.b`, as both images read it.
fn variable(setting: &str) -> String {
    let name = setting.replace('_', "__").replace('-', "___").replace('.', "_");
    format!("KAFKA_{}", name.to_uppercase())
}

impl NodeSpec {
    fn name(&self) -> String {
        let at = usize::try_from(self.id - 1).unwrap_or_default();
        self.names.get(at).cloned().unwrap_or_default()
    }

    fn inside(&self) -> BTreeMap<String, u16> {
        self.listeners.iter().map(|l| l.name.clone()).zip(FIRST..).collect()
    }

    /// Everything the broker is told.
    fn settings(&self) -> Vec<(String, String)> {
        let mut listeners = vec![
            format!("INTERNAL://0.0.0.0:{INTERNAL}"),
            format!("CONTROLLER://0.0.0.0:{CONTROLLER}"),
        ];
        let host = if self.network.is_some() { self.name() } else { "localhost".to_owned() };
        let mut advertised = vec![format!("INTERNAL://{host}:{INTERNAL}")];
        let mut protocols = vec!["INTERNAL:PLAINTEXT".into(), "CONTROLLER:PLAINTEXT".to_owned()];
        let inside = self.inside();
        for listener in &self.listeners {
            let Listener { name, protocol, advertised: port } = listener;
            let within = inside.get(name).copied().unwrap_or_default();
            listeners.push(format!("{name}://0.0.0.0:{within}"));
            advertised.push(format!("{name}://127.0.0.1:{port}"));
            protocols.push(format!("{name}:{protocol}"));
        }
        let voter = |(id, name): (usize, &String)| {
            let host = if self.network.is_some() { name.as_str() } else { "localhost" };
            format!("{}@{host}:{CONTROLLER}", id + 1)
        };
        let voters: Vec<String> = self.names.iter().enumerate().map(voter).collect();
        let brokers = self.names.len();
        let replicas = brokers.min(3).to_string();
        let insync = brokers.min(2).to_string();
        let own = [
            ("node.id", self.id.to_string()),
            ("process.roles", "broker,controller".to_owned()),
            ("controller.quorum.voters", voters.join(",")),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("inter.broker.listener.name", "INTERNAL".to_owned()),
            ("listeners", listeners.join(",")),
            ("advertised.listeners", advertised.join(",")),
            ("listener.security.protocol.map", protocols.join(",")),
            // in the container: a broker that is started again finds its data
            ("log.dirs", "/tmp/dashproof-kafka".to_owned()),
            ("offsets.topic.replication.factor", replicas.clone()),
            ("transaction.state.log.replication.factor", replicas.clone()),
            ("default.replication.factor", replicas),
            ("min.insync.replicas", insync.clone()),
            ("transaction.state.log.min.isr", insync),
        ];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
        let common = COMMON.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        own.chain(common).chain(self.settings.iter().cloned()).collect()
    }

    fn request(&self) -> ContainerRequest<GenericImage> {
        let (name, tag) = self.image.rsplit_once(':').unwrap_or((&self.image, "latest"));
        let mut image =
            GenericImage::new(name, tag).with_wait_for(WaitFor::message_on_stdout(STARTED));
        let ports: Vec<u16> = self.inside().into_values().collect();
        for port in &ports {
            image = image.with_exposed_port(ContainerPort::Tcp(*port));
        }
        let mut request = image
            .with_container_name(self.name())
            .with_label(LABEL, owner())
            .with_startup_timeout(START)
            .with_env_var("CLUSTER_ID", "dashproofdashproof0001")
            .with_env_var("KAFKA_HEAP_OPTS", HEAP)
            .with_host_config_modifier(move |host| {
                let binding = PortBinding {
                    host_ip: Some("127.0.0.1".to_owned()),
                    host_port: Some("0".to_owned()),
                };
                let bind = |port: &u16| (format!("{port}/tcp"), Some(vec![binding.clone()]));
                host.port_bindings = Some(ports.iter().map(bind).collect());
                host.publish_all_ports = Some(false);
            });
        if let Some(network) = &self.network {
            request = request.with_network(network);
        }
        for (key, value) in self.settings() {
            request = request.with_env_var(variable(&key), value);
        }
        for (path, bytes) in &self.files {
            request = request.with_copy_to(path.as_str(), bytes.clone());
        }
        request
    }

    /// Starts the container; ends when the broker says that it serves.
    pub(super) async fn start(&self) -> Result<Node, String> {
        let container = self.request().start().await;
        let container = container.map_err(|error| format!("{}: {error}", self.name()))?;
        Ok(Node { container, inside: self.inside() })
    }
}

/// Settings of every broker. The timings are those at which a small cluster notices a dead broker
/// in two seconds instead of ten.
const COMMON: [(&str, &str); 16] = [
    ("auto.create.topics.enable", "false"),
    ("unclean.leader.election.enable", "false"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("num.network.threads", "1"),
    ("num.io.threads", "4"),
    ("log.cleaner.enable", "false"),
    ("broker.session.timeout.ms", "2000"),
    ("broker.heartbeat.interval.ms", "250"),
    ("controller.quorum.election.timeout.ms", "500"),
    ("controller.quorum.fetch.timeout.ms", "1000"),
    ("controller.quorum.request.timeout.ms", "1000"),
    ("controller.quorum.election.backoff.max.ms", "500"),
    ("replica.lag.time.max.ms", "3000"),
    ("replica.socket.timeout.ms", "2000"),
];

impl Node {
    /// The port of the loopback interface behind which a listener is. It is another one after a
    /// restart.
    pub(super) async fn port(&self, listener: &str) -> Result<u16, String> {
        let inside = self.inside.get(listener).copied();
        let inside = inside.ok_or_else(|| format!("no listener {listener}"))?;
        self.container
            .get_host_port_ipv4(ContainerPort::Tcp(inside))
            .await
            .map_err(|error| error.to_string())
    }

    /// Removes the container.
    pub(super) async fn remove(self) {
        // What stays is swept by its label.
        drop(self.container.rm().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> NodeSpec {
        let listener = |name: &str, protocol, advertised| Listener {
            name: name.to_owned(),
            protocol,
            advertised,
        };
        NodeSpec {
            image: OFFICIAL.to_owned(),
            id: 2,
            names: vec!["a".into(), "b".into(), "c".into()],
            network: Some("net".to_owned()),
            listeners: vec![listener("SLOT0", "PLAINTEXT", 4000), listener("TLS0", "SSL", 4001)],
            settings: vec![("listener.name.tls0.ssl.client.auth".into(), "required".into())],
            files: Vec::new(),
        }
    }
    use super::super::docker::OFFICIAL;

    #[test]
    fn settings_become_the_variables_that_both_images_read() {
        assert_eq!(variable("log.dirs"), "KAFKA_LOG_DIRS");
        assert_eq!(
            variable("listener.name.sp.scram-sha-256.sasl.jaas.config"),
            "KAFKA_LISTENER_NAME_SP_SCRAM___SHA___256_SASL_JAAS_CONFIG"
        );
        assert_eq!(variable("a_b.c"), "KAFKA_A__B_C");
    }

    #[test]
    fn what_a_broker_of_three_is_told() {
        let settings = spec().settings();
        let told = settings.iter().map(|(k, v)| format!("{k}={v}\n")).collect::<String>();
        insta::assert_snapshot!(told);
    }

    #[test]
    fn no_setting_is_given_twice() {
        let mut keys: Vec<String> = spec().settings().into_iter().map(|(key, _)| key).collect();
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }
}
