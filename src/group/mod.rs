//! The consumer group: heartbeats that renew the membership, and the tasks of the assigned shards.
//!
//! They run separately. [`beat`] has its own thread, waits only for SLS, and publishes the wanted state as a whole,
//! so that no queue can fill up. [`run`] starts and stops tasks to match it.

mod all_past;
mod heartbeat;
pub mod membership;
mod places;
mod tasks;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::core::cursor::{ShardId, SourceName};
use membership::{Membership, View};

pub use all_past::all_past;
pub use heartbeat::beat;
pub use places::{LogstorePlaces, Places, ShortOf, SourcePlaces};
pub use tasks::{Drained, run};

/// Bytes of `run.memory` per shard that is worked on at once. Apart from its pages, an idle shard usually needs less,
/// mostly for its Lua state.
const SHARD_MEMORY: usize = 64 << 10;

/// Maximum number of shards that a process with `memory` bytes works on at once.
#[must_use]
pub fn most_shards(memory: usize) -> usize {
    memory / SHARD_MEMORY
}

/// Reports from the tasks to the heartbeats. At most one is in flight for each task that ends.
const REPORT_CAPACITY: usize = 1024;

/// The end of the channel for the heartbeat loop.
#[derive(Debug)]
pub struct HeartbeatEnd {
    source: SourceName,
    membership: Membership,
    view: watch::Sender<View>,
    reports: mpsc::Receiver<Report>,
}

/// The end of the channel for the shard tasks.
#[derive(Debug)]
pub struct TaskEnd {
    view: watch::Receiver<View>,
    reports: mpsc::Sender<Report>,
}

impl TaskEnd {
    /// For readers of the state of the membership.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.clone()
    }
}

/// Reports from the shard tasks to the heartbeat loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    /// The task of a shard ended; it may be started again from `again` on, or only when the server assigns it again.
    Ended { shard: ShardId, tenure: u64, again: Option<Instant> },
    /// Leave the group: acquire no more shards.
    Leave,
}

/// A channel between the heartbeat loop and the shard tasks of a source.
#[must_use]
pub fn line(source: SourceName, membership: Membership) -> (HeartbeatEnd, TaskEnd) {
    let (view_sender, view) = watch::channel(membership.view());
    let (report_sender, reports) = mpsc::channel(REPORT_CAPACITY);
    (HeartbeatEnd { source, membership, view: view_sender, reports }, TaskEnd { view, reports: report_sender })
}
