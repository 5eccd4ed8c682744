//! What the program says about itself while it runs: in the log, and on the admin listener.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{error, info, warn};

use super::summary;
use crate::admin::{Identity, Snapshot};
use crate::destination::registry::AnyDestination;
use crate::destination::{Destination as _, Health};
use crate::pipeline::Pipeline;
use crate::sls::Sls;

/// How often the ledger is summed up in the log.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Asks the destination once whether it would take our events. It need not: shards hold their position meanwhile.
pub(super) async fn say_how_the_destination_is(parts: Arc<Pipeline<Sls, AnyDestination>>) {
    info!("{}", parts.destinations[0].promise().sentence);
    match parts.destinations[0].check().await {
        Ok(checked) => info!(url = checked.url, took = ?checked.took, "the destination {}", checked.agrees),
        // A refusal is in the log already.
        Err(_) if matches!(parts.destinations[0].health(), Health::Held { .. }) => {}
        Err(cause) => warn!("the destination does not accept events yet; logs wait in SLS until it does: {cause}"),
    }
}

pub(super) async fn sum_up_now_and_then(parts: Arc<Pipeline<Sls, AnyDestination>>) {
    let mut ticks = interval_at(Instant::now() + SUMMARY_INTERVAL, SUMMARY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let total = parts.ledger.total();
        if total.difference() != 0 {
            error!(difference = %total.difference(), "BUG: ledger mismatch");
        }
        info!("{}", summary_of(&parts));
    }
}

pub(super) fn summary_of(parts: &Pipeline<Sls, AnyDestination>) -> String {
    let line = summary::line(
        &parts.ledger,
        parts.destinations[0].promise().label,
        &parts.destinations[0].health(),
        summary::unix_now(),
    );
    line + &summary::script(&parts.hooks.script().version, &parts.hooks.reloads())
}

pub(super) fn snapshot_of(parts: &Pipeline<Sls, AnyDestination>, who: &Identity, joined: bool) -> Snapshot {
    Snapshot {
        who: who.clone(),
        joined,
        promise: parts.destinations[0].promise(),
        health: parts.destinations[0].health(),
        counters: parts.destinations[0].counters(),
        shards: parts.ledger.read(),
        script: parts.hooks.script().version.clone(),
        script_since: parts.hooks.since(),
        reloads: parts.hooks.reloads(),
        last_refused: parts.hooks.last_refused(),
        now: summary::unix_now(),
    }
}
