//! What the status page, the JSON and the metrics are made of.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::core::cursor::ShardName;
use crate::core::failing::Failing;
use crate::core::ledger::ShardLedger;
use crate::destination::DestinationStatus;
use crate::script::Reloads;
use crate::sls::{CallError, KeyStatus};

/// How the program does at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Whose logs these are, and who we are.
    pub who: Identity,
    /// Our membership of the consumer group.
    pub group: GroupHealth,
    /// Which key signs our requests to SLS.
    pub credentials: KeyStatus,
    /// The calls to SLS that failed.
    pub source_errors: Vec<CallError>,
    /// Dead letters of this process's directory that wait for somebody, when they could be counted.
    pub open_letters: Option<u64>,
    /// The destinations.
    pub destinations: Vec<DestinationStatus>,
    /// How much memory is in use.
    pub memory: Memory,
    /// The ledger of every shard that this process has worked on.
    pub shards: BTreeMap<ShardName, ShardLedger>,
    /// Version of the running script.
    pub script: String,
    /// Since when it is.
    pub script_since: Instant,
    /// What became of other versions.
    pub reloads: Reloads,
    /// When a version was refused last, and why.
    pub last_refused: Option<(Instant, String)>,
    /// Now, unix seconds.
    pub now: i64,
    /// The same moment, for what began earlier.
    pub at: Instant,
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

/// Our membership of the consumer group.
#[derive(Debug, Clone, Default)]
pub struct GroupHealth {
    /// Whether it was joined.
    pub joined: bool,
    /// What renews the membership, or joins the group, fails at present.
    pub failing: Option<Failing>,
    /// While no shard is ours: whose they are, as far as SLS tells.
    pub waiting: Option<String>,
    /// Shards that are ours and not worked on, since there are more than memory allows.
    pub surplus: usize,
}

/// Whose logs a process forwards, and as whom.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The project in SLS.
    pub project: String,
    /// The logstore in it.
    pub logstore: String,
    /// The consumer group.
    pub group: String,
    /// Our name in it.
    pub consumer: String,
}
