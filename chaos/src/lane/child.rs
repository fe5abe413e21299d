//! What the lanes in real time have in common: the program that is started, and its hello.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{HarnessError, SubjectSpec};
use crate::history::Clock;
use crate::subject::Subject as _;
use crate::subject::process::ProcessSubject;
use crate::subject::protocol::{Op, PROTOCOL_VERSION};

/// How long a child may take to answer `hello`.
const HELLO: Duration = Duration::from_secs(10);
/// How long a child may take to end after `bye`.
const BYE: Duration = Duration::from_secs(3);

/// Time since the run began.
pub(super) struct RealClock(pub(super) Instant);

impl Clock for RealClock {
    fn now_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// An error that is the machine's.
pub(super) fn environment(message: &str) -> HarnessError {
    HarnessError { blame: "environment", message: message.to_owned() }
}

/// The child's program and arguments.
pub(super) fn command(subject: &SubjectSpec) -> io::Result<Vec<String>> {
    let args = match subject {
        SubjectSpec::Driver(command) => return Ok(command.clone()),
        SubjectSpec::Reference => vec!["driver".to_owned()],
        SubjectSpec::Saboteur(name) => {
            vec!["driver".to_owned(), "--saboteur".to_owned(), name.clone()]
        }
    };
    let program = program()?.to_string_lossy().into_owned();
    Ok([vec![program], args].concat())
}

/// The `dashproof` program: this one, or (in tests) the one that was built beside it.
pub(super) fn program() -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let is_it = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == "dashproof");
    let beside = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("dashproof").with_extension(std::env::consts::EXE_EXTENSION));
    std::iter::once(this.clone())
        .chain(beside)
        .find(|path| is_it(path) && path.is_file())
        .ok_or_else(|| io::Error::other(format!("no `dashproof` beside {}", this.display())))
}

/// Greets a child of this program; gives the capabilities that it declares.
///
/// # Errors
/// It does not say hello in this protocol.
pub(super) async fn hello(
    process: &ProcessSubject,
    program: &str,
) -> Result<Vec<String>, HarnessError> {
    let blame = "driver protocol";
    let hello = timeout(HELLO, process.call(Op::Hello { version: PROTOCOL_VERSION })).await;
    let answer = hello
        .map_err(|_| format!("`{program}` did not answer `hello` within {HELLO:?}"))
        .and_then(|answer| answer.map_err(|e| format!("`hello` failed: {}", e.message)))
        .map_err(|message| HarnessError { blame, message })?;
    if answer.version.is_some_and(|version| version != PROTOCOL_VERSION) {
        let theirs = answer.version.unwrap_or_default();
        let message = format!(
            "`{program}` speaks protocol version {theirs}, this harness speaks {PROTOCOL_VERSION}"
        );
        return Err(HarnessError { blame, message });
    }
    Ok(answer.capabilities)
}

/// Says goodbye to a child; kills one that does not go.
pub(super) async fn goodbye(process: &ProcessSubject) {
    let goodbye = async {
        // A subject without `bye` ends when its input does, which `kill` stands in for.
        drop(process.call(Op::Bye).await);
        process.exit().await
    };
    if timeout(BYE, goodbye).await.is_err() {
        process.kill().await;
    }
}

/// What is needed and not declared.
pub(super) fn missing(
    needed: &BTreeSet<&'static str>,
    declared: &[String],
) -> BTreeSet<&'static str> {
    needed.iter().copied().filter(|need| declared.iter().all(|have| have != need)).collect()
}
