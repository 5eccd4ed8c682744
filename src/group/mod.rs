//! The group: heartbeats that renew the membership, and the tasks of the shards that it gives us.
//!
//! The two run apart. [`beat`] has a thread of its own, waits for nothing but SLS, and publishes what should be
//! done as a whole, so there is no queue that could fill up. [`run`] does it.

mod all_past;
mod heartbeat;
pub mod membership;
mod tasks;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::core::cursor::{ShardId, SourceName};
use membership::{Membership, View};

pub use all_past::all_past;
pub use heartbeat::beat;
pub use tasks::{Drained, run};

/// Bytes of `run.memory` for each shard that is worked on at once. What an idle shard takes beside the pages that are
/// accounted for, its Lua state above all, is less as a rule.
const SHARD_MEMORY: usize = 64 << 10;

/// Most shards that a process with `memory` bytes to work in takes on at once.
#[must_use]
pub fn most_shards(memory: usize) -> usize {
    memory / SHARD_MEMORY
}

/// Reports from the tasks to the heartbeats. Bounded: at most one is on its way for each task that ends.
const REPORT_CAPACITY: usize = 1024;

/// The heartbeats' end of the line between the two.
#[derive(Debug)]
pub struct HeartbeatEnd {
    source: SourceName,
    membership: Membership,
    view: watch::Sender<View>,
    reports: mpsc::Receiver<Report>,
}

/// The tasks' end of the line between the two.
#[derive(Debug)]
pub struct TaskEnd {
    view: watch::Receiver<View>,
    reports: mpsc::Sender<Report>,
}

impl TaskEnd {
    /// For whoever wants to know how the membership is.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.clone()
    }
}

/// What the tasks tell the heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    /// The task of a shard ended; it may be started again from `again` on, or only when the server says so.
    Ended { shard: ShardId, tenure: u64, again: Option<Instant> },
    /// We want to go: take no more shards.
    Leave,
}

/// A line between heartbeats and tasks of a source.
#[must_use]
pub fn line(source: SourceName, membership: Membership) -> (HeartbeatEnd, TaskEnd) {
    let (view_sender, view) = watch::channel(membership.view());
    let (report_sender, reports) = mpsc::channel(REPORT_CAPACITY);
    (HeartbeatEnd { source, membership, view: view_sender, reports }, TaskEnd { view, reports: report_sender })
}
