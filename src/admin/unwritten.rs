//! Missed events of an isolated destination that cannot become dead letters, so that all logs wait. Pure.

use std::collections::BTreeMap;

use crate::core::cursor::ShardName;
use crate::core::ledger::{ShardLedger, Wait};
use crate::destination::{DestinationStatus, Health, IsolationMode, called};

/// How the wait ends.
pub const REMEDY: &str = "make room for dead letters as the message says; if they are those of this destination, it is \
                          enough to bring it back";

/// Why the events that an isolated destination misses are not written, if they are not, so that the others do not
/// continue without it: `the destination q is down (refused), and newer events for it cannot become dead letters: no
/// room for dead letters in …`.
#[must_use]
pub fn unwritten(destination: &DestinationStatus, shards: &BTreeMap<ShardName, ShardLedger>) -> Option<String> {
    let Some(IsolationMode::DeadLettering | IsolationMode::Returning) = destination.isolation else { return None };
    let waits = |wait| shards.values().filter(|entry| entry.held).find_map(|entry| entry.waits.get(&wait));
    let why = waits(Wait::Disk).or_else(|| waits(Wait::Write))?;
    let state = match &destination.health {
        Health::Down { cause, .. } => format!("is down ({cause})"),
        Health::Refusing { cause, .. } => format!("rejects our requests ({cause})"),
        Health::Up { .. } | Health::Unknown => "is to receive its missed events first".to_owned(),
    };
    Some(format!(
        "{} {state}, and newer events for it cannot become dead letters: {why}",
        called(&destination.name, false)
    ))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::admin::tests::to;
    use crate::core::cursor::{ShardId, SourceName};
    use crate::core::ledger::Ledger;

    #[test]
    fn an_isolated_destination_is_named_with_the_reason_why_its_missed_events_are_not_written() {
        let ledger = Ledger::default();
        let account = ledger.account(&ShardName { source: SourceName::new("audit"), shard: ShardId(1) });
        account.acquired();
        let down = || Health::Down { since: Instant::now(), cause: "refused".into() };
        let text = |isolation, health| unwritten(&DestinationStatus { isolation, ..to("b", health) }, &ledger.read());
        assert_eq!(text(Some(IsolationMode::DeadLettering), down()), None);
        account.waits(Wait::Write, "slow".into());
        let slow = "the destination b is down (refused), and newer events for it cannot become dead letters: slow";
        assert_eq!(text(Some(IsolationMode::DeadLettering), down()).as_deref(), Some(slow));
        account.waits(Wait::Disk, "no room".into());
        let full = "the destination b is to receive its missed events first, and newer events for it cannot become dead \
                    letters: no room";
        assert_eq!(text(Some(IsolationMode::Returning), Health::Up { since: Instant::now() }).as_deref(), Some(full));
        assert_eq!(text(Some(IsolationMode::Direct), down()), None, "its events wait in memory");
        assert_eq!(text(None, down()), None);
        account.released();
        assert_eq!(text(Some(IsolationMode::DeadLettering), down()), None);
    }
}
