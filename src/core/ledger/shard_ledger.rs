//! The state of the account of one shard, and what it says about the shard: whether it stands still, and how far it is behind.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::counts::Counts;
use crate::core::arrival::Arrival;
use crate::core::cursor::Cursor;
use crate::core::failing::Failing;

/// The state of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardLedger {
    /// The counts.
    pub counts: Counts,
    /// Whether this process works on the shard now.
    pub held: bool,
    /// Everything before it is durable, as far as this process knows.
    pub position: Option<Position>,
    /// When SLS received the newest durable log, in unix seconds.
    pub durable_to: Option<i64>,
    /// When SLS received the end of the first page that was pulled after the shard was acquired or had caught up. The
    /// waiting logs are about that old, or younger.
    pub waiting_from: Option<i64>,
    /// What was read since the shard was acquired, and when SLS had received it.
    pub arrival: Arrival,
    /// Whether everything that the shard had at the last pull is durable.
    pub caught_up: bool,
    /// Why the shard is halted until a person acts.
    pub halted: Option<String>,
    /// Why the shard is paused; it resumes automatically.
    pub waits: BTreeMap<Wait, String>,
    /// When the script began with the current page, not counting the time between its parts. `None` while it does not
    /// run.
    pub in_script: Option<Instant>,
    /// When its checkpoint was last saved.
    pub saved_at: Option<Instant>,
    /// Calls to the source that currently fail for this shard.
    pub failing: BTreeMap<Ask, Failing>,
}

/// A position in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The cursor of the next log.
    pub cursor: Cursor,
    /// How often the logstore had been deleted by then, as its source counts.
    pub deletions: u64,
}

/// The calls to the source for a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// Look up its checkpoint, or its start position.
    Locate,
    /// Pull the next page.
    Pull,
    /// Save its checkpoint.
    Save,
}

/// Why a shard is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// The script fails on too many logs.
    Script,
    /// The destination refuses too many events.
    Destination,
    /// Dead letters cannot be written.
    Disk,
    /// A write of dead letters takes long, its own or that of another shard.
    Write,
    /// Copies of dead letters are not delivered.
    Copies,
}

impl ShardLedger {
    /// Why the shard does not advance now; `None` if it does.
    #[must_use]
    pub fn standstill(&self) -> Option<&str> {
        self.halted.as_deref().or_else(|| self.waits.values().next().map(String::as_str))
    }

    /// For how many seconds the script has worked on the current page, including the wait for a thread.
    #[must_use]
    pub fn page_seconds(&self) -> u64 {
        self.in_script.map_or(0, |since| since.elapsed().as_secs())
    }

    /// Approximate age of the oldest log that is not durable, in seconds before `now` (unix seconds). It is taken
    /// from the ends of pages. 0 when caught up, `None` when unknown. While the shard cannot be read, the lag is at
    /// least the time since the first failure, because unread logs may be that old.
    #[must_use]
    pub fn lag(&self, now: i64) -> Option<u64> {
        let read = if self.caught_up {
            Some(0)
        } else {
            self.durable_to.max(self.waiting_from).map(|from| u64::try_from(now - from).unwrap_or(0))
        };
        let unread = [Ask::Locate, Ask::Pull].iter().filter_map(|ask| self.failing.get(ask));
        read.into_iter().chain(unread.map(|failing| failing.since.elapsed().as_secs())).max()
    }

    /// Number of logs that are not durable: those in flight, and an estimate of those that were not read. `None` when
    /// unknown.
    #[must_use]
    pub fn lag_logs(&self, now: i64) -> Option<u64> {
        Some(self.counts.in_flight + self.arrival.unread(now)?)
    }
}
