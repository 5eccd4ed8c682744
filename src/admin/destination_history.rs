//! What a destination did in the last minutes: its rate, and how long its batches took.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::RecentDeliveries;
use crate::core::histogram::Buckets;
use crate::destination::DestinationStatus;

/// Further samples that are kept: those of a minute.
const MAX_SAMPLES: usize = 6;

/// Recent delivery times cover one to two of these, so that an outage is forgotten after two.
const MARK_INTERVAL: Duration = Duration::from_secs(300);

/// The counts of a destination at earlier moments.
#[derive(Debug)]
pub(super) struct DestinationHistory {
    /// Durable events at the samples of the last minute, oldest first.
    counts: VecDeque<(Instant, u64)>,
    /// The mark before the last one.
    before: Mark,
    mark: Mark,
    /// At the last sample.
    deliveries: Buckets,
}

/// The delivery times up to a moment.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    deliveries: Buckets,
}

impl DestinationHistory {
    /// One of a destination that has delivered nothing before `began`.
    pub(super) fn new(began: Instant) -> Self {
        let mark = Mark { at: began, deliveries: Buckets::default() };
        Self { counts: VecDeque::new(), before: mark, mark, deliveries: Buckets::default() }
    }

    /// Takes a sample; returns the delivery times since the last one.
    pub(super) fn sample(&mut self, destination: &DestinationStatus, now: Instant) -> Buckets {
        if self.counts.len() > MAX_SAMPLES {
            self.counts.pop_front();
        }
        self.counts.push_back((now, destination.events.delivered));
        let all = destination.figures.deliveries;
        if now.saturating_duration_since(self.mark.at) >= MARK_INTERVAL {
            self.before = std::mem::replace(&mut self.mark, Mark { at: now, deliveries: all });
        }
        all.since(&std::mem::replace(&mut self.deliveries, all))
    }

    /// What it did up to this moment.
    pub(super) fn recent(&self, destination: &DestinationStatus, now: Instant) -> RecentDeliveries {
        let first = self.counts.front().map(|(at, delivered)| {
            (now.saturating_duration_since(*at).as_secs_f64(), destination.events.delivered.saturating_sub(*delivered))
        });
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = first.filter(|(seconds, _)| *seconds >= 1.0).map(|(seconds, events)| events as f64 / seconds);
        RecentDeliveries {
            rate,
            took: destination.figures.deliveries.since(&self.before.deliveries),
            span: now.saturating_duration_since(self.before.at),
        }
    }

    /// The memory that the counts take.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<(Instant, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::well;
    use crate::core::histogram::Histogram;

    #[test]
    fn the_rate_of_a_destination_is_that_of_the_last_minute_and_its_times_forget_an_outage() {
        let (start, times) = (Instant::now(), Histogram::default());
        let (mut history, mut destination) = (DestinationHistory::new(start), well().destinations.remove(0));
        let mut step = |seconds: u64, took: Duration, events: u64| {
            times.observe(took, 100);
            destination.figures.deliveries = times.read();
            destination.events.delivered = events;
            let now = start + Duration::from_secs(seconds);
            history.sample(&destination, now);
            history.recent(&destination, now)
        };
        let (slow, quick) = (Duration::from_secs(60), Duration::from_millis(5));
        let first = step(0, slow, 500);
        assert_eq!((first.rate, first.took.quantile(0.99)), (None, Some(60.0)));
        let of = |recent: RecentDeliveries| (recent.rate, recent.took.quantile(0.99), recent.span.as_secs());
        assert_eq!(of(step(10, quick, 800)), (Some(30.0), Some(60.0), 10));
        let seconds = (20..=600).step_by(10);
        let last = seconds.map(|second| step(second, quick, 800 + 2 * (second - 10))).last().unwrap();
        assert_eq!(of(last), (Some(2.0), Some(0.005), 300), "the outage is older than that");
    }
}
