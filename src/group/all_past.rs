//! Detects the end of a source: all of its shards are past their end, whichever process held them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::core::cursor::{Bound, Cursor, ShardId, Start};
use crate::core::retry_log::RetryLog;
use crate::core::source::{Source, SourceError};

/// Time between two local checks whether shards are held.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two reads of the checkpoints, which other processes move.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(5);

/// Resolves when every shard is past `until`, according to the checkpoints of the group. That includes shards of
/// other processes, and shards that result from splits and merges. The source is called only while this process holds
/// no shard, because a held shard is not past its end.
pub async fn all_past<S: Source>(source: &S, until: Start, holds: impl Fn() -> bool) {
    let mut retry_log = RetryLog::new("cannot find out whether all shards are past sls.until", 0);
    let mut bounds = BTreeMap::new();
    loop {
        sleep(IDLE_INTERVAL).await;
        if holds() {
            continue;
        }
        match look(source, until, &mut bounds).await {
            Ok(true) => return,
            Ok(false) => {
                retry_log.recovered();
                sleep(LOOKUP_INTERVAL).await;
            }
            Err(fault) => {
                let pause = retry_log.next(fault.cause(), fault.retry(), Instant::now());
                sleep(pause).await;
            }
        }
    }
}

/// Whether all shards are past their end. Final bounds are cached in `bounds`.
async fn look<S: Source>(source: &S, until: Start, bounds: &mut BTreeMap<ShardId, Bound>) -> Result<bool, SourceError> {
    let progress = source.progress().await?;
    for (shard, checkpoint) in &progress {
        let bound = match bounds.get(shard) {
            Some(bound) => bound.clone(),
            None => match source.bound(*shard, until).await {
                Ok(bound) => bound,
                // All logs of the shard have expired: there is nothing to read.
                Err(SourceError::Lost(_)) => continue,
                Err(fault) => return Err(fault),
            },
        };
        if !bound.is_final {
            return Ok(false);
        }
        let is_past = match checkpoint {
            Some(checkpoint) => bound.is_reached(checkpoint),
            None => has_nothing_before(source, *shard, &bound).await?,
        };
        if !is_past {
            return Ok(false);
        }
        bounds.insert(*shard, bound);
    }
    Ok(!progress.is_empty())
}

/// The shard has no checkpoint and needs none: its oldest log is after the bound.
async fn has_nothing_before<S: Source>(source: &S, shard: ShardId, bound: &Bound) -> Result<bool, SourceError> {
    let oldest: Cursor = source.cursor(shard, Start::Begin).await?;
    Ok(bound.is_reached(&oldest))
}
