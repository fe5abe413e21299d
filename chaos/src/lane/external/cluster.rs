//! A cluster that the user names: where it is, and what is asked of it.

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataResponse};
use kafka_protocol::protocol::Request;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::broker::client::Client;
use crate::broker::requests;
use crate::lane::kafka::Missing;

/// The environment variable that names a cluster.
pub const BOOTSTRAP_VARIABLE: &str = "DASHPROOF_BOOTSTRAP";

/// What is asked of the cluster, in versions that every Kafka since 2.4 serves.
const NEEDED: [(ApiKey, i16); 8] = [
    (ApiKey::Metadata, METADATA),
    (ApiKey::Produce, 8),
    (ApiKey::Fetch, 11),
    (ApiKey::ListOffsets, 5),
    (ApiKey::InitProducerId, 2),
    (ApiKey::CreateTopics, super::topics::CREATE),
    (ApiKey::DeleteTopics, super::topics::DELETE),
    (ApiKey::DescribeConfigs, super::topics::DESCRIBE),
];
pub(super) const METADATA: i16 = 9;
/// How long a broker may take to connect, and to say what it is.
const HELLO: Duration = Duration::from_secs(5);
/// How long it may take over any other request: longer than what it is told for a change.
const ANSWER: Duration = Duration::from_secs(20);

/// Host and port.
pub(super) type Address = (String, u16);

/// Addresses of brokers, as the user gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap(Vec<Address>);

impl FromStr for Bootstrap {
    type Err = String;

    /// # Errors
    /// It is no list of `HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let address = |part: &str| {
            let wrong = || format!("`{part}` is no HOST:PORT");
            let (host, port) = part.rsplit_once(':').ok_or_else(wrong)?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
            if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
                return Err(wrong());
            }
            Ok((host.to_owned(), port))
        };
        text.split(',').map(|part| address(part.trim())).collect::<Result<_, _>>().map(Self)
    }
}

impl std::fmt::Display for Bootstrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.iter().map(shown).collect::<Vec<_>>().join(","))
    }
}

pub(super) fn shown((host, port): &Address) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A cluster that answered.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its id.
    pub id: String,
    /// Where its brokers say that they are, by id.
    pub(super) advertised: BTreeMap<i32, Address>,
    /// Where they are.
    pub(super) at: BTreeMap<i32, Address>,
    /// Who is asked first for changes.
    controller: i32,
}

fn missing(what: String, remedy: &str) -> Missing {
    Missing { what, remedy: remedy.to_owned() }
}

/// Asks the first of these addresses that answers for its cluster.
///
/// # Errors
/// None answers, what answers is no Kafka in plaintext, or too old, or one of its brokers cannot be
/// reached from here.
pub async fn look(bootstrap: &Bootstrap) -> Result<Cluster, Missing> {
    let mut told = Vec::new();
    for address in &bootstrap.0 {
        match ask(address).await {
            Ok(metadata) => return assembled(address, &metadata).await,
            Err(why) => told.push(why),
        }
    }
    let what = told.iter().map(|missing| missing.what.as_str()).collect::<Vec<_>>().join("; ");
    let remedy = told.pop().map(|missing| missing.remedy).unwrap_or_default();
    Err(Missing { what, remedy })
}

async fn connect(address: &Address) -> io::Result<TcpStream> {
    let connected = timeout(HELLO, TcpStream::connect((address.0.as_str(), address.1))).await;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {HELLO:?}"));
    connected.map_err(late)?
}

/// Makes sure that this is Kafka, and asks for its brokers.
async fn ask(address: &Address) -> Result<MetadataResponse, Missing> {
    const PLAIN: &str = "name a plaintext listener of a Kafka cluster; TLS and SASL to a cluster \
                         of your own are not there yet";
    let at = shown(address);
    let stream = connect(address).await.map_err(|error| {
        let remedy = "start the cluster, or name another with --bootstrap HOST:PORT";
        missing(format!("{at} cannot be reached: {error}"), remedy)
    })?;
    let mut client = Client::new(stream);
    let versions: Result<ApiVersionsResponse, _> =
        said(client.call(0, &ApiVersionsRequest::default())).await;
    let versions = versions.map_err(|error| {
        missing(format!("{at} does not speak Kafka in plaintext: {error}"), PLAIN)
    })?;
    let serves = |(api, version): &(ApiKey, i16)| {
        let mut all = versions.api_keys.iter();
        all.any(|key| {
            key.api_key == *api as i16 && (key.min_version..=key.max_version).contains(version)
        })
    };
    if let Some((api, version)) = NEEDED.iter().find(|needed| !serves(needed)) {
        let what = format!("{at} does not serve {api:?} in version {version}");
        return Err(missing(what, "name a cluster of Kafka 2.4 or newer"));
    }
    let metadata =
        said(client.call(METADATA, &requests::metadata(Some(&[])))).await.map_err(|error| {
            missing(format!("{at} does not tell its brokers: {error}; it may want SASL"), PLAIN)
        })?;
    if metadata.brokers.is_empty() {
        let what = format!("{at} knows no broker of its cluster");
        return Err(missing(what, "wait until the cluster has started"));
    }
    Ok(metadata)
}

