//! Logs who holds the shards while this process has none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::group_state::{GroupState, Wait};
use super::shard_holders::ShardHolders;
use crate::core::source::Source as _;
use crate::destination::registry::AnyDestination;
use crate::group::membership::View;
use crate::pipeline::Pipeline;
use crate::sls::Sls;

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
    let source = &pipeline.source;
    let mut logged: Option<BTreeSet<String>> = None;
    let (mut pause, mut before) = (FIRST_LOOKUP_DELAY, source.server_now());
    loop {
        sleep(pause).await;
        pause = LOOKUP_INTERVAL;
        if !view.borrow().shards.is_empty() {
            state.waits(None);
            logged = None;
            before = source.server_now();
            continue;
        }
        match source.checkpoints().await {
            Ok(saved) => {
                let (server_now, now) = (source.server_now(), Instant::now());
                let holders = ShardHolders::new(&saved, source.consumer(), before, server_now, now, group_timeout);
                before = server_now;
                let names: BTreeSet<String> = holders.names().into_iter().map(str::to_owned).collect();
                if logged.as_ref() != Some(&names) {
                    info!(source = %pipeline.source_name, "no shard is assigned yet: {}", holders.at(now));
                    logged = Some(names);
                }
                state.waits(Some(Wait::For(holders)));
            }
            // Heartbeats, or the next lookup, report the same error.
            Err(error) => state.waits(Some(Wait::Unknown(error.cause().clone()))),
        }
    }
}
