//! A Kerberos realm of a run: MIT's KDC on the loopback interface, in a directory of its own.

use std::fs;
use std::io::{self, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
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
/// Ports that are tried: somebody else may take one before the KDC does.
const PORTS: usize = 5;
/// The KDC's log, in its directory.
const LOG: &str = "kdc.log";
/// Characters of an output that are told.
const TAIL: usize = 600;
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

/// Why there is no realm.
enum Failed {
    /// Somebody else took the port between its choice and its use.
    Taken(u16),
    Otherwise(String),
}

impl From<String> for Failed {
    fn from(text: String) -> Self {
        Self::Otherwise(text)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Otherwise(format!("no Kerberos realm: {error}"))
    }
}

impl Realm {
    /// Makes the database, two principals and their keytabs, starts the KDC and has it give a
    /// ticket: whatever is refused from here on, the realm is sound.
    pub(super) async fn start() -> Result<Self, String> {
        let mut taken = Vec::new();
        while taken.len() < PORTS {
            let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
            let port = port.map_err(|error| format!("no Kerberos realm: {error}"))?.port();
            match Self::on(port).await {
                Ok(realm) => return Ok(realm),
                Err(Failed::Taken(port)) => taken.push(port.to_string()),
                Err(Failed::Otherwise(why)) => return Err(why),
            }
        }
        Err(format!("no Kerberos realm: others took the ports {}", taken.join(", ")))
    }

    async fn on(port: u16) -> Result<Self, Failed> {
        let dir = Directory::make()?;
        let at = dir.path();
        fs::write(at.join("krb5.conf"), client(port))?;
        fs::write(at.join("kdc.conf"), server(at, port))?;
        let (master, password) = (random()?, random()?);
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
            return Err(Failed::Otherwise(format!("no Kerberos principals: {told}")));
        }
        // it tells what it does from here on
        fs::write(at.join(LOG), "")?;
        let program = place("krb5kdc").ok_or_else(|| "no krb5kdc".to_owned())?;
        let mut watcher = Command::new("sh");
        watcher.args(["-c", WATCH, "sh"]).arg(program).arg(at).envs(variables(at));
        // an interrupt from the keyboard ends this program, and thereby the watcher
        watcher.process_group(0).stdin(Stdio::piped());
        watcher.stdout(Stdio::null()).stderr(Stdio::null());
        let watcher = watcher.spawn()?;
        let realm = Self { dir, password, _watcher: watcher };
        realm.serves(port).await?;
        realm.gives_tickets().await?;
        Ok(realm)
    }

    /// Ends when the KDC says that it is at work: whoever takes connections may be another.
    async fn serves(&self, port: u16) -> Result<(), Failed> {
        let until = Instant::now() + START;
        loop {
            let log = self.log();
            if log.contains("commencing operation") {
                return Ok(());
            }
            if log.contains("Address already in use") {
                return Err(Failed::Taken(port));
            }
            if Instant::now() > until {
                return Err(Failed::Otherwise(format!(
                    "no KDC within {START:?}; its log ends with: {}",
                    tail(&log)
                )));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn log(&self) -> String {
        let log = fs::read(self.dir.path().join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// What a subject does first. Its own `kinit` says nothing to anybody.
    async fn gives_tickets(&self) -> Result<(), Failed> {
        let at = self.dir.path();
        let (tickets, keytab) = (at.join("tickets"), at.join("user.keytab"));
        let (tickets, keytab) = (tickets.to_string_lossy(), keytab.to_string_lossy());
        let asked = run(at, "kinit", &["-c", &tickets, "-t", &keytab, "-k", USER], "").await;
        asked.map(drop).map_err(|told| {
            let log = tail(&self.log());
            Failed::Otherwise(format!("the KDC gives no ticket: {told}; its log ends with: {log}"))
        })
    }

    /// Whether the realm still gives tickets to those that it knows.
    ///
    /// # Errors
    /// It does not, with what it says.
    pub(super) async fn is_alive(&self) -> Result<(), String> {
        self.gives_tickets().await.map_err(|failed| match failed {
            Failed::Taken(port) => format!("the KDC lost its port {port}"),
            Failed::Otherwise(why) => why,
        })
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

/// In English, for some of what is told is looked for.
fn variables(dir: &Path) -> [(&'static str, PathBuf); 3] {
    [
        ("KRB5_CONFIG", dir.join("krb5.conf")),
        ("KRB5_KDC_PROFILE", dir.join("kdc.conf")),
        ("LC_ALL", "C".into()),
    ]
}

/// The end of a text, in one line.
fn tail(text: &str) -> String {
    let line = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ");
    let more = line.chars().count().saturating_sub(TAIL);
    let end: String = line.chars().skip(more).collect();
    match (end.is_empty(), more) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => end,
        (false, _) => format!("…{end}"),
    }
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
         [logging]\n kdc = FILE:{dir}/{LOG}\n default = FILE:{dir}/{LOG}\n"
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
    let told = tail(&String::from_utf8_lossy(&ended.stderr));
    if ended.status.success() { Ok(told) } else { Err(format!("{tool}: {}: {told}", ended.status)) }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

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

    #[tokio::test]
    async fn a_port_that_somebody_took_is_told_from_every_other_trouble() {
        if let Some(tool) = TOOLS.into_iter().find(|tool| place(tool).is_none()) {
            println!("NOT RUN: a KDC without a port: no {tool}: {INSTALL}");
            return;
        }
        let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let failed = Realm::on(port).await.err();
        assert!(matches!(failed, Some(Failed::Taken(taken)) if taken == port));
    }

    #[tokio::test]
    async fn a_ticket_that_is_not_given_is_told_in_the_words_of_kinit_and_the_kdc() {
        if let Some(tool) = TOOLS.into_iter().find(|tool| place(tool).is_none()) {
            println!("NOT RUN: a ticket that is not given: no {tool}: {INSTALL}");
            return;
        }
        let realm = Realm::start().await.unwrap();
        fs::copy(realm.dir.path().join("service.keytab"), realm.dir.path().join("user.keytab"))
            .unwrap();
        let why = realm.is_alive().await.unwrap_err();
        assert!(why.contains("kinit: exit status: 1: "), "{why}");
        assert!(why.contains("its log ends with: "), "{why}");
    }

    #[test]
    fn only_the_end_of_a_long_output_is_told_in_one_line() {
        assert_eq!(tail(" a\n\nb \n"), "a; b");
        assert_eq!(tail("\n"), "nothing");
        let told = tail(&"é".repeat(TAIL + 1));
        assert_eq!((told.chars().count(), told.starts_with('…')), (TAIL + 1, true));
    }

    #[test]
    fn passwords_are_long_and_never_the_same() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert!(one.len() == 32 && one != other);
    }
}