async fn said<T>(answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {HELLO:?}"));
    timeout(HELLO, answer).await.map_err(late)?
}

/// The cluster, with a way to each of its brokers.
async fn assembled(bootstrap: &Address, metadata: &MetadataResponse) -> Result<Cluster, Missing> {
    let mut cluster = Cluster {
        id: metadata.cluster_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        advertised: BTreeMap::new(),
        at: BTreeMap::new(),
        controller: *metadata.controller_id,
    };
    for broker in &metadata.brokers {
        let port = u16::try_from(broker.port).unwrap_or(0);
        let address = (broker.host.to_string(), port);
        let at = match connect(&address).await {
            Ok(_) => address.clone(),
            // whoever is alone is who answered here
            Err(_) if metadata.brokers.len() == 1 => bootstrap.clone(),
            Err(error) => {
                let (id, at) = (*broker.node_id, shown(&address));
                return Err(missing(
                    format!(
                        "broker {id} says that it is at {at}, which cannot be reached: {error}"
                    ),
                    "let every broker advertise an address that can be reached from here",
                ));
            }
        };
        cluster.advertised.insert(*broker.node_id, address);
        cluster.at.insert(*broker.node_id, at);
    }
    Ok(cluster)
}

impl Cluster {
    /// Ids of its brokers, ascending.
    #[must_use]
    pub fn ids(&self) -> Vec<i32> {
        self.at.keys().copied().collect()
    }

    /// Brokers that are not where they say.
    pub(super) fn elsewhere(&self) -> BTreeMap<Address, Address> {
        let pairs = self.advertised.values().cloned().zip(self.at.values().cloned());
        pairs.filter(|(told, at)| told != at).collect()
    }

    /// Asks the controller, and then the other brokers, until one answers.
    pub(super) async fn call<R: Request>(
        &self,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response> {
        self.call_unless(version, request, |_| false).await
    }

    /// As [`Cluster::call`]; a broker whose answer is that the controller is another now is one
    /// that does not answer.
    pub(super) async fn call_unless<R: Request>(
        &self,
        version: i16,
        request: &R,
        moved: impl Fn(&R::Response) -> bool,
    ) -> io::Result<R::Response> {
        let mut last = io::Error::other("the cluster has no broker");
        let others = self.at.iter().filter(|(id, _)| **id != self.controller);
        for (_, address) in self.at.get_key_value(&self.controller).into_iter().chain(others) {
            match Self::one(address, version, request).await {
                Ok(answer) if moved(&answer) => {
                    let text = format!("{} is not the controller any more", shown(address));
                    last = io::Error::other(text);
                }
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let text = format!("{}: {error}", shown(address));
                    last = io::Error::new(error.kind(), text);
                }
            }
        }
        Err(last)
    }

    /// Asks one broker.
    pub(super) async fn one<R: Request>(
        address: &Address,
        version: i16,
        request: &R,
    ) -> io::Result<R::Response> {
        let mut client = Client::new(connect(address).await?);
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {ANSWER:?}"));
        timeout(ANSWER, client.call(version, request)).await.map_err(late)?
    }

    /// A connection to one broker.
    pub(super) async fn client(&self, broker: i32) -> io::Result<Client<TcpStream>> {
        let address = self.at.get(&broker).ok_or_else(|| {
            io::Error::other(format!("broker {broker} was not there when the run began"))
        })?;
        Ok(Client::new(connect(address).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_they_are_given() {
        let shown = |text: &str| text.parse::<Bootstrap>().map(|parsed| parsed.to_string());
        assert_eq!(shown("a:1, b.c:65535").unwrap(), "a:1,b.c:65535");
        assert_eq!(shown("[::1]:9092").unwrap(), "[::1]:9092");
        for wrong in ["", "a", "a:", ":1", "a:0", "a:70000", "a:1,", "http://a:1", "a b:1"] {
            let error = shown(wrong).unwrap_err();
            assert!(error.ends_with("is no HOST:PORT"), "{wrong}: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_with_its_address() {
        let held = crate::broker::HeldPort::free().unwrap();
        let at = format!("127.0.0.1:{}", held.port());
        let missing = look(&at.parse().unwrap()).await.unwrap_err();
        assert!(missing.what.starts_with(&format!("{at} cannot be reached: ")), "{missing}");
    }

    #[tokio::test]
    async fn what_speaks_another_language_is_told_with_its_address() {
        use tokio::io::AsyncWriteExt as _;
        let (listener, port) = crate::broker::bind_loopback().await.unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        let missing = look(&format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap_err();
        let expected = format!("127.0.0.1:{port} does not speak Kafka in plaintext: ");
        assert!(missing.what.starts_with(&expected), "{missing}");
    }
}
