//! What became of the events of one destination.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The account of one destination over all shards. Written once per batch.
#[derive(Debug, Default)]
pub struct DestinationAccount(Mutex<EventCounts>);

/// How many events of a destination came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Durable there.
    pub delivered: u64,
    /// Refused by it for good, and dead letters since.
    pub rejected: u64,
    /// Missed while it was down, and dead letters since.
    pub missed: u64,
    /// Of those, delivered after all by this process.
    pub replayed: u64,
    /// On their way there. Those of a shard that was lost are no longer counted: its next owner sends them again.
    pub in_flight: u64,
}

/// Events on their way, counted as such until it is dropped.
#[derive(Debug)]
pub struct EventsInFlight<'a> {
    account: &'a DestinationAccount,
    events: u64,
}

impl DestinationAccount {
    /// What it says now.
    #[must_use]
    pub fn read(&self) -> EventCounts {
        *self.lock()
    }

    /// So many events are on their way as long as what this returns lives.
    #[must_use]
    pub fn sends(&self, events: usize) -> EventsInFlight<'_> {
        let events = events as u64;
        self.lock().in_flight += events;
        EventsInFlight { account: self, events }
    }

    /// So many events came to their end.
    pub fn settled(&self, delivered: usize, rejected: usize, missed: usize) {
        let mut counts = self.lock();
        counts.delivered += delivered as u64;
        counts.rejected += rejected as u64;
        counts.missed += missed as u64;
    }

    /// So many of those that were missed came to their end after all.
    pub fn replayed(&self, delivered: usize, rejected: usize) {
        let mut counts = self.lock();
        counts.replayed += delivered as u64;
        counts.rejected += rejected as u64;
    }

    fn lock(&self) -> MutexGuard<'_, EventCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EventsInFlight<'_> {
    fn drop(&mut self) {
        self.account.lock().in_flight -= self.events;
    }
}
