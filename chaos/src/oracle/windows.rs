//! When a fault was in force, when an event was open, and whether the two met.

use super::index::{At, Event, Index};

/// From one time to another, both included, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) begin: u64,
    pub(super) end: u64,
}

impl Window {
    pub(super) fn meets(self, other: Self) -> bool {
        self.begin <= other.end && other.begin <= self.end
    }
}

/// From its offer to its last outcome; without end where it has none.
pub(super) fn life(index: &Index<'_>, event: &Event) -> Option<Window> {
    let begin = event.offered?.t_us;
    let end = index.disposition(event).map_or(u64::MAX, |(at, _)| at.t_us);
    Some(Window { begin, end: end.max(begin) })
}

/// While a fault was in force. One that nobody lifts lasts for ever. In real time the subject may
/// hear of both ends later than the harness, by as much as the machine stands still.
pub(super) fn faults(index: &Index<'_>) -> Vec<Window> {
    let stall_us = if index.lane.is_real_time() { index.standstill_us() } else { 0 };
    let window = |begin: At, end: Option<At>| Window {
        begin: begin.t_us,
        end: end.map_or(u64::MAX, |end| end.t_us.saturating_add(stall_us)),
    };
    index.faults.values().filter_map(|seen| Some(window(seen.begin?, seen.end))).collect()
}

/// Where the application itself cut what was under way: how far it had come is a matter of time.
pub(super) fn cuts(index: &Index<'_>) -> Vec<Window> {
    let cuts = index.calls.iter().filter(|call| matches!(call.op, "close" | "drop" | "cancel"));
    cuts.map(|call| Window { begin: call.at.t_us, end: call.at.t_us }).collect()
}

/// Slots of the offered events that time decides about: those that were open while a fault was in
/// force or where the application cut them, and those that came while such a one was still open,
/// for they stand behind it.
pub(super) fn touched(index: &Index<'_>) -> Vec<usize> {
    let mut harmed: Vec<Window> = faults(index).into_iter().chain(cuts(index)).collect();
    harmed.sort_by_key(|window| window.begin);
    let lives = index.events.iter().enumerate();
    let mut lives: Vec<(usize, Window)> =
        lives.filter_map(|(slot, event)| Some((slot, life(index, event)?))).collect();
    lives.sort_by_key(|(_, life)| life.begin);
    let (mut behind, mut touched) = (0, Vec::new());
    for (slot, life) in lives {
        let direct = harmed.iter().take_while(|w| w.begin <= life.end).any(|w| w.meets(life));
        if direct || life.begin < behind {
            behind = behind.max(life.end);
            touched.push(slot);
        }
    }
    touched
}
