//! Faults of the processes of real brokers.

use std::collections::BTreeSet;

use super::*;
use crate::scenario::model::{ProcessFault, Strike};

/// A file with this fault, and these lines of its cluster.
fn with(cluster: &str, fault: &str) -> String {
    format!(
        "id = \"a/b\"\nsummary = \"s\"\nlanes = [\"kafka\"]\nbudget = \"60s\"\n\
         [cluster]\n{cluster}\n[[load]]\nevents = 1\n[[fault]]\nat = \"1s\"\n{fault}\n"
    )
}

fn file(fault: &str) -> String {
    with("", fault)
}

fn good(text: &str) -> Scenario {
    parse(text, "x.toml").unwrap_or_else(|problems| panic!("{problems:?}"))
}

#[test]
fn a_fault_of_a_process_is_read_with_everything_it_says() {
    let rest = "brokers = \"leader\"\npartition = 2\nspread = \"2s\"\nfor = \"3s\"";
    let scenario = good(&file(&format!("kind = \"broker.kill\"\n{rest}")));
    let fault = ProcessFault {
        strike: Strike::Kill,
        brokers: Brokers::Leader,
        partition: 2,
        rolling: None,
        spread: Duration::from_secs(2),
    };
    assert_eq!(scenario.faults[0].kind, FaultKind::Process(fault));
    assert_eq!(scenario.faults[0].lasts, Some(Duration::from_secs(3)));
    assert!(scenario.is_alone() && scenario.small_disks() == 0);
    let turns = good(&file("kind = \"broker.stop\"\ndown = \"2s\"\nup = \"1s\""));
    let FaultKind::Process(fault) = &turns.faults[0].kind else { panic!("no process") };
    assert_eq!(fault.rolling, Some((Duration::from_secs(2), Duration::from_secs(1))));
    let full = "kind = \"broker.disk_full\"\nlog_dirs = 2\nbrokers = [1]\nfor = \"5s\"";
    assert_eq!(good(&file(full)).small_disks(), 2);
}

#[test]
fn only_a_file_that_harms_processes_has_brokers_of_its_own_and_a_long_budget() {
    let down = "kind = \"broker.down\"\nfor = \"3s\"";
    assert!(!good(&file(down).replace("60s", "12s")).is_alone());
    assert!(messages(&file(down)).contains("a budget of 1m is too long"));
    let kill = "kind = \"broker.kill\"\nfor = \"3s\"";
    assert_eq!(good(&file(kill).replace("60s", "90s")).budget, Duration::from_secs(90));
    let refused = messages(&file(kill).replace("60s", "91s"));
    assert!(refused.contains("at most 1m 30s"), "{refused}");
}

#[test]
fn what_no_process_of_a_broker_can_do_is_refused_with_the_remedy() {
    let kill = |rest: &str| file(&format!("kind = \"broker.kill\"\n{rest}"));
    let refused = [
        kill("for = \"1s\"").replace("kafka", "sim"),
        kill("for = \"1s\"\nbrokers = [4]"),
        with("brokers = 2", "kind = \"broker.kill\"\nfor = \"1s\""),
        with("brokers = 1", "kind = \"broker.kill\"\nbrokers = \"leader\"\nfor = \"1s\""),
        with("brokers = 1\nlistener = \"tls\"", "kind = \"broker.pause\"\nfor = \"1s\""),
        kill("for = \"1s\"\nbrokers = \"leader\"\npartition = 3"),
        kill("for = \"1s\"\npartition = 1"),
        kill(""),
        kill("for = \"1s\"\ndown = \"1s\"\nup = \"1s\""),
        kill("down = \"1s\""),
        kill("brokers = [2]\ndown = \"1s\"\nup = \"1s\""),
        kill("for = \"1s\"\nspread = \"59s\""),
        kill("down = \"10s\"\nup = \"10s\""),
        kill("for = \"1s\"\nlog_dirs = 2"),
        kill("for = \"1s\"\nspread = \"1s\"").replace("at = \"1s\"", "at = { offered = 1 }"),
    ];
    insta::assert_snapshot!(refused.iter().map(|text| messages(text)).collect::<String>());
}

