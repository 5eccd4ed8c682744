//! The ledger and the destination's health, in a line for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::core::count::{bytes, count};
use crate::core::cursor::{ShardName, SourceName};
use crate::core::destination_account::{EventCounts, SILENCE};
use crate::core::duration::in_words;
use crate::core::ledger::{Counts, Ledger, ShardLedger};
use crate::dead_letter::DeadLettersOnDisk;
use crate::destination::{DestinationStatus, Health};
use crate::script::Reloads;

/// Maximum number of drop reasons in the line: those with the most logs.
const MAX_REASONS: usize = 3;

/// The current time in unix seconds, for the lag: SLS stamps received logs with wall-clock seconds.
#[must_use]
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// One line, with what *delivered* means there:
/// `pulled 1000 = delivered 990 + dropped 10 + dead-lettered 0 + in flight 0;
/// 4 shards held, lag 3 s; delivered means accepted; destination up`.
#[must_use]
pub fn line(ledger: &Ledger, destinations: &[DestinationStatus], now: i64) -> String {
    let accounts = ledger.read();
    let total = ledger.total();
    let mut line = equation(&total);
    if total.difference() != 0 {
        let _ = write!(line, " + MISSING {}", total.difference());
    }
    let held = accounts.values().filter(|entry| entry.held);
    let lag = held.clone().filter_map(|entry| entry.lag(now)).max();
    let _ = write!(line, "; {} held", count(held.count(), "shard"));
    if let Some(lag) = lag {
        let _ = write!(line, ", lag {lag} s");
    }
    if total.wire_bytes > 0 {
        let _ = write!(line, "; read {}, {} unpacked", bytes(total.wire_bytes), bytes(total.bytes));
    }
    if total.returned > 0 {
        let _ = write!(line, ", {} returned to the group", total.returned);
    }
    if total.gaps > 0 {
        let _ = write!(line, ", {}", count(total.gaps, "gap"));
    }
    let reasons = ledger.drop_reasons();
    for (number, (reason, logs)) in reasons.by_count().into_iter().take(MAX_REASONS).enumerate() {
        let _ = write!(line, "{} {reason} {logs}", if number == 0 { "; dropped for:" } else { "," });
    }
    for DestinationStatus { name, promise, health, events, .. } in destinations {
        let (at, who) = match destinations {
            [_] => (String::new(), "destination".to_owned()),
            _ => (format!(" at {name}"), format!("destination {name}")),
        };
        let _ = write!(line, "; delivered{at} means {}", promise.label);
        if destinations.len() > 1 {
            let _ = write!(line, ": {}", events_by_result(events));
        }
        let _ = match health {
            Health::Unknown => Ok(()),
            Health::Up { .. } => write!(line, "; {who} up{}", silence(events.waiting_since)),
            Health::Down { since, cause } => write!(line, "; {who} down for {}: {cause}", in_words(since.elapsed())),
            Health::Refusing { since, cause } => {
                write!(line, "; {who} rejects our requests for {}: {cause}", in_words(since.elapsed()))
            }
        };
    }
    for (shard, entry) in &accounts {
        if let Some(why) = &entry.halted {
            let _ = write!(line, "; shard {shard} HALTED: {why}");
        }
        for why in entry.waits.values() {
            let _ = write!(line, "; shard {shard} PAUSED: {why}");
        }
    }
    line
}

/// The addition for a destination that is up and gives no results.
fn silence(waiting_since: Option<Instant>) -> String {
    let silent = waiting_since.map(|since| since.elapsed()).filter(|silent| *silent >= SILENCE);
    silent.map_or_else(String::new, |silent| format!(", but no result for {}", in_words(silent)))
}

/// The addition to the line about the script: empty as long as the script has not changed.
#[must_use]
pub fn script(version: &str, reloads: &Reloads) -> String {
    if *reloads == Reloads::default() {
        return String::new();
    }
    let Reloads { taken, refused, rolled_back, trouble } = reloads;
    let mut text =
        format!("; script {version}, {}, {refused} refused, {rolled_back} rolled back", count(*taken, "reload"));
    if let Some(trouble) = trouble {
        let _ = write!(text, "; SCRIPT: {trouble}");
    }
    text
}

/// Says at the end where the dead letters are, if there are any.
pub(super) fn say_dead_letters(found: &DeadLettersOnDisk, dir: &Path) {
    if let Some(open) = dead_letters(found.open, dir) {
        warn!("{open}");
    }
    if let Some(missed) = missed_events(found, dir) {
        info!("{missed}");
    }
}

/// Where to find this many dead letters; nothing if there are none.
#[must_use]
pub fn dead_letters(number: u64, dir: &Path) -> Option<String> {
    let (letters, dir) = (count(number, "dead letter"), dir.display());
    (number > 0).then(|| format!("{letters} in {dir}; to see why: forwarder dlq list --dir {dir}"))
}

