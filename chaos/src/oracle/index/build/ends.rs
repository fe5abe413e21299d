//! Calls and what happens to the process: how incarnations end.

use super::Builder;
use crate::history::{EventId, Src};
use crate::oracle::index::{At, Call, Returned};

impl<'a> Builder<'a> {
    fn ending(&mut self, at: At, inc: usize, by_close: bool) {
        if let Some(inc) = self.index.incs.get_mut(inc)
            && inc.end_called.is_none()
        {
            inc.end_called = Some(at);
            inc.by_close = by_close;
        }
    }

    pub(super) fn called(
        &mut self,
        at: At,
        inc: usize,
        id: u64,
        op: &'a str,
        deadline_us: Option<u64>,
        event: Option<EventId>,
    ) {
        match (op, event) {
            // Offers tell the same, and there are many.
            ("send", _) => return,
            ("close", _) => self.ending(at, inc, true),
            ("drop", _) => {
                if let Some(inc) = self.index.incs.get_mut(inc) {
                    inc.dropped_handle = true;
                }
            }
            ("cancel", Some(event)) => {
                let event = self.event(event);
                if let Some(inc) = self.index.incs.get_mut(inc) {
                    inc.cancelled.push(event);
                }
            }
            _ => {}
        }
        self.calls.set(id, self.index.calls.len());
        self.index.calls.push(Call { inc, op, at, deadline_us, returned: None });
    }

    pub(super) fn returned(&mut self, id: u64, op: &str, inc: usize, returned: Returned<'a>) {
        let at = returned.at;
        if returned.error.is_some_and(|error| error.starts_with("panic")) {
            self.index.panicked.push(at);
        }
        let call = self.calls.get(id).and_then(|slot| self.index.calls.get_mut(slot));
        // It belongs to the incarnation that was called, though the next may be open by now.
        let (called, inc) = call.map_or((at, inc), |call| {
            call.returned.get_or_insert(returned);
            (call.at, call.inc)
        });
        let failed = returned.error.is_some();
        let Some(incarnation) = self.index.incs.get_mut(inc) else { return };
        match op {
            // One that failed has ended nothing.
            "close" if failed => {
                incarnation.close_failed = true;
                incarnation.let_go();
            }
            "close" => {
                incarnation.ended.get_or_insert(at);
            }
            "clone" if !failed => incarnation.handles += 1,
            "drop" if !failed => {
                incarnation.handles -= 1;
                if incarnation.handles == 0 {
                    incarnation.dropped.get_or_insert((called, at));
                    incarnation.let_go();
                }
            }
            _ => {}
        }
    }

    pub(super) fn process(&mut self, at: At, inc: usize, src: Src, what: &str, value: i64) {
        self.index.procs.push(at);
        match what {
            "crash" => {
                if let Some(inc) = self.index.incs.get_mut(inc) {
                    inc.crashed.get_or_insert(at);
                }
            }
            "drop" => {
                self.ending(at, inc, false);
                if let Some(inc) = self.index.incs.get_mut(inc)
                    && !inc.by_close
                {
                    inc.ended.get_or_insert(at);
                }
            }
            "stall" if src != Src::Subject => {
                let stall = u64::try_from(value).unwrap_or(0);
                self.index.stall_us = self.index.stall_us.max(stall);
            }
            _ => {}
        }
    }
}
