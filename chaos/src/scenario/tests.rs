//! What a reader of a broken file is told, and what a whole file becomes.

mod agreement;
mod process;
mod secured;

use std::time::Duration;

use super::model::{ActionKind, At, Brokers, Crash, FaultKind, LaneName, Phase, Size};
use super::*;

/// A file for the faults of users and tokens.
const BEARER: &str = "lanes = [\"kafka\"]\n[cluster]\nbrokers = 1\nlistener = \"sasl\"\n\
                      [subject.producer.security]\nprotocol = \"sasl_plaintext\"\n\
                      sasl.mechanism = \"OAUTHBEARER\"\n\
                      sasl.token_location = \"certs:token.json\"\n[[load]]\nevents = 1\n";

fn whole() -> String {
    include_str!("testdata/whole.toml").to_owned()
}

/// The messages for a file in which `from` is replaced by `to`.
fn broken(from: &str, to: &str) -> String {
    let text = whole();
    assert!(text.contains(from), "the example has no {from:?}");
    messages(&text.replacen(from, to, 1))
}

fn messages(text: &str) -> String {
    let problems = parse(text, "scenarios/outage/example.toml").expect_err("the file is broken");
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_whole_file_becomes_the_model() {
    let scenario = parse(&whole(), "x.toml").expect("the example is good");
    assert_eq!(scenario.id, "outage/example");
    assert_eq!(scenario.lanes, [LaneName::Sim, LaneName::Wire]);
    assert_eq!(scenario.budget, Duration::from_secs(12));
    assert_eq!(scenario.producer["retry"]["max_attempts"], 4);
    assert_eq!(scenario.loads[0].size, Size::Uniform(64, 4096));
    assert_eq!(scenario.loads[0].rate, Some(500.0));
    assert_eq!(scenario.loads[1].at, At::Offered(100));
    assert_eq!(scenario.faults[0].lasts, Some(Duration::from_secs(3)));
    assert_eq!(scenario.faults[0].kind, FaultKind::BrokerDown { brokers: Brokers::All });
    assert_eq!(scenario.actions[0].kind, ActionKind::Close { deadline: Duration::from_secs(3) });
    assert_eq!(scenario.expect.recovery, Some(Duration::from_secs(3)));
    assert_eq!(scenario.family(), "outage");
}

#[test]
fn a_key_that_does_not_exist_is_refused_with_the_nearest_one() {
    insta::assert_snapshot!(broken("events = 500", "evnts = 500"));
}

#[test]
fn a_duration_without_a_unit_is_refused() {
    insta::assert_snapshot!(broken("budget = \"12s\"", "budget = \"12\""));
}

#[test]
fn a_size_that_is_none_is_refused() {
    insta::assert_snapshot!(broken("{ uniform = [64, 4096] }", "\"4 parsecs\""));
}

#[test]
fn an_empty_range_of_sizes_is_refused() {
    insta::assert_snapshot!(broken("[64, 4096]", "[4096, 64]"));
}

#[test]
fn producer_settings_that_do_not_exist_or_make_no_sense_are_refused() {
    insta::assert_snapshot!(broken(
        "delivery_timeout = \"8s\"",
        "delivry_timeout = \"8s\"\nqueue = { max_events = 0 }\nacks = \"maybe\"\ndlq = { timeot = \"1s\" }"
    ));
}

#[test]
fn a_mark_that_no_fault_can_reach_is_refused() {
    insta::assert_snapshot!(broken("fault.broker.down", "fault.net.reset"));
}

#[test]
fn a_mark_that_does_not_exist_is_refused_with_the_nearest_one() {
    insta::assert_snapshot!(broken("fault.broker.down", "fault.broker.donw"));
}

#[test]
fn a_law_that_does_not_exist_is_refused() {
    insta::assert_snapshot!(broken("laws = \"all\"", "laws = [\"D1\", \"D77\"]"));
}

#[test]
fn a_law_left_out_without_a_reason_is_refused() {
    insta::assert_snapshot!(broken("laws = \"all\"", "laws = { all_but = { D6 = \"\" } }"));
}

#[test]
fn a_lane_that_does_not_exist_is_refused() {
    insta::assert_snapshot!(broken("\"wire\"", "\"wired\""));
}

#[test]
fn a_fault_kind_that_does_not_exist_is_refused() {
    insta::assert_snapshot!(broken("kind = \"broker.down\"", "kind = \"broker.dwn\""));
}

#[test]
fn an_action_that_does_not_exist_is_refused() {
    insta::assert_snapshot!(broken("kind = \"close\"", "kind = \"shutdown\""));
}

#[test]
fn a_key_of_another_fault_kind_is_refused() {
    insta::assert_snapshot!(broken("for = \"3s\"", "for = \"3s\"\ndirection = \"both\""));
}

#[test]
fn an_audit_row_that_does_not_exist_is_refused() {
    insta::assert_snapshot!(broken("\"RES-1\"", "\"RES-11\""));
}

#[test]
fn a_broker_that_is_not_in_the_cluster_is_refused() {
    insta::assert_snapshot!(broken("brokers = \"all\"", "brokers = [1, 4]"));
}

#[test]
fn a_budget_too_long_for_a_lane_in_real_time_is_refused() {
    insta::assert_snapshot!(broken("budget = \"12s\"", "budget = \"40s\""));
}

#[test]
fn a_long_budget_is_fine_in_virtual_time() {
    let text = whole().replace("\"12s\"", "\"40s\"").replace(", \"wire\"", "");
    parse(&text, "x.toml").expect("sim takes any budget");
}

#[test]
fn something_planned_after_the_budget_is_refused() {
    insta::assert_snapshot!(broken("budget = \"12s\"", "budget = \"5s\""));
}

#[test]
fn an_outcome_or_reason_that_does_not_exist_is_refused() {
    insta::assert_snapshot!(broken(
        "acked = \"== offered\"",
        "ackd = \"== offered\", \"dropped/queue_full\" = \">= 1\", \"dropped/deadlin\" = \"1 or so\""
    ));
}

#[test]
fn a_thing_listed_twice_is_refused() {
    insta::assert_snapshot!(broken("\"sim\", \"wire\"", "\"sim\", \"sim\""));
}

#[test]
fn a_key_given_twice_is_refused() {
    insta::assert_snapshot!(broken("since = \"1.0\"", "since = \"1.0\"\nsince = \"1.0\""));
}

#[test]
fn a_file_that_is_not_toml_is_refused_at_its_place() {
    insta::assert_snapshot!(broken("kind = \"close\"", "kind = close"));
}

#[test]
fn a_missing_key_is_named() {
    insta::assert_snapshot!(broken("summary = ", "#summary = "));
}

#[test]
fn calling_a_producer_that_is_gone_is_refused() {
    let more = "[[fault]]\nat = \"4s\"\nkind = \"subject.crash\"\n\n[[action]]\nat = \"8s\"";
    insta::assert_snapshot!(broken("[[action]]\nat = \"8s\"", more));
}

#[test]
fn opening_a_producer_that_is_open_is_refused() {
    let more = "[[action]]\nat = \"2s\"\nkind = \"open\"\n\n[[action]]\nat = \"8s\"";
    insta::assert_snapshot!(broken("[[action]]\nat = \"8s\"", more));
}

#[test]
fn a_handle_that_no_clone_makes_is_refused() {
    insta::assert_snapshot!(broken("threads = 16", "threads = 16\nhandle = 1"));
}

#[test]
fn an_error_code_by_its_name_or_number_is_understood_and_a_wrong_one_is_not() {
    let fault =
        |code: &str| format!("kind = \"request.error\"\napi = \"Produce\"\ncode = {code}\n#");
    let text = |code: &str| {
        whole()
            .replace("brokers = \"all\"\n", "")
            .replace("kind = \"broker.down\"", &fault(code))
            .replace("fault.broker.down", "fault.request.error")
    };
    for code in ["\"NOT_LEADER_OR_FOLLOWER\"", "6"] {
        let scenario = parse(&text(code), "x.toml").expect("a code of Kafka's");
        assert!(
            matches!(scenario.faults[0].kind, FaultKind::RequestError { code: 6, .. }),
            "{:?}",
            scenario.faults[0].kind
        );
    }
    insta::assert_snapshot!(messages(&text("\"NOT_LEADER_FOR_FOLLOWER\"")));
}

#[test]
fn all_problems_of_a_file_are_told_at_once_in_the_order_of_their_places() {
    let text = whole()
        .replace("lanes = [", "lane = [")
        .replace("\"500/s\"", "\"fast\"")
        .replace("kind = \"close\"", "kind = \"clsoe\"");
    let problems = parse(&text, "x.toml").expect_err("three problems");
    let lines: Vec<usize> = problems.iter().map(|p| p.line).collect();
    assert!(problems.len() >= 3, "{problems:?}");
    assert!(lines.is_sorted(), "{lines:?}");
}

#[test]
fn columns_count_characters_and_not_bytes() {
    let text = whole()
        .replace("summary = \"", "summary = \"überall „aus“ ")
        .replace("tags = [\"burst\"]", "tags = [\"büro\", 7]");
    let problems = parse(&text, "x.toml").expect_err("7 is no tag");
    assert_eq!((problems[0].column, problems[0].width), (17, 1), "{problems:?}");
}

fn head(store: bool) -> &'static str {
    if store {
        "lanes = [\"disk\"]\n[subject.checkpoint]\n[[load]]\nsaves = 1"
    } else {
        "lanes = [\"sim\"]\n[[load]]\nevents = 1"
    }
}

