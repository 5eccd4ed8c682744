//! The status, the metrics and the listener.

mod metric_names;
mod requests;
mod status_page;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::core::budget::SourceMemory;
use crate::core::certificates::CertificateEnds;
use crate::core::cursor::{ShardId, ShardName, SourceName};
use crate::core::destination_account::EventCounts;
use crate::core::destination_name::DestinationName;
use crate::core::drop_reasons::DropReasons;
use crate::core::histogram::{Buckets, Histogram};
use crate::core::ledger::{Ledger, Settled, Wait};
use crate::core::probes::ProbeStatus;
use crate::core::timings::TimingsRead;
use crate::dead_letter::DeadLettersOnDisk;
use crate::destination::{Counter, DestinationStatus, Figures, Gauge, Health, Promise};
use crate::pipeline::tap::Taps;
use crate::script::Reloads;
use crate::sls::{CallError, KeyStatus};

/// A program that only reports its status.
impl<F: Fn() -> Snapshot + Send + Sync + 'static> Program for F {
    fn read(&self) -> Snapshot {
        self()
    }

    fn acknowledge_gaps(&self) -> io::Result<u64> {
        Ok(2)
    }

    fn tap(&self, wanted: TapQuery) -> Result<Tapped, TooManyTaps> {
        Arc::<Taps>::default().open(wanted)
    }
}

fn page(snapshot: &Snapshot) -> String {
    page::html(snapshot, &History::default())
}

fn shard(number: u32) -> ShardName {
    ShardName { source: SourceName::new("audit"), shard: ShardId(number) }
}

/// A destination with all figures that HEC has.
pub(super) fn to(name: &str, health: Health) -> DestinationStatus {
    let counter = |name, help, value| Counter { name, help, value };
    let gauge = |name, help, value| Gauge { name, help, value };
    DestinationStatus {
        name: DestinationName::new(name).unwrap(),
        address: "https://siem.example".into(),
        promise: Promise { label: "confirmed", sentence: "delivered means confirmed: the receiver read every byte" },
        health,
        isolation: None,
        replay_fault: None,
        gets_copies: false,
        certificates: CertificateEnds { server: Some(105 + 30 * 86_400), ours: None },
        events: EventCounts { delivered: 6, rejected: 2, in_flight: 1, ..EventCounts::default() },
        figures: Figures {
            counters: vec![
                counter("requests", "Requests sent, including failed ones", 12),
                counter("retries", "Requests sent again", 11),
                counter("request_bytes", "Bytes of request bodies on the wire", 12_000),
                counter("possible_repeats", "Events sent again that may already have been accepted", 3),
                counter("fallback_index_events", "Events sent to hec.fallback_index", 2),
            ],
            replies: vec![("503".into(), 11), ("no_reply".into(), 1)],
            requests: delivery_times(),
            ..Figures::default()
        },
        gauges: vec![
            gauge("members", "Collectors of hec.url", 2),
            gauge("members_up", "Collectors that accepted their last request", 1),
            gauge(
                "unacknowledged_requests",
                "Requests that were accepted and wait for an acknowledgement of the indexers",
                4,
            ),
            gauge(
                "unacknowledged_bytes",
                "Bytes of events that were accepted and wait for an acknowledgement of the indexers",
                900,
            ),
            gauge("oldest_unacknowledged_seconds", "Seconds that the oldest unacknowledged request has waited", 7),
        ],
        warnings: Vec::new(),
    }
}

/// A destination that delivers quickly after a slow start.
fn recent() -> BTreeMap<DestinationName, RecentDeliveries> {
    let recent = RecentDeliveries { rate: Some(12.34), took: delivery_times(), span: Duration::from_secs(430) };
    [(DestinationName::new("siem").unwrap(), recent)].into()
}

fn delivery_times() -> Buckets {
    let times = Histogram::default();
    times.observe(Duration::from_millis(5), 90);
    times.observe(Duration::from_secs(1), 10);
    times.read()
}

fn dropped_for(reason: &str, logs: u64) -> DropReasons {
    let mut reasons = DropReasons::default();
    reasons.add(reason.as_bytes(), logs);
    reasons
}

