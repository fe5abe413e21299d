//! How badly the machine itself stalls: what widens the tolerances of timing laws.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::history::{Kind, Recorder, Src};

/// The beat.
const BEAT: Duration = Duration::from_millis(10);

/// A heartbeat on a thread of its own and one on the harness's runtime, where the model broker
/// lives. Ending it records the worst lateness of both.
pub(super) struct Heartbeat {
    stop: Arc<AtomicBool>,
    worst: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    task: tokio::task::JoinHandle<()>,
}

fn late(since: Instant) -> u64 {
    u64::try_from(since.elapsed().saturating_sub(BEAT).as_micros()).unwrap_or(u64::MAX)
}

impl Heartbeat {
    /// Starts both.
    pub(super) fn start() -> Self {
        let (stop, worst) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task = {
            let worst = Arc::clone(&worst);
            tokio::spawn(async move {
                loop {
                    let before = Instant::now();
                    tokio::time::sleep(BEAT).await;
                    worst.fetch_max(late(before), Ordering::Relaxed);
                }
            })
        };
        let thread = {
            let (stop, worst) = (Arc::clone(&stop), Arc::clone(&worst));
            let beat = move || {
                while !stop.load(Ordering::Relaxed) {
                    let before = Instant::now();
                    std::thread::sleep(BEAT);
                    worst.fetch_max(late(before), Ordering::Relaxed);
                }
            };
            // Without a thread the runtime's beat is measured alone.
            std::thread::Builder::new().name("heartbeat".to_owned()).spawn(beat).ok()
        };
        Self { stop, worst, thread, task }
    }

    /// Ends both and records the worst beat.
    pub(super) fn end(mut self, recorder: &Recorder) {
        self.stop();
        let value = i64::try_from(self.worst.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let (what, text) = ("stall".to_owned(), String::new());
        recorder.record(Src::Os, Kind::Proc { what, value, text });
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.abort();
        // Ends within a beat; nobody waits for it.
        self.thread.take();
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop();
    }
}