#[test]
fn disks_of_two_shapes_in_one_file_are_refused() {
    let full = |dirs| {
        let kind = "kind = \"broker.disk_full\"\nbrokers = [1]\nfor = \"1s\"";
        format!("{kind}\nlog_dirs = {dirs}")
    };
    let two = |second| file(&format!("{}\n[[fault]]\nat = \"2s\"\n{}", full(2), full(second)));
    assert!(messages(&two(1)).contains("one number of log directories"));
    assert_eq!(good(&two(2)).small_disks(), 2);
}

#[test]
fn a_seed_moves_the_begin_of_a_fault_within_its_spread_and_nothing_else() {
    let rest = "for = \"1s\"\nspread = \"4s\"\n[[fault]]\nat = \"1s\"\nkind = \"net.reset\"";
    let scenario = good(&file(&format!("kind = \"broker.kill\"\n{rest}")));
    let begin = |seed| {
        let At::Time(at) = scenario.spread_by(seed).faults[0].at else { panic!("no time") };
        at
    };
    let second = Duration::from_secs(1);
    let begins: BTreeSet<Duration> = (0..20).map(begin).collect();
    assert_eq!(begins.len(), 20);
    assert!(begins.iter().all(|at| (second..second * 5).contains(at)), "{begins:?}");
    assert_eq!(begin(7), begin(7));
    let mut moved = scenario.spread_by(7);
    moved.faults[0].at = scenario.faults[0].at.clone();
    assert_eq!(moved, scenario);
}

/// Two faults of processes, the second with other lines.
fn two(first: &str, second: &str) -> String {
    file(&format!("kind = \"broker.kill\"\n{first}\n[[fault]]\n{second}"))
}

#[test]
fn two_faults_that_would_have_one_process_at_a_time_are_refused_with_both_places() {
    let first = "brokers = [1, 2]\nfor = \"5s\"";
    let text = two(first, "at = \"4s\"\nkind = \"broker.pause\"\nbrokers = [2]\nfor = \"5s\"");
    let told = messages(&text);
    let line = "example.toml:16:8: broker 2 is under `broker.kill` of line 11 at that time";
    assert!(told.contains(line), "{told}");
    assert!(told.contains("name another broker, or begin after 6s"), "{told}");
    let all =
        two("for = \"5s\"", "at = \"2s\"\nkind = \"broker.stop\"\nbrokers = [3]\nfor = \"1s\"");
    assert!(messages(&all).contains("broker 3 is under"), "{}", messages(&all));
}

#[test]
fn faults_of_processes_that_only_may_meet_are_left_to_the_run() {
    for (first, second) in [
        (
            "brokers = [1]\nfor = \"5s\"",
            "at = \"6s\"\nkind = \"broker.pause\"\nbrokers = [1]\nfor = \"1s\"",
        ),
        (
            "brokers = [1]\nfor = \"5s\"",
            "at = \"2s\"\nkind = \"broker.pause\"\nbrokers = [2]\nfor = \"1s\"",
        ),
        (
            "brokers = \"leader\"\nfor = \"5s\"",
            "at = \"2s\"\nkind = \"broker.pause\"\nbrokers = [1]\nfor = \"1s\"",
        ),
        (
            "brokers = [1]\nfor = \"5s\"",
            "at = \"2s\"\nspread = \"9s\"\nkind = \"broker.pause\"\nbrokers = [1]\nfor = \"1s\"",
        ),
    ] {
        good(&two(first, second));
    }
}

#[test]
fn for_beside_down_and_up_is_refused_with_what_to_drop() {
    let told = messages(&file("kind = \"broker.kill\"\nfor = \"5s\"\ndown = \"2s\"\nup = \"1s\""));
    assert!(told.contains("drop `for`: it ends when every broker had its turn"), "{told}");
    let half = messages(&file("kind = \"broker.kill\"\nfor = \"5s\"\nup = \"1s\""));
    assert!(half.contains("drop `for`"), "{half}");
    let down = messages(&file("kind = \"broker.kill\"\ndown = \"2s\""));
    assert!(down.contains("`down` without `up`") && down.contains("add `up`"), "{down}");
}
