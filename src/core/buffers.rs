//! Buffers that are used again.
//!
//! The kernel has to provide and clear the memory of each large buffer, which takes about as long as filling it. A
//! pool keeps the buffers that are no longer used for a short time, up to a total size.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an unused buffer is kept.
const KEEP: Duration = Duration::from_secs(5);

/// A pool of buffers. Threads can share it.
#[derive(Debug)]
pub struct Buffers {
    unused: Mutex<Unused>,
}

impl Buffers {
    /// An empty pool that keeps at most `limit` bytes that nobody has requested: unused buffers, and what the buffers
    /// in use are larger than requested.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { unused: Mutex::new(Unused { limit, excess: 0, kept: Vec::new() }) })
    }

    /// A buffer of `size` bytes. They have any value, so write all of them, or [`Buffer::truncate`] it.
    #[must_use]
    pub fn take(self: &Arc<Self>, size: usize) -> Buffer {
        // New memory from the kernel is clear.
        let mut bytes = self.with(|unused| unused.take(size)).unwrap_or_else(|| vec![0; size]);
        bytes.resize(size, 0);
        Buffer { bytes, requested: size, pool: Arc::clone(self) }
    }

    /// Frees the buffers that nobody has used for some seconds. To be called every few seconds while the pool exists.
    pub fn trim(&self) {
        let now = Instant::now();
        drop(self.with(|unused| unused.trim(now)));
    }

    fn with<T>(&self, work: impl FnOnce(&mut Unused) -> T) -> T {
        work(&mut self.unused.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A buffer of a pool, to which it returns when it is dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    requested: usize,
    pool: Arc<Buffers>,
}

impl Buffer {
    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let (bytes, now) = (std::mem::take(&mut self.bytes), Instant::now());
        // Freed here, after the lock.
        drop(self.pool.with(|unused| unused.keep(bytes, self.requested, now)));
    }
}

/// The buffers that nobody uses.
#[derive(Debug)]
struct Unused {
    limit: usize,
    /// Bytes that nobody has requested.
    excess: usize,
    /// Each with the moment since which it is unused, the oldest first.
    kept: Vec<(Vec<u8>, Instant)>,
}

impl Unused {
    /// The smallest buffer with at least this capacity.
    fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        let fitting = self.kept.iter().enumerate().filter(|(_, (bytes, _))| bytes.capacity() >= size);
        let (at, _) = fitting.min_by_key(|(_, (bytes, _))| bytes.capacity())?;
        self.excess -= size;
        Some(self.kept.remove(at).0)
    }

    /// Adds a buffer of which `requested` bytes were in use; returns the oldest buffers if there is no room for them.
    fn keep(&mut self, bytes: Vec<u8>, requested: usize, now: Instant) -> Vec<Vec<u8>> {
        self.excess += requested;
        self.kept.push((bytes, now));
        let mut over = self.excess.saturating_sub(self.limit);
        let removed = self.kept.iter().take_while(|(bytes, _)| {
            let is_over = over > 0;
            over = over.saturating_sub(bytes.capacity());
            is_over
        });
        let count = removed.count();
        self.remove(count)
    }

    /// Removes and returns the buffers that have been unused for too long.
    fn trim(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let count = self.kept.partition_point(|(_, since)| now.saturating_duration_since(*since) >= KEEP);
        self.remove(count)
    }

    /// Removes and returns the `count` oldest buffers.
    fn remove(&mut self, count: usize) -> Vec<Vec<u8>> {
        let removed: Vec<_> = self.kept.drain(..count).map(|(bytes, _)| bytes).collect();
        self.excess -= removed.iter().map(Vec::capacity).sum::<usize>();
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The capacities of the unused buffers, the oldest first, and the bytes that nobody has requested.
    fn unused(pool: &Arc<Buffers>) -> (Vec<usize>, usize) {
        pool.with(|unused| (unused.kept.iter().map(|(bytes, _)| bytes.capacity()).collect(), unused.excess))
    }

    #[test]
    fn a_buffer_is_used_again_for_a_request_of_at_most_its_size() {
        let pool = Buffers::new(10_000);
        let mut first = pool.take(1000);
        first.as_mut().fill(7);
        first.truncate(3);
        let place = first.as_ref().as_ptr();
        drop(first);
        assert_eq!(unused(&pool), (vec![1000], 1000));

        assert_ne!(pool.take(1001).as_ref().as_ptr(), place);
        let again = pool.take(600);
        assert_eq!((again.as_ref().as_ptr(), again.as_ref().len()), (place, 600));
    }

    #[test]
    fn the_smallest_buffer_that_fits_is_taken() {
        let pool = Buffers::new(10_000);
        drop([1060, 1000, 1030].map(|size| pool.take(size)));
        let taken = pool.take(990);
        assert_eq!(taken.bytes.capacity(), 1000);
        assert_eq!(unused(&pool), (vec![1060, 1030], 1060 + 1030 + 10));
        drop(taken);
        assert_eq!(unused(&pool).1, 1060 + 1030 + 1000);
    }

    #[test]
    fn the_oldest_unused_buffers_are_freed_above_the_limit() {
        let pool = Buffers::new(1000);
        drop([400, 500, 300].map(|size| pool.take(size)));
        assert_eq!(unused(&pool), (vec![500, 300], 800));
        drop(pool.take(501));
        assert_eq!(unused(&pool), (vec![300, 501], 801));
        drop(pool.take(1001));
        assert_eq!(unused(&pool), (vec![], 0));
    }

    #[test]
    fn what_a_buffer_in_use_is_larger_than_requested_counts() {
        let pool = Buffers::new(1000);
        drop(pool.take(900));
        let taken = pool.take(100);
        assert_eq!(unused(&pool), (vec![], 800));
        drop(pool.take(300));
        assert_eq!(unused(&pool), (vec![], 800), "there is no room for it beside the 800 bytes");
        drop(taken);
        assert_eq!(unused(&pool), (vec![900], 900));
    }

    #[test]
    fn a_buffer_that_nobody_uses_for_five_seconds_is_freed() {
        let pool = Buffers::new(1000);
        drop(pool.take(400));
        let now = Instant::now();
        assert_eq!(pool.with(|unused| unused.trim(now)).len(), 0);
        assert_eq!(pool.with(|unused| unused.trim(now + KEEP)).len(), 1);
        assert_eq!(unused(&pool), (vec![], 0));
    }
}
