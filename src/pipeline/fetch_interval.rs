//! How long an idle shard waits before it is asked again: pure.

use std::time::Duration;

/// For each so much time without a log, a shard waits one of them before it is asked again.
const PART: u32 = 10;

/// The pause between two pulls of a shard that has no new logs: short while logs come, longer the longer none come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchInterval {
    least: Duration,
    most: Duration,
}

impl FetchInterval {
    /// From `least`, right after a log, up to `most`, when none has come for ten times that long.
    #[must_use]
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most: most.max(least) }
    }

    /// Always the same.
    #[must_use]
    pub fn fixed(interval: Duration) -> Self {
        Self { least: interval, most: interval }
    }

    /// The pause when no log has come for so long. A log that comes after a while without any waits for a tenth of that while
    /// at most, or for the least.
    pub(super) fn after(self, idle: Duration) -> Duration {
        (idle / PART).clamp(self.least, self.most)
    }

    /// The pause of a shard to which nothing comes.
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

    /// How often a shard is asked in the minute after its last log, when an answer takes no time.
    fn calls(interval: FetchInterval) -> u32 {
        let (mut now, mut calls) = (Duration::ZERO, 0);
        while now < Duration::from_secs(60) {
            now += interval.after(now);
            calls += 1;
        }
        calls
    }

    /// Goes red when the pause does not grow, or grows without end.
    #[test]
    fn the_pause_is_a_tenth_of_the_time_without_logs_within_its_bounds() {
        let interval = FetchInterval::new(ms(100), ms(1_000));
        for (idle, pause) in [(0, 100), (900, 100), (1_000, 100), (5_000, 500), (10_000, 1_000), (3_600_000, 1_000)] {
            assert_eq!(interval.after(ms(idle)), ms(pause), "after {idle} ms");
        }
        assert_eq!(FetchInterval::fixed(ms(300)).after(ms(0)), ms(300));
        assert_eq!(FetchInterval::fixed(ms(300)).after(ms(60_000)), ms(300));
    }

    /// The figures of docs/performance.md.
    #[test]
    fn the_calls_of_an_idle_minute_are_those_of_the_documentation() {
        assert_eq!(calls(FetchInterval::new(ms(100), ms(1_000))), 85);
        assert_eq!(calls(FetchInterval::fixed(ms(100))), 600);
        assert_eq!(calls(FetchInterval::fixed(ms(1_000))), 60);
    }
}
