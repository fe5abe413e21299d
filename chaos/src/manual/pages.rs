//! The pages about scenario files and the command line, held against the code.

use clap::CommandFactory;

use crate::exit;
use crate::scenario::kinds;

/// The cells of the table rows of a page.
fn rows(page: &str) -> Vec<Vec<String>> {
    page.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("|--"))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
        })
        .collect()
}

#[test]
fn the_exit_codes_of_the_page_are_those_of_the_code() {
    let rows = rows(include_str!("cli.md"));
    let told: Vec<_> = rows.iter().filter(|row| row[0].parse::<u8>().is_ok()).collect();
    assert_eq!(told.len(), exit::TABLE.len());
    for (told, code) in told.iter().zip(exit::TABLE) {
        assert_eq!(told[0], code.code.to_string());
        assert_eq!((told[1].as_str(), told[2].as_str()), (code.name, code.meaning));
    }
    let order: Vec<String> = exit::PRECEDENCE.iter().map(ToString::to_string).collect();
    let sentence = format!("wins: {}, in this order", order.join(", "));
    assert!(include_str!("cli.md").contains(&sentence), "{sentence}");
}

#[test]
fn every_verb_is_on_the_page() {
    let rows = rows(include_str!("cli.md"));
    let command = crate::cli::Cli::command();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = verb.get_name();
        assert!(rows.iter().any(|row| row[0] == name), "{name} is not on the page");
    }
}

#[test]
fn every_kind_of_fault_and_action_is_on_the_page_with_its_keys() {
    let rows = rows(include_str!("scenarios.md"));
    for (kind, keys) in kinds() {
        let row = rows.iter().find(|row| row[0] == kind);
        let row = row.unwrap_or_else(|| panic!("{kind} is not on the page"));
        for key in keys.iter().filter(|key| **key != "for") {
            assert!(row[1].contains(&key.to_string()), "{kind}: {key} is not on the page");
        }
    }
}

#[test]
fn the_example_of_the_page_is_a_good_scenario() {
    let page = include_str!("scenarios.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let parsed = crate::scenario::parse(example.unwrap(), "scenarios.md");
    assert!(parsed.is_ok(), "{:?}", parsed.err());
}
