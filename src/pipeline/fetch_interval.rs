//! How long an idle shard waits before it is pulled again: pure.

use std::time::Duration;

/// The pause is the time since the last log divided by this.
const PART: u32 = 10;

/// The pause between two pulls of a shard that has no new logs: short after a log, and longer the longer no log
/// arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchInterval {
    least: Duration,
    most: Duration,
}

impl FetchInterval {
    /// From `least`, right after a log, to `most`, after no log has arrived for ten times `most`.
    #[must_use]
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most: most.max(least) }
    }

    /// A fixed pause.
    #[must_use]
    pub fn fixed(interval: Duration) -> Self {
        Self { least: interval, most: interval }
    }

    /// The pause after `idle` without logs. A log that arrives after a quiet time waits at most a tenth of that time, or `least`.
    pub(super) fn after(self, idle: Duration) -> Duration {
        (idle / PART).clamp(self.least, self.most)
    }

    /// The longest pause: that of a shard that receives no logs.
    #[must_use]
    pub fn most(self) -> Duration {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Number of pulls in the minute after the last log, if a reply takes no time.
    fn calls(interval: FetchInterval) -> u32 {
        let (mut now, mut calls) = (Duration::ZERO, 0);
        while now < Duration::from_secs(60) {
            now += interval.after(now);
            calls += 1;
        }
        calls
    }

    /// Fails if the pause does not grow, or grows without limit.
    #[test]
    fn the_pause_is_a_tenth_of_the_time_without_logs_within_bounds() {
        let interval = FetchInterval::new(ms(100), ms(1_000));
        for (idle, pause) in [(0, 100), (900, 100), (1_000, 100), (5_000, 500), (10_000, 1_000), (3_600_000, 1_000)] {
            assert_eq!(interval.after(ms(idle)), ms(pause), "after {idle} ms");
        }
        assert_eq!(FetchInterval::fixed(ms(300)).after(ms(0)), ms(300));
        assert_eq!(FetchInterval::fixed(ms(300)).after(ms(60_000)), ms(300));
    }

    /// The figures of docs/performance.md.
    #[test]
    fn an_idle_minute_takes_as_many_calls_as_documented() {
        assert_eq!(calls(FetchInterval::new(ms(100), ms(1_000))), 85);
        assert_eq!(calls(FetchInterval::fixed(ms(100))), 600);
        assert_eq!(calls(FetchInterval::fixed(ms(1_000))), 60);
    }
}