#[test]
fn a_scenario_without_a_load_is_refused() {
    let text = "id = \"a/b\"\nsummary = \"s\"\nlanes = [\"sim\"]\n";
    insta::assert_snapshot!(messages(text));
}

#[test]
fn a_string_with_control_characters_is_refused() {
    let text = format!("id = \"a/b\"\nsummary = \"\\u001b[2Jproven\"\n{}", head(false));
    insta::assert_snapshot!(messages(&text));
}

#[test]
fn a_fault_may_go_unmet_only_on_a_lane_of_the_file_and_for_a_reason() {
    let fault = |unmet: &str| {
        let fault = "[[fault]]\nat = \"1s\"\nkind = \"net.reset\"\nunmet_on";
        let head = head(false).replace("\"sim\"", "\"sim\", \"wire\"");
        format!("id = \"a/b\"\nsummary = \"s\"\n{head}\n{fault} = {{ {unmet} }}\n")
    };
    let good = parse(&fault("sim = \"nobody is connected\""), "x.toml").expect("sim is listed");
    assert_eq!(good.faults[0].unmet_on.len(), 1);
    let everywhere = "sim = \"why\", wire = \"why\"";
    let bad = ["kafka = \"why\"", "sim = \"\"", "simm = \"why\"", everywhere];
    insta::assert_snapshot!(bad.iter().map(|unmet| messages(&fault(unmet))).collect::<String>());
}

