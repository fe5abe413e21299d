//! Asks a store for everything.

use super::session::Session;

impl Session {
    /// For every thread the latest, the list and a load of each that is listed; then the threads,
    /// and the health of the files.
    pub(super) fn audit(&mut self) {
        for thread in self.threads.clone() {
            self.latest(&thread);
            for id in self.list(&thread) {
                self.load(&id);
            }
        }
        self.list_threads();
        self.verify();
    }
}
