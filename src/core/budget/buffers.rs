//! Large buffers that are used again.
//!
//! The kernel has to provide and clear the memory of each large buffer, which takes about as long as filling it. A
//! budget keeps the buffers that are no longer used for a short time, in its free memory.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::unused::{KEEP, MIN_SIZE, Unused};
use super::{Memory, SharedBudget};

/// Unused buffers may take this fraction of the budget even if all of it is in use.
const MIN_PART: usize = 8;

/// The buffers of a budget. What nobody uses takes memory that the budget has free, or an eighth of the budget: unused
/// buffers, and what pages in use are shorter than their buffers.
#[derive(Debug, Clone)]
pub struct Buffers(pub(super) Arc<Memory>);

impl Buffers {
    /// Buffers that are not kept.
    #[must_use]
    pub fn none() -> Self {
        SharedBudget::new(0).buffers()
    }

    /// A buffer of `size` bytes with any value: write all of them, or truncate it. `size` bytes are counted elsewhere.
    #[must_use]
    pub fn filled(&self, size: usize) -> Buffer {
        // New memory from the kernel is clear.
        let mut bytes = self.take(size).unwrap_or_else(|| vec![0; size]);
        bytes.resize(size, 0);
        let excess = bytes.capacity() - size;
        self.with(|unused| unused.excess += excess);
        Buffer { bytes, excess, pool: Some(self.clone()) }
    }

    /// An empty buffer with room for `size` bytes. Its capacity is counted elsewhere.
    #[must_use]
    pub fn empty(&self, size: usize) -> Buffer {
        let mut bytes = self.take(size).unwrap_or_else(|| Vec::with_capacity(size));
        bytes.clear();
        Buffer { bytes, excess: 0, pool: Some(self.clone()) }
    }

    /// Frees the buffers that nobody has used for some seconds; never returns.
    pub async fn trim(self) {
        let mut ticks = interval(KEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = ticks.tick().await;
            drop(self.with(|unused| unused.trim(now)));
        }
    }

    /// An unused buffer with at least this capacity. If there is none, a new one may need the memory of the others.
    fn take(&self, size: usize) -> Option<Vec<u8>> {
        if size < MIN_SIZE {
            return None;
        }
        let limit = self.limit();
        let (taken, freed) = self.with(|unused| {
            let taken = unused.take(size);
            let freed = if taken.is_none() { unused.reduce(limit) } else { Vec::new() };
            (taken, freed)
        });
        drop(freed);
        taken
    }

