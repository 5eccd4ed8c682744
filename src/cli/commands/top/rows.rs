//! The rows of the tables: sources, destinations, shards. Pure.

use std::cmp::Reverse;
use std::time::Duration;

use super::status::{Destination, Rates, RecentBatches, Shard, Source};
use crate::cli::columns::Column;
use crate::core::count::thousands;
use crate::core::duration::{latency, roughly};
use crate::core::printable::excerpt;
use crate::script::Paint;

/// A shard whose lag is above this many seconds is catching up.
const LATE: u64 = 60;

pub(super) const SOURCES: [Column; 4] =
    [Column::text("SOURCE", 0), Column::text("HEARTBEAT", 1), Column::text("GROUP", 2), Column::text("LOGSTORE", 3)];

pub(super) fn source(source: &Source, paint: Paint) -> Vec<String> {
    let heartbeat = match source.heartbeat_seconds {
        _ if !source.joined => paint.yellow("not joined"),
        Some(ago) => format!("{} ago", seconds(ago)),
        None => paint.yellow("none yet"),
    };
    let logstore = format!("{}/{}", source.project, source.logstore);
    vec![excerpt(&source.name), heartbeat, excerpt(&source.group), excerpt(&logstore)]
}

pub(super) const DESTINATIONS: [Column; 7] = [
    Column::text("DESTINATION", 0),
    Column::text("STATE", 1),
    Column::number("EVENTS/S", 2),
    Column::number("IN FLIGHT", 4),
    Column::number("SINCE", 5),
    Column::text("BATCH 99 %", 6),
    Column::text("ADDRESS, CAUSE", 3),
];

pub(super) fn destination(one: &Destination, rates: &Rates, paint: Paint) -> Vec<String> {
    let state = match one.state.as_str() {
        "up" => paint.green("up"),
        "down" | "refuses" => paint.red(&one.state),
        other => paint.yellow(&excerpt(other)),
    };
    vec![
        excerpt(&one.name),
        state,
        rates.of_destination(&one.name).map_or_else(|| "-".to_owned(), number),
        one.events_in_flight.to_string(),
        one.seconds.map_or_else(|| "-".to_owned(), seconds),
        batch(&one.recent_batches),
        excerpt(one.cause.as_deref().unwrap_or(&one.address)),
    ]
}

/// `250 ms in 6 min`.
fn batch(recent: &RecentBatches) -> String {
    recent
        .most_within_seconds
        .map_or_else(|| "-".to_owned(), |most| format!("{} in {}", latency(most), seconds(recent.seconds)))
}

pub(super) const SHARDS: [Column; 8] = [
    Column::text("SHARD", 0),
    Column::text("STATE", 1),
    Column::number("LAG", 2),
    Column::number("LOGS/S", 3),
    Column::number("IN FLIGHT", 5),
    Column::number("PULLED", 6),
    Column::number("LETTERS", 7),
    Column::text("WHY", 4),
];

pub(super) fn shard(shard: &Shard, rates: &Rates, paint: Paint) -> Vec<String> {
    let word = state(shard);
    let painted = match trouble(shard).0 {
        0 => paint.red(word),
        1 => paint.yellow(word),
        _ => paint.green(word),
    };
    vec![
        excerpt(&shard.name()),
        painted,
        shard.lag_seconds.map_or_else(|| "-".to_owned(), seconds),
        rates.of_shard(shard).map_or_else(|| "-".to_owned(), number),
        shard.in_flight.to_string(),
        shard.pulled.to_string(),
        shard.dead_lettered.to_string(),
        shard.standstill.as_deref().map_or_else(String::new, excerpt),
    ]
}

/// The state of a shard, as text.
pub(super) fn state(shard: &Shard) -> &'static str {
    match (&shard.standstill, shard.lag_seconds) {
        (Some(_), _) => "stands still",
        (None, None) => "starting",
        (None, Some(lag)) if lag > LATE => "catching up",
        (None, Some(0)) if shard.in_flight == 0 => "caught up",
        (None, Some(_)) => "delivering",
    }
}

/// The sort key: worst first, then largest lag.
pub(super) fn trouble(shard: &Shard) -> (u8, Reverse<Option<u64>>) {
    let rank = match (&shard.standstill, shard.lag_seconds) {
        (Some(_), _) => 0,
        (None, Some(lag)) if lag > LATE => 1,
        _ => 2,
    };
    // Healthy shards keep their order while their lags change.
    (rank, Reverse(shard.lag_seconds.filter(|_| rank < 2)))
}

pub(super) fn seconds(seconds: u64) -> String {
    roughly(Duration::from_secs(seconds))
}

/// `0.5`, `12`, `12,345`.
pub(super) fn number(value: f64) -> String {
    if value > 0.0 && value < 10.0 {
        return format!("{value:.1}");
    }
    thousands(value.round() as u64)
}
