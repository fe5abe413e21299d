//! A cluster for who measures it, outside of any run: the lane's own containers, settings and
//! proxy, without a scenario.

use std::sync::Arc;

use super::admin::{Admin, NewTopic};
use super::docker::Missing;
use super::fleet::{Fleet, Ground, Lent};
use super::process::ROUNDS;
use super::shape::Shape;
use super::{before, node};
use crate::fault::proxy::{Proxy, ProxyConfig};
use crate::history::Recorder;
use crate::scenario::model::Listener;

/// Name of the listener that needs no proxy.
const DIRECT: &str = "DIRECT";

/// The listener of a broker that clients reach at this port.
pub(super) fn listener(port: u16) -> node::Listener {
    let protocol = "PLAINTEXT";
    node::Listener { name: DIRECT.to_owned(), protocol, advertised: port, fixed: true }
}

/// Why there is no cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    /// This machine lacks Docker or the image.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A broker did not start, or not in time.
    #[error("{0}")]
    Failed(String),
}

/// A cluster of Apache Kafka in containers, and the ports of a proxy in front of it.
///
/// Its brokers take records when it is there. [`OpenCluster::end`] removes it; what is dropped
/// instead may leave its network, which the next run of the lane removes.
pub struct OpenCluster {
    fleet: Fleet,
    ground: Arc<Ground>,
    lent: Lent,
}

impl OpenCluster {
    /// A cluster as the lane's cells share it, which is reached through a proxy only: one broker,
    /// with all its secured listeners, or three for any other number.
    ///
    /// # Errors
    /// Docker or the image is missing; a broker does not start.
    pub async fn shared(brokers: usize) -> Result<Self, NotStarted> {
        Self::of(if brokers == 1 { Shape::Single } else { Shape::Cluster }).await
    }

    /// A cluster of so many brokers that is also reached without a proxy.
    ///
    /// # Errors
    /// As [`OpenCluster::shared`]; somebody was faster to take a port.
    pub async fn direct(brokers: usize) -> Result<Self, NotStarted> {
        Self::of(Shape::Open { brokers }).await
    }

    async fn of(shape: Shape) -> Result<Self, NotStarted> {
        let fleet = Fleet::default();
        let docked = fleet.docked().await?;
        let made = async {
            let ground = Ground::start(docked, shape).await?;
            let lent = ground.lend().await?;
            Ok((ground, lent))
        };
        match made.await {
            Ok((ground, lent)) => Ok(Self { fleet, ground, lent }),
            Err(error) => {
                // brokers that did start, and the network
                fleet.end().await;
                Err(NotStarted::Failed(error))
            }
        }
    }

    /// `127.0.0.1:port,…` of all brokers, without a proxy; empty where they are not reached so.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let servers: Vec<String> =
            self.ground.direct.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        servers.join(",")
    }

    /// Ids of the brokers, ascending.
    #[must_use]
    pub fn ids(&self) -> Vec<i32> {
        self.ground.ids()
    }

    async fn admin(&self) -> Result<Admin, String> {
        Ok(Admin::new(self.ground.behind(&self.lent, Listener::Plaintext).await?))
    }

    /// Makes a topic, on all brokers, that takes records at once.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn topic(&self, name: &str, partitions: i32) -> Result<(), String> {
        let brokers = self.ground.nodes.len();
        let settings = vec![("min.insync.replicas", brokers.min(2).to_string())];
        let replicas = i16::try_from(brokers).unwrap_or(1);
        let new = NewTopic { name: name.to_owned(), partitions, replicas, settings };
        super::make(&self.admin().await?, &[new], ROUNDS).await
    }

    /// Deletes a topic; its files go a while later.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn delete(&self, name: &str) -> Result<(), String> {
        let deleted = self.admin().await?.delete(name).await;
        deleted.map_err(|error| format!("cannot delete {name}: {error}"))
    }

    /// A proxy in front of every broker, as a cell has it. There can be one at a time.
    ///
    /// # Errors
    /// The operating system's, and Docker's.
    pub async fn proxy(&self, config: ProxyConfig, recorder: Recorder) -> Result<Proxy, String> {
        before(&self.lent, Listener::Plaintext, config, recorder, 0).await
    }

    /// Removes the containers and their network.
    pub async fn end(self) {
        let Self { fleet, ground, lent } = self;
        drop(lent);
        ground.remove().await;
        fleet.end().await;
    }
}
