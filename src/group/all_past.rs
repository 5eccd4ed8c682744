//! When a source has ended: every shard of it, whoever held it, is past the place where it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::core::cursor::{Bound, Cursor, ShardId, Start};
use crate::core::retry_log::RetryLog;
use crate::core::source::{Source, SourceError};

/// Time between two looks at whether shards are held, which costs nothing.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two looks at the checkpoints, which others move.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Resolves when every shard is past `until`, by the checkpoints of the group: those that others hold, and those of splits and
/// merges, too. It asks the source only while this process holds no shard, since one that is held is not past.
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
                sleep(LOOK_INTERVAL).await;
            }
            Err(fault) => {
                let pause = retry_log.next(fault.cause(), fault.retry(), Instant::now());
                sleep(pause).await;
            }
        }
    }
}

/// Whether all are past. Bounds that are final are kept in `bounds`.
async fn look<S: Source>(source: &S, until: Start, bounds: &mut BTreeMap<ShardId, Bound>) -> Result<bool, SourceError> {
    let progress = source.progress().await?;
    for (shard, checkpoint) in &progress {
        let bound = match bounds.get(shard) {
            Some(bound) => bound.clone(),
            None => match source.bound(*shard, until).await {
                Ok(bound) => bound,
                // Its logs have expired, all of them: there is nothing to read.
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

/// Nobody has read of the shard, and nobody needs to: its oldest log is behind the bound.
async fn has_nothing_before<S: Source>(source: &S, shard: ShardId, bound: &Bound) -> Result<bool, SourceError> {
    let oldest: Cursor = source.cursor(shard, Start::Begin).await?;
    Ok(bound.is_reached(&oldest))
}
