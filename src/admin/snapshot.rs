//! What the status page, the JSON and the metrics are made of.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::cursor::{ShardId, ShardName};
use crate::core::drop_reasons::DropReasons;
use crate::core::failing::Failing;
use crate::core::ledger::{Counts, ShardLedger};
use crate::core::probes::ProbeStatus;
use crate::core::timings::TimingsRead;
use crate::dead_letter::LettersOnDisk;
use crate::destination::DestinationStatus;
use crate::script::Reloads;
use crate::sls::{CallError, KeyStatus};

/// How the program does at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Where logs come from.
    pub sources: Vec<SourceSnapshot>,
    /// Where events go.
    pub destinations: Vec<DestinationStatus>,
    /// How much memory is in use.
    pub memory: Memory,
    /// The ledger of every shard that this process has worked on.
    pub shards: BTreeMap<ShardName, ShardLedger>,
    /// Dead letters of this process's directory that wait for somebody, when they could be counted.
    pub letters: Option<LettersOnDisk>,
    /// Gaps that nobody has acknowledged.
    pub open_gaps: u64,
    /// By how many seconds the largest lag changes in a second, when it is known.
    pub lag_change: Option<f64>,
    /// That directory of dead letters.
    pub letters_dir: String,
    /// Version of the running script.
    pub script: String,
    /// Since when it is.
    pub script_since: Instant,
    /// How often the script failed, by where and why, the most frequent first; without text of logs.
    pub script_errors: Vec<(String, u64)>,
    /// Why the script dropped logs, where it says it.
    pub drop_reasons: DropReasons,
    /// What became of other versions.
    pub reloads: Reloads,
    /// When a version was refused last, and why.
    pub last_refused: Option<(Instant, String)>,
    /// When the process started.
    pub started: Instant,
    /// Now, unix seconds.
    pub now: i64,
    /// The same moment, for what began earlier.
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

/// A logstore that logs come from.
#[derive(Debug, Clone)]
pub struct SourceSnapshot {
    /// Its name, which is the label of its shards.
    pub name: String,
    /// Whose logs these are, and who we are.
    pub who: Identity,
    /// Our membership of the consumer group.
    pub group: GroupHealth,
    /// Which key signs our requests.
    pub credentials: KeyStatus,
    /// When the certificate of SLS ends, unix seconds, when it was shown.
    pub certificate_end: Option<i64>,
    /// How long the logstore keeps logs, when that is known.
    pub retention: Option<Duration>,
    /// Who saved the checkpoint of which shard last, when that was looked up.
    pub owners: Vec<ShardOwner>,
    /// Requests sent, by call.
    pub calls: Vec<(&'static str, u64)>,
    /// Those that failed.
    pub errors: Vec<CallError>,
    /// How its probe logs do; none when no probe log is written.
    pub probe: Option<ProbeStatus>,
    /// How long the steps of its shards took.
    pub timings: TimingsRead,
}

/// Who saved the checkpoint of a shard last. SLS does not tell who holds a shard; whoever holds it saves now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardOwner {
    /// The shard.
    pub shard: ShardId,
    /// The consumer; empty when nobody was named.
    pub consumer: String,
    /// When, unix seconds; 0 when SLS does not say.
    pub saved_at: i64,
}

/// Bytes of pages and events in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// How many.
    pub used: u64,
    /// How many there may be.
    pub limit: u64,
}

impl Memory {
    /// Whether it is what holds the pulls up.
    pub(super) fn is_full(self) -> bool {
        self.used >= self.limit / 10 * 9
    }
}

/// Our membership of a consumer group.
#[derive(Debug, Clone, Default)]
pub struct GroupHealth {
    /// Whether it was joined.
    pub joined: bool,
    /// What renews the membership, or joins the group, fails at present.
    pub failing: Option<Failing>,
    /// When a heartbeat succeeded last.
    pub last_heartbeat: Option<Instant>,
    /// While no shard is ours: whose they are, as far as SLS tells.
    pub waiting: Option<String>,
    /// Shards that are ours and not worked on, since there are more than memory allows.
    pub surplus: usize,
}

/// Whose logs a process forwards, and as whom.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Where SLS is.
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
