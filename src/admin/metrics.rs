//! A snapshot in the text format of Prometheus (version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::snapshot::Snapshot;
use super::status;
use super::verdict::{State, verdict};
use crate::core::cursor::{ShardName, SourceName};
use crate::core::destination_account::EventCounts;
use crate::core::destination_name::DestinationName;
use crate::core::ledger::{Counts, ShardLedger};
use crate::destination::{Counter, DestinationStatus, Gauge};
use crate::sls::CallError;

type Figure = fn(&Counts) -> u64;

type EventFigure = fn(&EventCounts) -> u64;

/// A figure of a shard now (unix seconds), when there is one.
type ShardGauge = fn(&ShardLedger, i64) -> Option<i128>;

/// Figures of a shard that only grow: name, help, where it stands in the ledger.
const COUNTERS: [(&str, &str, Figure); 11] = [
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
    ("page_cuts", "Times that the script left a page half-way, so that it was delivered in parts", |counts| {
        counts.cuts
    }),
    ("saves", "Checkpoints saved", |counts| counts.saves),
    ("gaps", "Gaps: times that logs expired in SLS before they were pulled", |counts| counts.gaps),
];

/// Figures of a destination's events: name, kind, help, where it stands in its account.
const EVENTS: [(&str, &str, &str, EventFigure); 5] = [
    ("events_total", "counter", "Events that are durable at the destination", |events| events.delivered),
    ("rejected_events_total", "counter", "Events that the destination refused for good", |events| events.rejected),
    ("missed_events_total", "counter", "Events that the destination missed while it was down", |events| events.missed),
    ("replayed_events_total", "counter", "Missed events that it has now", |events| events.replayed),
    ("events_in_flight", "gauge", "Events on their way to the destination", |events| events.in_flight),
];

/// The labels of a shard. The name of a source holds nothing that a label could not.
fn labels(shard: &ShardName) -> String {
    format!("source=\"{}\",shard=\"{}\"", shard.source, shard.shard)
}

/// Everything, with a line of help for each name.
pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for (name, help, figure) in COUNTERS {
        let name = format!("forwarder_{name}_total");
        head(&mut out, &name, "counter", help);
        for (shard, entry) in &snapshot.shards {
            let _ = writeln!(out, "{name}{{{}}} {}", labels(shard), figure(&entry.counts));
        }
    }
    let gauges: [(&str, &str, ShardGauge); 6] = [
        ("pulled", "Logs pulled, less those returned to the group", |entry, _| Some(entry.counts.pulled.into())),
        ("in_flight", "Logs pulled and not finished yet", |entry, _| Some(entry.counts.in_flight.into())),
        ("missing", "Logs that the ledger cannot account for; not 0 means a bug", |entry, _| {
            Some(entry.counts.difference())
        }),
        ("lag_seconds", "Age of the newest durable log, 0 when caught up", |entry, now| entry.lag(now).map(Into::into)),
        ("page_seconds", "Seconds that the script has worked on its current page, 0 between pages", |entry, _| {
            Some(entry.page_seconds().into())
        }),
        ("standstill", "1 while the shard is halted", |entry, _| Some(entry.standstill().is_some().into())),
    ];
    for (name, help, figure) in gauges {
        let name = format!("forwarder_{name}");
        head(&mut out, &name, "gauge", help);
        for (shard, entry) in &snapshot.shards {
            // Whoever holds a shard tells how late it is; the last holder does while nobody can.
            if name == "forwarder_lag_seconds" && !entry.held && snapshot.group.failing.is_none() {
                continue;
            }
            if let Some(value) = figure(entry, snapshot.now) {
                let _ = writeln!(out, "{name}{{{}}} {value}", labels(shard));
            }
        }
    }
    let held = snapshot.shards.values().filter(|entry| entry.held).count();
    one(&mut out, "forwarder_shards_held", "gauge", "Shards that this process holds", held as u64);
    let group = &snapshot.group;
    one(&mut out, "forwarder_joined", "gauge", "1 once the consumer group is joined", group.joined.into());
    let verdict = verdict(snapshot);
    for (name, help, value) in [
        ("sls_up", "1 while SLS lets us read: the group is joined, and heartbeats and some pulls work", {
            (verdict.state() < State::Stopped).into()
        }),
        ("problems", "Problems that ask for somebody; / tells them", verdict.problems() as u64),
        ("waiting_for_shards", "1 while the group is joined and no shard is ours", group.waiting.is_some().into()),
        ("surplus_shards", "Shards that SLS gave us and nobody reads, for lack of memory", group.surplus as u64),
    ] {
        one(&mut out, &format!("forwarder_{name}"), "gauge", help, value);
    }
    head(&mut out, "forwarder_dead_letters_open", "gauge", "Dead letters on disk that no replay has delivered");
    if let Some(open) = snapshot.open_letters {
        let _ = writeln!(out, "forwarder_dead_letters_open {open}");
    }
    let (source, credentials) = (SourceName::new(&snapshot.who.logstore), &snapshot.credentials);
    let expiry = "forwarder_credentials_expiry_seconds";
    head(&mut out, expiry, "gauge", "Seconds that the temporary key which signs requests to SLS is still valid");
    if let Some(left) = credentials.valid_for {
        let _ = writeln!(out, "{expiry}{{source=\"{source}\"}} {}", left.as_secs());
    }
    let failures = "forwarder_credentials_failures_total";
    head(&mut out, failures, "counter", "Times that no temporary key could be had");
    let _ = writeln!(out, "{failures}{{source=\"{source}\"}} {}", credentials.failures);
    head(&mut out, "forwarder_sls_errors_total", "counter", "Calls to SLS that failed, by call and error code");
    for CallError { call, code, count } in &snapshot.source_errors {
        let _ = writeln!(out, "forwarder_sls_errors_total{{call=\"{call}\",code=\"{code}\"}} {count}");
    }

    write_destinations(&mut out, &snapshot.destinations);

    for (name, help, value) in [
        ("memory_used_bytes", "Bytes of pages and events in flight", snapshot.memory.used),
        ("memory_limit_bytes", "Bytes that may be in flight (run.memory)", snapshot.memory.limit),
    ] {
        one(&mut out, &format!("forwarder_{name}"), "gauge", help, value);
    }

    let reloads = &snapshot.reloads;
    for (name, help, value) in [
        ("reloads", "Script versions loaded after the first one", reloads.taken),
        ("refused", "Script versions refused", reloads.refused),
        ("rolled_back", "Script versions rolled back", reloads.rolled_back),
    ] {
        one(&mut out, &format!("forwarder_script_{name}_total"), "counter", help, value);
    }
    let trouble = u64::from(reloads.trouble.is_some());
    one(
        &mut out,
        "forwarder_script_trouble",
        "gauge",
        "1 while the running script version differs from the file",
        trouble,
    );
    head(&mut out, "forwarder_script_info", "gauge", "The running version of the script");
    let _ = writeln!(out, "forwarder_script_info{{version=\"{}\"}} 1", snapshot.script);
    out
}

