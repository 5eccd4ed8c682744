//! How long the steps of a shard take.

use super::histogram::{Buckets, Histogram};

/// Counted for one shard.
#[derive(Debug, Default)]
pub struct Timings {
    /// A pull that was answered.
    pub pull: Histogram,
    /// What the script made of a page or a part of it, the wait for a thread included.
    pub script: Histogram,
    /// A log from when SLS received it until it was durable: about, since it is taken from the ends of pages.
    pub end_to_end: Histogram,
}

/// What was counted, of one shard or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimingsRead {
    /// Pulls.
    pub pull: Buckets,
    /// Runs of the script.
    pub script: Buckets,
    /// Logs.
    pub end_to_end: Buckets,
}

impl Timings {
    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> TimingsRead {
        TimingsRead { pull: self.pull.read(), script: self.script.read(), end_to_end: self.end_to_end.read() }
    }
}

impl TimingsRead {
    /// The sums.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            pull: self.pull.plus(&other.pull),
            script: self.script.plus(&other.script),
            end_to_end: self.end_to_end.plus(&other.end_to_end),
        }
    }
}
