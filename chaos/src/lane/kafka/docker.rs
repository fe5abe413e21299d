//! Docker: is it there, which image, and what an earlier run left behind.
//!
//! Everything that this lane makes carries the label [`LABEL`] with the process that made it. A run
//! removes its own at the end and on a signal; what a killed run left is found by the label of a
//! process that no longer lives, and removed at the next start.

use std::time::Duration;

use testcontainers::bollard::Docker;
use testcontainers::bollard::models::NetworkCreateRequest;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
};
use testcontainers::core::client::docker_client_instance;
use tokio::time::timeout;

/// The environment variable that names another image.
pub const IMAGE_VARIABLE: &str = "DASHPROOF_KAFKA_IMAGE";
/// The official image, at the version that this lane was measured with.
pub const OFFICIAL: &str = "apache/kafka:4.2.1";
/// What `make kafka-image` builds.
pub const OWN: &str = "dashproof/kafka:4.2.1";
/// Label of everything that this lane makes: `PID:START`, the process and when it started.
pub(super) const LABEL: &str = "dashproof.run";

/// How long Docker may take to say that it is there.
const PING: Duration = Duration::from_secs(5);

/// Why the lane cannot run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}\nhelp: {remedy}")]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Docker and an image.
#[derive(Clone, Debug)]
pub struct Docked {
    /// The client.
    pub docker: Docker,
    /// `name:tag`.
    pub image: String,
    /// Version of the engine.
    pub version: String,
}

/// Asks Docker whether the lane can run.
///
/// # Errors
/// Docker does not answer, or there is no image.
pub async fn look() -> Result<Docked, Missing> {
    let absent = |error: String| Missing {
        what: format!("Docker does not answer: {error}"),
        remedy: "install Docker (Debian: apt-get install docker.io iptables) and start it \
                 (systemctl start docker, or dockerd as root); DOCKER_HOST names another one"
            .to_owned(),
    };
    let docker = docker_client_instance().await.map_err(|error| absent(error.to_string()))?;
    let version = timeout(PING, docker.version())
        .await
        .map_err(|_| absent(format!("no answer within {PING:?}")))?
        .map_err(|error| absent(error.to_string()))?;
    let image = image(&docker).await?;
    Ok(Docked { docker, image, version: version.version.unwrap_or_default() })
}

/// The image that is named, else the first of the two known ones that is here.
async fn image(docker: &Docker) -> Result<String, Missing> {
    let named = std::env::var(IMAGE_VARIABLE).ok().filter(|name| !name.trim().is_empty());
    let wanted = named.as_deref().map_or_else(|| vec![OFFICIAL, OWN], |name| vec![name]);
    for image in &wanted {
        if docker.inspect_image(image).await.is_ok() {
            return Ok((*image).to_owned());
        }
    }
    Err(Missing {
        what: format!("no image {} in this Docker", wanted.join(" and no image ")),
        remedy: format!(
            "docker pull {OFFICIAL}, or, where no registry can be reached, make kafka-image; \
             {IMAGE_VARIABLE} names another image"
        ),
    })
}

/// This process, as its containers are labelled.
#[must_use]
pub(super) fn owner() -> String {
    let pid = std::process::id();
    format!("{pid}:{}", started(pid).unwrap_or_default())
}

/// When a process started, in the kernel's ticks; `None` when it does not live.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; the fields after it do not.
    let after = stat.rsplit_once(')')?.1;
    after.split_whitespace().nth(19)?.parse().ok()
}

fn lives(owner: &str) -> bool {
    let Some((pid, start)) = owner.split_once(':') else { return false };
    let Ok(pid) = pid.parse() else { return false };
    started(pid).is_some_and(|found| found.to_string() == start)
}

/// Whose containers and networks are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// This process's own.
    Own,
    /// Those of processes that no longer live.
    Dead,
}

impl Whose {
    fn takes(self, label: &str) -> bool {
        match self {
            Self::Own => label == owner(),
            Self::Dead => !lives(label),
        }
    }
}

/// Removes containers, then networks; gives how many of both. What cannot be removed stays for the
/// next start.
pub(super) async fn sweep(docker: &Docker, whose: Whose) -> usize {
    let by_label = [("label", vec![LABEL])].into();
    let mut removed = 0;
    let options = ListContainersOptionsBuilder::new().all(true).filters(&by_label).build();
    for container in docker.list_containers(Some(options)).await.unwrap_or_default() {
        let label = container.labels.as_ref().and_then(|labels| labels.get(LABEL));
        let (Some(label), Some(id)) = (label, &container.id) else { continue };
        if whose.takes(label) {
            let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            removed += usize::from(docker.remove_container(id, Some(force)).await.is_ok());
        }
    }
    let options = ListNetworksOptionsBuilder::new().filters(&by_label).build();
    for network in docker.list_networks(Some(options)).await.unwrap_or_default() {
        let label = network.labels.as_ref().and_then(|labels| labels.get(LABEL));
        let (Some(label), Some(id)) = (label, &network.id) else { continue };
        if whose.takes(label) {
            removed += usize::from(docker.remove_network(id).await.is_ok());
        }
    }
    removed
}

/// Makes a network for containers that must find each other by name.
///
/// # Errors
/// Docker's.
pub(super) async fn network(docker: &Docker, name: &str) -> Result<(), String> {
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        labels: Some([(LABEL.to_owned(), owner())].into()),
        ..NetworkCreateRequest::default()
    };
    let made = docker.create_network(request).await;
    made.map(drop).map_err(|error| format!("cannot make the network {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_what_this_process_makes_lives() {
        assert!(lives(&owner()));
        assert!(Whose::Own.takes(&owner()) && !Whose::Dead.takes(&owner()));
    }

    #[test]
    fn a_process_that_ended_or_never_was_does_not_live() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let label = format!("{}:{}", child.id(), started(child.id()).unwrap_or_default());
        child.wait().unwrap();
        assert!(Whose::Dead.takes(&label));
        // another process that was given the same number
        assert!(Whose::Dead.takes(&format!("{}:1", std::process::id())));
        for odd in ["", "x", "1", ":", "x:y"] {
            assert!(Whose::Dead.takes(odd), "{odd}");
        }
    }
}
