//! Administration of a cluster over its plaintext listener, without any client library.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, CreateAclsRequest, CreateTopicsRequest, DeleteAclsRequest,
    DeleteTopicsRequest, MetadataResponse,
};
use kafka_protocol::protocol::Request;
use pbkdf2::pbkdf2_hmac;
use sha2::{Sha256, Sha512};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::broker::client::Client;
use crate::broker::codes;
use crate::broker::requests::{all_made, metadata, setting, text, topic};

/// Versions that every Kafka since 2.4 serves.
const METADATA: i16 = 9;
const CREATE_TOPICS: i16 = 5;
const DELETE_TOPICS: i16 = 4;
const ACLS: i16 = 2;
/// Numbers of the protocol.
const SCRAM_SHA_256: i8 = 1;
const SCRAM_SHA_512: i8 = 2;
const TOPIC: i8 = 2;
const LITERAL: i8 = 3;
const WRITE: i8 = 4;
const DENY: i8 = 2;
/// Of the SCRAM credentials. The salt hides nothing here: the password is a scenario's.
const SALT: &[u8] = b"dashproof";
const ITERATIONS: i32 = 4096;
/// How long the brokers may take to carry out a change.
pub(super) const TIMEOUT_MS: i32 = 15_000;
/// How long a broker may take to answer a request: longer than what it is told for a change.
const ANSWER: Duration = Duration::from_secs(20);
/// The same of one that may be dead.
const BRIEF: Duration = Duration::from_secs(1);
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
/// them (`KRaft`).
pub(super) struct Admin {
    /// Where the brokers are behind the listener that is used.
    pub(super) behind: Behind,
    /// How long each may take to connect and answer.
    within: Duration,
}

pub(super) fn all_well(mut codes: impl Iterator<Item = i16>) -> io::Result<()> {
    let refused = codes.find(|code| *code != codes::NONE);
    refused.map_or(Ok(()), |code| Err(io::Error::other(format!("Kafka error {code}"))))
}

impl Admin {
    /// Of brokers that work.
    pub(super) fn new(behind: Behind) -> Self {
        Self { behind, within: ANSWER }
    }

    /// Of brokers of which some may not answer.
    pub(super) fn brief(behind: Behind) -> Self {
        Self { behind, within: BRIEF }
    }

    /// Asks the brokers in turn until one answers.
    pub(super) async fn call<R: Request>(
        &self,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response> {
        let mut last = io::Error::other("the cluster has no broker");
        for port in self.behind.ports.keys() {
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
        let asked = async {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.behind.port(port))).await?;
            Client::new(stream).call(version, request).await
        };
        let late = |_| {
            let text = format!("a broker does not answer within {:?}", self.within);
            io::Error::new(io::ErrorKind::TimedOut, text)
        };
        timeout(self.within, asked).await.map_err(late)?
    }

    /// True when every broker knows all others, and that every replica of these topics is in sync.
    pub(super) async fn whole(&self, topics: &[&str]) -> bool {
        for broker in self.behind.ports.keys() {
            let Ok(said) = self.ask(*broker, METADATA, &metadata(Some(topics))).await else {
                return false;
            };
            let mut partitions = said.topics.iter().flat_map(|topic| &topic.partitions);
            let known = said.topics.len() == topics.len()
                && said.topics.iter().all(|topic| topic.error_code == codes::NONE);
            let synced = partitions.all(|partition| {
                partition.error_code == codes::NONE
                    && *partition.leader_id > 0
                    && partition.isr_nodes.len() == partition.replica_nodes.len()
            });
            if said.brokers.len() != self.behind.ports.len() || !known || !synced {
                return false;
            }
        }
        true
    }

    /// The leader of a partition, as the first broker that answers has it.
    pub(super) async fn leader(&self, topic: &str, partition: i32) -> io::Result<Option<i32>> {
        let said = self.metadata(&[topic]).await?;
        let mut partitions = said.topics.iter().flat_map(|topic| &topic.partitions);
        let found = partitions.find(|found| found.partition_index == partition);
        Ok(found.map(|found| *found.leader_id).filter(|id| *id > 0))
    }

