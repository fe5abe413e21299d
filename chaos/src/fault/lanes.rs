//! Which lane can inject which fault.

use crate::scenario::model::{FaultKind, FsFault, LaneName, TopicSel};

/// Says whether the proxy in front of real brokers can inject a fault of this kind.
fn at_proxy(kind: &FaultKind) -> Result<(), &'static str> {
    match kind {
        FaultKind::LeaderMoved { .. } => {
            Err("a proxy cannot move the leaders of the cluster behind it")
        }
        FaultKind::RequestError { api, .. } if !answered_at_proxy(api) => {
            Err("the proxy answers errors for what producers send, and this API is none of it")
        }
        _ => Ok(()),
    }
}

/// Says whether the safe interface of librdkafka's mock cluster can do a fault of this kind.
fn at_mock(kind: &FaultKind) -> Result<(), &'static str> {
    match kind {
        FaultKind::BrokerDown { .. }
        | FaultKind::BrokerFlap { .. }
        | FaultKind::SpoolDamage(_)
        | FaultKind::SubjectCrash(_) => Ok(()),
        FaultKind::BrokerRollingRestart { .. } => {
            Err("the mock cluster knows no controlled shutdown")
        }
        FaultKind::NetLatency { jitter, tail_share, .. } => {
            if jitter.is_zero() && *tail_share <= 0.0 {
                Ok(())
            } else {
                Err("the mock cluster delays all answers alike")
            }
        }
        FaultKind::RequestError { api, topic, count, after_append, .. } => {
            if api != "Produce" {
                Err("nobody sees what the mock cluster does to other requests than Produce")
            } else if *topic != TopicSel::Both {
                Err("the mock cluster refuses requests whatever their topic")
            } else if *after_append {
                Err("the mock cluster refuses before it appends")
            } else if count.is_some() {
                Err("the mock cluster does not say when its errors are used up")
            } else {
                Ok(())
            }
        }
        FaultKind::RequestDelay { .. } => Err("the mock cluster cannot delay one API"),
        FaultKind::MessageMaxBytes { .. } => Err("the mock cluster takes a batch of any size"),
        FaultKind::Throttle { .. } => Err("the mock cluster never throttles"),
        FaultKind::NotEnoughReplicas { .. } => Err("the mock cluster has no in-sync replicas"),
        FaultKind::LeaderMoved { .. }
        | FaultKind::Leaderless { .. }
        | FaultKind::TopicMissing { .. } => {
            Err("nobody sees whether a client met this on the mock cluster")
        }
        _ => Err("the mock cluster has no network of its own to break"),
    }
}

/// APIs whose errors the proxy can make.
fn answered_at_proxy(api: &str) -> bool {
    matches!(api, "Produce" | "Metadata" | "InitProducerId" | "FindCoordinator" | "ApiVersions")
}

/// Says whether a lane can inject a fault of this kind; if not, why.
///
/// # Errors
/// The reason, for a person.
pub fn can_inject(lane: LaneName, kind: &FaultKind) -> Result<(), &'static str> {
    match (lane, kind) {
        (
            LaneName::Disk,
            FaultKind::Fs(_) | FaultKind::SubjectCrash(_) | FaultKind::DiffLost { .. },
        )
        | (LaneName::Files, FaultKind::SubjectCrash(_))
        | (LaneName::Sim, FaultKind::Fs(FsFault::Error { .. } | FsFault::Full { .. }))
        | (
            LaneName::Kafka,
            FaultKind::AclDenied { .. } | FaultKind::TokenStale | FaultKind::Process(_),
        ) => Ok(()),
        (LaneName::Files, FaultKind::Fs(fault)) => match fault {
            FsFault::Error { .. } => {
                Err("a real file system fails when it likes: `disk` breaks it")
            }
            FsFault::ClockBack { .. } | FsFault::ClockForward { .. } => {
                Err("nobody sets the clock of this machine")
            }
            FsFault::FullEvery => Err("a real disk is filled once: `disk` tries every byte count"),
            FsFault::Full { .. }
            | FsFault::Damage { .. }
            | FsFault::Index { .. }
            | FsFault::Leftovers { .. } => Ok(()),
        },
        (LaneName::Sim, FaultKind::Fs(FsFault::FullEvery)) => {
            Err("a cluster is not run once for each number of bytes, as `disk` does with a store")
        }
        (_, FaultKind::Fs(FsFault::Error { .. })) => {
            Err("only sim (a producer's spool) and disk (a store) have calls that fail")
        }
        (_, FaultKind::Fs(FsFault::Full { .. })) => {
            Err("only sim (a producer's spool), disk and files (a store) have a disk to fill")
        }
        (_, FaultKind::Fs(FsFault::FullEvery)) => Err("only disk tries every number of bytes"),
        (_, FaultKind::DiffLost { .. }) => Err("only the disk lane has state diffs to lose"),
        (_, FaultKind::Fs(_)) => Err("only the lanes disk and files have a store to break"),
        (_, FaultKind::AclDenied { .. } | FaultKind::TokenStale) => {
            Err("only the brokers of the lane kafka have users, ACLs and tokens")
        }
        (LaneName::External, FaultKind::Process(_)) => {
            Err("the brokers of a cluster that the user names are nobody's to harm")
        }
        (_, FaultKind::Process(_)) => Err("only the brokers of the lane kafka are processes"),
        // Both speak to the model broker, where every fault of the catalogue lives.
        (LaneName::Sim | LaneName::Wire, _) => Ok(()),
        (LaneName::Disk, _) => Err("the disk lane has no brokers and no network"),
        (LaneName::Files, _) => Err("the files lane has no brokers and no network"),
        (LaneName::Mock, _) => at_mock(kind),
        (LaneName::Kafka | LaneName::External, _) => at_proxy(kind),
    }
}
