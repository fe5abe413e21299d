//! Small disks for brokers: file systems in memory with a size, which outlive the broker on them.
//!
//! Docker forgets what is on such a volume when the last container that has it stops. So one more
//! container has them all, does nothing, and is also the hand that fills them.

use testcontainers::bollard::Docker;
use testcontainers::bollard::models::VolumeCreateRequest;
use testcontainers::core::{CmdWaitFor, ExecCommand, Mount, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};

use super::docker::{self, Docked};

/// Of each disk.
const BYTES: u32 = 64 << 20;
/// What is left free on a full one, so that it is a log that fails to grow, and not an index of it:
/// those are mapped into memory, where a full disk is a bus error.
const SPARE: u32 = 64 << 10;

/// Fills the disk of broker $1 that holds the directory $2, or the first one.
const FILL: &str = r#"
at=
for disk in /broker$1/disk*; do
  if [ -z "$at" ] && { [ -z "$2" ] || [ -d "$disk/log/$2" ]; }; then at=$disk; fi
done
[ -n "$at" ] || exit 9
dd if=/dev/zero of="$at/spare" bs=$3 count=1 2>/dev/null || exit 8
dd if=/dev/zero of="$at/ballast" bs=65536 2>/dev/null
rm "$at/spare"
"#;

/// Makes room on every disk of broker $1.
const FREE: &str = r"rm -f /broker$1/disk*/ballast /broker$1/disk*/spare";

/// Tells how many bytes are free on each disk of broker $1.
const LEFT: &str = r#"
for disk in /broker$1/disk*; do
  stat -f -c '%a %S' "$disk" | { read -r blocks size; echo $((blocks * size)); }
done
"#;

/// The disks of all brokers of a cluster.
pub(super) struct Disks {
    holder: ContainerAsync<GenericImage>,
    volumes: Vec<String>,
}

/// Names of a broker's volumes; the n-th is its n-th disk.
pub(super) fn names(stem: &str, broker: i32, count: usize) -> Vec<String> {
    (1..=count).map(|disk| format!("{stem}-{broker}-disk{disk}")).collect()
}

/// Where the n-th disk of a broker is in its container, from 0.
pub(super) fn place(disk: usize) -> String {
    format!("/disk{}", disk + 1)
}

impl Disks {
    /// Makes so many disks for each of the brokers 1 to `brokers`.
    ///
    /// # Errors
    /// Docker's.
    pub(super) async fn make(
        docked: &Docked,
        stem: &str,
        brokers: i32,
        count: usize,
    ) -> Result<Self, String> {
        let (name, tag) = docked.image.rsplit_once(':').unwrap_or((&docked.image, "latest"));
        let mut request = GenericImage::new(name, tag)
            .with_entrypoint("sleep")
            .with_wait_for(WaitFor::Nothing)
            .with_cmd(["infinity"])
            .with_container_name(format!("{stem}-disks"));
        for (label, value) in docker::labels() {
            request = request.with_label(label, value);
        }
        let mut volumes = Vec::new();
        for broker in 1..=brokers {
            for (disk, volume) in names(stem, broker, count).into_iter().enumerate() {
                make(&docked.docker, &volume).await?;
                let at = format!("/broker{broker}{}", place(disk));
                request = request.with_mount(Mount::volume_mount(volume.as_str(), at));
                volumes.push(volume);
            }
        }
        let holder = request.start().await.map_err(|error| format!("small disks: {error}"))?;
        Ok(Self { holder, volumes })
    }

    async fn run(&self, script: &str, args: [&str; 3]) -> Result<String, String> {
        let command = ["sh", "-c", script, "sh"].into_iter().chain(args);
        let command = ExecCommand::new(command).with_cmd_ready_condition(CmdWaitFor::exit_code(0));
        let failed = |error| format!("a disk cannot be filled, looked at or freed: {error}");
        let mut ran = self.holder.exec(command).await.map_err(failed)?;
        let told = ran.stdout_to_vec().await.map_err(failed)?;
        Ok(String::from_utf8_lossy(&told).into_owned())
    }

    /// Bytes that are free on the fullest disk of a broker.
    ///
    /// # Errors
    /// Docker's, and no number.
    pub(super) async fn left(&self, broker: i32) -> Result<u64, String> {
        let told = self.run(LEFT, [&broker.to_string(), "", ""]).await?;
        let left = told.lines().filter_map(|line| line.trim().parse().ok()).min();
        left.ok_or_else(|| format!("nothing tells what is free on a disk: {told:?}"))
    }

    /// Fills a disk of a broker: the one with this directory of a partition, else the first.
    ///
    /// # Errors
    /// Docker's, and a directory that no disk has.
    pub(super) async fn fill(&self, broker: i32, directory: Option<&str>) -> Result<(), String> {
        let (broker, spare) = (broker.to_string(), SPARE.to_string());
        self.run(FILL, [&broker, directory.unwrap_or_default(), &spare]).await.map(drop)
    }

    /// Makes room again on all disks of a broker.
    ///
    /// # Errors
    /// Docker's.
    pub(super) async fn free(&self, broker: i32) -> Result<(), String> {
        self.run(FREE, [&broker.to_string(), "", ""]).await.map(drop)
    }

    /// The container that holds them.
    pub(super) fn holder(&self) -> &str {
        self.holder.id()
    }

    /// All volumes.
    pub(super) fn volumes(&self) -> &[String] {
        &self.volumes
    }
}

async fn make(docker: &Docker, name: &str) -> Result<(), String> {
    let options = [
        ("type", "tmpfs".to_owned()),
        ("device", "tmpfs".to_owned()),
        // the brokers of both images are no root
        ("o", format!("size={BYTES},mode=1777")),
    ];
    let own = |(key, value): (&str, String)| (key.to_owned(), value);
    let request = VolumeCreateRequest {
        name: Some(name.to_owned()),
        driver: Some("local".to_owned()),
        driver_opts: Some(options.into_iter().map(own).collect()),
        labels: Some(docker::labels().into_iter().map(|(k, v)| own((k, v))).collect()),
        ..VolumeCreateRequest::default()
    };
    let made = docker.create_volume(request).await;
    made.map(drop).map_err(|error| format!("cannot make the volume {name}: {error}"))
}
