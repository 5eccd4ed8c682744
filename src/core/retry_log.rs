//! Repeated failures of one kind of call: how long to wait, and when to log them.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::backoff::Backoff;
use super::cause::{Cause, Retry};
use super::logged_causes::LoggedCauses;
use super::source::SourceError;

/// First pause after a transient error.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause after a transient error.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(30);

/// Minimum pause of a call that fails until a person changes something.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// How often a failure is reported while it lasts.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// One kind of call, and its current series of failures, if any.
#[derive(Debug)]
pub struct RetryLog {
    /// The failure as the start of a sentence: "shard 3: cannot pull".
    what: String,
    backoff: Backoff,
    since: Option<Instant>,
    /// When it was last logged.
    logged_at: Option<Instant>,
    causes: LoggedCauses,
}

impl RetryLog {
    /// No failure of `what` so far. Use different seeds so that callers do not retry at the same time.
    #[must_use]
    pub fn new(what: impl Into<String>, seed: u64) -> Self {
        let backoff = Backoff::new(FIRST_PAUSE, MAX_RETRY_PAUSE, seed);
        Self { what: what.into(), backoff, since: None, logged_at: None, causes: LoggedCauses::default() }
    }

    /// The call failed at `now`. Returns how long to wait before the next attempt. Logs a new cause at once, and a
    /// known one from time to time.
    pub fn next(&mut self, cause: &Cause, retry: Retry, now: Instant) -> Duration {
        let since = *self.since.get_or_insert(now);
        let is_news = self.causes.is_news(cause, now, REMINDER_INTERVAL);
        if is_news || self.logged_at.is_none_or(|logged_at| now >= logged_at + REMINDER_INTERVAL) {
            self.logged_at = Some(now);
            let (what, seconds) = (&self.what, (now - since).as_secs());
            match retry {
                Retry::AfterChange => error!(for_seconds = seconds, "{what}: {cause}"),
                Retry::Soon { .. } => warn!(for_seconds = seconds, "{what}, retrying: {cause}"),
            }
        }
        self.backoff.next(match retry {
            Retry::AfterChange => Some(REFUSED_PAUSE),
            Retry::Soon { not_before } => not_before,
        })
    }

    /// The call failed: waits before the next attempt. May be dropped while it waits.
    pub async fn pause(&mut self, cause: &Cause, retry: Retry) {
        let pause = self.next(cause, retry, Instant::now());
        sleep(pause).await;
    }

    /// The call to the source failed: waits as its error requires.
    pub async fn pause_after(&mut self, error: &SourceError) {
        self.pause(error.cause(), error.retry()).await;
    }

    /// The call succeeded.
    pub fn recovered(&mut self) {
        if let Some(since) = self.since.take() {
            self.logged_at = None;
            self.causes = LoggedCauses::default();
            self.backoff.reset();
            info!(for_seconds = since.elapsed().as_secs(), "{}: recovered", self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::test_log::log;

    #[test]
    fn a_new_cause_is_logged_at_once_and_the_same_one_once_a_minute() {
        let (_log, lines) = log();
        let (mut retry, now) = (RetryLog::new("shard 3: cannot pull", 1), Instant::now());
        for second in 0..130 {
            let cause = if (10..100).contains(&second) { "401 Unauthorized" } else { "cannot connect" };
            retry.next(&Cause::new(cause), Retry::SOON, now + Duration::from_secs(second));
        }
        let lines = lines.text();
        let logged_at: Vec<_> = lines.lines().map(|line| line.contains("401")).collect();
        assert_eq!(logged_at, [false, true, true, false], "at 0, 10, 70 and 100 s: {lines}");
    }
}