pub(super) fn snapshot() -> Snapshot {
    let ledger = Ledger::default();
    let account = ledger.account(&shard(2));
    account.acquired();
    account.pulled(5, 50, Some(90));
    account.pulled(5, 50, Some(95));
    account.read_to_end(Instant::now());
    account.settled(Settled { delivered: 6, dropped: 1, dead_lettered: 2, events: 6 }, Some(100));
    account.waits(Wait::Disk, "no room \"here\"".into());
    let source = SourceSnapshot {
        name: "audit".into(),
        who: Identity {
            endpoint: "https://sls.example".into(),
            project: "p".into(),
            logstore: "l".into(),
            group: "g".into(),
            consumer: "g-host-7".into(),
        },
        group: GroupHealth {
            joined: true,
            member_since: Instant::now().checked_sub(Duration::from_secs(60)),
            ..GroupHealth::default()
        },
        credentials: KeyStatus {
            provider: "role r assumed by ECS role e".into(),
            valid_for: Some(Duration::from_secs(2400)),
            failing: None,
            failures: 3,
        },
        certificate_end: Some(105 + 20 * 86_400),
        retention: Some(Duration::from_secs(105)),
        listed_shards: Some(4),
        owners: vec![
            ShardOwner { shard: ShardId(2), consumer: "g-host-7".into(), saved_at: 100 },
            ShardOwner { shard: ShardId(5), consumer: "g-other-<1>".into(), saved_at: 45 },
        ],
        unread: Vec::new(),
        calls: vec![("pull", 7)],
        errors: vec![CallError { call: "pull", code: "Unauthorized".into(), count: 3 }],
        probe: Some(ProbeStatus {
            waiting: Some(Duration::from_secs(9)),
            took: Some(Duration::from_millis(1_500)),
            failing: None,
        }),
        timings: TimingsRead::default(),
        memory: SourceMemory { held: 950, waiting_since: None },
    };
    Snapshot {
        sources: vec![source],
        destinations: vec![to("siem", Health::Down { since: Instant::now(), cause: "siem: refused".into() })],
        letters: Some(DeadLettersOnDisk { open: 2, missed: 5, bytes: 900, ..DeadLettersOnDisk::default() }),
        open_gaps: 0,
        lag_change: None,
        recent: recent(),
        drop_reasons: dropped_for("health <check>", 7),
        script_errors: vec![("s.lua:7: attempt to index a nil value".into(), 3)],
        letters_dir: "/var/lib/forwarder/dead-letters".into(),
        memory: Memory { used: 950, limit: 1_000 },
        script_memory: Memory { used: 270_000, limit: 512_000_000 },
        shards: ledger.read(),
        script: "0123456789ab".into(),
        script_since: Instant::now(),
        reloads: Reloads { taken: 3, refused: 1, rolled_back: 0, trouble: Some("s.lua:3: no".into()) },
        last_refused: Some((Instant::now(), "s.lua:2: nor that".into())),
        started: Instant::now(),
        now: 105,
        at: Instant::now(),
    }
}

/// A snapshot without any problem.
pub(super) fn well() -> Snapshot {
    let ledger = Ledger::default();
    let account = ledger.account(&shard(2));
    account.acquired();
    account.caught_up();
    let well = Snapshot { shards: ledger.read(), reloads: Reloads::default(), ..with_letters(0, snapshot()) };
    with_health(Health::Up { since: Instant::now() }, well)
}

pub(super) fn with_letters(open: u64, snapshot: Snapshot) -> Snapshot {
    Snapshot { letters: Some(DeadLettersOnDisk { open, ..DeadLettersOnDisk::default() }), ..snapshot }
}

pub(super) fn with_health(health: Health, mut snapshot: Snapshot) -> Snapshot {
    snapshot.destinations[0].health = health;
    snapshot
}

pub(super) fn in_group(group: GroupHealth, mut snapshot: Snapshot) -> Snapshot {
    snapshot.sources[0].group = group;
    snapshot
}
