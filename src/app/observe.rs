//! Reports the state of the running program in the log and on the admin listener.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{error, info};

use super::dead_letter_count::DeadLetterCount;
use super::gaps::Gaps;
use super::scripts::{ScriptHealth, ScriptsWatch};
use super::shared::Shared;
use super::summary;
use crate::admin;
use crate::admin::{Memory, Snapshot};
use crate::destination::registry::AnyDestination;
use crate::destination::{Destination as _, DestinationStatus, called};
use crate::pipeline::tap::{TapQuery, Tapped, TooManyTaps};
use crate::pipeline::{Isolation, Route};

/// Time between two summary lines in the log.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Checks once whether each destination would accept events. If not, the checkpoints of the shards do not move.
pub(super) async fn log_destination_health(shared: Arc<Shared>) {
    let alone = shared.destinations.len() == 1;
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
    join_all(shared.destinations.iter().map(say)).await;
}

pub(super) async fn sum_up_now_and_then(shared: Arc<Shared>, scripts: Arc<ScriptsWatch>) {
    let mut ticks = interval_at(Instant::now() + SUMMARY_INTERVAL, SUMMARY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let total = shared.ledger.total();
        if total.difference() != 0 {
            error!(difference = %total.difference(), "BUG: ledger mismatch");
        }
        info!("{}", summary_of(&shared, &scripts));
    }
}

pub(super) fn summary_of(shared: &Shared, scripts: &ScriptsWatch) -> String {
    let line = summary::line(&shared.ledger, &destinations_of(shared), summary::unix_now());
    let scripts = scripts.sum();
    line + &summary::script(&scripts.version, &scripts.reloads)
}

/// The data for the admin listener.
pub(super) struct Observed {
    pub(super) shared: Arc<Shared>,
    pub(super) scripts: Arc<ScriptsWatch>,
    pub(super) gaps: Arc<Gaps>,
    pub(super) letters: Arc<DeadLetterCount>,
    pub(super) letters_dir: String,
    pub(super) started: Instant,
}

impl admin::Program for Observed {
    fn tap(&self, wanted: TapQuery) -> Result<Tapped, TooManyTaps> {
        self.shared.taps.open(wanted)
    }

    fn acknowledge_gaps(&self) -> std::io::Result<u64> {
        let open = self.gaps.acknowledge(&self.shared.ledger)?;
        info!(open, "gaps acknowledged");
        Ok(open)
    }

    fn read(&self) -> Snapshot {
        let Shared { ledger, budget, vms, sources, .. } = &*self.shared;
        let ScriptHealth { version, since, reloads, last_refused } = self.scripts.sum();
        Snapshot {
            sources: sources.read(ledger.timings()),
            destinations: destinations_of(&self.shared),
            memory: Memory { used: budget.used() as u64, limit: budget.limit() as u64 },
            script_memory: Memory { used: vms.taken() as u64, limit: vms.limit() as u64 },
            shards: ledger.read(),
            letters: self.letters.read(),
            open_gaps: self.gaps.open(ledger),
            lag_change: None,
            recent: BTreeMap::new(),
            letters_dir: self.letters_dir.clone(),
            script: version,
            script_since: since,
            script_errors: ledger.script_errors(),
            drop_reasons: ledger.drop_reasons(),
            reloads,
            last_refused,
            started: self.started,
            now: summary::unix_now(),
            at: Instant::now(),
        }
    }
}

pub(super) fn destinations_of(shared: &Shared) -> Vec<DestinationStatus> {
    let copies = shared.dead_letter_rules.to.as_ref();
    let status = |Route { name, destination, isolation, account, .. }: &Route<AnyDestination>| DestinationStatus {
        name: name.clone(),
        address: destination.address(),
        promise: destination.promise(),
        health: destination.health(),
        isolation: isolation.as_ref().map(Isolation::mode),
        replay_fault: isolation.as_ref().and_then(Isolation::replay_fault),
        gets_copies: copies == Some(name),
        certificates: destination.certificates(),
        events: account.read(),
        figures: destination.figures(),
        gauges: destination.gauges(),
        warnings: destination.warnings(),
    };
    shared.destinations.iter().map(status).collect()
}
