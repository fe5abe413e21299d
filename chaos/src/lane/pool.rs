//! Cells side by side: each simulated run on an operating-system thread of its own.
//!
//! A simulation lives in its thread, so any number of them can run at once without touching each
//! other; results come back in the order of the cells, however long each took.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Runs `work` over the cells on up to `threads` threads (at least one) and hands each result to
/// `each`, on the calling thread, in the order of the cells. Results that are early wait.
pub fn run<C, R>(
    cells: &[C],
    threads: usize,
    work: impl Fn(&C) -> R + Sync,
    mut each: impl FnMut(&C, R),
) where
    C: Sync,
    R: Send,
{
    let next = AtomicUsize::new(0);
    let (results, ready) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, cells.len().max(1)) {
            let (results, next, work) = (results.clone(), &next, &work);
            scope.spawn(move || {
                while let Some((at, cell)) = take(cells, next) {
                    // The receiver is gone only when this scope unwinds.
                    drop(results.send((at, work(cell))));
                }
            });
        }
        drop(results);
        let mut early: Vec<Option<R>> = cells.iter().map(|_| None).collect();
        let mut told = 0;
        for (at, result) in ready {
            if let Some(place) = early.get_mut(at) {
                *place = Some(result);
            }
            while let Some(result) = early.get_mut(told).and_then(Option::take) {
                if let Some(cell) = cells.get(told) {
                    each(cell, result);
                }
                told += 1;
            }
        }
    });
}

fn take<'c, C>(cells: &'c [C], next: &AtomicUsize) -> Option<(usize, &'c C)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    cells.get(at).map(|cell| (at, cell))
}

/// Threads that this machine runs at once.
#[must_use]
pub fn width() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_cells_however_long_each_takes() {
        let cells: Vec<u64> = (0..20).collect();
        let mut told = Vec::new();
        let work = |cell: &u64| {
            thread::sleep(std::time::Duration::from_millis(cell * 7 % 5));
            cell * 2
        };
        run(&cells, 4, work, |cell, result| told.push((*cell, result)));
        assert_eq!(told, (0..20).map(|n| (n, n * 2)).collect::<Vec<_>>());
    }

    #[test]
    fn no_cells_and_no_threads_are_no_trouble() {
        run(&[], 0, |(): &()| (), |(), ()| panic!("no cell"));
        let mut told = 0;
        run(&[1], 0, |n| *n, |_, n| told = n);
        assert_eq!(told, 1);
    }
}
