//! The wire lane with its brokers behind the proxy: what the proxy does and tells must lead to the
//! verdict that the model broker's own faults and record lead to.
#![cfg(test)]

use std::path::Path;
use std::process::Command;

use dashproof::exit;
use dashproof::lane::wire::PROXIED;

/// One scenario at least for each kind of fault that the proxy carries.
const CHOSEN: &[&str] = &[
    "outage/ack-loss",
    "outage/all-brokers-3s",
    "outage/answers-too-late",
    "outage/connect-blackhole",
    "outage/cut-frame",
    "outage/flapping",
    "outage/latency-long-tail",
    "outage/leaderless",
    "outage/not-enough-replicas",
    "outage/not-enough-replicas-after-append",
    "outage/not-leader-after-append",
    "outage/poison-at-the-head",
    "outage/requests-lost",
    "outage/resets",
    "outage/retryable-storm",
    "outage/rolling-restart",
    "outage/throttle",
    "shutdown/crash-and-restart",
    "shutdown/flush-while-topic-missing",
    "shutdown/in-flight",
];

fn run(args: &[&str]) -> (u8, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dashproof"))
        // each cell is three brokers, a proxy and a child: more at once stall a small machine, and
        // what is late there is not what these tests are about
        .args(["run", "--lane", "wire", "--jobs", "5", "--out", out.path().to_str().unwrap()])
        .args(args)
        .env(PROXIED, "1")
        .current_dir(root)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    (u8::try_from(output.status.code().expect("no signal")).unwrap(), text)
}

#[test]
fn every_fault_that_the_proxy_carries_is_met_and_survived_as_without_it() {
    let (code, text) = run(CHOSEN);
    assert_eq!(code, exit::PROVEN, "{text}");
    let count = CHOSEN.len();
    assert!(text.contains(&format!("{count} cells, {count} pass")), "{text}");
}

#[test]
fn a_driver_that_claims_what_the_log_does_not_hold_is_caught_through_the_proxy_too() {
    let (code, text) = run(&["shutdown/in-flight", "--driver", "sh chaos/tests/drivers/liar.sh"]);
    assert_eq!(code, exit::VIOLATION, "{text}");
    assert!(text.contains("D2 broken"), "{text}");
}

#[test]
fn a_fault_that_no_proxy_can_carry_is_not_applicable() {
    let (_, text) = run(&["outage/leader-moves"]);
    assert!(text.contains("a proxy cannot move the leaders"), "{text}");
}
