//! Counts the results of the events of one destination.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// If no event in flight to a destination gets a result for this long, that is reported.
pub const SILENCE: Duration = Duration::from_secs(30);

/// The account of one destination over all shards. Written once per batch.
#[derive(Debug, Default)]
pub struct DestinationAccount(Mutex<EventCounts>);

/// Number of events of a destination by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Durable at the destination. Events that are sent again because their batch was not completed count again.
    pub delivered: u64,
    /// Refused for good, and written as dead letters.
    pub rejected: u64,
    /// Missed while the destination was down, and written as dead letters.
    pub missed: u64,
    /// Missed events that this process has delivered later.
    pub replayed: u64,
    /// Being delivered. Events of a lost shard are no longer counted: the next owner of the shard sends them again.
    pub in_flight: u64,
    /// Since when events are in flight and none of them got a result. `None` while nothing is in flight.
    pub waiting_since: Option<Instant>,
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
        let mut counts = self.lock();
        counts.in_flight += events;
        counts.waiting_since.get_or_insert_with(Instant::now);
        drop(counts);
        EventsInFlight { account: self, events }
    }

    /// Counts events that are durable, as soon as they are: another destination may hold their batch up.
    pub fn delivered(&self, events: usize) {
        self.lock().delivered += events as u64;
    }

    /// Counts events that became dead letters.
    pub fn undelivered(&self, rejected: usize, missed: usize) {
        let mut counts = self.lock();
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
        let mut counts = self.account.lock();
        counts.in_flight -= self.events;
        counts.waiting_since = (counts.in_flight > 0).then(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_wait_begins_with_the_first_event_in_flight_and_again_with_each_result() {
        const SECOND: Duration = Duration::from_secs(1);
        let account = DestinationAccount::default();
        let waits = || account.read().waiting_since.map(|since| since.elapsed());
        assert_eq!(waits(), None);
        let first = account.sends(1);
        advance(SECOND).await;
        let second = account.sends(2);
        advance(SECOND).await;
        assert_eq!(waits(), Some(2 * SECOND), "more events are no result");
        drop(first);
        advance(SECOND).await;
        assert_eq!(waits(), Some(SECOND));
        drop(second);
        assert_eq!(waits(), None);
    }
}