fn missed_events(found: &DeadLettersOnDisk, dir: &Path) -> Option<String> {
    let (missed, dir) = (count(found.missed, "event"), dir.display());
    (found.missed > 0)
        .then(|| format!("{missed} that isolated destinations missed in {dir}; delivered after the next start"))
}

/// A line for each shard, when the work has ended: `shard audit/3: pulled 10 = delivered 6 + …; its newest durable log
/// was received at 2026-02-03T04:05:06Z`.
#[must_use]
pub fn shards(ledger: &Ledger) -> Vec<String> {
    let line = |(shard, entry): (ShardName, ShardLedger)| {
        let counts = entry.counts;
        let mut line = format!("shard {shard}: {}, {} failed", equation(&counts), counts.failed);
        if let Some(to) = entry.durable_to.and_then(|second| Timestamp::from_second(second).ok()) {
            let _ = write!(line, "; its newest durable log was received at {to}");
        }
        line
    };
    ledger.read().into_iter().map(line).collect()
}

/// A line for each source, where there are several: `source audit: pulled 10 = delivered 6 + …`.
#[must_use]
pub fn sources(ledger: &Ledger) -> Vec<String> {
    let mut totals: BTreeMap<SourceName, Counts> = BTreeMap::new();
    for (shard, entry) in ledger.read() {
        let total = totals.entry(shard.source).or_default();
        *total = total.plus(&entry.counts);
    }
    if totals.len() < 2 {
        return Vec::new();
    }
    totals.iter().map(|(source, counts)| format!("source {source}: {}", equation(counts))).collect()
}

/// A line for each destination, in events: `destination siem: events delivered 6 + rejected 1 + missed 0 + in flight 2; 0 missed
/// events replayed`.
#[must_use]
pub fn destinations(destinations: &[DestinationStatus]) -> Vec<String> {
    let line = |DestinationStatus { name, events, .. }: &DestinationStatus| {
        format!("destination {name}: {}; {} replayed", events_by_result(events), count(events.replayed, "missed event"))
    };
    destinations.iter().map(line).collect()
}

fn events_by_result(events: &EventCounts) -> String {
    let EventCounts { delivered, rejected, missed, in_flight, .. } = events;
    format!("events delivered {delivered} + rejected {rejected} + missed {missed} + in flight {in_flight}")
}

