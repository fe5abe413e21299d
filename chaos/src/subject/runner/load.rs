//! Offering events.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;
use tokio::time::{Duration, sleep};

use super::board::{Gate, Sending};
use super::{Director, text};
use crate::history::{EventId, Kind, Src};
use crate::scenario::model::{Load, Size};
use crate::subject::protocol::{EventSpec, Op};

/// Length of the text that fillers are cut from.
const FILLER: usize = 1 << 16;

/// An event that is offered later than this after its time had to wait for the producer.
const HELD_UP_US: u64 = 250_000;

/// Text that compresses about as well as prose, the same for the same seed.
pub(super) fn filler(seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut text = String::with_capacity(FILLER + 16);
    while text.len() < FILLER {
        for _ in 0..rng.usize(2..9) {
            text.push(rng.lowercase());
        }
        text.push(' ');
    }
    text
}

/// Randomness of one event, the same in every incarnation.
fn event_rng(seed: u64, event: EventId) -> fastrand::Rng {
    let id = u64::from(event.load) << 32 | u64::from(event.n);
    fastrand::Rng::with_seed(seed ^ id.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl Director {
    /// Starts (or, after a crash, starts again) the threads of a load.
    pub(super) fn offer(self: &Arc<Self>, load: usize) {
        let now_us = self.now_us();
        let threads: Vec<usize> = {
            let mut board = self.board();
            let Some(progress) = board.loads.get_mut(load) else { return };
            progress.began_us.get_or_insert(now_us);
            (0..).zip(&progress.threads).filter(|(_, t)| !t.done).map(|(i, _)| i).collect()
        };
        for thread in threads {
            let this = self.clone();
            self.stage.control.spawn(Box::pin(async move {
                this.offer_thread(load, thread).await;
                let mut board = this.board();
                let threads = board.loads.get_mut(load).map(|progress| &mut progress.threads);
                if let Some(thread) = threads.and_then(|threads| threads.get_mut(thread)) {
                    thread.done = true;
                }
                drop(board);
                this.changed.notify_waiters();
            }));
        }
    }

    /// One thread: events `thread`, `thread + threads`, … one after the other.
    async fn offer_thread(&self, index: usize, thread: usize) {
        let Some(load) = self.stage.scenario.loads.get(index) else { return };
        let mut late_us = 0;
        loop {
            let Some((offered, began_us)) = self.progress(index, thread) else { return };
            let n = thread as u64 + u64::from(offered) * u64::from(load.threads);
            if n >= u64::from(load.events) {
                return;
            }
            let slot_us = began_us + slot_us(load, n);
            self.sleep_until_us(slot_us + late_us).await;
            if !self.pass(load.handle).await {
                return;
            }
            // A load that had to wait for a producer goes on at its own pace; one that a busy
            // machine held up catches up, or it would not be through before the next action.
            if load.rate.is_some() && self.now_us() > slot_us + late_us + HELD_UP_US {
                late_us = self.now_us().saturating_sub(slot_us);
            }
            let event = EventId {
                load: u16::try_from(index).unwrap_or(u16::MAX),
                n: u32::try_from(n).unwrap_or(u32::MAX),
            };
            while !self.fits() {
                sleep(Duration::from_millis(1)).await;
            }
            self.send(load, event, thread).await;
        }
    }

    fn fits(&self) -> bool {
        let now_us = self.now_us();
        self.board().fits(now_us)
    }

    fn progress(&self, load: usize, thread: usize) -> Option<(u32, u64)> {
        let board = self.board();
        let progress = board.loads.get(load)?;
        Some((progress.threads.get(thread)?.offered, progress.began_us?))
    }

    /// Waits until the handle may be used; false when it never will.
    async fn pass(&self, handle: u32) -> bool {
        self.until(|board| board.gate(handle) != Gate::Wait).await;
        self.board().gate(handle) == Gate::Go
    }

    /// Offers one event and waits for the answer, unless it is cancelled first.
    async fn send(&self, load: &Load, event: EventId, thread: usize) {
        let spec = self.spec(load, event, thread);
        let recorder = &self.stage.recorder;
        let bytes = (self.stage.measure)(&spec);
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let cancel = Arc::new(Notify::new());
        {
            let mut board = self.board();
            board.offered += 1;
            let since_us = recorder.now_us();
            board.sends.insert(id, Sending { cancel: cancel.clone(), event, since_us, line: 0 });
            let threads = board.loads.get_mut(event.load as usize).map(|p| &mut p.threads);
            if let Some(thread) = threads.and_then(|threads| threads.get_mut(thread)) {
                thread.offered += 1;
            }
        }
        recorder.harness(Kind::Offered { event, thread: spec.thread.as_str().into(), bytes });
        let op = || "send".to_owned();
        let call = Kind::Call { id, op: op(), deadline_us: None, event: Some(event) };
        let line = recorder.place(Src::Harness, call).map_or(0, |n| n + 1);
        if let Some(sending) = self.board().sends.get_mut(&id) {
            sending.line = line;
        }
        self.changed.notify_waiters();
        let call = self.stage.subject.call(Op::Send { handle: load.handle, spec });
        let answer = tokio::select! {
            biased;
            answer = call => Some(answer),
            () = cancel.notified() => None,
        };
        let (error, why) = if let Some(answer) = answer {
            let error = answer.err();
            (error.as_ref().map(text), error.and_then(|error| error.why))
        } else {
            self.cancelled(event);
            (Some("cancelled".to_owned()), None)
        };
        let answer = serde_json::Value::Null;
        recorder.harness(Kind::Return { id, op: op(), error, why, answer });
        self.board().sends.remove(&id);
        self.changed.notify_waiters();
    }

    /// The future of a send was dropped.
    fn cancelled(&self, event: EventId) {
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let op = || "cancel".to_owned();
        let recorder = &self.stage.recorder;
        recorder.harness(Kind::Call { id, op: op(), deadline_us: None, event: Some(event) });
        let answer = serde_json::Value::Null;
        recorder.harness(Kind::Return { id, op: op(), error: None, why: None, answer });
    }

    fn spec(&self, load: &Load, event: EventId, thread: usize) -> EventSpec {
        let mut rng = event_rng(self.stage.seed, event);
        let size = match load.size {
            Size::Fixed(size) => size,
            Size::Uniform(low, high) => rng.usize(low..=high.max(low)),
        };
        let id = event.message_id(self.stage.run);
        EventSpec {
            event,
            message_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            thread: format!("t{thread}"),
            message: load.message.clone(),
            fill: self.fill(&mut rng, size),
        }
    }

    /// A stretch of the filler, which is ASCII; long ones repeat it.
    fn fill(&self, rng: &mut fastrand::Rng, size: usize) -> String {
        let start = rng.usize(..FILLER);
        let mut fill = String::with_capacity(size);
        let mut piece = self.filler.get(start..).unwrap_or_default();
        while fill.len() < size {
            let take = piece.len().min(size - fill.len());
            fill.push_str(piece.get(..take).unwrap_or_default());
            piece = &self.filler;
        }
        fill
    }
}

/// Microseconds from the load's beginning to its n-th event.
fn slot_us(load: &Load, n: u64) -> u64 {
    match load.rate {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a load is shorter than 2^52 microseconds, and rates are positive"
        )]
        Some(rate) if rate > 0.0 => (n as f64 * 1e6 / rate) as u64,
        _ => 0,
    }
}
