//! Asks a store for everything.

use super::session::Session;

/// Ids of a thread that are asked for although they are not listed.
const UNLISTED: usize = 4;

impl Session {
    /// For every thread the latest, the list, and a load of each that is listed, and of a few that
    /// are not although they were saved; then what was deleted, the threads, and the health of the
    /// files.
    pub(super) fn audit(&mut self) {
        for thread in self.threads.clone() {
            self.latest(&thread);
            let listed = self.list(&thread);
            let known = self.known.iter().filter(|known| known.thread == thread);
            let unlisted = known.map(|known| &known.id).filter(|id| !listed.contains(id));
            let unlisted: Vec<String> = unlisted.rev().take(UNLISTED).cloned().collect();
            for id in listed.iter().chain(&unlisted) {
                self.load(id);
            }
        }
        for id in self.gone.clone() {
            self.load(&id);
        }
        self.list_threads();
        self.verify();
    }
}
