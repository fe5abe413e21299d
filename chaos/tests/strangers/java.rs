//! The Java client of the Kafka project.
//!
//! Its jars come from Maven Central once, into `target/`; later runs need no network.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::rig::{COUNT, PARTITIONS, Read, Rig, TOPIC, compare, have, not_run, output, partition};

const TESTS: &str = "the Java client against the model broker";

/// The classes and jars to run with; `None` (which is said) when they cannot be had.
fn class_path() -> Option<String> {
    if !have(TESTS, &[&["javac", "-version"], &["java", "-version"]]) {
        return None;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strangers");
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("strangers");
    let pom = std::fs::read_to_string(here.join("pom.xml")).unwrap();
    let (fetched, libs) = (work.join("fetched.xml"), work.join("libs"));
    if std::fs::read_to_string(&fetched).ok().as_ref() != Some(&pom) {
        if !have(TESTS, &[&["mvn", "-version"]]) {
            return None;
        }
        let into = format!("-DoutputDirectory={}", libs.display());
        let pom_file = here.join("pom.xml");
        let mut mvn = Command::new("mvn");
        mvn.args(["-B", "-q", "-f"]).arg(pom_file).arg("dependency:copy-dependencies").arg(into);
        // everything that it makes belongs under target/
        let fetch = mvn.output().unwrap();
        if !fetch.status.success() {
            let said = String::from_utf8_lossy(&fetch.stdout);
            let why = said.lines().next().unwrap_or("it says nothing");
            not_run(TESTS, &format!("`mvn` cannot fetch the client: {why}"));
            return None;
        }
        std::fs::write(fetched, pom).unwrap();
    }
    let classes = work.join("classes");
    let jars = format!("{}/*", libs.display());
    let source: PathBuf = here.join("Stranger.java");
    output(Command::new("javac").arg("-d").arg(&classes).args(["-cp", &jars]).arg(source));
    Some(format!("{}:{jars}", classes.display()))
}

fn stranger(class_path: &str, args: &[&str]) -> String {
    let java = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", class_path];
    output(Command::new("java").args(java).arg("Stranger").args(args))
}

#[test]
fn java_writes_every_record_and_a_group_reads_it_back_and_goes_on_where_it_was() {
    let Some(class_path) = class_path() else { return };
    let rig = Rig::new();
    let (partitions, count) = (PARTITIONS.to_string(), COUNT.to_string());
    let to = ["produce", &rig.bootstrap, TOPIC, &partitions, &count];
    stranger(&class_path, &to);
    compare(rig.logged(), |n| Some(partition(n)));

    let read = |count: usize| {
        let from = ["consume", &rig.bootstrap, TOPIC, "javas", &count.to_string()];
        let text = stranger(&class_path, &from);
        text.lines().map(Read::parse).collect::<Vec<_>>()
    };
    let mut all = read(COUNT / 3);
    assert!((COUNT / 3..COUNT).contains(&all.len()), "{}", all.len());
    assert!(rig.asked("LeaveGroup") >= 1);
    all.extend(read(COUNT - all.len()));
    compare(all, |n| Some(partition(n)));
    assert!(rig.asked("OffsetCommit") >= 2);
}
