//! What scenario files say of stores, in words.

use super::span;
use crate::scenario::model::{CheckpointSubject, Crash, FsFault, Load, StoreAction};

pub(super) fn subject(subject: &CheckpointSubject) -> String {
    let variant = match subject.variant.as_str() {
        "each" => "checkpointers of each variant in turn, by seed".to_owned(),
        variant => format!("the checkpointer `{variant}`"),
    };
    match subject.keep_newest {
        None => variant,
        Some(n) => format!("{variant}, which keeps the newest {n} of each thread"),
    }
}

pub(super) fn load(load: &Load, size: &str) -> String {
    let pace = load.rate.map_or("one per millisecond".to_owned(), |r| format!("{r} per second"));
    let threads =
        if load.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", load.threads) };
    let ids = match load.ids.as_str() {
        "hostile" => ", under hostile thread ids and ids",
        "taken" => ", each twice under one id",
        _ => "",
    };
    let when = match load.dated.as_str() {
        "past" => ", dated from 1970 on",
        "future" => ", dated from 2100 on",
        _ => "",
    };
    let by = match load.writer.as_str() {
        "subject" if load.at_once => "one of each thread at the same moment".to_owned(),
        "subject" => pace,
        "earlier" => "by the subject itself, before the run".to_owned(),
        old => format!("as {old} wrote them, before the run{when}"),
    };
    format!("{} states of {size} are saved on {threads}, {by}{ids}", load.saves)
}

/// Where the process dies.
pub(super) fn crash(crash: &Crash) -> String {
    if *crash == Crash::default() {
        return "the process is killed".to_owned();
    }
    let during = format!("the process is killed in `{}`", crash.during);
    match (&crash.phase, crash.nth) {
        (None, _) => during,
        (Some(phase), 1) => format!("{during}, {}", phase.name()),
        (Some(phase), nth) => format!("{during}, {} number {nth}", phase.name()),
    }
}

pub(super) fn fault(fault: &FsFault) -> String {
    match fault {
        FsFault::Error { op, error, nth, from_then_on } => {
            let which = if *nth == 1 { "the next".to_owned() } else { format!("the {nth}th next") };
            let then = if *from_then_on { ", and every later one," } else { "" };
            match error.as_str() {
                "short" => format!("{which} {op}{then} takes half of the bytes"),
                "lost_pages" => format!("{which} {op}{then} fails, and its bytes are gone"),
                error => format!("{which} {op}{then} fails with {error}"),
            }
        }
        FsFault::FullEvery => "the file system takes no more than n bytes: the run is played for \
            every n that is too few for it, and once more with enough"
            .to_owned(),
        FsFault::Full { free } => format!("the file system takes {free} more bytes"),
        FsFault::Damage { file, how } => {
            let which = match file.as_str() {
                "all" => "every checkpoint file".to_owned(),
                file => format!("the {file} checkpoint file"),
            };
            let what = match how.as_str() {
                "bit" => "has a bit flipped",
                "cut" => "is cut in half",
                "empty" => "is emptied",
                "zeros" => "is filled with zeros",
                "trailing" => "gets bytes behind its end",
                "deleted" => "is deleted",
                _ => "is one of a newer format",
            };
            format!("{which} {what}")
        }
        FsFault::Index { how } => match how.as_str() {
            "missing" => "the index is deleted".to_owned(),
            "stale" => "the index is the one of an earlier open".to_owned(),
            "foreign" => "the index is another directory's".to_owned(),
            "names_missing" => "the index names a file that is not there".to_owned(),
            how => format!("the index is damaged: {how}"),
        },
        FsFault::Leftovers { count } => {
            format!("{count} temporary files of an interrupted process lie in the directory")
        }
        FsFault::ClockBack { by } => format!("the wall clock is set back by {}", span(*by)),
        FsFault::ClockForward { by } => format!("the wall clock is set forward by {}", span(*by)),
    }
}

pub(super) fn action(action: &StoreAction) -> String {
    match action {
        StoreAction::Delete { newest: true } => "the first thread's newest is deleted".to_owned(),
        StoreAction::Delete { newest: false } => "the first thread's oldest is deleted".to_owned(),
        StoreAction::DeleteThread => "the first thread is deleted".to_owned(),
        StoreAction::Retain { keep } => format!("all but the newest {keep} of each thread go"),
        StoreAction::SecondOpen => "another store is opened on the same directory".to_owned(),
    }
}
