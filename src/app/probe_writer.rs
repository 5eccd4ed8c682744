//! Writes a probe log every minute, into the shards that this process reads in turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::core::cursor::ShardId;
use crate::destination::registry::AnyDestination;
use crate::pipeline::Pipeline;
use crate::sls::Sls;

/// Time until the first one: shards are assigned with the first heartbeats.
const FIRST: Duration = Duration::from_secs(5);

/// Time between two probe logs.
const INTERVAL: Duration = Duration::from_secs(60);

/// Writes probe logs periodically while the process holds shards of the source; never returns.
pub(super) async fn write_probes(pipeline: Arc<Pipeline<Sls, AnyDestination>>) {
    let (source, probes) = (&pipeline.source_name, pipeline.ledger.probes());
    let mut is_told = false;
    let mut pause = FIRST;
    loop {
        sleep(pause).await;
        pause = INTERVAL;
        let held: Vec<ShardId> = pipeline
            .ledger
            .read()
            .into_iter()
            .filter(|(shard, entry)| entry.held && shard.source == *source)
            .map(|(shard, _)| shard.shard)
            .collect();
        if held.is_empty() {
            pause = FIRST;
        }
        let id = format!("{:032x}", fastrand::u128(..));
        let Some(shard) = probes.begin(source, &held, &id, Instant::now()) else { continue };
        match pipeline.source.write_probe(shard, &id).await {
            Ok(()) => {
                probes.written(source);
                if std::mem::take(&mut is_told) {
                    info!(%source, "probe logs can be written again");
                }
            }
            Err(error) => {
                probes.failed(source, &id, &error, Instant::now());
                if !std::mem::replace(&mut is_told, true) {
                    warn!(%source, cause = %error.cause(), "no probe log can be written, so the arrival of logs is not monitored");
                }
            }
        }
    }
}
