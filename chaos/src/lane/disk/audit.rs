//! Asks a store for everything.

use super::session::Session;

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
        let threads: Vec<String> = self.threads.iter().cloned().collect();
        let threads = self.drawn(threads, THREADS);
        let most = if self.known.len() > LARGE { LOADS / 8 } else { LOADS };
        let loads = (most / threads.len().max(1)).max(1);
        for thread in threads {
            self.latest(&thread);
            let listed = self.list(&thread);
            let asked = self.drawn(listed.clone(), loads);
            let known = self.known.iter().filter(|known| known.thread == thread);
            let unlisted = known.map(|known| &known.id).filter(|id| !listed.contains(id));
            let unlisted: Vec<String> = unlisted.rev().take(UNLISTED).cloned().collect();
            for id in asked.iter().chain(&unlisted) {
                self.load(id);
            }
        }
        for id in self.gone.clone() {
            self.load(&id);
        }
        self.list_threads();
        // it reads every file
        if self.known.len() <= LARGE {
            self.verify();
        }
    }

    /// At most so many of them as an audit has time for, drawn by seed, in their order.
    fn drawn(&mut self, all: Vec<String>, most: usize) -> Vec<String> {
        let mut left = all.len();
        let mut wanted = left.min(most);
        let mut chosen = Vec::with_capacity(wanted);
        for one in all {
            // each with the same chance, and as many as are wanted
            if left <= wanted || self.rng.usize(..left) < wanted {
                chosen.push(one);
                wanted -= 1;
            }
            left -= 1;
        }
        chosen
    }
}
