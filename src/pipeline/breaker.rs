//! Decides when to stop writing dead letters: if nearly all logs fail, the cause is the script or the destination's
//! settings, not the logs.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// Length of the window.
const WINDOW: Duration = Duration::from_secs(60);

/// Resolution of the counts, so that many small pages need no memory.
const COUNTING_STEP: Duration = Duration::from_secs(1);

/// Minimum number of logs within the window before the share is checked.
const MIN_LOGS: u64 = 200;

/// Maximum number of bad logs in a row, however slowly they arrive.
const MAX_IN_A_ROW: u64 = 100;

/// Tracks the share of one shard's logs that become dead letters.
#[derive(Debug)]
pub(super) struct Breaker {
    /// In percent.
    max_share: u32,
    /// Admitted logs within the window, oldest first.
    window: VecDeque<(Instant, Share)>,
    /// Bad logs admitted since the last page with a good one.
    row: u64,
}

/// Why a page is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// Too large a share within the window.
    Share(Share),
    /// This many consecutive logs, all of them bad.
    Row(u64),
}

/// The number of bad logs and of all logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) bad: u64,
    pub(super) logs: u64,
}

impl Breaker {
    /// Keeps the share of bad logs at or below `max_share` percent.
    pub(super) fn new(max_share: u32) -> Self {
        Self { max_share, window: VecDeque::new(), row: 0 }
    }

    /// Whether a page of `logs` logs, of which `bad` are to become dead letters, may be delivered. A refused page
    /// does not count, because it will be tried again.
    ///
    /// Two rules apply. The share over the last minute and this page must not exceed `max_share`, once there are
    /// enough logs. And there must not be too many bad logs in a row, unless `max_share` is 100.
    ///
    /// # Errors
    /// The share or row that is too large.
    pub(super) fn admit(&mut self, now: Instant, logs: u32, bad: u32) -> Result<(), Excess> {
        self.row = self.weigh(now, logs, bad)?;
        let page = Share { bad: bad.into(), logs: logs.into() };
        match self.window.back_mut() {
            Some((at, last)) if now < *at + COUNTING_STEP => *last = last.plus(page),
            _ => self.window.push_back((now, page)),
        }
        Ok(())
    }

    /// Whether such a page would be refused; it is not counted.
    pub(super) fn refuses(&mut self, now: Instant, logs: u32, bad: u32) -> bool {
        self.weigh(now, logs, bad).is_err()
    }

    /// How many consecutive logs are bad including this page, if it may be delivered.
    fn weigh(&mut self, now: Instant, logs: u32, bad: u32) -> Result<u64, Excess> {
        while self.window.front().is_some_and(|(at, _)| now >= *at + WINDOW) {
            self.window.pop_front();
        }
        let page = Share { bad: bad.into(), logs: logs.into() };
        let share = self.window.iter().fold(page, |sum, (_, share)| sum.plus(*share));
        if bad > 0 && share.logs >= MIN_LOGS && share.bad * 100 > u64::from(self.max_share) * share.logs {
            return Err(Excess::Share(share));
        }
        let row = if page.bad == page.logs { self.row + page.bad } else { 0 };
        if bad > 0 && row > MAX_IN_A_ROW && self.max_share < 100 {
            return Err(Excess::Row(row));
        }
        Ok(row)
    }
}

impl Share {
    fn plus(self, other: Self) -> Self {
        Self { bad: self.bad + other.bad, logs: self.logs + other.logs }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(Share { bad, logs }) => {
                write!(f, "{bad} of {logs} logs within a minute ({} %)", bad * 100 / logs.max(&1))
            }
            Self::Row(logs) => write!(f, "{logs} logs in a row"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(3_600 + seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_at_the_limit_passes_and_one_above_pauses() {
        assert_eq!(Breaker::new(20).admit(at(0), 1_000, 200), Ok(()));
        assert_eq!(Breaker::new(20).admit(at(0), 1_000, 201), Err(Excess::Share(Share { bad: 201, logs: 1_000 })));
        assert_eq!(Breaker::new(100).admit(at(0), 1_000, 1_000), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn too_few_logs_do_not_pause_a_shard() {
        let mut breaker = Breaker::new(20);
        assert_eq!(breaker.admit(at(0), 199, 198), Ok(()));
        assert_eq!(breaker.admit(at(1), 1, 1), Err(Excess::Share(Share { bad: 199, logs: 200 })));
    }

    #[tokio::test(start_paused = true)]
    async fn f38_f56_a_slow_shard_with_only_failures_is_paused_too() {
        let mut breaker = Breaker::new(20);
        for log in 0..100 {
            assert_eq!(breaker.admit(at(60 * log), 1, 1), Ok(()), "{log}");
        }
        for again in 0..3 {
            assert_eq!(breaker.admit(at(60_000 + again), 1, 1), Err(Excess::Row(101)));
        }
        assert_eq!(breaker.admit(at(61_000), 1, 0), Ok(()), "the script was mended");
        assert_eq!(breaker.admit(at(61_000), 1, 1), Ok(()), "and a single bad log is one again");
    }

    #[tokio::test(start_paused = true)]
    async fn pages_with_one_good_log_or_without_logs_do_not_pause_a_slow_shard() {
        let mut breaker = Breaker::new(20);
        for page in 0..1_000 {
            assert_eq!(breaker.admit(at(60 * page), 5, 4), Ok(()));
        }
        let mut breaker = Breaker::new(20);
        for page in 0..1_000 {
            assert_eq!(breaker.admit(at(60 * page), 0, 0), Ok(()));
        }
        let mut breaker = Breaker::new(100);
        assert_eq!(breaker.admit(at(0), 1_000, 1_000), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_page_that_is_retried_does_not_count_twice() {
        let mut breaker = Breaker::new(20);
        assert_eq!(breaker.admit(at(0), 1_000, 0), Ok(()));
        for _ in 0..5 {
            assert_eq!(breaker.admit(at(1), 500, 400), Err(Excess::Share(Share { bad: 400, logs: 1_500 })));
        }
        assert_eq!(breaker.admit(at(31), 500, 10), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_a_minute_old_do_not_count() {
        let mut breaker = Breaker::new(20);
        assert_eq!(breaker.admit(at(0), 150, 149), Ok(()));
        assert!(breaker.admit(at(59), 150, 149).is_err());
        assert_eq!(breaker.admit(at(60), 150, 149), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_without_failures_always_passes_and_the_window_stays_small() {
        let mut breaker = Breaker::new(1);
        assert_eq!(breaker.admit(at(0), 199, 198), Ok(()));
        for milli in 0..120_000 {
            assert_eq!(breaker.admit(at(0) + Duration::from_millis(milli), 1, 0), Ok(()));
        }
        assert!(breaker.window.len() <= 61, "{}", breaker.window.len());
    }
}
