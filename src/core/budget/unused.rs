//! Which unused buffers are kept.

use std::time::Duration;

use tokio::time::Instant;

/// How long an unused buffer is kept.
pub(super) const KEEP: Duration = Duration::from_secs(5);

/// Smaller buffers are not kept: the allocator is good at them.
pub(super) const MIN_SIZE: usize = 64 << 10;

/// The buffers that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Unused {
    /// Bytes that no budget counts: of these buffers, and of those in use.
    pub(super) excess: usize,
    /// Each with the moment since which it is unused, the oldest first.
    pub(super) kept: Vec<(Vec<u8>, Instant)>,
}

impl Unused {
    /// The smallest buffer with at least this capacity.
    pub(super) fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        let fitting = self.kept.iter().enumerate().filter(|(_, (bytes, _))| bytes.capacity() >= size);
        let (at, _) = fitting.min_by_key(|(_, (bytes, _))| bytes.capacity())?;
        let (bytes, _) = self.kept.remove(at);
        self.excess -= bytes.capacity();
        Some(bytes)
    }

    /// Adds a buffer; returns the buffers that must be freed.
    pub(super) fn keep(&mut self, bytes: Vec<u8>, limit: usize, now: Instant) -> Vec<Vec<u8>> {
        if bytes.capacity() < MIN_SIZE || bytes.capacity() > limit {
            return vec![bytes];
        }
        self.excess += bytes.capacity();
        self.kept.push((bytes, now));
        self.reduce(limit)
    }

    /// Removes and returns the oldest buffers, until the limit is met.
    pub(super) fn reduce(&mut self, limit: usize) -> Vec<Vec<u8>> {
        let mut over = self.excess.saturating_sub(limit);
        let removed = self.kept.iter().take_while(|(bytes, _)| {
            let is_over = over > 0;
            over = over.saturating_sub(bytes.capacity());
            is_over
        });
        let count = removed.count();
        self.remove(count)
    }

    /// Removes and returns the buffers that have been unused for too long.
    pub(super) fn trim(&mut self, now: Instant) -> Vec<Vec<u8>> {
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
