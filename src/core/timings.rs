//! Durations of the steps of a shard.

use super::histogram::{Buckets, Histogram};

/// The histograms of one shard.
#[derive(Debug, Default)]
pub struct Timings {
    /// Answered pulls.
    pub pull: Histogram,
    /// Runs of the script over a page or a part of it, including the wait for a thread.
    pub script: Histogram,
    /// Time from the receipt of a log by SLS until it was durable. Approximate: it is taken from the ends of pages.
    pub end_to_end: Histogram,
}

/// The counts of one shard or of several.
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
    /// The counts so far.
    #[must_use]
    pub fn read(&self) -> TimingsRead {
        TimingsRead { pull: self.pull.read(), script: self.script.read(), end_to_end: self.end_to_end.read() }
    }
}

impl TimingsRead {
    /// The sums of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            pull: self.pull.plus(&other.pull),
            script: self.script.plus(&other.script),
            end_to_end: self.end_to_end.plus(&other.end_to_end),
        }
    }
}
