//! The part of `/status` that `forwarder top` shows, and the rates between two readings.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The status of a forwarder.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) version: String,
    /// The verdict as a word, for people.
    #[serde(default)]
    pub(super) verdict: String,
    /// The same for programs: `well`, `waiting`, `trouble`, `stopped`.
    #[serde(default)]
    pub(super) state: String,
    #[serde(default)]
    pub(super) reasons: Vec<Reason>,
    #[serde(default)]
    pub(super) sources: Vec<Source>,
    #[serde(default)]
    pub(super) destinations: Vec<Destination>,
    #[serde(default)]
    pub(super) memory: Memory,
    pub(super) open_dead_letters: Option<u64>,
    #[serde(default)]
    pub(super) shards: Vec<Shard>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Reason {
    #[serde(default)]
    pub(super) text: String,
    #[serde(default)]
    pub(super) consequence: String,
    #[serde(default)]
    pub(super) remedy: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Source {
    pub(super) name: String,
    #[serde(default)]
    pub(super) project: String,
    #[serde(default)]
    pub(super) logstore: String,
    #[serde(default)]
    pub(super) group: String,
    #[serde(default)]
    pub(super) joined: bool,
    pub(super) heartbeat_seconds: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Destination {
    pub(super) name: String,
    #[serde(default)]
    pub(super) address: String,
    #[serde(default)]
    pub(super) state: String,
    pub(super) cause: Option<String>,
    pub(super) seconds: Option<u64>,
    #[serde(default)]
    pub(super) recent_batches: RecentBatches,
    #[serde(default)]
    pub(super) events: u64,
    #[serde(default)]
    pub(super) events_in_flight: u64,
}

/// How long the batches of the last minutes took.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct RecentBatches {
    pub(super) seconds: u64,
    /// Within which time 99 % of them were durable, if there were any.
    pub(super) most_within_seconds: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Memory {
    pub(super) used: u64,
    pub(super) limit: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Shard {
    pub(super) source: String,
    pub(super) shard: u32,
    #[serde(default)]
    pub(super) held: bool,
    pub(super) lag_seconds: Option<u64>,
    pub(super) standstill: Option<String>,
    #[serde(default)]
    pub(super) pulled: u64,
    #[serde(default)]
    pub(super) delivered: u64,
    #[serde(default)]
    pub(super) dropped: u64,
    #[serde(default)]
    pub(super) dead_lettered: u64,
    #[serde(default)]
    pub(super) in_flight: u64,
}

impl Shard {
    /// `audit/3`
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.source, self.shard)
    }

    /// Completed logs.
    fn done(&self) -> u64 {
        self.delivered + self.dropped + self.dead_lettered
    }
}

/// Logs and events per second, from the difference between two readings.
#[derive(Debug, Clone, Default)]
pub(super) struct Rates {
    before: Option<(Instant, BTreeMap<String, u64>)>,
    rates: BTreeMap<String, f64>,
}

/// If two readings are closer together than this, a rate would be inaccurate.
const MIN_INTERVAL: Duration = Duration::from_millis(200);

impl Rates {
    /// Takes the counts at that moment.
    pub(super) fn look(&mut self, status: &Status, at: Instant) {
        let shards = status.shards.iter().map(|shard| (shard.name(), shard.done()));
        let destinations = status.destinations.iter().map(|one| (destination_key(&one.name), one.events));
        let now: BTreeMap<String, u64> = shards.chain(destinations).collect();
        if let Some((then, before)) = &self.before {
            let span = at.saturating_duration_since(*then);
            if span < MIN_INTERVAL {
                return;
            }
            // A restarted process counts from 0.
            let rate = |(key, now): (&String, &u64)| {
                let more = now.checked_sub(*before.get(key)?)?;
                Some((key.clone(), more as f64 / span.as_secs_f64()))
            };
            self.rates = now.iter().filter_map(rate).collect();
        }
        self.before = Some((at, now));
    }

    /// Completed logs per second of a shard.
    pub(super) fn of_shard(&self, shard: &Shard) -> Option<f64> {
        self.rates.get(&shard.name()).copied()
    }

    /// Events per second of a destination.
    pub(super) fn of_destination(&self, name: &str) -> Option<f64> {
        self.rates.get(&destination_key(name)).copied()
    }
}

/// A key that differs from the name of every shard.
fn destination_key(name: &str) -> String {
    format!("\n{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_computed_from_two_samples_and_unknown_after_a_restart() {
        let status = |delivered, events| {
            let shard = Shard { source: "a".to_owned(), delivered, dropped: 1, ..Shard::default() };
            let destination = Destination { name: "hec".to_owned(), events, ..Destination::default() };
            Status { shards: vec![shard], destinations: vec![destination], ..Status::default() }
        };
        let (mut rates, began) = (Rates::default(), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        rates.look(&status(100, 7), after(0));
        assert_eq!(rates.of_shard(&status(0, 0).shards[0]), None);
        rates.look(&status(300, 9), after(2));
        assert_eq!(rates.of_shard(&status(0, 0).shards[0]), Some(100.0));
        assert_eq!(rates.of_destination("hec"), Some(1.0));
        rates.look(&status(5, 0), after(4));
        assert_eq!(rates.of_shard(&status(0, 0).shards[0]), None);
    }

    #[test]
    fn a_status_of_another_version_is_read_as_far_as_possible() {
        let status: Status =
            serde_json::from_str(r#"{"state": "well", "shards": [{"source": "a", "shard": 1}], "new": 1}"#).unwrap();
        assert_eq!((status.state.as_str(), status.shards[0].name().as_str()), ("well", "a/1"));
    }
}
