//! What scenario files say of the processes of brokers, in words.

use super::{brokers, span};
use crate::scenario::model::{Brokers, ProcessFault, Strike};

pub(super) fn fault(fault: &ProcessFault) -> String {
    let whom = match &fault.brokers {
        Brokers::Leader => format!("the leader of partition {}", fault.partition),
        other => brokers(other),
    };
    let what = match fault.strike {
        Strike::Kill => format!("the process of {whom} is killed, and started again"),
        Strike::Stop => format!("{whom} told to stop, and started again"),
        Strike::Pause => format!("the process of {whom} stands still"),
        Strike::Network => format!("no network for {whom}"),
        Strike::DiskFull { log_dirs: 1 } => format!("the disk of {whom} is full"),
        Strike::DiskFull { .. } => {
            format!("the disk of {whom} with partition {} is full", fault.partition)
        }
    };
    let turns = fault.rolling.map_or(String::new(), |(down, up)| {
        format!(", one after the other, down for {} with {} after each", span(down), span(up))
    });
    let spread = if fault.spread.is_zero() {
        String::new()
    } else {
        format!(", up to {} later by seed", span(fault.spread))
    };
    format!("{what}{turns}{spread}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn faults_of_processes_in_words() {
        let second = Duration::from_secs(1);
        let plain = |strike, brokers| ProcessFault {
            strike,
            brokers,
            partition: 1,
            rolling: None,
            spread: Duration::ZERO,
        };
        let turns = Some((second, second * 2));
        let all = [
            ProcessFault { spread: second, ..plain(Strike::Kill, Brokers::Leader) },
            ProcessFault { rolling: turns, ..plain(Strike::Stop, Brokers::All) },
            plain(Strike::Pause, Brokers::Ids(vec![2])),
            plain(Strike::Network, Brokers::Leader),
            plain(Strike::DiskFull { log_dirs: 1 }, Brokers::Leader),
            plain(Strike::DiskFull { log_dirs: 2 }, Brokers::Ids(vec![1])),
        ];
        insta::assert_snapshot!(all.iter().map(|f| format!("{}\n", fault(f))).collect::<String>());
    }
}
