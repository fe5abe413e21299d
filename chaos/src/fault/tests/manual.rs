use super::*;
use crate::fault::can_inject;
use crate::fault::proxy::{ON_BYTES, applies_to_bytes};
use crate::scenario::model::{FsFault, LaneName, ProcessFault, Strike};

/// Rows of the catalogue: kind and lanes.
fn rows() -> Vec<(&'static str, &'static str)> {
    let page = include_str!("../../manual/faults.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split_once("` | "));
    cells.map(|(kind, rest)| (kind, rest.split(" |").next().unwrap())).collect()
}

fn process(strike: Strike) -> FaultKind {
    FaultKind::Process(ProcessFault {
        strike,
        brokers: Brokers::Leader,
        partition: 0,
        rolling: None,
        spread: Duration::ZERO,
    })
}

/// A new kind makes this match, and so the manual, incomplete.
const fn known(kind: &FaultKind) {
    match kind {
        FaultKind::BrokerDown { .. }
        | FaultKind::BrokerFlap { .. }
        | FaultKind::BrokerRollingRestart { .. }
        | FaultKind::MessageMaxBytes { .. }
        | FaultKind::Throttle { .. }
        | FaultKind::NetPartition { .. }
        | FaultKind::NetReset { .. }
        | FaultKind::NetCutFrame { .. }
        | FaultKind::NetConnectBlackhole { .. }
        | FaultKind::NetLatency { .. }
        | FaultKind::Link(
            LinkFault::Slice { .. } | LinkFault::Bandwidth { .. } | LinkFault::Flip { .. },
        )
        | FaultKind::Process(ProcessFault {
            strike:
                Strike::Kill | Strike::Stop | Strike::Pause | Strike::Network | Strike::DiskFull { .. },
            ..
        })
        | FaultKind::LeaderMoved { .. }
        | FaultKind::Leaderless { .. }
        | FaultKind::NotEnoughReplicas { .. }
        | FaultKind::TopicMissing { .. }
        | FaultKind::RequestError { .. }
        | FaultKind::RequestDelay { .. }
        | FaultKind::SpoolDamage(_)
        | FaultKind::SubjectCrash(_)
        | FaultKind::Fs(
            FsFault::Error { .. }
            | FsFault::Full { .. }
            | FsFault::FullEvery
            | FsFault::Damage { .. }
            | FsFault::Index { .. }
            | FsFault::Leftovers { .. }
            | FsFault::ClockBack { .. }
            | FsFault::ClockForward { .. },
        )
        | FaultKind::AclDenied { .. }
        | FaultKind::TokenStale
        | FaultKind::DiffLost { .. } => {}
    }
}

/// One fault of every kind.
pub(crate) fn kinds() -> Vec<FaultKind> {
    // In the form that most lanes can do.
    let (brokers, topic, time) = (Brokers::All, TopicSel::Main, Duration::from_secs(1));
    let (api, count) = ("Produce".to_owned(), Some(1));
    let all = vec![
        FaultKind::BrokerDown { brokers: brokers.clone() },
        FaultKind::BrokerFlap { brokers: brokers.clone(), down: time, up: time },
        FaultKind::BrokerRollingRestart { down: time, up: time },
        FaultKind::MessageMaxBytes { topic, bytes: 1 },
        FaultKind::Throttle { delay: time },
        FaultKind::NetPartition { brokers: brokers.clone(), requests: true, responses: true },
        FaultKind::NetReset { brokers: brokers.clone() },
        FaultKind::NetCutFrame { brokers: brokers.clone(), bytes: 1, count: 1 },
        FaultKind::NetConnectBlackhole { brokers: brokers.clone() },
        FaultKind::NetLatency {
            brokers,
            base: time,
            jitter: Duration::ZERO,
            tail: time,
            tail_share: 0.0,
        },
        FaultKind::Link(LinkFault::Slice { brokers: Brokers::All }),
        FaultKind::Link(LinkFault::Bandwidth { brokers: Brokers::All, bytes_per_second: 1 }),
        FaultKind::Link(LinkFault::Flip { brokers: Brokers::All, request: true, nth: 1, count: 1 }),
        process(Strike::Kill),
        process(Strike::Stop),
        process(Strike::Pause),
        process(Strike::Network),
        process(Strike::DiskFull { log_dirs: 1 }),
        FaultKind::LeaderMoved { topic },
        FaultKind::Leaderless { topic },
        FaultKind::NotEnoughReplicas { topic, after_append: false },
        FaultKind::AclDenied { topic },
        FaultKind::TokenStale,
        FaultKind::TopicMissing { topic },
        FaultKind::RequestError {
            api: api.clone(),
            code: 1,
            count: None,
            topic: TopicSel::Both,
            after_append: false,
        },
        FaultKind::RequestDelay { api, delay: time, count, topic },
        FaultKind::SpoolDamage(crate::scenario::model::SpoolDamage::TornTail),
        FaultKind::SubjectCrash(crate::scenario::model::Crash::default()),
        FaultKind::Fs(FsFault::Error {
            op: "sync".into(),
            error: "EIO".into(),
            nth: 1,
            from_then_on: false,
        }),
        FaultKind::Fs(FsFault::Full { free: 1 }),
        FaultKind::Fs(FsFault::FullEvery),
        FaultKind::Fs(FsFault::Damage { file: "newest".into(), how: "bit".into() }),
        FaultKind::Fs(FsFault::Index { how: "bit".into() }),
        FaultKind::Fs(FsFault::Leftovers { count: 1 }),
        FaultKind::Fs(FsFault::ClockBack { by: time }),
        FaultKind::Fs(FsFault::ClockForward { by: time }),
        FaultKind::DiffLost { count: 1, reported_after: 0 },
    ];
    all.iter().for_each(known);
    all
}

#[test]
fn what_is_said_to_be_done_to_bytes_is_what_can_be() {
    let able = kinds().into_iter().filter(|kind| applies_to_bytes(kind).is_ok());
    let elsewhere = ["broker.rolling_restart", "spool.damage", "subject.crash"];
    let names = able.map(|kind| kind.name()).filter(|name| !elsewhere.contains(name));
    assert_eq!(names.collect::<Vec<_>>(), ON_BYTES);
}

#[test]
fn the_manual_has_one_row_for_every_kind_with_the_lanes_that_inject_it() {
    let expected: Vec<(&str, String)> = kinds()
        .iter()
        .map(|kind| {
            let able = |lane: &&LaneName| can_inject(**lane, kind).is_ok();
            let lanes: Vec<_> = LaneName::ALL.iter().filter(able).map(|l| l.as_str()).collect();
            (kind.name(), lanes.join(", "))
        })
        .collect();
    let rows: Vec<(&str, String)> = rows().into_iter().map(|(k, l)| (k, l.to_owned())).collect();
    assert_eq!(rows, expected);
}
