//! How long a shard may still be worked on.
//!
//! SLS gives a shard to another consumer when its owner sends no heartbeat for the timeout of the group. Every send
//! and every save checks its [`Tenure`] first. So a process that was suspended, frozen or offline stops before SLS
//! reassigns the shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::stop::Stop;

/// Until when the membership is valid, on the monotonic clock. Heartbeats extend it.
#[derive(Debug, Clone)]
pub struct Lease {
    epoch: Instant,
    /// Nanoseconds after `epoch`. An atomic, so that the heartbeat thread never waits for a reader.
    until: Arc<AtomicU64>,
}

impl Lease {
    /// A lease that has expired; `now` is its origin.
    #[must_use]
    pub fn lapsed(now: Instant) -> Self {
        Self { epoch: now, until: Arc::new(AtomicU64::new(0)) }
    }

    /// A lease that never expires, for work that no server reassigns. `now` is its origin.
    #[must_use]
    pub fn endless(now: Instant) -> Self {
        Self { epoch: now, until: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Extends it until `until`.
    pub fn extend(&self, until: Instant) {
        let nanos = until.saturating_duration_since(self.epoch).as_nanos();
        self.until.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// When it expires.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.epoch + Duration::from_nanos(self.until.load(Ordering::Acquire))
    }
}

/// The right to work on one shard: valid until the shard is lost or the lease expires.
#[derive(Debug, Clone)]
pub struct Tenure {
    lease: Lease,
    /// Raised when the shard is lost, or when what is in flight must be abandoned.
    over: Stop,
}

impl Tenure {
    /// Work under `lease` until `over` is raised.
    #[must_use]
    pub fn new(lease: Lease, over: Stop) -> Self {
        Self { lease, over }
    }

    /// Whether a send or a save may start now.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.over.is_raised() && Instant::now() < self.lease.until()
    }

    /// Resolves when it no longer holds.
    pub async fn ended(&self) {
        loop {
            let until = self.lease.until();
            if Instant::now() >= until || self.over.or(tokio::time::sleep_until(until)).await.is_none() {
                return;
            }
        }
    }

    /// Runs `work` unless the tenure ends first: then `work` is dropped and the result is `None`.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.ended() => None,
            value = work => Some(value),
        }
    }
}
