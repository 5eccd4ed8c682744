//! Histograms of durations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in milliseconds. Longer durations are counted separately.
const BOUNDS: [u64; 17] =
    [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000];

/// A histogram of durations. Can be written from any task: two atomic additions and no allocation.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    /// Adds `things` observations of the duration `took`.
    pub fn observe(&self, took: Duration, things: u64) {
        let millis = took.as_micros().div_ceil(1_000);
        let bucket = BOUNDS.partition_point(|bound| u128::from(*bound) < millis);
        self.counts[bucket].fetch_add(things, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).saturating_mul(things);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The counts so far.
    #[must_use]
    pub fn read(&self) -> Buckets {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Buckets { counts, micros: self.micros.load(Ordering::Relaxed) }
    }
}

/// The counts of a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Buckets {
    counts: [u64; BOUNDS.len() + 1],
    micros: u64,
}

impl Buckets {
    /// The number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all durations, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_micros(self.micros).as_secs_f64()
    }

    /// The upper bound of each bucket in seconds (infinite for the last), with the number of observations at or below
    /// it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let ends = BOUNDS.iter().map(|millis| Duration::from_millis(*millis).as_secs_f64()).chain([f64::INFINITY]);
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        ends.zip(sums)
    }

    /// The duration within which this share (0 to 1) of the observations was: the upper bound of its bucket, in
    /// seconds. `None` without observations; infinite beyond the last bucket.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        #[expect(clippy::cast_precision_loss, reason = "a share of counts needs no digit more")]
        let wanted = share * count as f64;
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let mut ends = self.cumulative().filter(|(_, sum)| *sum as f64 >= wanted);
        if count == 0 { None } else { ends.next().map(|(end, _)| end) }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
        self.micros += other.micros;
        self
    }

    /// The counts since `earlier`.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        self.counts.iter_mut().zip(earlier.counts).for_each(|(count, before)| *count = count.saturating_sub(before));
        self.micros = self.micros.saturating_sub(earlier.micros);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_is_long_enough() {
        let histogram = Histogram::default();
        for (micros, things) in [(0, 1), (1_000, 1), (1_001, 2), (999_999, 3), (7_200_000_000, 1)] {
            histogram.observe(Duration::from_micros(micros), things);
        }
        let read = histogram.read();
        let found: Vec<(f64, u64)> = read.cumulative().collect();
        assert_eq!(found[..2], [(0.001, 2), (0.005, 4)]);
        assert_eq!((found[7], found[8]), ((0.5, 4), (1.0, 7)));
        assert_eq!((found[17], read.count()), ((f64::INFINITY, 8), 8));
        assert_eq!(read.seconds(), 7_200.0 + 3.0 * 0.999_999 + 2.0 * 0.001_001 + 0.001);
    }

    #[test]
    fn a_quantile_is_the_upper_bound_of_its_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().quantile(0.5), None);
        histogram.observe(Duration::from_millis(8), 98);
        histogram.observe(Duration::from_millis(700), 2);
        let read = histogram.read();
        assert_eq!([0.5, 0.98, 0.99].map(|share| read.quantile(share)), [Some(0.01), Some(0.01), Some(1.0)]);
        assert_eq!(read.plus(&read).since(&read), read);
    }
}