/// What there is of each destination, under its name.
fn write_destinations(out: &mut String, destinations: &[DestinationStatus]) {
    head(out, "forwarder_destination", "gauge", "1 for the current state of the destination");
    for DestinationStatus { name, promise, health, .. } in destinations {
        let (now, promise) = (status::state(health), promise.label);
        for state in ["unknown", "up", "down", "refuses"] {
            let value = u8::from(state == now);
            let _ = writeln!(
                out,
                "forwarder_destination{{destination=\"{name}\",delivered_means=\"{promise}\",state=\"{state}\"}} {value}"
            );
        }
    }
    for (figure, kind, help, value) in EVENTS {
        let figure = format!("forwarder_destination_{figure}");
        head(out, &figure, kind, help);
        for DestinationStatus { name, events, .. } in destinations {
            let _ = writeln!(out, "{figure}{{destination=\"{name}\"}} {}", value(events));
        }
    }
    // What a destination counts depends on its kind; all series of a name stand together.
    let mut counters = BTreeMap::<&str, Vec<(&DestinationName, &Counter)>>::new();
    for DestinationStatus { name, counters: of_it, .. } in destinations {
        for counter in of_it {
            counters.entry(counter.name).or_default().push((name, counter));
        }
    }
    let mut gauges = BTreeMap::<&str, Vec<(&DestinationName, &Gauge)>>::new();
    for DestinationStatus { name, gauges: of_it, .. } in destinations {
        for gauge in of_it {
            gauges.entry(gauge.name).or_default().push((name, gauge));
        }
    }
    for (gauge, all) in gauges {
        let metric = format!("forwarder_destination_{gauge}");
        head(out, &metric, "gauge", all[0].1.help);
        for (name, gauge) in all {
            let _ = writeln!(out, "{metric}{{destination=\"{name}\"}} {}", gauge.value);
        }
    }
    for (counter, all) in counters {
        let metric = format!("forwarder_destination_{counter}_total");
        head(out, &metric, "counter", all[0].1.help);
        for (name, counter) in all {
            let _ = writeln!(out, "{metric}{{destination=\"{name}\"}} {}", counter.value);
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn one(out: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    head(out, name, kind, help);
    let _ = writeln!(out, "{name} {value}");
}
