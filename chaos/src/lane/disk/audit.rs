//! Asks a store for everything.

use super::session::Session;
use crate::history::Kind;

/// Name of the line that says that an audit asked for a part only.
pub(crate) const SAMPLED: &str = "audit_sampled";

/// Threads that an audit asks for.
const THREADS: usize = 64;
/// Checkpoints that it asks for, of all threads together.
const LOADS: usize = 512;
/// Above so many checkpoints an audit verifies no files, and asks for fewer.
const LARGE: usize = 2_000;
/// Ids of a thread that are asked for although they are not listed.
const UNLISTED: usize = 4;

impl Session {
    /// For every thread the latest, the list, and a load of each that is listed, and of a few that
    /// are not although they were saved; then what was deleted, the threads, and the health of the
    /// files.
    pub(super) fn audit(&mut self) {
        let all: Vec<String> = self.threads.iter().cloned().collect();
        let large = self.known.len() > LARGE;
        let mut threads = self.drawn(&all, THREADS);
        // what is damaged must be found, and counted
        threads.extend(self.damaged.iter().map(|known| known.thread.clone()));
        threads.sort();
        threads.dedup();
        let most = if large { LOADS / 8 } else { LOADS };
        let loads = (most / threads.len().max(1)).max(1);
        let mut partly = large || threads.len() < all.len();
        for thread in &threads {
            self.latest(thread);
            let listed = self.list(thread);
            let mut ids = self.drawn(&listed, loads);
            partly |= ids.len() < listed.len();
            let damaged = self.damaged.iter().filter(|known| known.thread == *thread);
            let unlisted = self.known.iter().filter(|known| known.thread == *thread);
            let unlisted = unlisted.filter(|known| !listed.contains(&known.id)).rev();
            let more = damaged.chain(unlisted.take(UNLISTED)).map(|known| known.id.clone());
            let more: Vec<String> = more.filter(|id| !ids.contains(id)).collect();
            ids.extend(more);
            for id in &ids {
                self.load(id);
            }
        }
        for id in self.gone.clone() {
            self.load(&id);
        }
        self.list_threads();
        // it reads every file
        if !large {
            self.verify();
        }
        if partly {
            let (what, value) = (SAMPLED.to_owned(), 0);
            let text = format!(
                "{} of {} threads{}",
                threads.len(),
                all.len(),
                if large { ", and no files verified" } else { "" }
            );
            self.recorder.harness(Kind::Proc { what, value, text });
        }
    }

    /// At most so many of them as an audit has time for, drawn by seed, in their order.
    fn drawn(&mut self, all: &[String], most: usize) -> Vec<String> {
        let mut left = all.len();
        let mut wanted = left.min(most);
        let mut chosen = Vec::with_capacity(wanted);
        for one in all {
            // each with the same chance, and as many as are wanted
            if left <= wanted || self.rng.usize(..left) < wanted {
                chosen.push(one.clone());
                wanted -= 1;
            }
            left -= 1;
        }
        chosen
    }
}
