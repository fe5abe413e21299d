//! What the operating system shows of a process: threads, descriptors, memory.

use std::fs;
use std::path::PathBuf;

use crate::history::{Kind, Recorder, Src};

/// A process at one moment. Each is `None` where the system does not tell (no `/proc`, or gone).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Threads.
    pub threads: Option<i64>,
    /// Open descriptors.
    pub fds: Option<i64>,
    /// Highest resident memory so far, bytes.
    pub memory: Option<i64>,
    /// Times so far that it waited for a page that the system had to read from a disk.
    pub page_ins: Option<i64>,
}

impl Facts {
    /// Reads them from `/proc`.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let entries = |name: &str| {
            fs::read_dir(dir.join(name)).ok().and_then(|d| i64::try_from(d.count()).ok())
        };
        let status = fs::read_to_string(dir.join("status")).unwrap_or_default();
        let stat = fs::read_to_string(dir.join("stat")).unwrap_or_default();
        let (threads, fds) = (entries("task"), entries("fd"));
        Self { threads, fds, memory: high_water(&status), page_ins: major_faults(&stat) }
    }

    /// Records them with `when`: `before` or `after`.
    pub fn record(&self, recorder: &Recorder, when: &str) {
        let facts = [
            ("threads", self.threads),
            ("fds", self.fds),
            ("memory", self.memory),
            ("page_ins", self.page_ins),
        ];
        for (what, value) in facts {
            if let Some(value) = value {
                let (what, text) = (what.to_owned(), when.to_owned());
                recorder.record(Src::Os, Kind::Proc { what, value, text });
            }
        }
    }
}

/// `VmHWM` of a `/proc/PID/status` text, in bytes.
fn high_water(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: i64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Field 12 of a `/proc/PID/stat` text; the second, in parentheses, can hold anything.
fn major_faults(stat: &str) -> Option<i64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_has_threads_descriptors_and_memory() {
        let facts = Facts::of(std::process::id());
        assert!(facts.threads.unwrap() >= 1);
        assert!(facts.fds.unwrap() >= 3);
        assert!(facts.memory.unwrap() > 100_000);
    }

    #[test]
    fn a_process_that_is_gone_has_none() {
        // Process ids stop far below this.
        assert_eq!(Facts::of(u32::MAX), Facts::default());
    }

    #[test]
    fn page_ins_are_read_behind_a_name_that_has_a_parenthesis() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 120 0 33 0 5 6 0 0 20 0 1 0 99";
        assert_eq!(major_faults(stat), Some(33));
        assert_eq!(major_faults("7 (a"), None);
    }

    #[test]
    fn memory_is_the_high_water_mark_in_bytes() {
        assert_eq!(high_water("VmPeak:\t  99 kB\nVmHWM:\t    2048 kB\n"), Some(2_097_152));
        assert_eq!(high_water("Name:\tx\n"), None);
    }
}