/// `pulled 10 = delivered 6 + dropped 1 + dead-lettered 2 + in flight 1`.
fn equation(counts: &Counts) -> String {
    let Counts { pulled, delivered, dropped, dead_lettered, in_flight, .. } = counts;
    format!(
        "pulled {pulled} = delivered {delivered} + dropped {dropped} + dead-lettered {dead_lettered} + in flight {in_flight}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::certificates::CertificateEnds;
    use crate::core::cursor::{ShardId, SourceName};
    use crate::core::destination_name::DestinationName;
    use crate::core::drop_reasons::DropReasons;
    use crate::destination::Promise;

    fn shard(number: u32) -> ShardName {
        ShardName { source: SourceName::new("audit"), shard: ShardId(number) }
    }
    use crate::core::ledger::{Settled, Wait};

    fn to(name: &str, health: Health) -> DestinationStatus {
        DestinationStatus {
            name: DestinationName::new(name).unwrap(),
            address: String::new(),
            promise: Promise { label: "accepted", sentence: "" },
            health,
            isolation: None,
            replay_fault: None,
            gets_copies: false,
            certificates: CertificateEnds::default(),
            events: EventCounts::default(),
            figures: crate::destination::Figures::default(),
            gauges: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn up() -> Health {
        Health::Up { since: tokio::time::Instant::now() }
    }

    #[test]
    fn each_of_several_destinations_is_named() {
        let down = Health::Down { since: tokio::time::Instant::now(), cause: "refused".into() };
        let mut splunk = to("splunk", up());
        splunk.events = EventCounts { delivered: 6, rejected: 1, replayed: 3, in_flight: 2, ..EventCounts::default() };
        let both = [splunk, to("q", down)];
        let line = line(&Ledger::default(), &both, 0);
        let expected = "; delivered at splunk means accepted: events delivered 6 + rejected 1 + missed 0 + in flight 2; \
            destination splunk up; delivered at q means accepted: events delivered 0 + rejected 0 + missed 0 + in flight 0; \
            destination q down for ";
        assert!(line.contains(expected) && line.ends_with(": refused"), "{line}");
        let expected = [
            "destination splunk: events delivered 6 + rejected 1 + missed 0 + in flight 2; 3 missed events replayed",
            "destination q: events delivered 0 + rejected 0 + missed 0 + in flight 0; 0 missed events replayed",
        ];
        assert_eq!(destinations(&both), expected);
    }

    #[test]
    fn the_line_says_what_happened_to_every_log_and_which_shard_is_late() {
        let ledger = Ledger::default();
        let account = ledger.account(&shard(2));
        account.acquired();
        account.pulled(10, 100, None);
        account.settled(Settled { delivered: 6, dropped: 1, dead_lettered: 0, events: 6 }, Some(100));
        let mut reasons = DropReasons::default();
        reasons.add(b"health check", 1);
        account.dropped_for(&reasons);
        let expected = "pulled 10 = delivered 6 + dropped 1 + dead-lettered 0 + in flight 3; 1 shard held, lag 5 s; dropped for: health check 1; delivered means accepted; destination up";
        assert_eq!(line(&ledger, &[to("hec", up())], 105), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_destination_that_is_up_and_gives_no_results_is_in_every_line() {
        let mut destination = to("hec", up());
        destination.events.waiting_since = Some(Instant::now());
        tokio::time::advance(SILENCE).await;
        let line = line(&Ledger::default(), &[destination], 0);
        assert!(line.ends_with("destination up, but no result for 30 s"), "{line}");
    }

    #[test]
    fn a_changed_script_is_in_every_line_with_its_problem() {
        assert_eq!(script("0123456789ab", &Reloads::default()), "");
        let mut reloads = Reloads { taken: 3, refused: 2, rolled_back: 1, trouble: None };
        let expected = "; script 0123456789ab, 3 reloads, 2 refused, 1 rolled back";
        assert_eq!(script("0123456789ab", &reloads), expected);
        reloads.trouble = Some("s.lua:3: no".into());
        assert_eq!(script("0123456789ab", &reloads), format!("{expected}; SCRIPT: s.lua:3: no"));
    }

    #[test]
    fn a_paused_shard_is_in_every_line_until_it_continues() {
        let ledger = Ledger::default();
        let account = ledger.account(&shard(2));
        account.waits(Wait::Disk, "no room".into());
        assert!(line(&ledger, &[to("hec", Health::Unknown)], 0).ends_with("shard audit/2 PAUSED: no room"));
        account.goes_on(Wait::Disk);
        assert!(!line(&ledger, &[to("hec", Health::Unknown)], 0).contains("PAUSED"));
    }

    #[test]
    fn at_the_end_dead_letters_and_missed_events_are_mentioned_apart_and_only_when_there_are_some() {
        let line = |open, missed| {
            let found = DeadLettersOnDisk { open, missed, ..DeadLettersOnDisk::default() };
            (dead_letters(open, Path::new("/d")), missed_events(&found, Path::new("/d")))
        };
        assert_eq!(line(0, 0), (None, None));
        let expected = "2 dead letters in /d; to see why: forwarder dlq list --dir /d";
        assert_eq!(line(2, 0), (Some(expected.to_owned()), None));
        let expected = "3 events that isolated destinations missed in /d; delivered after the next start";
        assert_eq!(line(0, 3), (None, Some(expected.to_owned())));
    }

    #[test]
    fn every_shard_has_a_line_of_its_own() {
        let ledger = Ledger::default();
        ledger.account(&shard(2)).pulled(3, 100, None);
        let all = ledger.account(&shard(1));
        all.acquired();
        all.pulled(2, 100, Some(95));
        all.settled(Settled { delivered: 2, ..Settled::default() }, Some(95));
        all.released();
        let expected = [
            "shard audit/1: pulled 2 = delivered 2 + dropped 0 + dead-lettered 0 + in flight 0, 0 failed; its newest durable log was received at 1970-01-01T00:01:35Z",
            "shard audit/2: pulled 3 = delivered 0 + dropped 0 + dead-lettered 0 + in flight 3, 0 failed",
        ];
        assert_eq!(shards(&ledger), expected, "an age would not be that of a log that waits");
    }

    #[test]
    fn each_of_several_sources_has_a_line_of_its_own() {
        let ledger = Ledger::default();
        ledger.account(&shard(1)).pulled(3, 100, None);
        ledger.account(&shard(2)).pulled(4, 100, None);
        assert!(sources(&ledger).is_empty());
        ledger.account(&ShardName { source: SourceName::new("waf"), shard: ShardId(0) }).pulled(1, 10, None);
        let expected = [
            "source audit: pulled 7 = delivered 0 + dropped 0 + dead-lettered 0 + in flight 7",
            "source waf: pulled 1 = delivered 0 + dropped 0 + dead-lettered 0 + in flight 1",
        ];
        assert_eq!(sources(&ledger), expected);
    }

    #[test]
    fn a_halted_shard_is_in_every_line() {
        let ledger = Ledger::default();
        ledger.account(&shard(2)).halted(1, "log 7 failed".into());
        assert!(line(&ledger, &[to("hec", Health::Unknown)], 0).ends_with("shard audit/2 HALTED: log 7 failed"));
    }
}
