//! The wire lane over the real program: children, drivers in another language, and who is blamed.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dashproof::exit;

const DASHPROOF: &str = env!("CARGO_BIN_EXE_dashproof");
const SMALL: &str = "shutdown/in-flight";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn run(args: &[&str]) -> (u8, String) {
    let args = [&["run", "--lane", "wire"], args].concat();
    let output: Output = Command::new(DASHPROOF).args(args).current_dir(root()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    (u8::try_from(output.status.code().expect("no signal")).unwrap(), text)
}

fn driver(command: &str) -> (u8, String) {
    let out = tempfile::tempdir().unwrap();
    run(&[SMALL, "--driver", command, "--out", out.path().to_str().unwrap()])
}

#[test]
fn the_reference_with_the_real_client_passes() {
    let (code, text) = run(&[SMALL, "shutdown/crash-and-restart", "shutdown/drop-without-close"]);
    assert_eq!(code, exit::PROVEN, "{text}");
    assert!(text.contains("3 cells, 3 pass"), "{text}");
}

#[test]
fn the_reference_comes_in_by_the_door_of_any_driver() {
    let (code, text) = driver(&format!("{DASHPROOF} driver"));
    assert_eq!(code, exit::PROVEN, "{text}");
}

#[test]
fn a_driver_that_claims_what_the_log_does_not_hold_is_caught() {
    let (code, text) = driver("sh chaos/tests/drivers/liar.sh");
    assert_eq!(code, exit::VIOLATION, "{text}");
    assert!(text.contains("D2 broken"), "{text}");
}

#[test]
fn a_scenario_that_needs_what_a_driver_does_not_declare_does_not_apply() {
    let command = "sh chaos/tests/drivers/liar.sh";
    let (_, text) = run(&["shutdown/drop-of-a-clone", "--driver", command]);
    assert!(text.contains("does not declare clone, drop"), "{text}");
}

#[test]
fn a_driver_that_is_not_there_is_no_violation() {
    let (code, text) = driver("/nowhere/driver");
    assert_eq!(code, exit::ENVIRONMENT, "{text}");
    assert!(text.contains("cannot start `/nowhere/driver`"), "{text}");
}

#[test]
fn a_driver_that_ends_before_hello_is_blamed() {
    let (code, text) = driver("true");
    assert_ne!(code, exit::PROVEN, "{text}");
    assert!(text.contains("driver protocol") && text.contains("`hello` failed"), "{text}");
}

/// Ten events, and nothing goes wrong.
const TINY: &str = "id = \"outage/tiny\"\nsummary = \"s\"\nlanes = [\"wire\"]\n\
                    budget = \"2s\"\n[subject.producer]\nretry = { max_attempts = 3 }\n\
                    [[load]]\nevents = 10\n";

fn tiny(driver: &str) -> (u8, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tiny.toml");
    std::fs::write(&file, TINY).unwrap();
    let command = format!("sh chaos/tests/drivers/{driver}.sh");
    let out = dir.path().to_str().unwrap();
    run(&[file.to_str().unwrap(), "--driver", &command, "--out", out])
}

#[test]
fn a_driver_that_never_answers_a_send_has_failed() {
    let (code, text) = tiny("silent");
    assert_eq!(code, exit::VIOLATION, "{text}");
    assert!(text.contains("FAIL  outage/tiny on wire"), "{text}");
    let told = "implementation: the subject did not answer the `send` of event 0.000000";
    assert!(text.contains(told), "{text}");
    assert!(!text.contains("Some("), "{text}");
}

#[test]
fn a_driver_that_does_not_know_a_setting_is_not_applicable_in_its_own_words() {
    let (code, text) = tiny("choosy");
    assert_eq!(code, exit::INCONCLUSIVE, "{text}");
    assert!(text.contains("not applicable  outage/tiny on wire"), "{text}");
    assert!(text.contains("unsupported: I have no retry.max_attempts"), "{text}");
    assert!(text.contains("0 pass, 1 not applicable"), "{text}");
}
