use std::collections::BTreeSet;

use super::*;

#[test]
fn names_are_unique_and_found() {
    let names: BTreeSet<_> = all().map(|s| s.name).collect();
    assert_eq!(names.len(), all().count());
    for saboteur in all() {
        assert_eq!(find(saboteur.name).map(|s| s.about), Some(saboteur.about));
    }
    assert!(find("nobody").is_none());
}

#[test]
fn every_saboteur_names_scenarios_and_a_rule_and_says_what_it_does() {
    for saboteur in all() {
        assert!(!saboteur.scenarios.is_empty(), "{}", saboteur.name);
        assert!(!saboteur.rule.is_empty(), "{} says no rule that catches it", saboteur.name);
        assert!(saboteur.about.len() > 10, "{}", saboteur.name);
    }
}
