//! The table of the shards of a source, those in trouble first.

use std::fmt::Write as _;

use super::graph;
use super::words::{Text, number, span};
use crate::admin::history::History;
use crate::admin::snapshot::{Snapshot, SourceSnapshot};
use crate::core::cursor::ShardName;
use crate::core::ledger::ShardLedger;

const COLUMNS: [&str; 10] = [
    "shard",
    "state",
    "lag",
    "time to loss",
    "logs a second",
    "lag, last hour",
    "delivered",
    "dead letters",
    "in flight",
    "checkpoint saved",
];

/// The table.
pub(super) fn write(out: &mut String, source: &SourceSnapshot, snapshot: &Snapshot, history: &History) {
    let name = Text(&source.name);
    let _ = writeln!(out, "<section aria-labelledby=\"shards-{name}\"><h2 id=\"shards-{name}\">Shards of {name}</h2>");
    let mut shards: Vec<_> = snapshot.shards.iter().filter(|(shard, _)| shard.source.as_str() == source.name).collect();
    shards.sort_by_key(|(_, entry)| std::cmp::Reverse(trouble(entry, snapshot.now)));
    if shards.is_empty() {
        out.push_str("<p>None yet: a process beyond the number of shards stands by.</p></section>\n");
        return;
    }
    out.push_str("<table class=\"wide\">\n<thead><tr>");
    for column in COLUMNS {
        let _ = write!(out, "<th scope=\"col\">{column}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (shard, entry) in shards {
        row(out, shard, entry, source, snapshot, history);
    }
    out.push_str("</tbody>\n</table></section>\n");
}

fn row(
    out: &mut String,
    shard: &ShardName,
    entry: &ShardLedger,
    source: &SourceSnapshot,
    snapshot: &Snapshot,
    history: &History,
) {
    let (class, state) = state(entry);
    let nothing = || "–".to_owned();
    let lag = entry.lag(snapshot.now).filter(|_| entry.held);
    let kept = source.retention.map(|kept| kept.as_secs());
    let history = history.shards.get(shard);
    let cells = [
        shard.to_string(),
        format!("<span class=\"{class}\">{state}</span>"),
        lag.map_or_else(nothing, span),
        lag.zip(kept).map_or_else(nothing, |(lag, kept)| span(kept.saturating_sub(lag))),
        history.and_then(|history| history.rate.last()).map_or_else(nothing, |rate| format!("{rate:.1}")),
        history.map_or_else(String::new, |history| graph::line(&history.lag, "lag in seconds")),
        number(entry.counts.delivered),
        number(entry.counts.dead_lettered),
        number(entry.counts.in_flight),
        entry.saved_at.map_or_else(nothing, |at| format!("{} ago", span(at.elapsed().as_secs()))),
    ];
    let _ = write!(out, "<tr data-key=\"{}\">", Text(shard.to_string()));
    for (column, cell) in COLUMNS.iter().zip(cells) {
        let _ = write!(out, "<td data-is=\"{column}\">{cell}</td>");
    }
    out.push_str("</tr>\n");
}

/// What makes a shard stand above others.
fn trouble(entry: &ShardLedger, now: i64) -> (bool, bool, bool, u64) {
    let lag = entry.lag(now).unwrap_or(0);
    (entry.standstill().is_some(), !entry.failing.is_empty(), entry.held, lag)
}

/// How a shard does, in words.
fn state(entry: &ShardLedger) -> (&'static str, &'static str) {
    match entry {
        ShardLedger { halted: Some(_), .. } => ("bad", "HALTED"),
        ShardLedger { waits, .. } if !waits.is_empty() => ("bad", "PAUSED"),
        ShardLedger { failing, .. } if !failing.is_empty() => ("bad", "SLS fails"),
        ShardLedger { held: false, .. } => ("", "released"),
        ShardLedger { caught_up: true, .. } => ("good", "caught up"),
        ShardLedger { in_script: Some(_), .. } => ("", "in the script"),
        ShardLedger { counts, .. } if counts.in_flight > 0 => ("", "delivering"),
        _ => ("", "reading"),
    }
}
