use std::time::Duration;

use super::*;
use crate::lane::SubjectSpec;
use crate::scenario::model::{Action, At, Load, Size};

fn action(kind: ActionKind) -> Action {
    Action { at: At::Time(Duration::ZERO), kind }
}

fn load() -> Load {
    Load { events: 1, size: Size::Fixed(1), ..Load::default() }
}

#[test]
fn a_scenario_needs_what_its_actions_do_and_the_close_that_is_added() {
    let mut scenario = Scenario::default();
    assert_eq!(needed(&scenario), BTreeSet::from(["open", "close"]));
    scenario.loads.push(load());
    scenario.actions.push(action(ActionKind::Drop { handle: 0 }));
    scenario.actions.push(action(ActionKind::Cancel));
    scenario.actions.push(action(ActionKind::UnknownOperation));
    assert_eq!(needed(&scenario), BTreeSet::from(["open", "send", "drop", "cancel"]));
}

#[test]
fn what_is_not_declared_is_missing() {
    let needed = BTreeSet::from(["open", "send", "flush"]);
    let declared = ["open".to_owned(), "send".to_owned()];
    assert_eq!(missing(&needed, &declared), BTreeSet::from(["flush"]));
}

#[test]
fn the_reference_declares_everything_that_a_scenario_can_need() {
    let mut scenario = Scenario { loads: vec![load()], ..Scenario::default() };
    let deadline = Duration::ZERO;
    for kind in [
        ActionKind::Open,
        ActionKind::Flush { deadline },
        ActionKind::Close { deadline },
        ActionKind::Clone,
        ActionKind::Drop { handle: 0 },
        ActionKind::Cancel,
        ActionKind::PanicCallback,
        ActionKind::Metrics,
    ] {
        scenario.actions.push(action(kind));
    }
    let declared = crate::subject::reference::CAPABILITIES.map(str::to_owned);
    assert_eq!(missing(&needed(&scenario), &declared), BTreeSet::new());
}

#[test]
fn a_saboteur_runs_in_the_child_and_a_driver_is_its_own_command() {
    let driver = vec!["my-driver".to_owned(), "--fast".to_owned()];
    assert_eq!(command(&SubjectSpec::Driver(driver.clone())).unwrap(), driver);
}
