//! A snapshot as metrics.

use super::exposition::{Dialect, Exposition, Kind};
use super::process;
use super::reason::State;
use super::snapshot::{GroupHealth, Snapshot, SourceSnapshot};
use super::status;
use super::verdict::verdict;
use crate::core::cursor::ShardName;
use crate::core::destination_account::EventCounts;
use crate::core::histogram::Buckets;
use crate::core::ledger::{Counts, ShardLedger};
use crate::core::timings::TimingsRead;
use crate::destination::{Counter, DestinationStatus, Gauge};
use crate::sls::CallError;

type Figure = fn(&Counts) -> u64;

type EventFigure = fn(&EventCounts) -> u64;

/// A value of a shard at this time (unix seconds), if there is one.
type ShardGauge = fn(&ShardLedger, i64) -> Option<i128>;

/// A value of a group.
type GroupFigure = fn(&GroupHealth) -> u64;

/// Times of a source.
type Times = fn(&TimingsRead) -> &Buckets;

/// Counters of a shard: name, help, and how to read it from the ledger.
const COUNTERS: [(&str, &str, Figure); 12] = [
    ("pulled", "Logs pulled", |counts| counts.pulled + counts.returned),
    ("delivered", "Logs of which all events are durable in the destination's sense", |counts| counts.delivered),
    ("dropped", "Logs that the script dropped on purpose", |counts| counts.dropped),
    ("dead_lettered", "Logs written as dead letters", |counts| counts.dead_lettered),
    ("returned", "Logs returned to the group undelivered, for the next owner of the shard", |counts| counts.returned),
    ("events", "Events that are durable", |counts| counts.events),
    ("pulled_bytes", "Bytes of pages, unpacked", |counts| counts.bytes),
    ("wire_bytes", "Bytes of pages as they came over the network, by which egress is billed", |counts| {
        counts.wire_bytes
    }),
    ("pages", "Pages pulled, empty ones included", |counts| counts.pages),
    (
        "page_cuts",
        "Times that the script stopped in the middle of a page, so that it was delivered in parts",
        |counts| counts.cuts,
    ),
    ("saves", "Checkpoints saved", |counts| counts.saves),
    ("gaps", "Gaps: times that logs expired in SLS before they were pulled", |counts| counts.gaps),
];

/// Gauges of a shard.
const GAUGES: [(&str, &str, ShardGauge); 6] = [
    ("in_flight", "Logs pulled and not finished yet", |entry, _| Some(entry.counts.in_flight.into())),
    ("missing", "Logs that the ledger cannot account for; not 0 means a bug", |entry, _| {
        Some(entry.counts.difference())
    }),
    (LAG, "Age of the newest durable log, 0 when caught up", |entry, now| entry.lag(now).map(Into::into)),
    (
        "lag_logs",
        "About how many logs are not durable yet: those in flight, and an estimate of those that wait in SLS",
        |entry, now| entry.lag_logs(now).filter(|_| entry.held).map(Into::into),
    ),
    ("page_seconds", "Seconds that the script has worked on its current page, 0 between pages", |entry, _| {
        Some(entry.page_seconds().into())
    }),
    ("standstill", "1 while the shard is paused or halted", |entry, _| Some(entry.standstill().is_some().into())),
];

/// Event metrics of a destination: name, kind, help, and how to read it from its account.
const EVENTS: [(&str, Kind, &str, EventFigure); 6] = [
    ("events", Kind::Counter, "Events that are durable at the destination", |events| events.delivered),
    ("rejected_events", Kind::Counter, "Events that the destination refused for good", |events| events.rejected),
    ("missed_events", Kind::Counter, "Events that the destination missed while down", |events| events.missed),
    ("replayed_events", Kind::Counter, "Missed events that were delivered later", |events| events.replayed),
    ("events_in_flight", Kind::Gauge, "Events on their way to the destination", |events| events.in_flight),
    (
        "silent_seconds",
        Kind::Gauge,
        "Seconds for which events have been in flight without a result for any of them",
        |events| events.waiting_since.map_or(0, |since| since.elapsed().as_secs()),
    ),
];

/// Figures of the membership of a source's consumer group.
const MEMBERSHIP: [(&str, &str, GroupFigure); 3] = [
    ("joined", "1 while the consumer group is joined", |group| group.joined.into()),
    ("waiting_for_shards", "1 while the group is joined and no shard of it is ours", |group| {
        (group.joined && group.waiting.is_some()).into()
    }),
    ("surplus_shards", "Shards that SLS assigns to this process and that are not read, because of a limit", |group| {
        group.surplus as u64
    }),
];

const LAG: &str = "lag_seconds";

