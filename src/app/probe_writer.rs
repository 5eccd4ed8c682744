//! Writes a probe log every minute, into the shards that this process reads in turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::core::cursor::{ShardId, SourceName};
use crate::core::ledger::Ledger;
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
    let mut is_logged = false;
    let mut pause = FIRST;
    loop {
        sleep(pause).await;
        pause = INTERVAL;
        let held = held(&pipeline.ledger, source);
        if held.is_empty() {
            pause = FIRST;
        }
        let id = format!("{:032x}", fastrand::u128(..));
        let Some(shard) = probes.begin(source, &held, &id, Instant::now()) else { continue };
        match pipeline.source.write_probe(shard, &id).await {
            Ok(()) => {
                probes.written(source);
                if std::mem::take(&mut is_logged) {
                    info!(%source, "probe logs can be written again");
                }
            }
            Err(error) => {
                probes.failed(source, &id, &error, Instant::now());
                if !std::mem::replace(&mut is_logged, true) {
                    warn!(%source, cause = %error.cause(), "no probe log can be written, so the arrival of logs is not monitored");
                }
            }
        }
    }
}

/// The shards of a source that this process holds.
fn held(ledger: &Ledger, source: &SourceName) -> Vec<ShardId> {
    let shards = ledger.read().into_iter();
    shards.filter(|(shard, entry)| entry.held && shard.source == *source).map(|(shard, _)| shard.shard).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cursor::ShardName;

    #[test]
    fn probe_logs_are_written_only_into_shards_of_the_source_that_this_process_holds() {
        let ledger = Ledger::default();
        let account = |source: &str, shard| {
            let account = ledger.account(&ShardName { source: SourceName::new(source), shard: ShardId(shard) });
            account.acquired();
            account
        };
        account("audit", 1);
        account("audit", 2).released();
        account("waf", 3);
        assert_eq!(held(&ledger, &SourceName::new("audit")), [ShardId(1)]);
    }
}
