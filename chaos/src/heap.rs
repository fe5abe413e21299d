//! How much heap a call takes on its thread: the measure of R3.
//!
//! Only an allocator can tell, and a program has one. The `dashproof` binary makes [`Counting`] its
//! own; a program that does not measures nothing, and R3 is then undecided, never green.
//!
//! What is counted are the sizes that are asked for, not what the system's allocator rounds them up
//! to: the same calls give the same numbers on any machine.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

thread_local! {
    // Constant and without a destructor: reading them never allocates, at any time of a thread.
    static NOW: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// What a call took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heap {
    /// Most bytes at a time, over those that there were before it.
    pub peak: u64,
    /// Bytes that it left behind; negative when it freed older ones.
    pub kept: i64,
}

/// The system's allocator, which counts what each thread holds. Two additions per call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

// Nothing here may panic: that would unwind out of an allocator. Only what was really given counts.

fn add(bytes: usize) {
    let now = NOW.get().saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
}

fn sub(bytes: usize) {
    NOW.set(NOW.get().saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX)));
}

#[expect(unsafe_code, reason = "a global allocator cannot be written without it")]
// SAFETY: every call goes to the system's allocator unchanged. Growing in place counts as old and
// new at once, which is the most that it can take.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        let new = unsafe { System.alloc(layout) };
        if !new.is_null() {
            add(layout.size());
        }
        new
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        let new = unsafe { System.alloc_zeroed(layout) };
        if !new.is_null() {
            add(layout.size());
        }
        new
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        sub(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        let new = unsafe { System.realloc(ptr, layout, new_size) };
        if !new.is_null() {
            add(new_size);
            sub(layout.size());
        }
        new
    }
}

/// Whether this program counts.
#[must_use]
pub fn is_counted() -> bool {
    let before = NOW.get();
    let probe = black_box(Vec::<u8>::with_capacity(64));
    let counted = NOW.get() != before;
    drop(probe);
    counted
}

/// Makes the call; says what heap it took, where the program counts.
pub fn measure<T>(call: impl FnOnce() -> T) -> (T, Option<Heap>) {
    let counted = is_counted();
    let before = NOW.get();
    PEAK.set(before);
    let value = call();
    let peak = u64::try_from(PEAK.get() - before).unwrap_or(0);
    let heap = Heap { peak, kept: NOW.get() - before };
    (value, counted.then_some(heap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_holds_at_most_and_leaves_behind_is_counted_to_the_byte() {
        let (kept, heap) = measure(|| {
            drop(black_box(vec![0_u8; 10_000]));
            black_box(vec![1_u8; 300])
        });
        assert_eq!(heap, Some(Heap { peak: 10_000, kept: 300 }));
        let ((), heap) = measure(|| drop(kept));
        assert_eq!(heap, Some(Heap { peak: 0, kept: -300 }));
    }

    #[test]
    fn another_thread_is_not_counted() {
        let ((), heap) = measure(|| {
            let grown = || drop(black_box(vec![0_u8; 1 << 20]));
            std::thread::scope(|scope| drop(scope.spawn(grown).join()));
        });
        assert!(heap.unwrap().peak < 1 << 16);
    }

    #[test]
    fn growing_counts_old_and_new_at_once() {
        let (_, heap) = measure(|| {
            let mut bytes = black_box(vec![0_u8; 1000]);
            bytes.reserve_exact(1000);
            bytes
        });
        assert_eq!(heap, Some(Heap { peak: 3000, kept: 2000 }));
    }
}