const DIFFS: &str = "lanes = [\"disk\"]\n[subject.state]\n[[load]]\nstates = 1";

#[test]
fn what_a_store_and_a_producer_cannot_do_is_refused_each_for_itself() {
    let text =
        |store: bool, rest: &str| format!("id = \"a/b\"\nsummary = \"s\"\n{}\n{rest}", head(store));
    let refused = [
        text(true, "[[load]]\nevents = 1"),
        text(false, "[[load]]\nsaves = 1"),
        text(true, "[[fault]]\nat = \"1s\"\nkind = \"net.reset\""),
        text(false, "[[fault]]\nat = \"1s\"\nkind = \"fs.index\"\nhow = \"bit\""),
        text(false, "[[fault]]\nat = \"1s\"\nkind = \"fs.full\"\nfree = 9"),
        text(
            false,
            "[[fault]]\nat = \"1s\"\nkind = \"fs.error\"\nop = \"rename\"\nerror = \"EIO\"",
        ),
        text(true, "[[action]]\nat = \"1s\"\nkind = \"metrics\""),
        text(false, "[[action]]\nat = \"1s\"\nkind = \"delete\""),
        text(false, "").replace("sim", "disk"),
        text(true, "").replace("disk", "sim"),
    ];
    insta::assert_snapshot!(refused.iter().map(|text| messages(text)).collect::<String>());
}

