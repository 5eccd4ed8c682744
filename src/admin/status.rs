//! Renders a snapshot as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ack_limit::ack_limit;
use super::snapshot::{Snapshot, SourceSnapshot};
use super::verdict::verdict;
use crate::core::ledger::ShardLedger;
use crate::destination::{DestinationStatus, Health, IsolationMode};

/// One object on several lines, with keys in a fixed order.
pub(super) fn json(snapshot: &Snapshot) -> String {
    let Snapshot { sources, destinations, shards, letters, script, script_since, reloads, last_refused, .. } = snapshot;
    let Snapshot { drop_reasons, now, .. } = snapshot;
    let verdict = verdict(snapshot);
    let reasons: Vec<Value> = verdict
        .reasons
        .iter()
        .map(|reason| {
            json!({
                "state": reason.state.label(),
                "text": reason.text,
                "consequence": reason.consequence,
                "remedy": reason.remedy,
            })
        })
        .collect();
    let shards: Vec<Value> = shards
        .iter()
        .map(|(shard, entry)| {
            let ShardLedger { counts, held, .. } = entry;
            json!({
                "source": shard.source.as_str(),
                "shard": shard.shard.0,
                "held": held,
                "lag_seconds": entry.lag(*now),
                "lag_logs": entry.lag_logs(*now),
                "durable_to": entry.durable_to,
                "standstill": entry.standstill(),
                "page_seconds": entry.page_seconds(),
                "wire_bytes": counts.wire_bytes,
                "unpacked_bytes": counts.bytes,
                "pulled": counts.pulled,
                "delivered": counts.delivered,
                "dropped": counts.dropped,
                "dead_lettered": counts.dead_lettered,
                "in_flight": counts.in_flight,
                "returned": counts.returned,
                "gaps": counts.gaps,
                "missing": i64::try_from(counts.difference()).unwrap_or(i64::MAX),
            })
        })
        .collect();
    let value = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "verdict": verdict.headline.to_string(),
        "state": verdict.state().label(),
        "reasons": reasons,
        "sources": sources.iter().map(source).collect::<Vec<_>>(),
        "destinations": destinations.iter().map(|one| destination(one, snapshot)).collect::<Vec<_>>(),
        "open_dead_letters": letters.as_ref().map(|letters| letters.open),
        "missed_dead_letters": letters.as_ref().map(|letters| letters.missed),
        "memory": {
            "used": snapshot.memory.used,
            "limit": snapshot.memory.limit,
            "full": snapshot.memory.is_full(),
        },
        "script_memory": {
            "used": snapshot.script_memory.used,
            "limit": snapshot.script_memory.limit,
        },
        "script": {
            "version": script,
            "seconds": script_since.elapsed().as_secs(),
            "reloads": reloads.taken,
            "refused": reloads.refused,
            "rolled_back": reloads.rolled_back,
            "trouble": reloads.trouble,
            "last_refused": last_refused.as_ref().map(|(at, why)| json!({"seconds": at.elapsed().as_secs(), "why": why})),
        },
        "dropped_by_reason": drop_reasons.iter().collect::<BTreeMap<_, _>>(),
        "shards": shards,
    });
    format!("{value:#}\n")
}

fn source(source: &SourceSnapshot) -> Value {
    let SourceSnapshot { name, who, group, credentials, certificate_end, probe, memory, .. } = source;
    json!({
        "name": name,
        "endpoint": who.endpoint,
        "project": who.project,
        "logstore": who.logstore,
        "group": who.group,
        "consumer": who.consumer,
        "joined": group.joined,
        "member_seconds": group.member_since.map(|at| at.elapsed().as_secs()),
        "heartbeat_seconds": group.last_heartbeat.map(|at| at.elapsed().as_secs()),
        "credentials": {
            "provider": Some(&credentials.provider).filter(|provider| !provider.is_empty()),
            "valid_seconds": credentials.valid_for.map(|left| left.as_secs()),
            "failing": credentials.failing.as_ref().map(|failing| &failing.cause),
            "failures": credentials.failures,
        },
        "certificate_end": certificate_end,
        "probe": probe.as_ref().map(|probe| json!({
            "waiting_seconds": probe.waiting.map(|age| age.as_secs()),
            "took_seconds": probe.took.map(|took| took.as_secs_f64()),
            "failing": probe.failing.as_ref().map(|failing| &failing.cause),
        })),
        "waiting": group.waiting,
        "surplus_shards": group.surplus,
        "memory_bytes": memory.held,
        "memory_wait_seconds": memory.waiting_since.map(|since| since.elapsed().as_secs()),
    })
}

fn destination(destination: &DestinationStatus, snapshot: &Snapshot) -> Value {
    let limited_by = ack_limit(destination, snapshot.memory);
    let recent = snapshot.recent.get(&destination.name).copied().unwrap_or_default();
    let DestinationStatus { name, address, promise, health, isolation, certificates, events, gauges, .. } = destination;
    json!({
        "name": name.as_str(),
        "address": address,
        "delivered_means": promise.label,
        "state": state(health),
        "cause": cause(health),
        "seconds": since(health),
        "certificate_end": certificates.server,
        "client_certificate_end": certificates.ours,
        "events": events.delivered,
        "rejected_events": events.rejected,
        "isolation": isolation.map(|mode| match mode {
            IsolationMode::Direct => "direct",
            IsolationMode::DeadLettering => "dead_lettering",
            IsolationMode::Returning => "returning",
        }),
        "missed_events": events.missed,
        "replayed_events": events.replayed,
        "events_in_flight": events.in_flight,
        "silent_seconds": events.waiting_since.map(|since| since.elapsed().as_secs()),
        "events_per_second": recent.rate,
        "recent_batches": {
            "seconds": recent.span.as_secs(),
            "half_within_seconds": recent.took.quantile(0.5),
            "most_within_seconds": recent.took.quantile(0.99),
        },
        "limited_by": limited_by,
        "holds": gauges.iter().map(|gauge| (gauge.name, gauge.value)).collect::<BTreeMap<_, _>>(),
    })
}

/// The state as a word.
pub(super) fn state(health: &Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Up { .. } => "up",
        Health::Down { .. } => "down",
        Health::Refusing { .. } => "refuses",
    }
}

fn cause(health: &Health) -> Option<&str> {
    match health {
        Health::Unknown | Health::Up { .. } => None,
        Health::Down { cause, .. } | Health::Refusing { cause, .. } => Some(cause),
    }
}

fn since(health: &Health) -> Option<u64> {
    match health {
        Health::Unknown => None,
        Health::Up { since } | Health::Down { since, .. } | Health::Refusing { since, .. } => {
            Some(since.elapsed().as_secs())
        }
    }
}
