//! Logs which sources wait for memory, and which isolated destinations hold up all others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::observe::destinations_of;
use super::shared::Shared;
use crate::admin::{MEMORY_REMEDY, Memory, UNWRITTEN_REMEDY, memory_wait, unwritten};

/// Time between two lookups.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(10);

/// Logs which sources wait for memory, and for which isolated destinations no dead letters are written, when that
/// changes; never returns.
pub(super) async fn log_waits(shared: Arc<Shared>) {
    let (mut logged, mut logged_unwritten) = (LoggedWaits::default(), LoggedWaits::default());
    let mut ticks = interval(LOOKUP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (sources, now) = (shared.sources.read(BTreeMap::new()), Instant::now());
        let memory = Memory { used: shared.budget.used() as u64, limit: shared.budget.limit() as u64 };
        let waits = sources.iter().filter_map(|source| {
            let text = memory_wait(source, &sources, memory, now)?;
            Some((source.name.clone(), text))
        });
        let Changes { begun, over } = logged.changes(waits.collect());
        for text in begun {
            warn!("{text}; its logs wait in SLS; {MEMORY_REMEDY}");
        }
        for source in over {
            info!(%source, "the source has memory again");
        }
        let shards = shared.ledger.read();
        let waits = destinations_of(&shared).into_iter().filter_map(|destination| {
            let text = unwritten(&destination, &shards)?;
            Some((destination.name.to_string(), text))
        });
        let Changes { begun, over } = logged_unwritten.changes(waits.collect());
        for text in begun {
            warn!("{text}; all logs with events for it wait in SLS; {UNWRITTEN_REMEDY}");
        }
        for destination in over {
            info!(%destination, "the isolated destination no longer holds up the others");
        }
    }
}

/// The names of the sources or destinations whose wait was logged.
#[derive(Debug, Default)]
struct LoggedWaits(BTreeSet<String>);

/// What to log.
#[derive(Debug, PartialEq, Eq)]
struct Changes {
    /// The waits that are new.
    begun: Vec<String>,
    /// The names of those that wait no longer.
    over: Vec<String>,
}

impl LoggedWaits {
    /// The changes since the last call; `waits` are the names of those that wait now, with the reason.
    fn changes(&mut self, waits: BTreeMap<String, String>) -> Changes {
        let before = std::mem::replace(&mut self.0, waits.keys().cloned().collect());
        let over = before.iter().filter(|name| !waits.contains_key(*name)).cloned().collect();
        let begun = waits.into_iter().filter(|(name, _)| !before.contains(name)).map(|(_, text)| text);
        Changes { begun: begun.collect(), over }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_logged_once_when_it_begins_and_once_when_it_is_over() {
        let mut logged = LoggedWaits::default();
        let mut changes = |waiting: &[&str]| {
            let waits = waiting.iter().map(|name| ((*name).to_owned(), format!("{name} waits")));
            let Changes { begun, over } = logged.changes(waits.collect());
            (begun.join(" "), over.join(" "))
        };
        let of = |begun: &str, over: &str| (begun.to_owned(), over.to_owned());
        assert_eq!(changes(&[]), of("", ""));
        assert_eq!(changes(&["audit"]), of("audit waits", ""));
        assert_eq!(changes(&["audit", "waf"]), of("waf waits", ""));
        assert_eq!(changes(&["waf"]), of("", "audit"));
        assert_eq!(changes(&["audit"]), of("audit waits", "waf"));
    }
}
