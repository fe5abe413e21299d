//! Buffers of small frames, used again.
//!
//! A producer keeps every frame until a broker answers. Thousands of small allocations that are
//! given back late, in another order and beside the client's own threads, cost it a tenth of its
//! throughput; a buffer that comes back costs next to nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The smallest buffer, as a power of two.
const FROM: u32 = 7;
/// The largest.
const TO: u32 = 10;
/// Buffers of each size that wait for a frame, at most: 2 MB of all sizes.
const KEPT: usize = 1024;

type Buffers = [Vec<Vec<u8>>; (TO - FROM + 1) as usize];

/// Where buffers wait. Its frames hold it.
#[derive(Clone, Default)]
pub(crate) struct FramePool(Arc<Mutex<Buffers>>);

/// A frame that gives its buffer back.
struct Pooled {
    buffer: Vec<u8>,
    size: usize,
    pool: FramePool,
}

/// Which buffers have room for so much, counted from the smallest.
fn size(len: usize) -> Option<usize> {
    let power = len.checked_next_power_of_two()?.trailing_zeros().max(FROM);
    if power > TO { None } else { usize::try_from(power - FROM).ok() }
}

fn capacity(size: usize) -> usize {
    1 << (size + FROM as usize)
}

impl FramePool {
    fn lock(&self) -> MutexGuard<'_, Buffers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame of at most `len` bytes, as `write` makes it.
    pub(super) fn frame(&self, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let Some(size) = size(len) else {
            let mut buffer = Vec::with_capacity(len);
            write(&mut buffer);
            return buffer.into();
        };
        let kept = self.lock().get_mut(size).and_then(Vec::pop);
        let mut buffer = kept.unwrap_or_else(|| Vec::with_capacity(capacity(size)));
        write(&mut buffer);
        Bytes::from_owner(Pooled { buffer, size, pool: self.clone() })
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        // one that grew, because its frame was longer than announced, takes more than its size says
        if buffer.capacity() >= 2 * capacity(self.size) {
            return;
        }
        let mut buffers = self.pool.lock();
        if let Some(kept) = buffers.get_mut(self.size).filter(|kept| kept.len() < KEPT) {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(pool: &FramePool) -> Vec<usize> {
        pool.lock().iter().map(Vec::len).collect()
    }

    fn frame(pool: &FramePool, len: usize, fill: u8) -> Bytes {
        pool.frame(len, |buffer| buffer.resize(len, fill))
    }

    #[test]
    fn a_buffer_comes_back_when_the_last_handle_of_its_frame_goes() {
        let pool = FramePool::default();
        let first = frame(&pool, 200, 1);
        let second = first.slice(10..20);
        drop(first);
        assert_eq!(waiting(&pool), [0, 0, 0, 0]);
        assert_eq!(second, [1; 10].as_slice());
        drop(second);
        assert_eq!(waiting(&pool), [0, 1, 0, 0]);
        let at = frame(&pool, 256, 2);
        assert_eq!(at, [2; 256].as_slice());
        assert_eq!(waiting(&pool), [0, 0, 0, 0]);
    }

    #[test]
    fn frames_that_are_kept_do_not_change_while_buffers_are_used_again() {
        let pool = FramePool::default();
        let mut kept = Vec::new();
        for n in 0..200_u8 {
            kept.push((n, frame(&pool, usize::from(n) * 6, n)));
            drop(frame(&pool, usize::from(n), 255));
            if n % 3 == 0 {
                kept.swap_remove(usize::from(n) % kept.len());
            }
        }
        for (n, frame) in kept {
            assert_eq!(frame, vec![n; usize::from(n) * 6]);
        }
    }

    #[test]
    fn a_large_frame_leaves_no_buffer_behind() {
        let pool = FramePool::default();
        drop(frame(&pool, 1025, 1));
        assert_eq!(waiting(&pool), [0, 0, 0, 0]);
    }

    #[test]
    fn a_buffer_that_grew_is_not_kept() {
        let pool = FramePool::default();
        drop(pool.frame(100, |buffer| buffer.resize(300, 1)));
        assert_eq!(waiting(&pool), [0, 0, 0, 0]);
    }

    #[test]
    fn no_more_buffers_than_the_bound_are_kept() {
        let pool = FramePool::default();
        let all: Vec<Bytes> = (0..KEPT + 5).map(|_| frame(&pool, 1024, 1)).collect();
        drop(all);
        assert_eq!(waiting(&pool), [0, 0, 0, KEPT]);
    }
}
