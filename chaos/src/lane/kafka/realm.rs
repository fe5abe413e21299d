//! A Kerberos realm of a run: MIT's KDC on the loopback interface, in a directory of its own.

use std::fs;
use std::io::{self, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::certs::{Directory, USER};
use super::docker::Missing;
use crate::subject::secrets::OwnSecrets;

/// The realm's name. Nobody looks it up in the DNS.
const REALM: &str = "DASHPROOF.TEST";
/// The brokers. Clients ask for the service at the host that they are sent to.
pub(super) const SERVICE: &str = "kafka/127.0.0.1@DASHPROOF.TEST";
/// How long the KDC may take to listen.
const START: Duration = Duration::from_secs(10);
/// What is needed on PATH, or where systems have such programs.
const TOOLS: [&str; 4] = ["krb5kdc", "kdb5_util", "kadmin.local", "kinit"];
const INSTALL: &str = "apt-get install krb5-kdc krb5-admin-server krb5-user libsasl2-dev \
                       libsasl2-modules-gssapi-mit";
const BUILD: &str = "cargo build -p dashproof --features gssapi";
/// The KDC, until whoever started it closes the pipe, as everything does that ends in any way.
const WATCH: &str = "\"$1\" -n -P \"$2/kdc.pid\" & kdc=$!; cat >/dev/null; \
                     kill \"$kdc\"; wait \"$kdc\"; rm -rf \"$2\"";

/// Why this build has no GSSAPI, if it has none.
#[must_use]
pub fn unbuilt() -> Option<String> {
    (!cfg!(feature = "gssapi")).then(|| format!("built without the feature gssapi: {BUILD}"))
}

/// Looks for what a realm needs; gives what was found.
///
/// # Errors
/// This build has no GSSAPI, or a program is not there.
pub fn tools() -> Result<String, Missing> {
    if unbuilt().is_some() {
        let what = "built without the feature gssapi".to_owned();
        return Err(Missing { what, remedy: BUILD.to_owned() });
    }
    let missing: Vec<&str> = TOOLS.into_iter().filter(|tool| place(tool).is_none()).collect();
    if missing.is_empty() {
        return Ok("MIT Kerberos: GSSAPI against a KDC of the run's own".to_owned());
    }
    let what = format!("GSSAPI without {}", missing.join(", "));
    Err(Missing { what, remedy: INSTALL.to_owned() })
}

/// Where a program is. A user's PATH has no programs for administrators.
fn place(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // subjects start kinit by its name
    let beyond: &[&str] = if tool == "kinit" { &[] } else { &["/usr/sbin", "/usr/local/sbin"] };
    let dirs = std::env::split_paths(&path).chain(beyond.iter().map(PathBuf::from));
    dirs.map(|dir| dir.join(tool)).find(|at| at.is_file())
}

/// A running KDC, ended with this.
pub(super) struct Realm {
    dir: Directory,
    /// Of the user's principal: its key is made from it.
    password: String,
    /// What the KDC's watcher holds on to.
    _watcher: Child,
}

impl Realm {
    /// Makes the database, two principals and their keytabs, and starts the KDC.
    pub(super) async fn start() -> Result<Self, String> {
        let failed = |error: io::Error| format!("no Kerberos realm: {error}");
        let dir = Directory::make().map_err(failed)?;
        let at = dir.path();
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
        let port = port.map_err(failed)?.port();
        fs::write(at.join("krb5.conf"), client(port)).map_err(failed)?;
        fs::write(at.join("kdc.conf"), server(at, port)).map_err(failed)?;
        let (master, password) = (random().map_err(failed)?, random().map_err(failed)?);
        let twice = format!("{master}\n{master}\n");
        run(at, "kdb5_util", &["create", "-s", "-r", REALM], &twice).await?;
        let (service, user) = (at.join("service.keytab"), at.join("user.keytab"));
        let principals = format!(
            "addprinc -randkey {SERVICE}\naddprinc -pw {password} {USER}\n\
             ktadd -k {} {SERVICE}\nktadd -k {} -norandkey {USER}\nquit\n",
            service.display(),
            user.display(),
        );
        let told = run(at, "kadmin.local", &["-r", REALM], &principals).await?;
        // it ends well whatever became of its commands
        if !(service.is_file() && user.is_file()) {
            return Err(format!("no Kerberos principals: {told}"));
        }
        let program = place("krb5kdc").ok_or("no krb5kdc")?;
        let mut watcher = Command::new("sh");
        watcher.args(["-c", WATCH, "sh"]).arg(program).arg(at).envs(variables(at));
        // an interrupt from the keyboard ends this program, and thereby the watcher
        watcher.process_group(0).stdin(Stdio::piped());
        watcher.stdout(Stdio::null()).stderr(Stdio::null());
        let watcher = watcher.spawn().map_err(failed)?;
        let realm = Self { dir, password, _watcher: watcher };
        realm.listening(port).await?;
        Ok(realm)
    }

    /// Ends when the KDC takes connections.
    async fn listening(&self, port: u16) -> Result<(), String> {
        let until = Instant::now() + START;
        while let Err(error) = TcpStream::connect(("127.0.0.1", port)).await {
            if Instant::now() > until {
                let log = fs::read_to_string(self.dir.path().join("kdc.log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(format!("no KDC within {START:?}: {error}; {last}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// What a broker needs: its key, and how the realm is called.
    pub(super) fn of_broker(&self) -> io::Result<[(&'static str, Vec<u8>); 2]> {
        let read = |name: &str| fs::read(self.dir.path().join(name));
        Ok([("service.keytab", read("service.keytab")?), ("krb5.conf", read("krb5.conf")?)])
    }

    /// Writes the keytab that scenarios may name.
    pub(super) fn write(&self, dir: &Path, secrets: &OwnSecrets) -> io::Result<()> {
        secrets.add("the password of alice's key", &self.password);
        // as private as what it is copied from
        fs::copy(self.dir.path().join("user.keytab"), dir.join("alice.keytab")).map(drop)
    }

    /// Variables of a client whose tickets are its own: one that finds another's uses them.
    pub(super) fn of_client(&self, own: &Path) -> Vec<(&'static str, std::ffi::OsString)> {
        vec![
            ("KRB5_CONFIG", self.dir.path().join("krb5.conf").into()),
            ("KRB5CCNAME", format!("FILE:{}", own.join("tickets").display()).into()),
        ]
    }
}

fn variables(dir: &Path) -> [(&'static str, PathBuf); 2] {
    [("KRB5_CONFIG", dir.join("krb5.conf")), ("KRB5_KDC_PROFILE", dir.join("kdc.conf"))]
}

/// Names of hosts are taken as they are: here they are numbers.
fn client(port: u16) -> String {
    format!(
        "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n \
         dns_lookup_realm = false\n rdns = false\n dns_canonicalize_hostname = false\n \
         udp_preference_limit = 1\n\
         [realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n"
    )
}

fn server(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n\
         [realms]\n {REALM} = {{\n  database_name = {dir}/principal\n  \
         key_stash_file = {dir}/stash\n  acl_file = {dir}/acl\n }}\n\
         [logging]\n kdc = FILE:{dir}/kdc.log\n default = FILE:{dir}/kdc.log\n"
    )
}

/// A password that nobody can guess.
fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Runs a program of Kerberos to its end, with secrets on its standard input, where no list of
/// processes shows them; gives what it complained of.
async fn run(dir: &Path, tool: &str, args: &[&str], input: &str) -> Result<String, String> {
    let failed = |error: io::Error| format!("{tool}: {error}");
    let program = place(tool).ok_or_else(|| format!("no {tool}"))?;
    let mut command = Command::new(program);
    command.args(args).envs(variables(dir)).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(failed)?;
    }
    let ended = child.wait_with_output().await.map_err(failed)?;
    let told = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    if ended.status.success() { Ok(told) } else { Err(format!("{tool}: {}: {told}", ended.status)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(realm: &Realm, own: &Path, principal: &str) -> bool {
        let mut kinit = std::process::Command::new("kinit");
        kinit.envs(realm.of_client(own)).stderr(Stdio::null());
        kinit.arg("-t").arg(own.join("alice.keytab")).args(["-k", principal]);
        kinit.status().unwrap().success()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_realm_knows_its_user_and_is_gone_with_its_owner() {
        if let Some(tool) = TOOLS.into_iter().find(|tool| place(tool).is_none()) {
            println!("NOT RUN: a Kerberos realm: no {tool}: {INSTALL}");
            return;
        }
        let realm = Realm::start().await.unwrap();
        let (own, secrets) = (Directory::make().unwrap(), OwnSecrets::default());
        realm.write(own.path(), &secrets).unwrap();
        assert!(!secrets.is_empty());
        assert!(ticket(&realm, own.path(), USER));
        assert!(!ticket(&realm, own.path(), "mallory"));
        let dir = realm.dir.path().to_owned();
        let config = fs::read_to_string(dir.join("krb5.conf")).unwrap();
        let port = config.split("127.0.0.1:").nth(1).unwrap().lines().next().unwrap();
        let port: u16 = port.parse().unwrap();
        drop(realm);
        let until = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", port)).await.is_ok() || dir.exists() {
            assert!(Instant::now() < until, "it lives on");
            sleep(Duration::from_millis(20)).await;
        }
    }

    #[test]
    fn passwords_are_long_and_never_the_same() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert!(one.len() == 32 && one != other);
    }
}
