//! The data of the status page, the JSON and the metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::budget::SourceMemory;
use crate::core::cursor::{ShardId, ShardName, SourceName};
use crate::core::destination_name::DestinationName;
use crate::core::drop_reasons::DropReasons;
use crate::core::failing::Failing;
use crate::core::histogram::Buckets;
use crate::core::ledger::{Counts, ShardLedger};
use crate::core::probes::ProbeStatus;
use crate::core::timings::TimingsRead;
use crate::dead_letter::DeadLettersOnDisk;
use crate::destination::DestinationStatus;
use crate::group::ShortOf;
use crate::script::Reloads;
use crate::sls::shard_state::ShardReport;
use crate::sls::{CallError, KeyStatus};

/// The state of the program at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The sources.
    pub sources: Vec<SourceSnapshot>,
    /// The destinations.
    pub destinations: Vec<DestinationStatus>,
    /// The memory in use.
    pub memory: Memory,
    /// The memory of all Lua VMs.
    pub script_memory: Memory,
    /// The ledger of every shard that this process has worked on.
    pub shards: BTreeMap<ShardName, ShardLedger>,
    /// Open dead letters in this process's directory, if they could be counted.
    pub letters: Option<DeadLettersOnDisk>,
    /// Gaps that are not acknowledged yet.
    pub open_gaps: u64,
    /// The change of the largest lag, in seconds per second, if known.
    pub lag_change: Option<f64>,
    /// What each destination did in the last minutes, if known.
    pub recent: BTreeMap<DestinationName, RecentDeliveries>,
    /// The directory of dead letters.
    pub letters_dir: String,
    /// Version of the running script.
    pub script: String,
    /// Since when it runs.
    pub script_since: Instant,
    /// Errors of the script by line and cause, most frequent first; without log text.
    pub script_errors: Vec<(String, u64)>,
    /// Counts of dropped logs by the reason that the script gives.
    pub drop_reasons: DropReasons,
    /// The results of other versions.
    pub reloads: Reloads,
    /// The last refusal of a version.
    pub last_refused: Option<(Instant, String)>,
    /// When the process started.
    pub started: Instant,
    /// Now, unix seconds.
    pub now: i64,
    /// The same moment, for durations.
    pub at: Instant,
}

impl Snapshot {
    /// The sums over all shards.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.shards.values().fold(Counts::default(), |sum, entry| sum.plus(&entry.counts))
    }

    /// A moment in unix seconds.
    #[must_use]
    pub fn unix(&self, moment: Instant) -> i64 {
        self.now.saturating_sub_unsigned(self.at.saturating_duration_since(moment).as_secs())
    }
}

/// What a destination did in the last minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RecentDeliveries {
    /// Durable events per second in the last minute, if known.
    pub rate: Option<f64>,
    /// How long its batches took.
    pub took: Buckets,
    /// The time that these batches cover.
    pub span: Duration,
}

/// The state of a source.
#[derive(Debug, Clone)]
pub struct SourceSnapshot {
    /// Its name, which is the label of its shards.
    pub name: String,
    /// The names of the source.
    pub who: Identity,
    /// Our membership of the consumer group.
    pub group: GroupHealth,
    /// The signing key.
    pub credentials: KeyStatus,
    /// When the certificate of SLS ends, in unix seconds, if a connection has shown it.
    pub certificate_end: Option<i64>,
    /// The retention of the logstore, if known.
    pub retention: Option<Duration>,
    /// The consumer that last saved each checkpoint, if that was looked up.
    pub owners: Vec<ShardOwner>,
    /// The shards that need attention and that this process did not hold at the last look, worst first.
    pub unread: Vec<ShardReport>,
    /// The number of shards of the logstore, if that was looked up.
    pub listed_shards: Option<u64>,
    /// Requests sent, by call.
    pub calls: Vec<(&'static str, u64)>,
    /// Failed requests.
    pub errors: Vec<CallError>,
    /// The state of its probe logs; none if no probe log is written.
    pub probe: Option<ProbeStatus>,
    /// Times of the steps of its shards.
    pub timings: TimingsRead,
    /// Its part of the memory.
    pub memory: SourceMemory,
}

impl SourceSnapshot {
    /// The shards that no process reads, as far as is known.
    pub(super) fn unread<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = (ShardName, &'a ShardReport)> {
        let named = self.unread.iter().map(|judged| {
            let shard = ShardId(judged.seen.shard);
            (ShardName { source: SourceName::new(&self.name), shard }, judged)
        });
        named.filter(|(shard, _)| !snapshot.shards.get(shard).is_some_and(|entry| entry.held))
    }
}

/// The consumer that last saved the checkpoint of a shard. SLS does not report who holds a shard, but the holder saves
/// from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardOwner {
    /// The shard.
    pub shard: ShardId,
    /// The consumer; empty if SLS names none.
    pub consumer: String,
    /// When, in unix seconds; 0 if SLS does not report it.
    pub saved_at: i64,
}

/// Bytes of pages and events in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// How many.
    pub used: u64,
    /// The limit.
    pub limit: u64,
}

impl Memory {
    /// Whether it delays the pulls.
    pub(super) fn is_full(self) -> bool {
        self.used >= self.limit / 10 * 9
    }
}

/// Our membership of a consumer group.
#[derive(Debug, Clone, Default)]
pub struct GroupHealth {
    /// Whether it was joined.
    pub joined: bool,
    /// The current failure of joining or of heartbeats.
    pub failing: Option<Failing>,
    /// The time of the last successful heartbeat.
    pub last_heartbeat: Option<Instant>,
    /// Since when heartbeats have been answered without a loss of the membership.
    pub member_since: Option<Instant>,
    /// While this process has no shard: the owners, as far as SLS reports them. While it has not joined: why there is
    /// nothing to join.
    pub waiting: Option<String>,
    /// Assigned shards that are not read because a limit allows no more.
    pub surplus: usize,
    /// That limit.
    pub short_of: ShortOf,
}

/// The names of a source, and of our consumer.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The endpoint of SLS.
    pub endpoint: String,
    /// The project in SLS.
    pub project: String,
    /// The logstore in it.
    pub logstore: String,
    /// The consumer group.
    pub group: String,
    /// Our name in it.
    pub consumer: String,
}
