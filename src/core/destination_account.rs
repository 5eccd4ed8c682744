//! Counts the results of the events of one destination.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The account of one destination over all shards. Written once per batch.
#[derive(Debug, Default)]
pub struct DestinationAccount(Mutex<EventCounts>);

/// Number of events of a destination by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Durable at the destination.
    pub delivered: u64,
    /// Refused for good, and written as dead letters.
    pub rejected: u64,
    /// Missed while the destination was down, and written as dead letters.
    pub missed: u64,
    /// Missed events that this process has delivered later.
    pub replayed: u64,
    /// Being delivered. Events of a lost shard are no longer counted: the next owner of the shard sends them again.
    pub in_flight: u64,
}

/// Events in flight; dropping it ends that.
#[derive(Debug)]
pub struct EventsInFlight<'a> {
    account: &'a DestinationAccount,
    events: u64,
}

impl DestinationAccount {
    /// The current counts.
    #[must_use]
    pub fn read(&self) -> EventCounts {
        *self.lock()
    }

    /// Counts `events` events as in flight until the returned value is dropped.
    #[must_use]
    pub fn sends(&self, events: usize) -> EventsInFlight<'_> {
        let events = events as u64;
        self.lock().in_flight += events;
        EventsInFlight { account: self, events }
    }

    /// Counts the results of events.
    pub fn settled(&self, delivered: usize, rejected: usize, missed: usize) {
        let mut counts = self.lock();
        counts.delivered += delivered as u64;
        counts.rejected += rejected as u64;
        counts.missed += missed as u64;
    }

    /// Counts the results of missed events that were sent again.
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
