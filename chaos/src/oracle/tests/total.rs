//! Judging never panics and depends on nothing but the lines.

use proptest::prelude::*;

use super::story::*;
use crate::history::reader::tests::histories;
use crate::history::{Kind, Line, Src};
use crate::oracle::judge;
use serde_json::json;

/// A lively history: retries, dead letters, a crash, a second incarnation, scrapes.
fn lively() -> Story {
    let mut s = Story::new().producer(json!({ "retry": { "max_attempts": 2 } }));
    s.scrape(false);
    for n in 0..6 {
        s.at(10 + u64::from(n)).offered_by(n, ["a", "b"][n as usize % 2], 100).accepted(n);
    }
    s.at(30).sent(0).sent(1);
    let attempt = s.at(31).attempt(Main, 2);
    s.at(40).failed(attempt, Main, -195, Possibly).at(41).buried(2, "unconfirmed", Possibly);
    let attempt = s.at(42).attempt(Main, 3);
    s.refused(attempt, Main, -184);
    let flush = s.at(45).call("flush", Some(20));
    s.at(50).returned(flush, "flush", Some("pending: 3"));
    s.proc(Src::Os, "stall", 3000, "").scrape(false);
    s.at(60).proc(Src::Os, "crash", 0, "");
    for n in 3..6 {
        let outcome = crate::history::Outcome::LostInCrash;
        s.truth(Kind::Outcome { event: id(n), outcome, why: None });
    }
    s.reopen().at(70).offered_by(7, "a", 100).accepted(7).sent(7).at(80).close();
    s
}

/// Leaves lines out, doubles and swaps them, and moves their times and incarnations.
fn mangle(mut lines: Vec<Line>, edits: &[(u8, prop::sample::Index, u64)]) -> Vec<Line> {
    for (what, index, value) in edits {
        if lines.is_empty() {
            break;
        }
        let at = index.index(lines.len());
        match what % 6 {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let other = usize::try_from(*value).unwrap_or(0) % lines.len();
                lines.swap(at, other);
            }
            3 => lines[at].t_us = *value,
            4 => lines[at].inc = u32::try_from(value % 4).unwrap_or(0),
            _ => lines[at].src = Src::Subject,
        }
    }
    lines
}

proptest! {
    #[test]
    fn any_lines_at_all_are_judged(lines in histories()) {
        let scenario = Story::new().scenario;
        prop_assert_eq!(judge(&lines, &scenario), judge(&lines, &scenario));
    }

    #[test]
    fn a_mangled_history_is_judged(
        edits in prop::collection::vec((any::<u8>(), any::<prop::sample::Index>(), any::<u64>()), 0..12)
    ) {
        let story = lively();
        let judgement = judge(&mangle(story.lines(), &edits), &story.scenario);
        let text: Vec<String> = judgement.violations.iter().map(ToString::to_string).collect();
        prop_assert!(text.iter().all(|text| text.contains("reproduce")));
    }

    #[test]
    fn any_text_is_read_as_a_scrape_or_refused(text in "\\PC{0,80}(\n\\PC{0,40}){0,3}") {
        let _ = crate::oracle::metrics::text::parse(&text);
    }
}
