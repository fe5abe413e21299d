//! What a reader of a broken `agreement.toml` is told, and what a good one becomes.

use super::whole;
use crate::scenario::model::LaneName;
use crate::scenario::{Explanation, load_dir, load_explanations, load_file, parse};

/// A family with the whole example, and this file of explanations.
fn family(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let outage = dir.path().join("outage");
    std::fs::create_dir(&outage).unwrap();
    std::fs::write(outage.join("example.toml"), whole()).unwrap();
    std::fs::write(outage.join("agreement.toml"), text).unwrap();
    dir
}

fn read(text: &str) -> Result<Vec<Explanation>, String> {
    let dir = family(text);
    load_explanations(&dir.path().join("outage/agreement.toml")).map_err(|problems| {
        let all: String = problems.iter().map(ToString::to_string).collect();
        all.replace(&*dir.path().to_string_lossy(), "scenarios")
    })
}

const GOOD: &str = r#"
[[difference]]
id = "outage/example"
lanes = ["wire", "sim"]
field = "class/dropped/deadline"
reason = "it is so"
"#;

#[test]
fn an_explanation_names_scenario_lanes_field_and_reason() {
    let explanations = read(GOOD).unwrap();
    let [one] = explanations.as_slice() else { panic!("{explanations:?}") };
    assert_eq!((one.id.as_str(), one.field.as_str()), ("outage/example", "class/dropped/deadline"));
    assert_eq!((one.lanes, one.line), ([LaneName::Sim, LaneName::Wire], 2));
    assert_eq!(one.reason, "it is so");
}

#[test]
fn a_folder_with_explanations_is_a_library_of_scenarios_alone() {
    assert_eq!(load_dir(family(GOOD).path()).unwrap().len(), 1);
}

#[test]
fn a_folder_with_broken_explanations_is_refused() {
    let dir = family(&GOOD.replace("reason", "because"));
    let problems = load_dir(dir.path()).unwrap_err();
    assert!(problems.iter().any(|p| p.message.contains("unknown key `because`")), "{problems:?}");
}

#[test]
fn an_explanation_that_fits_nothing_is_refused_with_its_place() {
    let broken = [
        GOOD.replace("lanes", "lane"),
        GOOD.replace("outage/example", "outage/exampl"),
        GOOD.replace("outage/example", "dlq/example"),
        GOOD.replace("\"sim\"", "\"simm\""),
        GOOD.replace("\"sim\"", "\"kafka\""),
        GOOD.replace(", \"sim\"", ""),
        GOOD.replace("class/dropped", "class/droped"),
        GOOD.replace("class/dropped/deadline", "load/7/acked"),
        GOOD.replace("it is so", " "),
        format!("{GOOD}{GOOD}"),
    ];
    let told: Vec<String> = broken.iter().map(|text| read(text).unwrap_err()).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn how_far_lanes_may_differ_is_read() {
    let within = |text: &str| {
        let text = whole().replace("[expect]", &format!("[expect]\nagree = {{ {text} }}"));
        parse(&text, "scenarios/outage/example.toml")
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<String>())
    };
    let agree = within("acked = \"±5%\", \"dropped/deadline\" = \"±3\"").unwrap().expect.agree;
    let told: Vec<String> = agree.iter().map(|(key, within)| format!("{key} {within}")).collect();
    assert_eq!(told, ["acked ±5%", "dropped/deadline ±3"]);
    let broken = ["acked = \"5%\"", "acked = \"±500%\"", "acked = 5", "ackd = \"±5%\""];
    let told: Vec<String> = broken.iter().map(|text| within(text).unwrap_err()).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_scenario_cannot_be_named_like_the_explanations() {
    let dir = family(&whole().replace("outage/example", "outage/agreement"));
    assert!(load_dir(dir.path()).is_err());
    assert!(load_file(&dir.path().join("outage/example.toml")).is_ok());
}
