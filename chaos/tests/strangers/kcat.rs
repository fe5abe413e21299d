//! kcat, with whatever librdkafka its distribution has.

use std::fmt::Write as _;
use std::process::Command;

use super::rig::{COUNT, Read, Rig, TOPIC, compare, have, key, output, value};

fn kcat(rig: &Rig, args: &[&str]) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-b", &rig.bootstrap, "-q"]).args(args);
    command
}

fn reads(text: &str) -> Vec<Read> {
    text.lines().map(Read::parse).collect()
}

#[test]
fn kcat_writes_and_reads_back_every_record_alone_and_as_a_group() {
    if !have("kcat against the model broker", &[&["kcat", "-V"]]) {
        return;
    }
    let rig = Rig::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("records");
    let mut lines = String::new();
    (0..COUNT).for_each(|n| writeln!(lines, "{}\t{}", key(n), value(n)).unwrap());
    std::fs::write(&file, lines).unwrap();
    let settings = ["-X", "enable.idempotence=true", "-z", "zstd", "-X", "linger.ms=5"];
    let from = ["-P", "-t", TOPIC, "-K", "\t", "-l", file.to_str().unwrap()];
    output(&mut kcat(&rig, &[&settings[..], &from].concat()));
    compare(rig.logged(), |_| None);

    let format = ["-f", "%p %o %k %s\n"];
    let all = ["-C", "-t", TOPIC, "-o", "beginning", "-e"];
    compare(reads(&output(&mut kcat(&rig, &[&all[..], &format].concat()))), |_| None);

    let group = ["-G", "kcats", "-X", "auto.offset.reset=earliest", "-e"];
    let asked = [&group[..], &format, &[TOPIC]].concat();
    compare(reads(&output(&mut kcat(&rig, &asked))), |_| None);
    assert!(rig.asked("JoinGroup") >= 2 && rig.asked("OffsetCommit") >= 1);
    assert_eq!(output(&mut kcat(&rig, &asked)), "", "the group goes on where it was");
}
