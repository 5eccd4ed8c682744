//! What the program says about itself while it runs: in the log, and on the admin listener.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{error, info};

use super::gaps::Gaps;
use super::group_state::GroupState;
use super::letter_count::LetterCount;
use super::retention::Retention;
use super::summary;
use crate::admin;
use crate::admin::{Identity, Memory, Snapshot, SourceSnapshot};
use crate::destination::registry::AnyDestination;
use crate::destination::{Destination as _, DestinationStatus, called};
use crate::pipeline::{Isolation, Pipeline, Route};
use crate::sls::Sls;

/// How often the ledger is summed up in the log.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Asks each destination once whether it would take our events. It need not: shards hold their position meanwhile.
pub(super) async fn say_how_the_destinations_are(pipeline: Arc<Pipeline<Sls, AnyDestination>>) {
    let alone = pipeline.destinations.len() == 1;
    let say = async |Route { name, destination, .. }: &Route<AnyDestination>| {
        let who = called(name, alone);
        let sentence = destination.promise().sentence;
        info!("{}{sentence}", if alone { String::new() } else { format!("{who}: ") });
        // The cause of a failure is in the log already.
        if let Ok(checked) = destination.check().await {
            let took_ms = u64::try_from(checked.took.as_millis()).unwrap_or(u64::MAX);
            info!(url = checked.url, took_ms, "{who} {}", checked.agrees);
        }
    };
    join_all(pipeline.destinations.iter().map(say)).await;
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
    let line = summary::line(&pipeline.ledger, &destinations_of(pipeline), summary::unix_now());
    line + &summary::script(&pipeline.hooks.script().version, &pipeline.hooks.reloads())
}

/// What the admin listener tells, beside what the pipeline knows.
pub(super) struct Observed {
    pub(super) pipeline: Arc<Pipeline<Sls, AnyDestination>>,
    pub(super) who: Identity,
    pub(super) gaps: Arc<Gaps>,
    pub(super) group: Arc<GroupState>,
    pub(super) letters: Arc<LetterCount>,
    pub(super) retention: Arc<Retention>,
    pub(super) letters_dir: String,
    pub(super) started: Instant,
}

impl admin::Program for Observed {
    fn acknowledge_gaps(&self) -> std::io::Result<u64> {
        let open = self.gaps.acknowledge(&self.pipeline.ledger)?;
        info!(open, "gaps acknowledged");
        Ok(open)
    }

    fn read(&self) -> Snapshot {
        let pipeline = &self.pipeline;
        let name = pipeline.source_name.clone();
        let source = SourceSnapshot {
            who: self.who.clone(),
            group: self.group.read(),
            credentials: pipeline.source.key_status(),
            retention: self.retention.read(),
            calls: pipeline.source.errors().sent(),
            errors: pipeline.source.errors().read(),
            timings: pipeline.ledger.timings().remove(&name).unwrap_or_default(),
            name: name.to_string(),
        };
        Snapshot {
            sources: vec![source],
            destinations: destinations_of(pipeline),
            memory: Memory { used: pipeline.budget.used() as u64, limit: pipeline.budget.limit() as u64 },
            shards: pipeline.ledger.read(),
            letters: self.letters.read(),
            open_gaps: self.gaps.open(&pipeline.ledger),
            lag_change: None,
            letters_dir: self.letters_dir.clone(),
            script: pipeline.hooks.script().version.clone(),
            script_since: pipeline.hooks.since(),
            script_errors: pipeline.ledger.script_errors(),
            reloads: pipeline.hooks.reloads(),
            last_refused: pipeline.hooks.last_refused(),
            started: self.started,
            now: summary::unix_now(),
            at: Instant::now(),
        }
    }
}

fn destinations_of(pipeline: &Pipeline<Sls, AnyDestination>) -> Vec<DestinationStatus> {
    let status = |Route { name, destination, isolation, account, .. }: &Route<AnyDestination>| DestinationStatus {
        name: name.clone(),
        address: destination.address(),
        promise: destination.promise(),
        health: destination.health(),
        isolation: isolation.as_ref().map(Isolation::mode),
        events: account.read(),
        figures: destination.figures(),
        gauges: destination.gauges(),
        warnings: destination.warnings(),
    };
    pipeline.destinations.iter().map(status).collect()
}
