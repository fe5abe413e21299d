//! What scenario files say of state diffs, in words.

use crate::scenario::model::{Load, Size, StateLoad, StateSubject};

pub(super) fn subject(subject: &StateSubject) -> String {
    format!(
        "of up to {} bytes, in messages of up to {}, at most {} deep; {} bytes are kept between \
         two, a window of {}",
        subject.max_state_bytes,
        subject.max_diff_bytes,
        subject.max_depth,
        subject.digest_budget_bytes,
        subject.window_bytes
    )
}

pub(super) fn load(load: &Load, states: &StateLoad) -> String {
    let size = match (&load.size, states.shape.as_str()) {
        (Size::Fixed(bytes), _) => format!("{bytes} bytes"),
        (Size::Uniform(min, max), "growing") => format!("{min} bytes growing to {max}"),
        (Size::Uniform(min, max), "alternating") => format!("{min} and {max} bytes in turns"),
        (Size::Uniform(min, max), _) => format!("{min} to {max} bytes"),
    };
    let twice = if states.shape == "repeating" { ", each twice" } else { "" };
    let pace = load.rate.map_or("one per millisecond".to_owned(), |r| format!("{r} per second"));
    let threads =
        if load.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", load.threads) };
    let (count, each) = (states.count, format!("{size}{twice}"));
    let mut out = match count {
        1 => format!("a state of {each} is diffed"),
        _ => format!("{count} states of {each} are diffed on {threads}, {pace}"),
    };
    let which = match states.every {
        1 => "each".to_owned(),
        2 => "every second one".to_owned(),
        n => format!("every {n}th"),
    };
    if let Some(depth) = states.depth {
        out.push_str(&format!("; {which} is {depth} levels deep"));
    }
    if let Some(defect) = &states.defect {
        let what = match defect.as_str() {
            "unserialisable" => "refuses to be serialised",
            "non_string_key" => "holds a map whose keys are pairs",
            _ => "holds a NaN",
        };
        out.push_str(&format!("; {which} {what}"));
    }
    out
}

pub(super) fn lost(count: u32, reported_after: u32) -> String {
    let told = match reported_after {
        0 => "the sender is told at once".to_owned(),
        1 => "the sender is told a state later".to_owned(),
        n => format!("the sender is told {n} states later"),
    };
    let which = match count {
        1 => "the next message with a diff is".to_owned(),
        n => format!("the next {n} messages with a diff are"),
    };
    format!("{which} not delivered, and {told}")
}
