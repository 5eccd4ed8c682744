//! The number of shards of a logstore, to compare it with the shards that the processes of the group hold.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use crate::sls::Sls;

/// Time between two lookups. They add one request per minute for each process whose status can be viewed.
const INTERVAL: Duration = Duration::from_secs(60);

/// The last result; none if there is none.
#[derive(Debug, Default)]
pub(super) struct ListedShards(Mutex<Option<u64>>);

impl ListedShards {
    /// The number of shards.
    pub(super) fn read(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks it up periodically; never returns.
    pub(super) async fn watch(&self, source: &Sls) {
        loop {
            let seen = match source.shards().await {
                Ok(shards) => Some(shards.len() as u64),
                Err(error) => {
                    // An old result must not be shown as the current one.
                    debug!(%error, "the shards of the logstore cannot be listed");
                    None
                }
            };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
            sleep(INTERVAL).await;
        }
    }
}
