//! Administration of a cluster over its plaintext listener, without any client library.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::broker::client::Client;
use crate::broker::codes;

/// Versions that every Kafka since 2.4 serves.
const METADATA: i16 = 9;
const CREATE_TOPICS: i16 = 5;
/// How long the brokers may take to carry out a change.
const TIMEOUT_MS: i32 = 15_000;
/// How long the leaders of fresh topics may take to be known everywhere.
const LEADERS: Duration = Duration::from_secs(30);

/// Where brokers really are: the address that they tell is the proxy's.
#[derive(Clone, Debug, Default)]
pub(super) struct Behind {
    /// Advertised port → the port of the container.
    pub(super) ports: BTreeMap<u16, u16>,
}

impl Behind {
    /// The port of the container behind an advertised one.
    pub(super) fn port(&self, advertised: u16) -> u16 {
        self.ports.get(&advertised).copied().unwrap_or(advertised)
    }
}

/// A topic to be made.
#[derive(Clone, Debug)]
pub(super) struct NewTopic {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) replicas: i16,
    pub(super) settings: Vec<(&'static str, String)>,
}

/// Administers a cluster through any of its brokers; requests for the controller are passed on by
/// them (KRaft).
pub(super) struct Admin {
    behind: Behind,
    /// Advertised ports of the listener that is used.
    brokers: Vec<u16>,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Admin {
    pub(super) fn new(behind: Behind, brokers: Vec<u16>) -> Self {
        Self { behind, brokers }
    }

    /// Asks the brokers in turn until one answers.
    pub(super) async fn call<R: Request>(
        &self,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response> {
        let mut last = io::Error::other("the cluster has no broker");
        for port in &self.brokers {
            match self.ask(*port, version, request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask<R: Request>(
        &self,
        port: u16,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.behind.port(port))).await?;
        Client::new(stream).call(version, request).await
    }

    /// Brokers that the cluster knows, and these topics.
    pub(super) async fn metadata(&self, topics: &[&str]) -> io::Result<MetadataResponse> {
        self.call(METADATA, &metadata(topics)).await
    }

    /// Makes topics; ends when they are made, not yet when every broker knows their leaders.
    pub(super) async fn create(&self, topics: &[NewTopic]) -> io::Result<()> {
        let setting = |(key, value): &(&str, String)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        };
        let creatable = |new: &NewTopic| {
            CreatableTopic::default()
                .with_name(topic(&new.name))
                .with_num_partitions(new.partitions)
                .with_replication_factor(new.replicas)
                .with_configs(new.settings.iter().map(setting).collect())
        };
        let request = CreateTopicsRequest::default()
            .with_topics(topics.iter().map(creatable).collect())
            .with_timeout_ms(TIMEOUT_MS);
        let answer = self.call(CREATE_TOPICS, &request).await?;
        let refused = answer.topics.iter().find(|t| t.error_code != codes::NONE);
        refused.map_or(Ok(()), |t| {
            let why = t.error_message.as_ref().map(ToString::to_string).unwrap_or_default();
            let name = t.name.as_str();
            Err(io::Error::other(format!("topic {name}: Kafka error {} {why}", t.error_code)))
        })
    }
}

fn metadata(topics: &[&str]) -> MetadataRequest {
    let wanted = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic(name)));
    MetadataRequest::default()
        .with_topics(Some(topics.iter().map(wanted).collect()))
        .with_allow_auto_topic_creation(false)
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// Ends when every partition of these topics has a leader that every broker knows.
pub(super) async fn led(admin: &Admin, topics: &[NewTopic]) -> Result<(), String> {
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let wanted: usize = topics.iter().map(|t| usize::try_from(t.partitions).unwrap_or(0)).sum();
    let until = Instant::now() + LEADERS;
    loop {
        let mut least = wanted;
        for broker in &admin.brokers {
            let asked = admin.ask(*broker, METADATA, &metadata(&names)).await;
            let metadata = asked.map_err(|error| error.to_string())?;
            let partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
            let led = partitions.filter(|p| p.error_code == codes::NONE && *p.leader_id > 0);
            least = least.min(led.count());
        }
        if least == wanted {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{least} of {wanted} partitions have leaders after {LEADERS:?}"));
        }
        sleep(Duration::from_millis(20)).await;
    }
}
