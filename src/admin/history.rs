//! Samples of the last hour for graphs, kept in bounded memory.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::destination_history::DestinationHistory;
use super::snapshot::{RecentDeliveries, Snapshot};
use crate::core::cursor::ShardName;
use crate::core::destination_name::DestinationName;
use crate::destination::DestinationStatus;

/// Time between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);

/// Samples of an hour.
const MAX_SAMPLES: usize = 360;

/// Maximum number of shards with their own samples; for further shards only the sums are kept.
const MAX_SHARDS: usize = 256;

/// The lag is compared with the sample this many steps back.
const RATE_SAMPLES: usize = 6;

/// Figures of the last hour, one per [`INTERVAL`], oldest first. Unknown values are gaps.
#[derive(Debug, Default)]
pub(super) struct Series(VecDeque<Option<f32>>);

impl Series {
    fn push(&mut self, value: Option<f64>) {
        if self.0.len() >= MAX_SAMPLES {
            self.0.pop_front();
        }
        #[expect(clippy::cast_possible_truncation, reason = "a graph has some hundred steps")]
        self.0.push_back(value.map(|value| value as f32));
    }

    /// All of them.
    pub(super) fn values(&self) -> impl ExactSizeIterator<Item = Option<f32>> + '_ {
        self.0.iter().copied()
    }

    /// The newest, if it is known.
    pub(super) fn last(&self) -> Option<f32> {
        self.0.back().copied().flatten()
    }
}

/// Samples of a shard.
#[derive(Debug, Default)]
pub(super) struct ShardHistory {
    /// Completed logs per second.
    pub(super) rate: Series,
    /// Seconds behind.
    pub(super) lag: Series,
    settled: u64,
}

/// The last hour.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By shard, as far as there are not too many.
    pub(super) shards: BTreeMap<ShardName, ShardHistory>,
    /// Completed logs per second, over all shards.
    pub(super) rate: Series,
    /// The largest lag of a shard, in seconds.
    pub(super) lag: Series,
    /// The 99th percentile of the delivery time of the slowest destination, in seconds.
    pub(super) latency: Series,
    at: Option<Instant>,
    settled: u64,
    destinations: BTreeMap<DestinationName, DestinationHistory>,
}

impl History {
    /// Takes a sample.
    pub(super) fn sample(&mut self, snapshot: &Snapshot) {
        let elapsed = self.at.map(|at| snapshot.at.saturating_duration_since(at).as_secs_f64());
        self.at = Some(snapshot.at);
        #[expect(clippy::cast_precision_loss, reason = "a graph has some hundred steps")]
        let per_second = |logs: u64| elapsed.filter(|elapsed| *elapsed > 0.0).map(|elapsed| logs as f64 / elapsed);
        let (mut settled, mut most_lag) = (0, None);
        for (shard, entry) in &snapshot.shards {
            let counts = &entry.counts;
            let now = counts.delivered + counts.dropped + counts.dead_lettered;
            settled += now;
            let lag = entry.lag(snapshot.now).filter(|_| entry.held).map(seconds);
            most_lag = most_lag.max(entry.lag(snapshot.now).filter(|_| entry.held));
            if self.shards.len() < MAX_SHARDS || self.shards.contains_key(shard) {
                let history = self.shards.entry(shard.clone()).or_default();
                history.rate.push(per_second(now.saturating_sub(history.settled)));
                history.lag.push(lag);
                history.settled = now;
            }
        }
        self.shards.retain(|shard, _| snapshot.shards.contains_key(shard));
        self.rate.push(per_second(settled.saturating_sub(self.settled)));
        self.settled = settled;
        self.lag.push(most_lag.map(seconds));
        let mut slowest = None::<f64>;
        for destination in &snapshot.destinations {
            let began = snapshot.started;
            let history = self.destinations.entry(destination.name.clone());
            let history = history.or_insert_with(|| DestinationHistory::new(began));
            let took = history.sample(destination, snapshot.at).quantile(0.99).filter(|took| took.is_finite());
            slowest = slowest.into_iter().chain(took).reduce(f64::max);
        }
        self.latency.push(slowest);
    }

