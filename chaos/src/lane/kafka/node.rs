//! One broker in a container.

use std::collections::BTreeMap;
use std::time::Duration;

use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::{
    NetworkConnectRequest, NetworkDisconnectRequest, PortBinding,
};
use testcontainers::bollard::query_parameters::{
    KillContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use testcontainers::core::{ContainerPort, Mount, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};
use tokio::task::JoinSet;

use super::disks;
use super::docker::{self, labels};

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
/// Where a broker's log is when its disk is the container's, which lasts as long as the container.
const LOG: &str = "/tmp/dashproof-kafka";
/// Where the cluster's own log is when the broker has two disks: it outlives either.
const METADATA: &str = "/tmp/dashproof-metadata";
/// Seconds that a broker has to hand its partitions over before it is killed.
const STOP: i32 = 30;
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
    /// Docker publishes it at that port, and clients need no proxy; else at one of its choice.
    pub(super) fixed: bool,
}

/// What a broker is started with.
#[derive(Clone, Debug)]
pub(super) struct NodeSpec {
    pub(super) image: String,
    /// Id of its cluster.
    pub(super) cluster: String,
    pub(super) id: i32,
    /// Names of all brokers' containers, in the order of their ids.
    pub(super) names: Vec<String>,
    /// The network in which they find each other; none for a broker on its own.
    pub(super) network: Option<String>,
    pub(super) listeners: Vec<Listener>,
    /// Settings beyond those of every broker.
    pub(super) settings: Vec<(String, String)>,
    /// Where its control group is made.
    pub(super) cgroup_parent: Option<&'static str>,
    /// Files for the container.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// Volumes for its logs; none: they are in the container.
    pub(super) disks: Vec<String>,
}

/// A broker in a container.
pub(super) struct Node {
    container: ContainerAsync<GenericImage>,
    docker: Docker,
    network: Option<String>,
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

    /// Ports inside the container, and where they are on the loopback interface: 0 is any.
    fn published(&self) -> impl Iterator<Item = (u16, u16)> {
        let port = |l: &Listener| if l.fixed { l.advertised } else { 0 };
        (FIRST..).zip(self.listeners.iter().map(port))
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
            let Listener { name, protocol, advertised: port, .. } = listener;
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
            // a broker that is started again finds its data
            ("log.dirs", self.log_dirs()),
            ("offsets.topic.replication.factor", replicas.clone()),
            ("transaction.state.log.replication.factor", replicas.clone()),
            ("default.replication.factor", replicas),
            ("min.insync.replicas", insync.clone()),
            ("transaction.state.log.min.isr", insync),
        ];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
        let common = COMMON.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let metadata = (self.disks.len() > 1).then(|| ("metadata.log.dir".into(), METADATA.into()));
        own.chain(common).chain(metadata).chain(self.settings.iter().cloned()).collect()
    }

    fn log_dirs(&self) -> String {
        let dirs: Vec<String> =
            (0..self.disks.len()).map(|disk| format!("{}/log", disks::place(disk))).collect();
        if dirs.is_empty() { LOG.to_owned() } else { dirs.join(",") }
    }

    fn request(&self) -> ContainerRequest<GenericImage> {
        let (name, tag) = self.image.rsplit_once(':').unwrap_or((&self.image, "latest"));
        let mut image =
            GenericImage::new(name, tag).with_wait_for(WaitFor::message_on_stdout(STARTED));
        let ports: Vec<(u16, u16)> = self.published().collect();
        let parent = self.cgroup_parent;
        for (inside, _) in &ports {
            image = image.with_exposed_port(ContainerPort::Tcp(*inside));
        }
        let mut request = image
            .with_container_name(self.name())
            .with_startup_timeout(START)
            .with_env_var("CLUSTER_ID", self.cluster.as_str())
            .with_env_var("KAFKA_HEAP_OPTS", HEAP)
            .with_host_config_modifier(move |host| {
                let binding = |port: &u16| PortBinding {
                    host_ip: Some("127.0.0.1".to_owned()),
                    host_port: Some(port.to_string()),
                };
                let bind = |(inside, port): &(u16, u16)| {
                    (format!("{inside}/tcp"), Some(vec![binding(port)]))
                };
                host.port_bindings = Some(ports.iter().map(bind).collect());
                host.publish_all_ports = Some(false);
                host.cgroup_parent = parent.map(str::to_owned);
                host.cpu_shares = Some(SHARES);
            });
        for (label, value) in labels() {
            request = request.with_label(label, value);
        }
        for (disk, volume) in self.disks.iter().enumerate() {
            request = request.with_mount(Mount::volume_mount(volume.as_str(), disks::place(disk)));
        }
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
    pub(super) async fn start(&self, docker: Docker) -> Result<Node, String> {
        let container = self.request().start().await;
        let container = container.map_err(|error| format!("{}: {error}", self.name()))?;
        Ok(Node { container, docker, network: self.network.clone(), inside: self.inside() })
    }
}

