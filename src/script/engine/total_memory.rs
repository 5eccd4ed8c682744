//! The memory of all Lua states of the process together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A count of the bytes that all Lua states hold, with a limit.
#[derive(Debug)]
pub struct TotalMemory {
    taken: AtomicUsize,
    limit: usize,
}

impl TotalMemory {
    /// Nothing is taken yet; `limit` in bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { taken: AtomicUsize::new(0), limit }
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Takes this many bytes, if as many are left.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Bytes that were taken.
    pub(super) fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Without a limit.
impl Default for TotalMemory {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}
