//! The shards of the group that this process does not hold and that nobody reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::reason::{Effect, Reason, State};
use super::shard_names::names;
use super::snapshot::{Snapshot, SourceSnapshot};
use crate::core::cursor::ShardName;
use crate::core::duration::roughly;
use crate::core::printable::excerpt;
use crate::sls::shard_state::{ShardReport, ShardState};

const REMEDY: &str = "look at the other consumers of the group: one may hold the shard without reading it, or be paused; when \
                      it has ended, another process takes the shard";

/// A reason for each of their states, the worst first.
pub(super) fn reasons(source: &SourceSnapshot, snapshot: &Snapshot) -> Vec<Reason> {
    let mut by_state: BTreeMap<ShardState, Vec<(ShardName, &ShardReport)>> = BTreeMap::new();
    for (shard, judged) in source.unread(snapshot) {
        by_state.entry(judged.state).or_default().push((shard, judged));
    }
    let reason = |(state, shards): (_, Vec<(ShardName, &ShardReport)>)| {
        Reason::new(State::Trouble, text(state, &shards))
            .so(Effect::Flows, "the logs wait in SLS; this process does not hold the shard")
            .remedy(REMEDY)
    };
    by_state.into_iter().map(reason).collect()
}

/// What is known of the shards in this state.
fn text(state: ShardState, shards: &[(ShardName, &ShardReport)]) -> String {
    let shards_named = names(shards.iter().map(|(shard, _)| shard));
    let longest = |of: fn(&ShardReport) -> Option<Duration>| {
        shards
            .iter()
            .filter_map(|(_, judged)| of(judged))
            .max()
            .map_or_else(String::new, |longest| format!(" for {}", roughly(longest)))
    };
    let savers = shards.iter().filter_map(|(_, judged)| judged.seen.saved.as_ref().map(|saved| &saved.consumer));
    let savers: BTreeSet<String> = savers.filter(|saver| !saver.is_empty()).map(|saver| excerpt(saver)).collect();
    let last = match savers.first() {
        Some(saver) if savers.len() == 1 => format!("; {saver} saved the last one"),
        _ => String::new(),
    };
    let (is, stands) = if shards.len() == 1 { ("is", "stands") } else { ("are", "stand") };
    match state {
        ShardState::StandsStill => {
            let since = longest(|judged| judged.saved_ago);
            format!("{shards_named} {stands} still: logs wait, and no checkpoint was saved{since}{last}")
        }
        ShardState::Unread => {
            let since = longest(|judged| judged.lag);
            format!("{shards_named} {is} not read: logs wait{since}, and no process has saved a checkpoint")
        }
        ShardState::Lost => format!("{shards_named} {is} not read, and the log at the checkpoint has expired{last}"),
        _ => format!("{shards_named} {is} not read, and logs expire soon{last}"),
    }
}