#[test]
fn what_lies_there_before_a_run_and_what_breaks_it_must_make_sense() {
    let text =
        |store: bool, rest: &str| format!("id = \"a/b\"\nsummary = \"s\"\n{}\n{rest}", head(store));
    let load = |rest: &str| text(true, &format!("[[load]]\nsaves = 3\n{rest}"));
    let fault = |rest: &str| text(true, &format!("[[fault]]\nat = \"1s\"\n{rest}"));
    let refused = [
        load("writer = \"v1-fil\""),
        load("writer = \"v1-file\"\nat = \"1s\""),
        load("writer = \"v1-file\"\nids = \"taken\""),
        load("dated = \"past\""),
        load("at = { unanswered = 3 }"),
        fault("kind = \"fs.damage\"\nfile = \"directory\"\nhow = \"bit\""),
        fault("kind = \"fs.error\"\nop = \"write\"\nerror = \"lost_pages\""),
        text(true, "[cluster]\nbrokers = 1"),
        text(true, "[subject.producer]\nacks = \"all\""),
        text(false, "[[load]]\nevents = 1\nwriter = \"v1-file\""),
    ];
    insta::assert_snapshot!(refused.iter().map(|text| messages(text)).collect::<String>());
}

#[test]
fn what_state_diffs_cannot_do_is_refused_with_the_remedy() {
    let text = |rest: &str| format!("id = \"a/b\"\nsummary = \"s\"\n{DIFFS}\n{rest}");
    let load = |rest: &str| text(&format!("[[load]]\nstates = 3\n{rest}"));
    let refused = [
        text("[[load]]\nsaves = 1"),
        load("ids = \"taken\""),
        load("shape = \"growing\""),
        load("shape = \"grwing\""),
        load("size = 100"),
        load("depth = 200"),
        load("every = 2"),
        load("defect = \"nan\""),
        text("[[fault]]\nat = \"1s\"\nkind = \"subject.crash\""),
        text("[[action]]\nat = \"1s\"\nkind = \"close\"\ndeadline = \"1s\""),
        text("[subject.checkpoint]"),
        text("").replace("disk", "wire"),
        format!("id = \"a/b\"\nsummary = \"s\"\n{}\n[[load]]\nevents = 1\ndepth = 2", head(false)),
    ];
    insta::assert_snapshot!(refused.iter().map(|text| messages(text)).collect::<String>());
}

/// Faults of processes need a length, and may have it in two ways.
fn lasting(variant: &keys::Variant, key: &keys::Key) -> bool {
    key.name == "for" && variant.keys.iter().any(|key| key.name == "spread")
}

#[test]
fn every_kind_in_the_table_is_built() {
    for variant in keys::FAULTS {
        let keys: Vec<String> = variant
            .keys
            .iter()
            .filter(|key| key.required || key.name == "base" || lasting(variant, key))
            .map(|key| {
                let value = match key.shape {
                    keys::Shape::Span { .. } if key.name == "for" => "\"1s\"".to_owned(),
                    keys::Shape::Span { .. } => "\"100ms\"".to_owned(),
                    keys::Shape::Name(_) if key.name == "api" => "\"Produce\"".to_owned(),
                    keys::Shape::Name(names) => format!("{:?}", (names.list)()[0]),
                    keys::Shape::Code => "7".to_owned(),
                    _ => "900".to_owned(),
                };
                format!("{} = {value}", key.name)
            })
            .collect();
        let store = variant.name.starts_with("fs.") || variant.name.starts_with("clock.");
        let text = format!(
            "id = \"a/b\"\nsummary = \"s\"\n{}\n[[fault]]\nat = \"1s\"\nkind = \"{}\"\n{keys}",
            match variant.name {
                "diff.lost" => DIFFS.to_owned(),
                "acl.denied" | "token.stale" => BEARER.to_owned(),
                "broker.kill" | "broker.stop" | "broker.pause" | "broker.network"
                | "broker.disk_full" => head(store).replace("[\"sim\"]", "[\"kafka\"]"),
                _ => head(store).to_owned(),
            },
            variant.name,
            keys = keys.join("\n")
        );
        let scenario = parse(&text, "x.toml").unwrap_or_else(|p| panic!("{}: {p:?}", variant.name));
        assert_eq!(scenario.faults[0].kind.name(), variant.name);
        let mark = format!("fault.{}", variant.name);
        assert!(names::marks().contains(&mark.as_str()), "{mark} is no mark");
    }
    for variant in keys::ACTIONS.iter().filter(|variant| variant.name != "open") {
        let deadline = match variant.name {
            "flush" | "close" => "deadline = \"1s\"",
            "decode" => {
                "frame = \"00 0a\"
want = \"error\""
            }
            "retain" => "keep = 1",
            _ => "",
        };
        let store = ["delete", "delete_thread", "retain", "second_open"].contains(&variant.name);
        let text = format!(
            "id = \"a/b\"\nsummary = \"s\"\n{}\n[[action]]\nat = \"1s\"\nkind = \
             \"{}\"\n{deadline}",
            head(store),
            variant.name
        );
        let scenario = parse(&text, "x.toml").unwrap_or_else(|p| panic!("{}: {p:?}", variant.name));
        assert_eq!(scenario.actions[0].kind.name(), variant.name);
    }
}

