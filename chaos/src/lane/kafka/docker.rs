//! Docker: is it there, which image, and what an earlier run left behind.
//!
//! Everything that this lane makes carries the labels [`LABEL`] and [`PLACE`] with the process that
//! made it and where that process lives. A run removes its own at the end and on a signal; what a
//! killed run left is found by the label of a process that no longer lives, and removed at the next
//! start. Of a process in another place nobody here can tell whether it lives: its things stay.

use std::collections::HashMap;
use std::time::Duration;

use testcontainers::bollard::Docker;
use testcontainers::bollard::models::{NetworkCreateRequest, SystemInfoCgroupDriverEnum};
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
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
const LABEL: &str = "dashproof.run";
/// The other label of it: host, machine, boot and process-id namespace, where the process is known
/// by its number.
const PLACE: &str = "dashproof.place";

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
    /// Where the brokers' control groups are made, where that is for us to say.
    pub(super) cgroup_parent: Option<&'static str>,
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
    let cgroup_parent = cgroup_parent(&docker).await;
    Ok(Docked { docker, image, version: version.version.unwrap_or_default(), cgroup_parent })
}

/// Control groups below one that Docker makes for all containers have together what a single thread
/// outside has: a client that waits for answers would leave the brokers, which are to give them, no
/// processor. Directly below the root each has a share of its own. systemd, where it is the driver,
/// gives containers as much as users.
async fn cgroup_parent(docker: &Docker) -> Option<&'static str> {
    let info = timeout(PING, docker.info()).await.ok()?.ok()?;
    let is_plain = info.cgroup_driver == Some(SystemInfoCgroupDriverEnum::CGROUPFS);
    let options = info.security_options.unwrap_or_default();
    // such a daemon may not make any there
    let is_rootless = options.iter().any(|option| option.contains("rootless"));
    (is_plain && !is_rootless).then_some("/")
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
    Err(named.map_or_else(no_image, |name| no_such_image(&name)))
}

/// The variable is to blame, and so is what it says in the remedy.
fn no_such_image(name: &str) -> Missing {
    Missing {
        what: format!("no image {name} in this Docker, which {IMAGE_VARIABLE} names"),
        remedy: format!(
            "docker pull {name}, or unset {IMAGE_VARIABLE}: then {OFFICIAL} is taken, or {OWN}, \
             which make kafka-image builds"
        ),
    }
}

fn no_image() -> Missing {
    Missing {
        what: format!("no image {OFFICIAL} and no image {OWN} in this Docker"),
        remedy: format!(
            "docker pull {OFFICIAL}, or, where no registry can be reached, make kafka-image; \
             {IMAGE_VARIABLE} names another image"
        ),
    }
}

/// The labels of everything that this process makes.
#[must_use]
pub(super) fn labels() -> [(&'static str, String); 2] {
    [(LABEL, owner()), (PLACE, Place::here().to_string())]
}

/// Where a process lives.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: String,
    machine: String,
    boot: String,
    /// In which a number means a process.
    pids: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}|{}|{}|{}", self.host, self.machine, self.boot, self.pids)
    }
}

impl Place {
    fn here() -> Self {
        let read =
            |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().replace('|', "");
        let pids = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            host: read("/proc/sys/kernel/hostname"),
            machine: read("/etc/machine-id"),
            boot: read("/proc/sys/kernel/random/boot_id"),
            pids: pids.to_string_lossy().into_owned(),
        }
    }

    fn parse(label: &str) -> Option<Self> {
        let mut parts = label.split('|').map(str::to_owned);
        let (host, machine) = (parts.next()?, parts.next()?);
        let (boot, pids) = (parts.next()?, parts.next()?);
        parts.next().is_none().then_some(Self { host, machine, boot, pids })
    }

    /// True when the owner of what carries these labels is known to be dead.
    fn is_dead(&self, place: &str, owner: &str) -> bool {
        let Some(theirs) = Self::parse(place) else { return false };
        if theirs.host != self.host || theirs.machine != self.machine {
            return false;
        }
        // nothing outlives a boot
        theirs.boot != self.boot || (theirs.pids == self.pids && !lives(owner))
    }
}

/// This process, as its containers are labelled.
fn owner() -> String {
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
    fn takes(self, labels: Option<&HashMap<String, String>>) -> bool {
        let label = |name| labels.and_then(|labels| labels.get(name)).map(String::as_str);
        let (Some(owned), Some(place)) = (label(LABEL), label(PLACE)) else { return false };
        let here = Place::here();
        match self {
            Self::Own => owned == owner() && place == here.to_string(),
            Self::Dead => here.is_dead(place, owned),
        }
    }
}

