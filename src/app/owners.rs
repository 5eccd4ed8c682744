//! Who saved the checkpoints of the group last: whose the shards are that this process does not hold, as far as SLS tells.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use crate::admin::ShardOwner;
use crate::core::cursor::ShardId;
use crate::sls::Sls;
use crate::sls::api::SavedAt;

/// Time between two checks. A group has one request more a minute by it, for each process whose page can be looked
/// at.
const INTERVAL: Duration = Duration::from_secs(60);

/// What was seen last; empty while nothing was.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<Vec<ShardOwner>>);

impl Owners {
    /// Who saved which shard last.
    pub(super) fn read(&self) -> Vec<ShardOwner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks now and then; never returns.
    pub(super) async fn watch(&self, source: &Sls) {
        loop {
            let seen = match source.checkpoints().await {
                Ok(saved) => saved.into_iter().map(owner).collect(),
                Err(error) => {
                    // What was true a minute ago is not shown as if it were now.
                    debug!(%error, "whose the shards are cannot be looked up");
                    Vec::new()
                }
            };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
            sleep(INTERVAL).await;
        }
    }
}

fn owner(saved: SavedAt) -> ShardOwner {
    ShardOwner { shard: ShardId(saved.shard), consumer: saved.consumer, saved_at: saved.micros / 1_000_000 }
}
