//! Logs who holds the shards while this process has none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info;

use super::group_state::GroupState;
use crate::core::duration::in_words;
use crate::core::printable::excerpt;
use crate::core::source::Source as _;
use crate::destination::registry::AnyDestination;
use crate::group::membership::View;
use crate::pipeline::Pipeline;
use crate::sls::Sls;
use crate::sls::api::SavedAt;

/// How long a process that has just joined waits before the first lookup: shards usually come with the first or second
/// heartbeat.
const FIRST_LOOKUP_DELAY: Duration = Duration::from_secs(5);

/// Time between two lookups.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(10);

/// Looks up the holders of the shards while we have none; never returns.
pub(super) async fn log_shard_owners(
    pipeline: Arc<Pipeline<Sls, AnyDestination>>,
    state: Arc<GroupState>,
    view: watch::Receiver<View>,
    group_timeout: Duration,
) {
    let mut logged = None;
    let mut pause = FIRST_LOOKUP_DELAY;
    loop {
        sleep(pause).await;
        pause = LOOKUP_INTERVAL;
        if !view.borrow().shards.is_empty() {
            state.waits(None);
            logged = None;
            continue;
        }
        match pipeline.source.checkpoints().await {
            Ok(saved) => {
                let text = whose(&saved, pipeline.source.consumer(), pipeline.source.server_now(), group_timeout);
                let owners: BTreeSet<String> = saved.into_iter().map(|saved| saved.consumer).collect();
                if logged.as_ref() != Some(&owners) {
                    info!(source = %pipeline.source_name, "no shard is assigned yet: {text}");
                    logged = Some(owners);
                }
                state.waits(Some(text));
            }
            // Heartbeats, or the next lookup, report the same error.
            Err(error) => state.waits(Some(format!("the owners of the shards cannot be looked up: {}", error.cause()))),
        }
    }
}

/// What the checkpoints show: `shards 0-3 were last saved by x 12 s ago`. SLS does not report who holds a shard, only
/// who saved it last.
fn whose(saved: &[SavedAt], us: &str, now: i64, group_timeout: Duration) -> String {
    let mut by_owner: BTreeMap<&str, (BTreeSet<u32>, i64)> = BTreeMap::new();
    for SavedAt { shard, consumer, micros, .. } in saved {
        let (shards, last) = by_owner.entry(consumer).or_default();
        shards.insert(*shard);
        *last = (*last).max(micros / 1_000_000);
    }
    let mut text = String::new();
    for (owner, (shards, last)) in by_owner {
        let owner = match owner {
            "" => "an unnamed consumer".to_owned(),
            owner if owner == us => format!("{} (this name)", excerpt(owner)),
            owner => excerpt(owner),
        };
        let ago = in_words(Duration::from_secs(u64::try_from(now - last).unwrap_or(0)));
        let _ = write!(text, "{} {} last saved by {owner} {ago} ago, ", ranges(&shards), were(&shards));
    }
    if saved.is_empty() {
        text.push_str("no checkpoint was saved in the group yet, ");
    }
    let timeout = in_words(group_timeout);
    text + &format!("and SLS gives the shards of a consumer to others {timeout} after its last heartbeat")
}

fn were(shards: &BTreeSet<u32>) -> &'static str {
    if shards.len() == 1 { "was" } else { "were" }
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

    #[test]
    fn the_last_consumer_to_save_the_shards_is_named_with_the_time_since() {
        let saved = |shard, consumer: &str, second: i64| SavedAt {
            shard,
            cursor: Cursor::from_number(1),
            consumer: consumer.to_owned(),
            micros: second * 1_000_000,
        };
        let all = [saved(0, "x", 90), saved(1, "x", 95), saved(2, "x", 80), saved(5, "x", 80), saved(3, "us", 40)];
        let minute = Duration::from_secs(60);
        let expected = "shard 3 was last saved by us (this name) 1m ago, shards 0-2, 5 were last saved by x 5.0 s ago, \
            and SLS gives the shards of a consumer to others 1m after its last heartbeat";
        assert_eq!(whose(&all, "us", 100, minute), expected);
        assert!(whose(&[], "us", 100, minute).starts_with("no checkpoint was saved in the group yet, and SLS gives"));
    }
}
