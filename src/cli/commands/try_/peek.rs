//! Reads logs of the logstore without the consumer group: it sends no heartbeats, and neither reads nor writes
//! checkpoints.

use super::samples::SampleOrigin;
use crate::core::budget::Budget;
use crate::core::cursor::{Cursor, ShardId, Start};
use crate::core::source::{Source as _, SourceError};
use crate::loggroup::Logs;
use crate::script::Sample;
use crate::sls::{Config, Sls};

/// Log groups of a pull: only a few logs are needed.
const GROUPS: u32 = 10;

/// Bytes for one page at a time: enough for any page.
const ROOM: usize = 64 << 20;

/// The first `count` logs from `start` on, evenly from all shards; without a start, the newest. Returns fewer if
/// there are not enough.
///
/// # Errors
/// SLS cannot be reached, or refuses.
pub(super) async fn logs(config: &Config, start: Option<Start>, count: usize) -> Result<Vec<SampleOrigin>, String> {
    let refused = |error: SourceError| format!("cannot reach SLS: {error}");
    let sls = Sls::new(config).map_err(|error| error.to_string())?;
    let shards: Vec<u32> = sls.shards().await.map_err(refused)?.iter().map(|shard| shard.id).collect();
    let mut found = Vec::new();
    let mut room = Budget::new(ROOM).take(ROOM).await;
    for (at, &shard) in shards.iter().enumerate() {
        // Later shards make up for shards with too few logs.
        let share = (count - found.len()).div_ceil(shards.len() - at);
        let most = found.len() + share;
        let shard = ShardId(shard);
        let mut cursor = match start {
            Some(start) => sls.cursor(shard, start).await.map_err(refused)?,
            None => near_the_end(&sls, shard, share).await.map_err(refused)?,
        };
        let of_shard = found.len();
        // All logs near the end, of which the last are used.
        while start.is_none() || found.len() < most {
            let page = sls.pull(shard, &cursor, GROUPS, None, &mut room).await.map_err(refused)?;
            let mut logs = Logs::default();
            let torn = |error| format!("the page at {} of shard {shard} cannot be read: {error}", page.cursor);
            logs.open(page.body.clone()).map_err(torn)?;
            while (start.is_none() || found.len() < most)
                && let Some(log) = logs.read().map_err(torn)?
            {
                let place = log.place(&page);
                let place = format!("shard {shard}, cursor {}, log {}", place.cursor, place.index);
                found.push(SampleOrigin { place, sample: Sample::from_page(log) });
            }
            if page.next == cursor {
                break;
            }
            cursor = page.next;
        }
        if start.is_none() {
            let older = (found.len() - of_shard).saturating_sub(share);
            found.drain(of_shard..of_shard + older);
        }
    }
    Ok(found)
}

/// A cursor followed by at least `logs` logs, if there are enough: each log group has one or more. If cursors are not
/// numbers, the oldest cursor.
async fn near_the_end(sls: &Sls, shard: ShardId, logs: usize) -> Result<Cursor, SourceError> {
    let (begin, end) = (sls.cursor(shard, Start::Begin).await?, sls.cursor(shard, Start::End).await?);
    let back = i64::try_from(logs).unwrap_or(i64::MAX);
    Ok(match (begin.number(), end.number()) {
        (Some(first), Some(last)) => Cursor::from_number(last.saturating_sub(back).max(first)),
        _ => begin,
    })
}