    /// What each destination did in the last minutes, up to this moment.
    pub(super) fn recent(&self, snapshot: &Snapshot) -> BTreeMap<DestinationName, RecentDeliveries> {
        let recent = |destination: &DestinationStatus| {
            let history = self.destinations.get(&destination.name)?;
            Some((destination.name.clone(), history.recent(destination, snapshot.at)))
        };
        snapshot.destinations.iter().filter_map(recent).collect()
    }

    /// The recent change of the lag, in seconds per second; `None` if unknown.
    pub(super) fn lag_change(&self) -> Option<f64> {
        let lag = &self.lag.0;
        let then = lag.len().checked_sub(RATE_SAMPLES + 1).and_then(|at| lag[at])?;
        let now = self.lag.last()?;
        #[expect(clippy::cast_precision_loss, reason = "it is six")]
        let between = RATE_SAMPLES as f64 * INTERVAL.as_secs_f64();
        Some(f64::from(now - then) / between)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a graph has some hundred steps")]
fn seconds(lag: u64) -> f64 {
    lag as f64
}

/// One with these values, for tests.
#[cfg(test)]
pub(super) fn series_of(values: impl IntoIterator<Item = Option<f32>>) -> Series {
    Series(values.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::well;
    use crate::core::cursor::{ShardId, SourceName};
    use crate::core::ledger::{Ledger, Settled};

    fn name(number: u32) -> ShardName {
        ShardName { source: SourceName::new("audit"), shard: ShardId(number) }
    }

    #[test]
    fn rates_and_lags_are_computed_from_two_samples() {
        let ledger = Ledger::default();
        let account = ledger.account(&name(2));
        account.acquired();
        let (mut history, start) = (History::default(), Instant::now());
        for turn in 0..8_u32 {
            account.pulled(50, 100, Some(1_000));
            account.settled(Settled { delivered: 50, ..Settled::default() }, Some(1_000));
            let at = start + turn * INTERVAL;
            history.sample(&Snapshot { shards: ledger.read(), at, now: 1_100 + 5 * i64::from(turn), ..well() });
        }
        let rates: Vec<_> = history.rate.values().collect();
        assert_eq!((rates[0], rates[1], rates.len()), (None, Some(5.0), 8));
        assert_eq!((history.lag.last(), history.lag_change()), (Some(135.0), Some(0.5)));
        assert_eq!(history.shards[&name(2)].rate.last(), Some(5.0));
    }

    /// The memory that a full history of 64 shards may take.
    const MAX_BYTES: usize = 1 << 20;

    #[test]
    fn a_full_history_of_64_shards_takes_a_bounded_part_of_the_memory() {
        let ledger = Ledger::default();
        (0..64).for_each(|number| ledger.account(&name(number)).acquired());
        let (mut history, snapshot) = (History::default(), Snapshot { shards: ledger.read(), ..well() });
        (0..2 * MAX_SAMPLES).for_each(|_| history.sample(&snapshot));
        let of_series = |series: &Series| series.0.capacity() * size_of::<Option<f32>>();
        let of_shard = |(name, shard): (&ShardName, &ShardHistory)| {
            size_of_val(name) + size_of_val(shard) + of_series(&shard.rate) + of_series(&shard.lag)
        };
        let of_destination = |(name, destination): (&DestinationName, &DestinationHistory)| {
            size_of_val(name) + size_of_val(destination) + destination.held_bytes()
        };
        let sums = [&history.rate, &history.lag, &history.latency].into_iter().map(of_series).sum::<usize>();
        let shards = history.shards.iter().map(of_shard).sum::<usize>();
        let bytes = sums + shards + history.destinations.iter().map(of_destination).sum::<usize>();
        assert_eq!(history.shards.len(), 64);
        assert!((64 * 2 * MAX_SAMPLES * 4..MAX_BYTES).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn the_history_keeps_one_hour_and_a_bounded_number_of_shards() {
        let ledger = Ledger::default();
        (0..1_000).for_each(|number| ledger.account(&name(number)).acquired());
        let (mut history, snapshot) = (History::default(), Snapshot { shards: ledger.read(), ..well() });
        (0..400).for_each(|_| history.sample(&snapshot));
        assert_eq!((history.shards.len(), history.lag.0.len()), (MAX_SHARDS, MAX_SAMPLES));
        history.sample(&well());
        assert_eq!(history.shards.len(), 1, "what is gone is forgotten");
    }
}
