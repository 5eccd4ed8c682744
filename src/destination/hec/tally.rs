//! Which events passed, and which did not, since the delivery of a batch began.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::suspicion::Evidence;

/// Counts over all batches since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    accepted: AtomicU64,
    unanswered: AtomicU64,
}

/// The moment when the delivery of a batch began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began {
    at: Instant,
    accepted: u64,
    unanswered: u64,
}

impl Tally {
    /// The delivery of a batch begins.
    pub(super) fn begin(&self, now: Instant) -> Began {
        Began {
            at: now,
            accepted: self.accepted.load(Ordering::Relaxed),
            unanswered: self.unanswered.load(Ordering::Relaxed),
        }
    }

    /// So many events were accepted.
    pub(super) fn accepted(&self, events: usize) {
        self.accepted.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// An event was rejected since its request gets no answer.
    pub(super) fn unanswered(&self) {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    /// What happened since then.
    pub(super) fn since(&self, began: Began, now: Instant) -> Evidence {
        Evidence {
            accepted: self.accepted.load(Ordering::Relaxed) - began.accepted,
            rejected: self.unanswered.load(Ordering::Relaxed) - began.unanswered,
            age: now - began.at,
        }
    }
}
