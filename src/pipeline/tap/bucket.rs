//! A rate limit per second. Pure.

use tokio::time::Instant;

/// A token bucket: `rate` tokens per second, and at most `rate` tokens at once.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: f64,
    left: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Self { rate: rate.into(), left: rate.into(), filled: now }
    }

    /// Takes a token; returns whether there was one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.filled).as_secs_f64() * self.rate;
        self.left = (self.left + more).min(self.rate);
        self.filled = now;
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_lines_pass_than_the_rate_allows() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10, now);
        let mut passed = |millis| (0..100).filter(|_| bucket.take(now + Duration::from_millis(millis))).count();
        assert_eq!([0, 100, 100, 1_100, 60_000].map(&mut passed), [10, 1, 0, 10, 10]);
    }
}
