//! The tables that the manual prints.

use crate::oracle::lanes::judging;
use crate::oracle::laws::{self, LAWS, LawId};
use crate::oracle::marks::{MARKS, mark, names};
use crate::oracle::metrics::{LEGAL, SERIES};
use crate::scenario::model::{FaultKind, LaneName, Load, Size, TopicSel};
use dashproof_reference::core::Reason;

pub(super) fn load(events: u32) -> Load {
    Load { events, size: Size::Fixed(10), ..Load::default() }
}

#[test]
fn law_ids_are_unique_and_found_by_name() {
    for (n, law) in LAWS.iter().enumerate() {
        assert!(LAWS.iter().skip(n + 1).all(|other| other.id != law.id));
        assert_eq!(law.id.sentence(), law.sentence);
    }
    assert_eq!(LawId::from_name("D10"), Some(LawId::D10));
    assert_eq!(LawId::from_name("EXPECT"), None, "pseudo-laws cannot be left out");
    assert_eq!(laws::names().count(), 53);
}

#[test]
fn a_law_that_some_lane_judges_has_a_judge_and_no_other() {
    for law in LAWS {
        let judged = LaneName::ALL.iter().any(|lane| judging(law.id, *lane).is_judged());
        assert_eq!(judged, crate::oracle::judge::has_judge(law.id), "{}", law.id);
    }
}

#[test]
fn mark_names_are_unique_and_every_fault_has_one() {
    let all: Vec<&str> = names().collect();
    for (n, name) in all.iter().enumerate() {
        assert!(!all[n + 1..].contains(name), "{name} twice");
    }
    // One kind stands for all: a new one without a mark is found by the scenario checks.
    let kind = FaultKind::Leaderless { topic: TopicSel::Main };
    assert!(mark(&format!("fault.{}", kind.name())).is_some());
    assert!(MARKS.iter().all(|mark| !mark.lanes.is_empty()));
    assert!(mark("retry").unwrap().lanes == [LaneName::Sim]);
}

#[test]
fn the_legal_pairs_use_the_references_reasons_and_all_of_them() {
    for (_, reason) in LEGAL {
        assert!(reason.is_empty() || Reason::ALL.iter().any(|r| r.as_str() == *reason));
    }
    for reason in Reason::ALL {
        let of = |outcome: &str| LEGAL.contains(&(outcome, reason.as_str()));
        assert_eq!(of("rejected"), reason.is_rejection(), "{}", reason.as_str());
        assert_eq!(of("in_doubt"), !reason.is_rejection(), "{}", reason.as_str());
    }
}

#[test]
fn series_names_are_unique() {
    for (n, series) in SERIES.iter().enumerate() {
        assert!(SERIES.iter().skip(n + 1).all(|other| other.name != series.name));
    }
}