/// Ids of the containers, running or not.
async fn containers(docker: &Docker, whose: Whose) -> Vec<String> {
    let by_label = [("label", vec![LABEL])].into();
    let options = ListContainersOptionsBuilder::new().all(true).filters(&by_label).build();
    let all = docker.list_containers(Some(options)).await.unwrap_or_default();
    let theirs = all.into_iter().filter(|container| whose.takes(container.labels.as_ref()));
    theirs.filter_map(|container| container.id).collect()
}

/// How many containers this process has.
pub(super) async fn count(docker: &Docker) -> usize {
    containers(docker, Whose::Own).await.len()
}

/// Removes a container, whatever it does; true when it was there.
pub(super) async fn remove(docker: &Docker, container: &str) -> bool {
    let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    docker.remove_container(container, Some(force)).await.is_ok()
}

/// Removes a volume.
pub(super) async fn remove_volume(docker: &Docker, name: &str) -> bool {
    let force = RemoveVolumeOptionsBuilder::new().force(true).build();
    docker.remove_volume(name, Some(force)).await.is_ok()
}

/// Removes containers, then networks and volumes; gives how many of all. What cannot be removed
/// stays for the next start.
pub(super) async fn sweep(docker: &Docker, whose: Whose) -> usize {
    let by_label = [("label", vec![LABEL])].into();
    let mut removed = 0;
    for id in containers(docker, whose).await {
        removed += usize::from(remove(docker, &id).await);
    }
    let options = ListNetworksOptionsBuilder::new().filters(&by_label).build();
    for network in docker.list_networks(Some(options)).await.unwrap_or_default() {
        if let Some(id) = network.id.filter(|_| whose.takes(network.labels.as_ref())) {
            removed += usize::from(docker.remove_network(&id).await.is_ok());
        }
    }
    let options = ListVolumesOptionsBuilder::new().filters(&by_label).build();
    let volumes = docker.list_volumes(Some(options)).await.ok().and_then(|all| all.volumes);
    for volume in volumes.unwrap_or_default() {
        if whose.takes(Some(&volume.labels)) {
            removed += usize::from(remove_volume(docker, &volume.name).await);
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
        labels: Some(labels().into_iter().map(|(name, own)| (name.to_owned(), own)).collect()),
        ..NetworkCreateRequest::default()
    };
    let made = docker.create_network(request).await;
    made.map(drop).map_err(|error| format!("cannot make the network {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(owner: &str, place: &Place) -> HashMap<String, String> {
        let both = [(LABEL, owner.to_owned()), (PLACE, place.to_string())];
        both.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn dead(owner: &str, place: &Place) -> bool {
        Whose::Dead.takes(Some(&labelled(owner, place)))
    }

    #[test]
    fn an_image_that_the_variable_names_and_that_is_not_there_is_told_by_its_name() {
        let Missing { what, remedy } = no_such_image("some/kafka:1");
        assert!(what.contains("some/kafka:1") && what.contains(IMAGE_VARIABLE), "{what}");
        assert!(remedy.starts_with("docker pull some/kafka:1, or unset"), "{remedy}");
        assert!(no_image().remedy.contains("make kafka-image"));
    }

    #[test]
    fn the_owner_of_what_this_process_makes_lives() {
        let own = labels().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert!(Whose::Own.takes(Some(&own)) && !Whose::Dead.takes(Some(&own)));
    }

    #[test]
    fn a_process_of_this_place_that_ended_or_never_was_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let label = format!("{}:{}", child.id(), started(child.id()).unwrap_or_default());
        child.wait().unwrap();
        let here = Place::here();
        assert!(dead(&label, &here));
        // another process that was given the same number
        assert!(dead(&format!("{}:1", std::process::id()), &here));
    }

    #[test]
    fn a_process_before_the_last_boot_is_dead_whatever_has_its_number() {
        let before = Place { boot: "another".to_owned(), ..Place::here() };
        assert!(dead(&owner(), &before));
    }

    #[test]
    fn of_a_process_in_another_place_nothing_is_known() {
        let here = Place::here();
        for other in [
            Place { host: "elsewhere".to_owned(), ..here.clone() },
            Place { machine: "another".to_owned(), boot: "another".to_owned(), ..here.clone() },
            Place { pids: "pid:[1]".to_owned(), ..here },
        ] {
            assert!(!dead("1:1", &other), "{other}");
            assert!(!Whose::Own.takes(Some(&labelled(&owner(), &other))), "{other}");
        }
    }

    #[test]
    fn what_does_not_say_where_it_comes_from_is_left_alone() {
        assert!(!Whose::Dead.takes(None));
        let half = [(LABEL.to_owned(), "1:1".to_owned())].into();
        assert!(!Whose::Dead.takes(Some(&half)));
        for odd in ["", "a", "a|b|c", "a|b|c|d|e"] {
            assert_eq!(Place::parse(odd), None, "{odd}");
        }
        assert_eq!(Place::parse(&Place::here().to_string()), Some(Place::here()));
    }
}
