//! The flow of requests that all shards share.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::concurrency::{ConcurrencyLimit, Ticket};

/// How many requests may be under way, and the word for those who wait that it may have changed.
#[derive(Debug)]
pub(super) struct Flow {
    limit: Mutex<ConcurrencyLimit>,
    changed: Notify,
}

impl Flow {
    pub(super) fn new(limit: ConcurrencyLimit) -> Self {
        Self { limit: Mutex::new(limit), changed: Notify::new() }
    }

    pub(super) fn limit(&self) -> MutexGuard<'_, ConcurrencyLimit> {
        self.limit.lock().expect("the flow does not panic")
    }

    /// Resolves when somebody who waits should ask again; listens from now on.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

/// A ticket that finds its way back to the flow even when the request is thrown away half-way.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    flow: &'a Flow,
    ticket: Option<Ticket>,
}

impl<'a> Permit<'a> {
    pub(super) fn new(flow: &'a Flow, ticket: Ticket) -> Self {
        Self { flow, ticket: Some(ticket) }
    }

    /// Tells the flow what became of the request; returns what the flow makes of it.
    pub(super) fn settle(mut self, account: impl FnOnce(&mut ConcurrencyLimit, &Ticket) -> bool) -> bool {
        self.ticket.take().is_some_and(|ticket| account(&mut self.flow.limit(), &ticket))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.flow.limit().dropped(&ticket);
        }
        self.flow.changed.notify_waiters();
    }
}