/// How long the steps of a source take.
const TIMES: [(&str, &str, Times); 3] = [
    ("pull_seconds", "How long answered pulls took", |times| &times.pull),
    (
        "script_seconds",
        "How long the script took for a page or a part of it, the wait for a thread included",
        |times| &times.script,
    ),
    ("end_to_end_seconds", "About how long it took from the receipt of a log by SLS until it was durable", |times| {
        &times.end_to_end
    }),
];

/// Everything, with a line of help for each name.
pub(super) fn text(snapshot: &Snapshot, dialect: Dialect) -> String {
    let mut out = Exposition::new(dialect);
    out.family("forwarder_build", Kind::Info, "The version of the program")
        .value(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    shards(&mut out, snapshot);
    loss(&mut out, snapshot);
    group(&mut out, snapshot);
    sources(&mut out, snapshot);
    destinations(&mut out, &snapshot.destinations);
    certificates(&mut out, snapshot);
    memory(&mut out, snapshot);
    letters(&mut out, snapshot);
    script(&mut out, snapshot);
    process::write(&mut out, snapshot.unix(snapshot.started));
    out.finish()
}

fn shards(out: &mut Exposition, snapshot: &Snapshot) {
    let labelled = |shard: &ShardName| (shard.source.to_string(), shard.shard.to_string());
    for (name, help, figure) in COUNTERS {
        out.family(&format!("forwarder_{name}"), Kind::Counter, help);
        for (shard, entry) in &snapshot.shards {
            let (source, shard) = labelled(shard);
            out.value(&[("source", &source), ("shard", &shard)], figure(&entry.counts));
        }
    }
    for (name, help, figure) in GAUGES {
        out.family(&format!("forwarder_{name}"), Kind::Gauge, help);
        for (shard, entry) in &snapshot.shards {
            let (source, number) = labelled(shard);
            // The owner of a shard reports its lag; while heartbeats fail, the last owner does.
            let is_failing = |of: &&SourceSnapshot| of.name == source && of.group.failing.is_some();
            if name == LAG && !entry.held && !snapshot.sources.iter().any(|of| is_failing(&of)) {
                continue;
            }
            if let Some(value) = figure(entry, snapshot.now) {
                out.value(&[("source", &source), ("shard", &number)], value);
            }
        }
    }
}

fn loss(out: &mut Exposition, snapshot: &Snapshot) {
    out.family("forwarder_gaps_open", Kind::Gauge, "Gaps that are not acknowledged yet").value(&[], snapshot.open_gaps);
    out.family("forwarder_time_to_loss_seconds", Kind::Gauge, "Retention of the logstore less the lag of the shard");
    for source in &snapshot.sources {
        let Some(kept) = source.retention else { continue };
        for (shard, entry) in snapshot.shards.iter().filter(|(shard, _)| shard.source.as_str() == source.name) {
            if let Some(lag) = entry.lag(snapshot.now).filter(|_| entry.held) {
                let labels = [("source", source.name.as_str()), ("shard", &shard.shard.to_string())];
                out.value(&labels, kept.as_secs().saturating_sub(lag));
            }
        }
    }
}

fn group(out: &mut Exposition, snapshot: &Snapshot) {
    let held = snapshot.shards.values().filter(|entry| entry.held).count() as u64;
    let verdict = verdict(snapshot);
    for (name, help, value) in [
        ("shards_held", "Shards that this process holds", held),
        (
            "sls_up",
            "1 while SLS can be read: the group is joined, and heartbeats and some pulls work",
            (verdict.state() < State::Stopped).into(),
        ),
        ("problems", "Problems that need attention; the status page lists them", verdict.problems() as u64),
    ] {
        out.family(&format!("forwarder_{name}"), Kind::Gauge, help).value(&[], value);
    }
    let listed = "Shards of the logstore, looked up once a minute";
    out.family("forwarder_source_shards", Kind::Gauge, listed);
    for SourceSnapshot { name, listed_shards, .. } in &snapshot.sources {
        if let Some(shards) = listed_shards {
            out.value(&[("source", name)], *shards);
        }
    }
    out.family("forwarder_source_shards_held", Kind::Gauge, "Shards of the source that this process holds");
    for SourceSnapshot { name, .. } in &snapshot.sources {
        let held = snapshot.shards.iter().filter(|(shard, entry)| shard.source.as_str() == name && entry.held);
        out.value(&[("source", name)], held.count() as u64);
    }
    for (name, help, figure) in MEMBERSHIP {
        out.family(&format!("forwarder_{name}"), Kind::Gauge, help);
        for SourceSnapshot { name, group, .. } in &snapshot.sources {
            out.value(&[("source", name)], figure(group));
        }
    }
}

fn sources(out: &mut Exposition, snapshot: &Snapshot) {
    let Snapshot { sources, at: now, .. } = snapshot;
    out.family("forwarder_source", Kind::Info, "The logstore that is read, with the names of group and consumer");
    for SourceSnapshot { name, who, .. } in sources {
        let labels = [
            ("source", name.as_str()),
            ("endpoint", &who.endpoint),
            ("project", &who.project),
            ("logstore", &who.logstore),
            ("group", &who.group),
            ("consumer", &who.consumer),
        ];
        out.value(&labels, 1);
    }
    let expiry = "Seconds until the temporary key that signs requests to SLS expires";
    out.family("forwarder_credentials_expiry_seconds", Kind::Gauge, expiry);
    for SourceSnapshot { name, credentials, .. } in sources {
        if let Some(left) = credentials.valid_for {
            out.value(&[("source", name)], left.as_secs());
        }
    }
    out.family("forwarder_credentials_failures", Kind::Counter, "Times that no temporary key could be obtained");
    for SourceSnapshot { name, credentials, .. } in sources {
        out.value(&[("source", name)], credentials.failures);
    }
    out.family("forwarder_sls_calls", Kind::Counter, "Requests sent to SLS, by call, including failed ones");
    for SourceSnapshot { name, calls, .. } in sources {
        for (call, count) in calls {
            out.value(&[("source", name), ("call", call)], count);
        }
    }
    out.family("forwarder_sls_errors", Kind::Counter, "Calls to SLS that failed, by call and error code");
    for SourceSnapshot { name, errors, .. } in sources {
        for CallError { call, code, count } in errors {
            out.value(&[("source", name), ("call", call), ("code", code)], count);
        }
    }
    let age = "Age of the oldest probe log that is not delivered yet, 0 when there is none";
    out.family("forwarder_probe_age_seconds", Kind::Gauge, age);
    for SourceSnapshot { name, probe, .. } in sources {
        if let Some(probe) = probe {
            out.value(&[("source", name)], probe.waiting.map_or(0, |age| age.as_secs()));
        }
    }
    let took = "How long the last probe log took from when it was written until it was delivered";
    out.family("forwarder_probe_seconds", Kind::Gauge, took);
    for SourceSnapshot { name, probe, .. } in sources {
        if let Some(took) = probe.as_ref().and_then(|probe| probe.took) {
            out.value(&[("source", name)], took.as_secs_f64());
        }
    }
    out.family("forwarder_source_memory_bytes", Kind::Gauge, "Bytes of run.memory that the source holds");
    for SourceSnapshot { name, memory, .. } in sources {
        out.value(&[("source", name)], memory.held);
    }
    let waits = "Seconds for which the source has waited for memory without getting any, 0 while it does not wait";
    out.family("forwarder_memory_wait_seconds", Kind::Gauge, waits);
    for SourceSnapshot { name, memory, .. } in sources {
        let waited = memory.waiting_since.map_or(0, |since| now.saturating_duration_since(since).as_secs());
        out.value(&[("source", name)], waited);
    }
    for (name, help, times) in TIMES {
        out.family(&format!("forwarder_{name}"), Kind::Histogram, help);
        for source in sources {
            out.buckets(&[("source", &source.name)], times(&source.timings));
        }
    }
}

fn destinations(out: &mut Exposition, destinations: &[DestinationStatus]) {
    out.family("forwarder_destination", Kind::Info, "Where events go, and what delivered means there");
    for DestinationStatus { name, address, promise, .. } in destinations {
        out.value(&[("destination", name.as_str()), ("address", address), ("delivered_means", promise.label)], 1);
    }
    out.family("forwarder_destination_state", Kind::Gauge, "1 for the current state of the destination");
    for DestinationStatus { name, health, .. } in destinations {
        let now = status::state(health);
        for state in ["unknown", "up", "down", "refuses"] {
            out.value(&[("destination", name.as_str()), ("state", state)], u8::from(state == now));
        }
    }
    for (name, kind, help, figure) in EVENTS {
        out.family(&format!("forwarder_destination_{name}"), kind, help);
        for DestinationStatus { name, events, .. } in destinations {
            out.value(&[("destination", name.as_str())], figure(events));
        }
    }
    // Each name once, for all destinations that have it.
    let counted = |of: &DestinationStatus| of.figures.counters.clone();
    let mut counters: Vec<Counter> = destinations.iter().flat_map(counted).collect();
    counters.sort_by_key(|counter| counter.name);
    counters.dedup_by_key(|counter| counter.name);
    for Counter { name, help, .. } in counters {
        out.family(&format!("forwarder_destination_{name}"), Kind::Counter, help);
        for destination in destinations {
            for counter in destination.figures.counters.iter().filter(|counter| counter.name == name) {
                out.value(&[("destination", destination.name.as_str())], counter.value);
            }
        }
    }
    let mut gauges: Vec<Gauge> = destinations.iter().flat_map(|of| of.gauges.clone()).collect();
    gauges.sort_by_key(|gauge| gauge.name);
    gauges.dedup_by_key(|gauge| gauge.name);
    for Gauge { name, help, .. } in gauges {
        out.family(&format!("forwarder_destination_{name}"), Kind::Gauge, help);
        for destination in destinations {
            for gauge in destination.gauges.iter().filter(|gauge| gauge.name == name) {
                out.value(&[("destination", destination.name.as_str())], gauge.value);
            }
        }
    }
    out.family("forwarder_destination_replies", Kind::Counter, "Answers of the destination, by code");
    for DestinationStatus { name, figures, .. } in destinations {
        for (code, count) in &figures.replies {
            out.value(&[("destination", name.as_str()), ("code", code)], count);
        }
    }
    out.family("forwarder_request_seconds", Kind::Histogram, "How long requests took until they were answered");
    for DestinationStatus { name, figures, .. } in destinations {
        if figures.requests.count() > 0 {
            out.buckets(&[("destination", name.as_str())], &figures.requests);
        }
    }
    out.family(
        "forwarder_delivery_seconds",
        Kind::Histogram,
        "How long batches took until all their events were durable",
    );
    for DestinationStatus { name, figures, .. } in destinations {
        out.buckets(&[("destination", name.as_str())], &figures.deliveries);
    }
}

fn certificates(out: &mut Exposition, snapshot: &Snapshot) {
    let help = "When a certificate ends, unix seconds: the server's, or our own that it asks for";
    out.family("forwarder_certificate_expiry_timestamp_seconds", Kind::Gauge, help);
    for SourceSnapshot { name, certificate_end, .. } in &snapshot.sources {
        if let Some(end) = certificate_end {
            out.value(&[("source", name), ("side", "server")], end);
        }
    }
    for DestinationStatus { name, certificates, .. } in &snapshot.destinations {
        for (side, end) in [("server", certificates.server), ("client", certificates.ours)] {
            if let Some(end) = end {
                out.value(&[("destination", name.as_str()), ("side", side)], end);
            }
        }
    }
}

fn memory(out: &mut Exposition, snapshot: &Snapshot) {
    let Snapshot { memory, script_memory, .. } = snapshot;
    for (name, help, value) in [
        ("memory_used_bytes", "Bytes of pages and events in flight", memory.used),
        ("memory_limit_bytes", "Bytes that may be in flight (run.memory)", memory.limit),
        ("script_memory_used_bytes", "Bytes of all Lua VMs", script_memory.used),
        ("script_memory_limit_bytes", "Bytes that all Lua VMs may use (script.total_memory)", script_memory.limit),
    ] {
        out.family(&format!("forwarder_{name}"), Kind::Gauge, help).value(&[], value);
    }
}

fn letters(out: &mut Exposition, snapshot: &Snapshot) {
    out.family("forwarder_dead_letters_open", Kind::Gauge, "Dead letters on disk that wait for an operator");
    if let Some(letters) = &snapshot.letters {
        out.value(&[], letters.open);
    }
    let help = "Events on disk that isolated destinations missed; they are delivered by themselves";
    out.family("forwarder_dead_letters_missed", Kind::Gauge, help);
    if let Some(letters) = &snapshot.letters {
        out.value(&[], letters.missed);
    }
    out.family("forwarder_dead_letters_bytes", Kind::Gauge, "Bytes of the files that hold dead letters");
    if let Some(letters) = &snapshot.letters {
        out.value(&[], letters.bytes);
    }
}

fn script(out: &mut Exposition, snapshot: &Snapshot) {
    let reloads = &snapshot.reloads;
    for (name, help, value) in [
        ("reloads", "Script versions loaded after the first one", reloads.taken),
        ("refused", "Script versions refused", reloads.refused),
        ("rolled_back", "Script versions rolled back", reloads.rolled_back),
    ] {
        out.family(&format!("forwarder_script_{name}"), Kind::Counter, help).value(&[], value);
    }
    let dropped = "Logs that the script dropped with return drop \"reason\", by reason";
    out.family("forwarder_dropped_by_reason", Kind::Counter, dropped);
    for (reason, logs) in snapshot.drop_reasons.iter() {
        out.value(&[("reason", reason)], logs);
    }
    out.family("forwarder_script_trouble", Kind::Gauge, "1 while the running script version differs from the file")
        .value(&[], u8::from(reloads.trouble.is_some()));
    out.family("forwarder_script", Kind::Info, "The running version of the script")
        .value(&[("version", &snapshot.script)], 1);
}
