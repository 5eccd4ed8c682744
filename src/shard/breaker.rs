//! When to stop writing dead letters: a stream that fails as a whole is a fault of the script or of the destination's
//! settings, not of its logs.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// How far back it looks.
const WINDOW: Duration = Duration::from_secs(60);

/// Logs are counted together for this long, so that many small pages cost no memory.
const GRAIN: Duration = Duration::from_secs(1);

/// Fewer logs than this within the window say nothing about the stream.
const LEAST_LOGS: u64 = 200;

/// Looks at the share of one shard's logs that are to become dead letters.
#[derive(Debug)]
pub(super) struct Breaker {
    /// In percent.
    max_share: u32,
    /// What was let through within the window, oldest first.
    window: VecDeque<(Instant, Share)>,
}

/// So many logs out of so many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) bad: u64,
    pub(super) logs: u64,
}

impl Breaker {
    /// Lets through what keeps the share of bad logs at or below `max_share` percent.
    pub(super) fn new(max_share: u32) -> Self {
        Self { max_share, window: VecDeque::new() }
    }

    /// Whether a page of `logs` logs, of which `bad` are to become dead letters, may go on. What may not does not count:
    /// it will be asked for again.
    ///
    /// # Errors
    /// The share that it would come to, over the last minute and this page.
    pub(super) fn admit(&mut self, now: Instant, logs: u32, bad: u32) -> Result<(), Share> {
        while self.window.front().is_some_and(|(at, _)| now >= *at + WINDOW) {
            self.window.pop_front();
        }
        let page = Share { bad: bad.into(), logs: logs.into() };
        let share = self.window.iter().fold(page, |sum, (_, share)| sum.plus(*share));
        if bad > 0 && share.logs >= LEAST_LOGS && share.bad * 100 > u64::from(self.max_share) * share.logs {
            return Err(share);
        }
        match self.window.back_mut() {
            Some((at, last)) if now < *at + GRAIN => *last = last.plus(page),
            _ => self.window.push_back((now, page)),
        }
        Ok(())
    }
}

impl Share {
    fn plus(self, other: Self) -> Self {
        Self { bad: self.bad + other.bad, logs: self.logs + other.logs }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} logs within a minute ({} %)", self.bad, self.logs, self.bad * 100 / self.logs.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(3_600 + seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_at_the_limit_goes_on_and_one_above_is_held() {
        assert_eq!(Breaker::new(20).admit(at(0), 1_000, 200), Ok(()));
        assert_eq!(Breaker::new(20).admit(at(0), 1_000, 201), Err(Share { bad: 201, logs: 1_000 }));
        assert_eq!(Breaker::new(100).admit(at(0), 1_000, 1_000), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn few_logs_say_nothing() {
        let mut breaker = Breaker::new(20);
        assert_eq!(breaker.admit(at(0), 199, 199), Ok(()));
        assert_eq!(breaker.admit(at(1), 1, 1), Err(Share { bad: 200, logs: 200 }));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_asked_for_again_and_does_not_count_twice() {
        let mut breaker = Breaker::new(20);
        assert_eq!(breaker.admit(at(0), 1_000, 0), Ok(()));
        for _ in 0..5 {
            assert_eq!(breaker.admit(at(1), 500, 400), Err(Share { bad: 400, logs: 1_500 }));
        }
        assert_eq!(breaker.admit(at(31), 500, 10), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_a_minute_old_does_not_count() {
        let mut breaker = Breaker::new(20);
        assert_eq!(breaker.admit(at(0), 150, 150), Ok(()));
        assert!(breaker.admit(at(59), 150, 150).is_err());
        assert_eq!(breaker.admit(at(60), 150, 150), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clean_page_always_goes_on_and_the_window_stays_small() {
        let mut breaker = Breaker::new(1);
        assert_eq!(breaker.admit(at(0), 199, 199), Ok(()));
        for milli in 0..120_000 {
            assert_eq!(breaker.admit(at(0) + Duration::from_millis(milli), 1, 0), Ok(()));
        }
        assert!(breaker.window.len() <= 61, "{}", breaker.window.len());
    }
}
