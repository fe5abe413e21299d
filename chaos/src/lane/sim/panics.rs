//! Panics inside a simulated host are evidence: kept with their text, never printed.

use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

thread_local! {
    /// Texts of the panics on this thread, while somebody listens.
    static CAUGHT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Listens for panics on this thread until dropped. Other threads keep the hook they had.
pub(super) struct Ear;

impl Ear {
    pub(super) fn open() -> Self {
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !keep(info) {
                    before(info);
                }
            }));
        });
        CAUGHT.with_borrow_mut(|caught| *caught = Some(Vec::new()));
        Self
    }

    /// Takes what was heard since the last call.
    #[expect(clippy::unused_self, reason = "only who holds the ear may ask it")]
    pub(super) fn heard(&self) -> Vec<String> {
        CAUGHT.with_borrow_mut(|caught| caught.as_mut().map(std::mem::take).unwrap_or_default())
    }
}

fn keep(info: &PanicHookInfo<'_>) -> bool {
    CAUGHT.with_borrow_mut(|caught| {
        caught.as_mut().map(|caught| caught.push(info.to_string())).is_some()
    })
}

impl Drop for Ear {
    fn drop(&mut self) {
        CAUGHT.with_borrow_mut(Option::take);
    }
}
