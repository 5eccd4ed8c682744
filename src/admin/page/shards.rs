//! The table of the shards of a source, those with problems first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::graph;
use super::words::{Text, span};
use crate::admin::history::History;
use crate::admin::snapshot::{Memory, ShardOwner, Snapshot, SourceSnapshot};
use crate::core::count::thousands;
use crate::core::cursor::{ShardName, SourceName};
use crate::core::ledger::{ShardLedger, Wait};
use crate::sls::shard_state::ShardReport;

const COLUMNS: [&str; 12] = [
    "shard",
    "state",
    "waits for",
    "lag",
    "logs behind, about",
    "time to loss",
    "logs a second",
    "lag, last hour",
    "delivered",
    "dead letters",
    "in flight",
    "checkpoint saved",
];

/// Shown where there is no value.
const NOTHING: &str = "–";

/// The table.
pub(super) fn write(out: &mut String, source: &SourceSnapshot, snapshot: &Snapshot, history: &History) {
    let name = Text(&source.name);
    let _ = writeln!(out, "<section aria-labelledby=\"shards-{name}\"><h2 id=\"shards-{name}\">Shards of {name}</h2>");
    let unread: BTreeMap<ShardName, &ShardReport> = source.unread(snapshot).collect();
    let is_elsewhere =
        |shard: &ShardName| source.owners.iter().any(|owner| owner.shard == shard.shard) || unread.contains_key(shard);
    let is_shown = |(shard, entry): &(&ShardName, &ShardLedger)| {
        shard.source.as_str() == source.name && (entry.held || !is_elsewhere(shard))
    };
    let mut shards: Vec<_> = snapshot.shards.iter().filter(is_shown).collect();
    shards.sort_by_key(|(_, entry)| std::cmp::Reverse(trouble(entry, snapshot.now)));
    let others = others(source, snapshot, &unread);
    if shards.is_empty() && others.is_empty() {
        out.push_str("<p>None yet: surplus processes stand by.</p></section>\n");
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
    for (name, owner) in others {
        let saved = match owner.map_or(0, |owner| owner.saved_at) {
            0 => NOTHING.to_owned(),
            at => format!("{} ago", span(u64::try_from(snapshot.now - at).unwrap_or(0))),
        };
        let saver = owner.map(|owner| match owner.consumer.as_str() {
            "" => "saved by an unnamed consumer".to_owned(),
            consumer => format!("last saved by {}", Text(consumer)),
        });
        let judged = unread.get(&name).map(|judged| format!("<span class=\"bad\">{}</span>", judged.state.label()));
        let state = judged.into_iter().chain(saver).collect::<Vec<_>>().join(", ");
        let mut cells = [const { String::new() }; COLUMNS.len()].map(|_| NOTHING.to_owned());
        (cells[0], cells[1], cells[COLUMNS.len() - 1]) = (name.to_string(), state, saved);
        write_cells(out, &name, cells);
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
    let nothing = || NOTHING.to_owned();
    let lag = entry.lag(snapshot.now).filter(|_| entry.held);
    let kept = source.retention.map(|kept| kept.as_secs());
    let history = history.shards.get(shard);
    let cells = [
        shard.to_string(),
        format!("<span class=\"{class}\">{state}</span>"),
        waits_for(entry, snapshot.memory).to_owned(),
        lag.map_or_else(nothing, span),
        entry.lag_logs(snapshot.now).filter(|_| entry.held).map_or_else(nothing, thousands),
        lag.zip(kept).map_or_else(nothing, |(lag, kept)| span(kept.saturating_sub(lag))),
        history.and_then(|history| history.rate.last()).map_or_else(nothing, |rate| format!("{rate:.1}")),
        history.map_or_else(String::new, |history| graph::line(&history.lag, "lag in seconds")),
        thousands(entry.counts.delivered),
        thousands(entry.counts.dead_lettered),
        thousands(entry.counts.in_flight),
        entry.saved_at.map_or_else(nothing, |at| format!("{} ago", span(at.elapsed().as_secs()))),
    ];
    write_cells(out, shard, cells);
}

fn write_cells(out: &mut String, shard: &ShardName, cells: [String; COLUMNS.len()]) {
    let _ = write!(out, "<tr data-key=\"{}\">", Text(shard.to_string()));
    for (column, cell) in COLUMNS.iter().zip(cells) {
        let _ = write!(out, "<td data-is=\"{column}\">{cell}</td>");
    }
    out.push_str("</tr>\n");
}

/// The shards that this process does not hold, with the consumer that last saved them. Those that nobody reads come
/// first.
fn others<'a>(
    source: &'a SourceSnapshot,
    snapshot: &Snapshot,
    unread: &BTreeMap<ShardName, &ShardReport>,
) -> Vec<(ShardName, Option<&'a ShardOwner>)> {
    let name = |shard| ShardName { source: SourceName::new(&source.name), shard };
    let is_held = |shard: &ShardName| snapshot.shards.get(shard).is_some_and(|entry| entry.held);
    let mut others: BTreeMap<ShardName, Option<&ShardOwner>> =
        unread.keys().map(|shard| (shard.clone(), None)).collect();
    others.extend(source.owners.iter().map(|owner| (name(owner.shard), Some(owner))));
    let mut others: Vec<_> = others.into_iter().filter(|(shard, _)| !is_held(shard)).collect();
    others.sort_by_key(|(shard, _)| !unread.contains_key(shard));
    others
}

/// What the shard waits for.
fn waits_for(entry: &ShardLedger, memory: Memory) -> &'static str {
    match entry {
        ShardLedger { halted: Some(_), .. } => "an operator",
        ShardLedger { held: false, .. } => NOTHING,
        ShardLedger { waits, .. } if !waits.is_empty() => match waits.keys().next() {
            Some(Wait::Script) => "a script that works",
            Some(Wait::Destination) => "accepted events",
            Some(Wait::Copies) => "copies of dead letters",
            Some(Wait::Write) => "the disk",
            Some(Wait::Disk) | None => "room for dead letters",
        },
        ShardLedger { failing, .. } if !failing.is_empty() => "SLS",
        ShardLedger { in_script: Some(_), .. } => "the script",
        ShardLedger { counts, .. } if counts.in_flight > 0 => "the destination",
        ShardLedger { caught_up: true, .. } => "new logs",
        _ if memory.is_full() => "memory",
        _ => "SLS",
    }
}

/// The sort key of a shard.
fn trouble(entry: &ShardLedger, now: i64) -> (bool, bool, bool, u64) {
    let lag = entry.lag(now).unwrap_or(0);
    (entry.standstill().is_some(), !entry.failing.is_empty(), entry.held, lag)
}

/// The state of a shard, as text.
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
