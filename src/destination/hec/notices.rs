//! Log lines about requests, each logged once or from time to time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::verdict::Verdict;

/// What happens to the events of a member that fails while others work.
pub(super) const GO_ELSEWHERE: &str = "its events go to the other collectors";

/// What happens to events that it accepted, and that are not acknowledged.
pub(super) const SENT_AGAIN: &str = "the other collectors deliver; what it accepted is sent again after hec.ack_timeout, \
                                     and then it gets only probes until it acknowledges";

/// How often the halving of requests is logged: the search for an event that kills its request needs many of them.
const HALVING_REMINDER: Duration = Duration::from_secs(60);

/// What was logged already.
#[derive(Debug, Default)]
pub(super) struct Notices {
    no_acks: AtomicBool,
    /// When the halving of a request was last logged.
    halving: Mutex<Option<Instant>>,
}

impl Notices {
    /// A request of this many events fails repeatedly, and is halved.
    pub(super) fn halving(&self, url: &str, failed: &Verdict, bytes: usize, events: usize) {
        let (Verdict::Retry { cause, .. } | Verdict::Hold { cause }) = failed else { return };
        let now = Instant::now();
        let mut last_logged = self.halving.lock().unwrap_or_else(PoisonError::into_inner);
        if last_logged.is_none_or(|at| now >= at + HALVING_REMINDER) {
            *last_logged = Some(now);
            let what = &cause.what;
            tracing::warn!(
                url,
                events,
                bytes,
                what,
                "a request fails repeatedly while the collector answers others; sending its events in halves"
            );
        }
    }

    /// The token has acknowledgements, but `hec.ack` is off.
    pub(super) fn no_acks(&self, url: &str) {
        if !self.no_acks.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                url,
                "the token has indexer acknowledgement, but hec.ack is false: delivered means accepted, not indexed; \
                 hec.ack = true waits for acknowledgements"
            );
        }
    }
}
