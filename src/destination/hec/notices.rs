//! What is said once, or once a while, about requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::reply::Verdict;

/// How often it is said that requests are halved: an event that kills its request is looked for by many of them.
const HALVING_REMINDER: Duration = Duration::from_secs(60);

/// What was said already.
#[derive(Debug, Default)]
pub(super) struct Notices {
    no_acks: AtomicBool,
    /// When it was last said that a request is halved.
    halving: Mutex<Option<Instant>>,
}

impl Notices {
    /// A request of so many events fails again and again, and is halved.
    pub(super) fn halving(&self, url: &str, failed: &Verdict, bytes: usize, events: usize) {
        let (Verdict::Retry { cause, .. } | Verdict::Hold { cause }) = failed else { return };
        let now = Instant::now();
        let mut said = self.halving.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| now >= at + HALVING_REMINDER) {
            *said = Some(now);
            let what = &cause.what;
            tracing::warn!(
                url,
                events,
                bytes,
                what,
                "a request fails again and again while the collector answers; sending its events in halves"
            );
        }
    }

    /// The token has acknowledgements, and nobody waits for them.
    pub(super) fn no_acks(&self, url: &str) {
        if !self.no_acks.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                url,
                "the token has indexer acknowledgement, which is not waited for: delivered means accepted, not indexed; \
                 hec.ack = true waits for it"
            );
        }
    }
}