/// A broker's share of the processors, eight times that of a thread.
const SHARES: i64 = 8192;

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

    /// Id of the container.
    pub(super) fn id(&self) -> &str {
        self.container.id()
    }

    /// Removes the container.
    pub(super) async fn remove(&self) {
        // What stays is swept by its label.
        docker::remove(&self.docker, self.container.id()).await;
    }

    fn told(&self, what: &str, done: Result<(), Error>) -> Result<(), String> {
        done.map_err(|error| format!("cannot {what} the broker {}: {error}", self.container.id()))
    }

    /// Kills the process, paused or not.
    pub(super) async fn kill(&self) -> Result<(), String> {
        let signal = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        let done = self.docker.kill_container(self.container.id(), Some(signal)).await;
        self.told("kill", done)
    }

    /// Tells the broker to stop; ends when it has.
    pub(super) async fn stop(&self) -> Result<(), String> {
        let within = StopContainerOptionsBuilder::new().t(STOP).build();
        let done = self.docker.stop_container(self.container.id(), Some(within)).await;
        self.told("stop", done)
    }

    /// Starts it again; it serves later. Without effect on one that runs.
    pub(super) async fn start(&self) -> Result<(), String> {
        let done = self.docker.start_container(self.container.id(), None).await;
        self.told("start", done)
    }

    /// Stops the process where it is.
    pub(super) async fn pause(&self) -> Result<(), String> {
        self.told("pause", self.docker.pause_container(self.container.id()).await)
    }

    /// Lets it go on.
    pub(super) async fn unpause(&self) -> Result<(), String> {
        self.told("unpause", self.docker.unpause_container(self.container.id()).await)
    }

    /// Takes it off its network.
    pub(super) async fn cut(&self) -> Result<(), String> {
        let Some(network) = &self.network else { return Err("it has no network".to_owned()) };
        let container = self.container.id().to_owned();
        let request = NetworkDisconnectRequest { container, force: Some(true) };
        self.told("disconnect", self.docker.disconnect_network(network, request).await)
    }

    /// Puts it back on its network.
    pub(super) async fn join(&self) -> Result<(), String> {
        let Some(network) = &self.network else { return Err("it has no network".to_owned()) };
        let container = self.container.id().to_owned();
        let request = NetworkConnectRequest { container, endpoint_config: None };
        self.told("connect", self.docker.connect_network(network, request).await)
    }

    /// True while its process lives, paused or not.
    pub(super) async fn is_running(&self) -> Result<bool, String> {
        let running = self.container.is_running().await;
        running.map_err(|error| format!("Docker does not say whether a broker runs: {error}"))
    }

    /// What the broker has written about disks without room, and its last line.
    pub(super) async fn complaints(&self) -> Result<Complaints, String> {
        let failed = |error| format!("Docker does not show the log of a broker: {error}");
        let out = self.container.stdout_to_vec().await.map_err(failed)?;
        let err = self.container.stderr_to_vec().await.map_err(failed)?;
        Ok(Complaints::of(&String::from_utf8_lossy(&[err, out].concat())))
    }
}