#[test]
fn the_published_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/schema.json");
    let now = format!("{:#}\n", json_schema());
    let published = std::fs::read_to_string(path).unwrap_or_default();
    if published != now && std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &now).expect("the schema can be written");
        return;
    }
    assert!(published == now, "scenarios/schema.json is old: UPDATE_SCHEMA=1 make test writes it");
}

#[test]
fn every_shipped_scenario_is_good() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
    let library = load_dir(std::path::Path::new(dir)).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<String>())
    });
    assert!(!library.is_empty());
}

#[test]
fn a_place_where_a_store_dies_is_read_and_one_that_does_not_exist_is_refused() {
    let text = |store: bool, crash: &str| {
        let crash = format!("[[fault]]\nat = \"1s\"\nkind = \"subject.crash\"\n{crash}");
        format!("id = \"a/b\"\nsummary = \"s\"\n{}\n{crash}", head(store))
    };
    let good = text(true, "during = \"close\"\nphase = \"after sync_dir\"\nnth = 2");
    let scenario = parse(&good, "x.toml").unwrap();
    let phase = Some(Phase { before: false, op: "sync_dir".to_owned() });
    let crash = Crash { during: "close".to_owned(), phase, nth: 2 };
    assert_eq!(scenario.faults[0].kind, FaultKind::SubjectCrash(crash));
    let refused = [
        text(true, "phase = \"after renaming\""),
        text(true, "phase = \"rename\""),
        text(true, "during = \"deletes\""),
        text(true, "nth = 3"),
        text(false, "during = \"save\"\nphase = \"after rename\""),
    ];
    insta::assert_snapshot!(refused.iter().map(|text| messages(text)).collect::<String>());
}

#[test]
fn what_can_never_happen_to_a_store_is_refused_with_the_remedy() {
    let text = |lanes: &str, rest: &str| {
        let head = head(true).replace("[\"disk\"]", lanes);
        format!("id = \"a/b\"\nsummary = \"s\"\n{head}\n{rest}")
    };
    let fault = |lanes: &str, rest: &str| text(lanes, &format!("[[fault]]\nat = \"1s\"\n{rest}"));
    let full = "kind = \"fs.full\"\nfree = \"every\"";
    let disk = "[\"disk\"]";
    let crash = "\n[[fault]]\nat = \"2s\"\nkind = \"subject.crash\"";
    let refused = [
        fault("[\"disk\", \"files\"]", full),
        fault(disk, &format!("{full}{crash}")),
        fault(disk, "kind = \"fs.full\"\nfree = \"evry\""),
        fault("[\"files\"]", "kind = \"clock.back\"\nby = \"1s\""),
        fault(disk, "kind = \"clock.back\"\nby = \"0s\""),
        text("[]", ""),
        text(disk, "[expect]\nreached = [\"acked\"]"),
    ];
    insta::assert_snapshot!(refused.iter().map(|text| messages(text)).collect::<String>());
    assert!(parse(&fault(disk, full), "x.toml").is_ok());
}
