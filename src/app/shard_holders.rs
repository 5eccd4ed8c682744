//! Who holds the shards that this process waits for, as far as their checkpoints show. Pure.
//!
//! SLS does not report who holds a shard, only who saved it last and when. A consumer that saves is alive; a silent one
//! may have no logs to save, or may be dead, and then SLS gives its shards to others after the group's timeout.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::core::duration::in_words;
use crate::core::printable::excerpt;
use crate::sls::api::SavedAt;

/// The result of a lookup of the checkpoints.
#[derive(Debug)]
pub(super) struct ShardHolders {
    holders: Vec<Holder>,
    group_timeout: Duration,
}

/// A consumer, and the shards that it saved last.
#[derive(Debug)]
struct Holder {
    /// Its name for people.
    name: String,
    shards: BTreeSet<u32>,
    /// How long ago it last saved one of them, at `seen_at`. `None`: SLS does not say.
    age: Option<Duration>,
    seen_at: Instant,
    /// Whether it saved since the lookup before.
    saves: bool,
}

impl ShardHolders {
    /// The holders at `server_now` by the clock of SLS, which is `now` by ours. `before` is the server's time of the
    /// lookup before, or of the beginning of the wait; `us` is the name of this process.
    pub(super) fn new(
        saved: &[SavedAt],
        us: &str,
        before: i64,
        server_now: i64,
        now: Instant,
        group_timeout: Duration,
    ) -> Self {
        let mut by_name: BTreeMap<&str, (BTreeSet<u32>, i64)> = BTreeMap::new();
        for SavedAt { shard, consumer, micros, .. } in saved {
            let (shards, saved_at) = by_name.entry(consumer).or_default();
            shards.insert(*shard);
            *saved_at = (*saved_at).max(micros / 1_000_000);
        }
        let holder = |(name, (shards, saved_at)): (&str, _)| Holder {
            name: match name {
                "" => "an unnamed consumer".to_owned(),
                name if name == us => format!("{} (this name)", excerpt(name)),
                name => excerpt(name),
            },
            shards,
            // 0 is no time.
            age: (saved_at > 0).then(|| Duration::from_secs(u64::try_from(server_now - saved_at).unwrap_or(0))),
            seen_at: now,
            saves: saved_at > before,
        };
        Self { holders: by_name.into_iter().map(holder).collect(), group_timeout }
    }

    /// The names of the consumers.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.holders.iter().map(|holder| holder.name.as_str()).collect()
    }

    /// For people: `waiting up to 47 s: shards 0-3 still belong to x`, or `shards 0-3 are held by x: standing by`.
    pub(super) fn at(&self, now: Instant) -> String {
        let timeout = self.group_timeout;
        if self.holders.is_empty() {
            return format!(
                "waiting for shards: nobody has saved a checkpoint in the group yet, and SLS gives the shards of a \
                 consumer to others {} after its last heartbeat",
                in_words(timeout)
            );
        }
        let one = |holder: &Holder| {
            let Holder { name, shards, age, seen_at, saves, .. } = holder;
            let silent = age.map(|age| age + now.saturating_duration_since(*seen_at));
            let (is_one, shards) = (shards.len() == 1, ranges(shards));
            let (are, belong) = if is_one { ("is", "belongs") } else { ("are", "belong") };
            match silent {
                Some(silent) if !saves && silent < timeout => {
                    let left = in_words(Duration::from_secs_f64((timeout - silent).as_secs_f64().ceil()));
                    format!("waiting up to {left}: {shards} still {belong} to {name}")
                }
                Some(silent) if silent >= timeout => {
                    format!("{shards} {are} held by {name}, which last saved {} ago: standing by", in_words(silent))
                }
                _ => format!("{shards} {are} held by {name}: standing by"),
            }
        };
        self.holders.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// `shard 7`, `shards 0-3, 7`.
fn ranges(shards: &BTreeSet<u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &shard in shards {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == shard => *last = shard,
            _ => ranges.push((shard, shard)),
        }
    }
    let words = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    let words: Vec<String> = words.collect();
    format!("{} {}", if shards.len() == 1 { "shard" } else { "shards" }, words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cursor::Cursor;

    const MINUTE: Duration = Duration::from_secs(60);

    fn saved(shard: u32, consumer: &str, second: i64) -> SavedAt {
        let cursor = Cursor::from_number(1);
        SavedAt { shard, cursor, consumer: consumer.to_owned(), micros: second * 1_000_000 }
    }

    #[test]
    fn a_silent_holder_is_waited_for_until_its_time_is_up_and_the_time_is_that_of_the_moment() {
        let now = Instant::now();
        let all = [saved(0, "x", 990), saved(1, "x", 995), saved(2, "x", 980), saved(5, "x", 980)];
        let holders = ShardHolders::new(&all, "us", 998, 1_000, now, MINUTE);
        let after = |seconds| holders.at(now + Duration::from_secs(seconds));
        assert_eq!(after(0), "waiting up to 55 s: shards 0-2, 5 still belong to x");
        assert_eq!(after(52), "waiting up to 3.0 s: shards 0-2, 5 still belong to x");
        assert_eq!(after(55), "shards 0-2, 5 are held by x, which last saved 1m ago: standing by");
        let of_ours = ShardHolders::new(&[saved(3, "us", 999)], "us", 999, 1_000, now, MINUTE);
        assert_eq!(of_ours.at(now), "waiting up to 59 s: shard 3 still belongs to us (this name)");
    }

    #[test]
    fn a_holder_that_goes_on_saving_is_stood_by_for() {
        let now = Instant::now();
        let all = [saved(0, "x", 999), saved(1, "x", 700), saved(2, "y", 823), saved(3, "", 0)];
        let holders = ShardHolders::new(&all, "us", 990, 1_000, now, MINUTE);
        assert_eq!(
            holders.at(now),
            "shard 3 is held by an unnamed consumer: standing by; shards 0-1 are held by x: standing by; \
             shard 2 is held by y, which last saved 2m 57s ago: standing by"
        );
    }

    #[test]
    fn a_group_without_checkpoints_shows_how_long_sls_waits_for_a_silent_consumer() {
        let text = ShardHolders::new(&[], "us", 0, 100, Instant::now(), MINUTE).at(Instant::now());
        assert!(text.starts_with("waiting for shards: nobody has saved a checkpoint in the group yet, and "), "{text}");
    }
}
