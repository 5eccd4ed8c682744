//! How many logs of a shard wait in SLS, estimated from how many were read and when SLS had received them.

use tokio::time::Instant;

/// The rate is measured over periods of at least this many seconds, and of at most twice as many. A short wait is
/// measured by a short period, so that a burst does not count for longer than it lasts.
const PERIODS: [i64; 3] = [10, 60, 600];

/// What was read of a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Number of logs read.
    read: u64,
    /// When SLS received the newest of them, in unix seconds.
    last: Option<i64>,
    /// When the shard was pulled, if it had nothing more then.
    end: Option<Instant>,
    periods: [Period; PERIODS.len()],
}

/// A period that ends with the newest log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Period {
    first: Mark,
    middle: Mark,
}

/// All logs that SLS received until `at`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    at: i64,
    logs: u64,
}

impl Arrival {
    /// A page with `logs` logs was read. SLS received its end at `received_at`, in unix seconds.
    pub fn read(&mut self, logs: u64, received_at: Option<i64>) {
        self.end = None;
        self.read += logs;
        let Some(at) = received_at else { return };
        let last = *self.last.get_or_insert(at);
        // The time in which the logs of the first page arrived is unknown.
        let mark = Mark { at: at.max(last), logs: self.read };
        self.last = Some(mark.at);
        for (period, seconds) in self.periods.iter_mut().zip(PERIODS) {
            if period.first.at == 0 || period.first.at == mark.at {
                *period = Period { first: mark, middle: mark };
            } else if mark.at - period.middle.at >= seconds {
                *period = Period { first: period.middle, middle: mark };
            } else if period.middle.at == mark.at {
                period.middle = mark;
            }
        }
    }

    /// `logs` more logs of the last page were read.
    pub fn read_on(&mut self, logs: u64) {
        self.read(logs, self.last);
    }

    /// The last page was pulled at `pulled_at`, and the shard had nothing more.
    pub fn ended(&mut self, pulled_at: Instant) {
        self.end = Some(pulled_at);
    }

    /// Estimated number of logs that SLS holds and that were not read, at `now` (unix seconds). `None` if too little
    /// was read to say.
    #[must_use]
    pub fn unread(&self, now: i64) -> Option<u64> {
        let seconds = match self.end {
            Some(at) => i64::try_from(at.elapsed().as_secs()).unwrap_or(i64::MAX),
            None => now - self.last?,
        };
        if seconds <= 0 {
            return Some(0);
        }
        // The shortest period that is as long as the wait. Only the longest one tells of more time than it has.
        let mut spans = self.periods.iter().map(|period| (period.first, self.last.unwrap_or(0) - period.first.at));
        let [.., longest] = PERIODS;
        let (first, span) = spans.clone().find(|(_, span)| *span >= seconds).or(spans.next_back())?;
        let logs = u128::from(self.read - first.logs) * u128::try_from(seconds).ok()?;
        (span >= seconds.min(longest)).then(|| u64::try_from(logs / u128::try_from(span).ok()?).ok())?
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// One that read a page a second with these many logs.
    fn read(rates: impl IntoIterator<Item = u64>) -> Arrival {
        let mut arrival = Arrival::default();
        for (second, logs) in (1_000..).zip(rates) {
            arrival.read(logs, Some(second));
        }
        arrival
    }

    #[test]
    fn the_number_of_waiting_logs_is_estimated_from_an_equally_long_time() {
        let mut arrival = Arrival::default();
        assert_eq!(arrival.unread(1_060), None);
        arrival.read(5_000, Some(1_000));
        arrival.read_on(5_000);
        assert_eq!(arrival.unread(1_060), None, "the time of the first page is not known");
        arrival.read(100, Some(1_005));
        arrival.read(200, Some(1_010));
        arrival.read_on(100);
        arrival.read(7, None);
        assert_eq!(arrival.unread(1_010), Some(0));
        assert_eq!(arrival.unread(1_015), Some(203));
        assert_eq!(arrival.unread(1_060), None, "ten seconds do not tell of fifty");
    }

    #[test]
    fn a_burst_counts_only_for_as_long_as_it_lasts() {
        let burst = [10; 600].into_iter().chain([50_000; 2]);
        let quiet = read(burst.chain([1; 40]));
        assert_eq!(quiet.unread(1_641 + 5), Some(5));
        let quiet = read([1_000; 600].into_iter().chain([10; 12_000]));
        assert_eq!(quiet.unread(13_599 + 3_600), Some(36_000), "a rate of long ago fades");
    }

    #[test]
    fn after_a_burst_within_a_second_the_number_is_unknown() {
        let mut arrival = Arrival::default();
        for second in [1_000, 1_000, 1_000, 1_001, 1_001] {
            arrival.read(25_000, Some(second));
        }
        assert_eq!(arrival.unread(1_011), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_logs_wait_after_a_pull_that_reached_the_end_of_the_shard() {
        let mut arrival = read([100; 30]);
        arrival.ended(Instant::now());
        assert_eq!(arrival.unread(9_000), Some(0), "the newest log is old, and was the last");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(arrival.unread(9_003), Some(300), "since that pull");
        arrival.read(100, Some(1_030));
        assert_eq!(arrival.unread(1_040), Some(1_000), "a page that is not the last");
    }
}