    fn limit(&self) -> usize {
        let known = self.0.lock();
        let (total, used) = (known.shares.total(), known.shares.used());
        total.saturating_sub(used).max(total / MIN_PART)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Unused) -> T) -> T {
        work(&mut self.0.unused.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A buffer, which is kept for others when it is dropped.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    /// Capacity that no budget counts while the buffer is in use.
    excess: usize,
    pool: Option<Buffers>,
}

/// A buffer that is not kept.
impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, excess: 0, pool: None }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self::from(self.bytes.clone())
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Buffer {}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        let (bytes, excess) = (std::mem::take(&mut self.bytes), self.excess);
        let (limit, now) = (pool.limit(), Instant::now());
        // Freed here, after the lock.
        drop(pool.with(|unused| {
            unused.excess -= excess;
            unused.keep(bytes, limit, now)
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KIB: usize = 1 << 10;

    /// The capacities of the unused buffers in KiB, the oldest first, and the KiB that no budget counts.
    fn unused(pool: &Buffers) -> (Vec<usize>, usize) {
        pool.with(|unused| (unused.kept.iter().map(|(bytes, _)| bytes.capacity() / KIB).collect(), unused.excess / KIB))
    }

    fn pool(kib: usize) -> Buffers {
        SharedBudget::new(kib * KIB).buffers()
    }

    /// Uses buffers of these sizes at the same time.
    fn fill(pool: &Buffers, kib: &[usize]) {
        drop(kib.iter().map(|size| pool.filled(size * KIB)).collect::<Vec<_>>());
    }

    #[test]
    fn a_buffer_is_used_again_for_a_request_of_at_most_its_size() {
        let pool = pool(1000);
        let mut first = pool.filled(100 * KIB);
        first.fill(7);
        first.truncate(3);
        let place = first.as_ptr();
        drop(first);
        assert_eq!(unused(&pool), (vec![100], 100));

        assert_ne!(pool.filled(101 * KIB).as_ptr(), place);
        let again = pool.filled(80 * KIB);
        assert_eq!((again.as_ptr(), again.len()), (place, 80 * KIB));
        drop(again);
        let again = pool.empty(100 * KIB);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn the_smallest_buffer_that_fits_is_taken() {
        let pool = pool(1000);
        fill(&pool, &[106, 100, 103]);
        let taken = pool.filled(99 * KIB);
        assert_eq!(taken.capacity(), 100 * KIB);
        assert_eq!(unused(&pool).0, [106, 103]);
    }

    #[test]
    fn the_oldest_unused_buffers_are_freed_above_the_limit() {
        let pool = pool(1000);
        fill(&pool, &[400, 500, 300]);
        assert_eq!(unused(&pool), (vec![500, 300], 800));
        fill(&pool, &[501]);
        assert_eq!(unused(&pool), (vec![300, 501], 801));
        fill(&pool, &[1001, 63]);
        assert_eq!(unused(&pool), (vec![300, 501], 801), "too large, and too small");
    }

    #[test]
    fn what_a_page_is_shorter_than_its_buffer_counts() {
        let pool = pool(1000);
        fill(&pool, &[900]);
        let taken = pool.filled(100 * KIB);
        assert_eq!(unused(&pool), (vec![], 800));
        fill(&pool, &[300]);
        assert_eq!(unused(&pool), (vec![], 800), "there is no room for it beside the 800 KiB");
        drop(taken);
        assert_eq!(unused(&pool), (vec![900], 900));
        let events = pool.empty(100 * KIB);
        assert_eq!(unused(&pool), (vec![], 0));
        drop(events);
        assert_eq!(unused(&pool), (vec![900], 900));
    }

    #[tokio::test]
    async fn memory_that_the_budget_needs_is_given_back() {
        let budget = SharedBudget::new(1000 * KIB);
        let (pool, source) = (budget.buffers(), budget.for_source());
        fill(&pool, &[300, 200, 100]);
        let credit = source.take(750 * KIB).await;
        let page = pool.filled(350 * KIB);
        assert_eq!(unused(&pool), (vec![100], 100), "250 KiB are free");
        let more = source.take(250 * KIB).await;
        drop(page);
        fill(&pool, &[120]);
        assert_eq!(unused(&pool), (vec![120], 120), "nothing is free, but an eighth is allowed");
        drop((credit, more));
    }

    #[test]
    fn a_buffer_that_nobody_uses_for_five_seconds_is_freed() {
        let pool = pool(1000);
        fill(&pool, &[400]);
        let now = Instant::now();
        assert_eq!(pool.with(|unused| unused.trim(now)).len(), 0);
        assert_eq!(pool.with(|unused| unused.trim(now + KEEP)).len(), 1);
        assert_eq!(unused(&pool), (vec![], 0));
    }

    #[tokio::test(start_paused = true)]
    async fn unused_buffers_are_freed_although_no_page_is_read() {
        let pool = pool(1000);
        let mut trimming = tokio::task::JoinSet::new();
        trimming.spawn(pool.clone().trim());
        fill(&pool, &[400]);
        tokio::time::sleep(KEEP - Duration::from_millis(1)).await;
        assert_eq!(unused(&pool).0, [400]);
        tokio::time::sleep(KEEP).await;
        assert_eq!(unused(&pool), (vec![], 0));
    }
}