    /// Brokers that the cluster knows, and these topics.
    pub(super) async fn metadata(&self, topics: &[&str]) -> io::Result<MetadataResponse> {
        self.call(METADATA, &metadata(Some(topics))).await
    }

    /// Makes a user for both SCRAM mechanisms.
    pub(super) async fn add_user(&self, user: &str, password: &str) -> io::Result<()> {
        let (mut short, mut long) = ([0; 32], [0; 64]);
        let rounds = ITERATIONS.unsigned_abs();
        pbkdf2_hmac::<Sha256>(password.as_bytes(), SALT, rounds, &mut short);
        pbkdf2_hmac::<Sha512>(password.as_bytes(), SALT, rounds, &mut long);
        let salted = |mechanism, key: &[u8]| {
            ScramCredentialUpsertion::default()
                .with_name(text(user))
                .with_mechanism(mechanism)
                .with_iterations(ITERATIONS)
                .with_salt(Bytes::from_static(SALT))
                .with_salted_password(Bytes::copy_from_slice(key))
        };
        // the brokers take a user once in a request
        for credential in [salted(SCRAM_SHA_256, &short), salted(SCRAM_SHA_512, &long)] {
            let request =
                AlterUserScramCredentialsRequest::default().with_upsertions(vec![credential]);
            let answer = self.call(0, &request).await?;
            all_well(answer.results.iter().map(|result| result.error_code))?;
        }
        Ok(())
    }

    /// Denies a user to write to a topic.
    pub(super) async fn deny(&self, user: &str, name: &str) -> io::Result<()> {
        let acl = AclCreation::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name))
            .with_resource_pattern_type(LITERAL)
            .with_principal(text(&format!("User:{user}")))
            .with_host(text("*"))
            .with_operation(WRITE)
            .with_permission_type(DENY);
        let request = CreateAclsRequest::default().with_creations(vec![acl]);
        let answer = self.call(ACLS, &request).await?;
        all_well(answer.results.iter().map(|result| result.error_code))
    }

    /// Takes back what was denied about a topic.
    pub(super) async fn allow(&self, name: &str) -> io::Result<()> {
        let filter = DeleteAclsFilter::default()
            .with_resource_type_filter(TOPIC)
            .with_resource_name_filter(Some(text(name)))
            .with_pattern_type_filter(LITERAL)
            .with_operation(WRITE)
            .with_permission_type(DENY);
        let request = DeleteAclsRequest::default().with_filters(vec![filter]);
        let answer = self.call(ACLS, &request).await?;
        all_well(answer.filter_results.iter().map(|result| result.error_code))
    }

    /// Makes topics; ends when they are made, not yet when every broker knows their leaders.
    pub(super) async fn create(&self, topics: &[NewTopic]) -> io::Result<()> {
        let creatable = |new: &NewTopic| {
            CreatableTopic::default()
                .with_name(topic(&new.name))
                .with_num_partitions(new.partitions)
                .with_replication_factor(new.replicas)
                .with_configs(new.settings.iter().map(|(key, value)| setting(key, value)).collect())
        };
        let request = CreateTopicsRequest::default()
            .with_topics(topics.iter().map(creatable).collect())
            .with_timeout_ms(TIMEOUT_MS);
        let answer = self.call(CREATE_TOPICS, &request).await?;
        all_made(&answer)
    }

    /// Deletes a topic.
    pub(super) async fn delete(&self, name: &str) -> io::Result<()> {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![topic(name)])
            .with_timeout_ms(TIMEOUT_MS);
        let answer = self.call(DELETE_TOPICS, &request).await?;
        all_well(answer.responses.iter().map(|told| told.error_code))
    }
}

/// Ends when every partition of these topics has a leader that every broker knows.
pub(super) async fn led(admin: &Admin, topics: &[NewTopic]) -> Result<(), String> {
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let wanted: usize = topics.iter().map(|t| usize::try_from(t.partitions).unwrap_or(0)).sum();
    let until = Instant::now() + LEADERS;
    loop {
        let mut least = wanted;
        for broker in admin.behind.ports.keys() {
            let asked = admin.ask(*broker, METADATA, &metadata(Some(&names))).await;
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
