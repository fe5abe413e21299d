//! A counter that two threads can read before either writes it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a thread that has read the counter waits for another to read it too: long enough for
/// whoever saves at the same moment, so that the race is lost every time.
const MEET: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(super) struct Counter {
    process: String,
    /// The next number, and how many have read it.
    next: Mutex<(u64, u32)>,
    read: Condvar,
}

impl Counter {
    /// Ids of other processes are others': only the race is wrong.
    pub(super) fn of(process: u64) -> Self {
        Self { process: format!("{process:016x}"), ..Self::default() }
    }

    /// An id: loads the number, and stores the next one a moment later.
    pub(super) fn id(&self) -> String {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let number = next.0;
        next.1 += 1;
        self.read.notify_all();
        let alone = |next: &mut (u64, u32)| next.0 == number && next.1 < 2;
        let waited = self.read.wait_timeout_while(next, MEET, alone);
        let (mut next, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *next = (number + 1, 0);
        format!("{}-{number}", self.process)
    }
}
