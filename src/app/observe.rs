//! What the program says about itself while it runs: in the log, and on the admin listener.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{error, info};

use super::group_state::GroupState;
use super::letter_count::LetterCount;
use super::summary;
use crate::admin::{Identity, Snapshot};
use crate::destination::Destination as _;
use crate::destination::registry::AnyDestination;
use crate::pipeline::Pipeline;
use crate::sls::Sls;

/// How often the ledger is summed up in the log.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Asks the destination once whether it would take our events. It need not: shards hold their position meanwhile.
pub(super) async fn say_how_the_destination_is(pipeline: Arc<Pipeline<Sls, AnyDestination>>) {
    info!("{}", pipeline.destinations[0].promise().sentence);
    // The cause of a failure is in the log already.
    if let Ok(checked) = pipeline.destinations[0].check().await {
        let took_ms = u64::try_from(checked.took.as_millis()).unwrap_or(u64::MAX);
        info!(url = checked.url, took_ms, "the destination {}", checked.agrees);
    }
}

pub(super) async fn sum_up_now_and_then(pipeline: Arc<Pipeline<Sls, AnyDestination>>) {
    let mut ticks = interval_at(Instant::now() + SUMMARY_INTERVAL, SUMMARY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let total = pipeline.ledger.total();
        if total.difference() != 0 {
            error!(difference = %total.difference(), "BUG: ledger mismatch");
        }
        info!("{}", summary_of(&pipeline));
    }
}

pub(super) fn summary_of(pipeline: &Pipeline<Sls, AnyDestination>) -> String {
    let line = summary::line(
        &pipeline.ledger,
        pipeline.destinations[0].promise().label,
        &pipeline.destinations[0].health(),
        summary::unix_now(),
    );
    line + &summary::script(&pipeline.hooks.script().version, &pipeline.hooks.reloads())
}

pub(super) fn snapshot_of(
    pipeline: &Pipeline<Sls, AnyDestination>,
    who: &Identity,
    group: &GroupState,
    letters: &LetterCount,
) -> Snapshot {
    Snapshot {
        who: who.clone(),
        group: group.read(),
        source_errors: pipeline.source.errors().read(),
        open_letters: letters.read(),
        promise: pipeline.destinations[0].promise(),
        health: pipeline.destinations[0].health(),
        counters: pipeline.destinations[0].counters(),
        shards: pipeline.ledger.read(),
        script: pipeline.hooks.script().version.clone(),
        script_since: pipeline.hooks.since(),
        reloads: pipeline.hooks.reloads(),
        last_refused: pipeline.hooks.last_refused(),
        now: summary::unix_now(),
        at: Instant::now(),
    }
}
