//! A store that makes its ids from a counter that two threads can read before either writes it.

use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::subject::store::{self, Answered, Checkpointer, Given, Listed, Saver, Setup};

/// How long a thread that has read the counter waits for another to read it too: long enough for
/// whoever saves at the same moment, so that the race is lost every time.
const MEET: Duration = Duration::from_millis(200);

pub(super) fn open(setup: Setup) -> Answered<Box<dyn Checkpointer>> {
    // ids of other processes are others': only the race is wrong
    let process = format!("{:016x}", setup.entropy);
    let counter = Arc::new(Counter { process, ..Counter::default() });
    Ok(Box::new(Racing { inner: store::reference(setup)?, counter }))
}

#[derive(Default)]
struct Counter {
    process: String,
    /// The next number, and how many have read it.
    next: Mutex<(u64, u32)>,
    read: Condvar,
}

impl Counter {
    /// An id: loads the number, and stores the next one a moment later.
    fn id(&self) -> String {
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

struct Racing {
    inner: Box<dyn Checkpointer>,
    counter: Arc<Counter>,
}

impl Checkpointer for Racing {
    fn save(&mut self, thread: &str, id: Option<&str>, state: &str) -> Answered<String> {
        let id = id.map_or_else(|| self.counter.id(), str::to_owned);
        self.inner.save(thread, Some(&id), state)
    }

    fn saver(&self) -> Option<Saver> {
        let (counter, save) = (Arc::clone(&self.counter), self.inner.saver()?);
        Some(Arc::new(move |thread, id, state| {
            let id = id.map_or_else(|| counter.id(), str::to_owned);
            save(thread, Some(&id), state)
        }))
    }

    fn load(&mut self, id: &str) -> Answered<Given> {
        self.inner.load(id)
    }

    fn latest(&mut self, thread: &str) -> Answered<Option<Given>> {
        self.inner.latest(thread)
    }

    fn list(&mut self, thread: &str) -> Answered<Vec<Listed>> {
        self.inner.list(thread)
    }

    fn threads(&mut self) -> Answered<Vec<String>> {
        self.inner.threads()
    }

    fn verify(&mut self) -> Answered<Vec<String>> {
        self.inner.verify()
    }

    fn delete(&mut self, id: &str) -> Answered<u64> {
        self.inner.delete(id)
    }

    fn delete_thread(&mut self, thread: &str) -> Answered<u64> {
        self.inner.delete_thread(thread)
    }

    fn retain(&mut self, keep: NonZeroUsize) -> Answered<u64> {
        self.inner.retain(keep)
    }

    fn metrics(&self) -> String {
        self.inner.metrics()
    }

    fn close(self: Box<Self>) {
        self.inner.close();
    }
}