/// What a broker's log says about full disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Complaints {
    /// Lines that name a disk without room.
    pub(super) full: usize,
    /// The last line, whatever it says.
    pub(super) last: String,
}

impl Complaints {
    fn of(log: &str) -> Self {
        let full = log.lines().filter(|line| NO_ROOM.iter().any(|words| line.contains(words)));
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        Self { full: full.count(), last: last.unwrap_or_default().trim().to_owned() }
    }
}

/// How Java and the kernel name a disk without room.
const NO_ROOM: [&str; 2] = ["No space left on device", "ENOSPC"];

/// The brokers in the order of their ids.
///
/// # Errors
/// One of them did not start. The others are removed.
pub(super) async fn started(
    mut starting: JoinSet<(i32, Result<Node, String>)>,
) -> Result<Vec<Node>, String> {
    let mut nodes = BTreeMap::new();
    let mut failed = None;
    while let Some(started) = starting.join_next().await {
        match started {
            Ok((id, Ok(node))) => drop(nodes.insert(id, node)),
            Ok((_, Err(error))) => failed = Some(error),
            Err(error) => failed = Some(error.to_string()),
        }
    }
    let Some(error) = failed else { return Ok(nodes.into_values().collect()) };
    for node in nodes.into_values() {
        node.remove().await;
    }
    Err(format!("a broker did not start: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> NodeSpec {
        let listener = |name: &str, protocol, advertised| Listener {
            name: name.to_owned(),
            protocol,
            advertised,
            fixed: false,
        };
        NodeSpec {
            image: OFFICIAL.to_owned(),
            cluster: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            id: 2,
            names: vec!["a".into(), "b".into(), "c".into()],
            network: Some("net".to_owned()),
            listeners: vec![listener("SLOT0", "PLAINTEXT", 4000), listener("TLS0", "SSL", 4001)],
            settings: vec![("listener.name.tls0.ssl.client.auth".into(), "required".into())],
            cgroup_parent: None,
            files: Vec::new(),
            disks: Vec::new(),
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
    fn the_logs_of_a_broker_with_small_disks_are_on_them() {
        let dirs = |disks: &[&str]| {
            let disks = disks.iter().map(|disk| (*disk).to_owned()).collect();
            let told = NodeSpec { disks, ..spec() }.settings();
            let of = |key| told.iter().find(|(k, _)| k == key).map(|(_, value)| value.clone());
            (of("log.dirs").unwrap(), of("metadata.log.dir"))
        };
        assert_eq!(dirs(&[]), (LOG.to_owned(), None));
        assert_eq!(dirs(&["v1"]), ("/disk1/log".to_owned(), None));
        let two = ("/disk1/log,/disk2/log".to_owned(), Some(METADATA.to_owned()));
        assert_eq!(dirs(&["v1", "v2"]), two);
    }

    #[test]
    fn a_listener_without_a_proxy_is_published_where_clients_are_sent() {
        let mut spec = spec();
        spec.listeners[1].fixed = true;
        assert_eq!(spec.published().collect::<Vec<_>>(), [(9100, 0), (9101, 4001)]);
    }

    #[test]
    fn what_a_log_says_about_full_disks_is_counted() {
        let log = "INFO started\nERROR java.io.IOException: No space left on device\nbye\n\n";
        assert_eq!(Complaints::of(log), Complaints { full: 1, last: "bye".to_owned() });
        assert_eq!(Complaints::of(""), Complaints::default());
    }

    #[test]
    fn no_setting_is_given_twice() {
        let disks = vec!["v1".to_owned(), "v2".to_owned()];
        let told = NodeSpec { disks, ..spec() }.settings();
        let mut keys: Vec<String> = told.into_iter().map(|(key, _)| key).collect();
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }
}
