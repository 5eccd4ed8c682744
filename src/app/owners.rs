//! Who last saved the checkpoints of the group: the only sign of who holds the shards that this process does not hold.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use crate::admin::ShardOwner;
use crate::core::cursor::ShardId;
use crate::sls::Sls;
use crate::sls::api::SavedAt;

/// Time between two lookups. They add one request per minute to the group for each process whose status can be viewed.
const INTERVAL: Duration = Duration::from_secs(60);

/// The last result; empty if there is none.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<Vec<ShardOwner>>);

impl Owners {
    /// The consumer that last saved each shard.
    pub(super) fn read(&self) -> Vec<ShardOwner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks them up periodically; never returns.
    pub(super) async fn watch(&self, source: &Sls) {
        loop {
            let seen = match source.checkpoints().await {
                Ok(saved) => saved.into_iter().map(|saved| owner(saved, source)).collect(),
                Err(error) => {
                    // An old result must not be shown as the current one.
                    debug!(%error, "the owners of the shards cannot be looked up");
                    Vec::new()
                }
            };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
            sleep(INTERVAL).await;
        }
    }
}

fn owner(saved: SavedAt, source: &Sls) -> ShardOwner {
    // 0 is no time.
    let saved_at = Some(saved.micros / 1_000_000).filter(|second| *second > 0);
    let saved_at = saved_at.map_or(0, |second| source.by_our_clock(second));
    ShardOwner { shard: ShardId(saved.shard), consumer: saved.consumer, saved_at }
}
