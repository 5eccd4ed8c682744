//! A call to the source that fails again and again: how long to wait, and what to say about it.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::backoff::Backoff;
use super::source::SourceError;

/// First pause of a call that may soon work.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause of a call that may soon work.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Shortest pause of a call that works only after somebody changed something.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// How often one trouble is spoken of while it lasts.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// One call in trouble, or not.
#[derive(Debug)]
pub struct RetryLog {
    /// What cannot be done, as a sentence begins: "shard 3: cannot pull".
    what: String,
    backoff: Backoff,
    since: Option<Instant>,
    said: Option<Instant>,
}

impl RetryLog {
    /// No trouble so far with `what`. Different seeds keep many callers from asking in step.
    #[must_use]
    pub fn new(what: impl Into<String>, seed: u64) -> Self {
        let backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, seed);
        Self { what: what.into(), backoff, since: None, said: None }
    }

    /// The call failed at `now`: how long to wait before the next.
    pub fn next(&mut self, fault: &SourceError, now: Instant) -> Duration {
        let floor = match fault {
            SourceError::Busy { retry_after, .. } => *retry_after,
            SourceError::Refused(_) => Some(REFUSED_PAUSE),
            SourceError::Lost(_) | SourceError::Stale(_) => None,
        };
        let since = *self.since.get_or_insert(now);
        if self.said.is_none_or(|said| now >= said + REMINDER_INTERVAL) {
            self.said = Some(now);
            let (what, cause, seconds) = (&self.what, fault.cause(), (now - since).as_secs());
            match fault {
                SourceError::Refused(_) => error!(for_seconds = seconds, "{what}: {cause}"),
                _ => warn!(for_seconds = seconds, "{what}, trying again: {cause}"),
            }
        }
        self.backoff.next(floor)
    }

    /// The call failed: waits. May be thrown away while it waits.
    pub async fn pause(&mut self, fault: &SourceError) {
        let pause = self.next(fault, Instant::now());
        sleep(pause).await;
    }

    /// The call worked.
    pub fn over(&mut self) {
        if let Some(since) = self.since.take() {
            self.said = None;
            self.backoff.reset();
            info!(for_seconds = since.elapsed().as_secs(), "{}: over", self.what);
        }
    }
}
