//! Looks at logs of the logstore, without the consumer group: no heartbeat, and no checkpoint is read or written.

use super::samples::SampleOrigin;
use crate::core::budget::Budget;
use crate::core::cursor::{ShardId, Start};
use crate::core::source::{Source as _, SourceError};
use crate::loggroup::Logs;
use crate::script::Sample;
use crate::sls::{Config, Sls};

/// Log groups of a pull: a few logs are wanted, not a page for work.
const GROUPS: u32 = 10;

/// Bytes for one page at a time: the whole of it is enough for any.
const ROOM: usize = 64 << 20;

/// The first `count` logs from `start` on, taken from all shards alike; fewer when there are not so many.
///
/// # Errors
/// SLS cannot be asked, or refuses.
pub(super) fn logs(config: &Config, start: Start, count: usize) -> Result<Vec<SampleOrigin>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(look(config, start, count))
}

async fn look(config: &Config, start: Start, count: usize) -> Result<Vec<SampleOrigin>, String> {
    let refused = |error: SourceError| format!("cannot reach SLS: {error}");
    let sls = Sls::new(config).map_err(|error| error.to_string())?;
    let shards: Vec<u32> = sls.shards().await.map_err(refused)?.iter().map(|shard| shard.id).collect();
    let mut found = Vec::new();
    let mut room = Budget::new(ROOM).take(ROOM).await;
    for (at, &shard) in shards.iter().enumerate() {
        // What one shard lacks, those after it may make up for.
        let share = (count - found.len()).div_ceil(shards.len() - at);
        let most = found.len() + share;
        let shard = ShardId(shard);
        let mut cursor = sls.cursor(shard, start).await.map_err(refused)?;
        while found.len() < most {
            let page = sls.pull(shard, &cursor, GROUPS, None, &mut room).await.map_err(refused)?;
            let mut logs = Logs::default();
            let torn = |error| format!("the page at {} of shard {shard} cannot be read: {error}", page.cursor);
            logs.open(page.body.clone()).map_err(torn)?;
            while found.len() < most
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
    }
    Ok(found)
}
