//! The tasks of the shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::membership::{ShardTarget, View};
use super::{Report, TaskEnd};
use crate::core::cursor::{ShardId, ShardName, SourceName};
use crate::core::duration::in_words;
use crate::core::lease::{Lease, Tenure};
use crate::core::ledger::Ledger;
use crate::core::source::Source;
use crate::core::stop::{Stop, Stopper, stop};
use crate::destination::Destination;
use crate::pipeline;
use crate::pipeline::{Pipeline, ShardEnd};

/// Pause before a shard whose task panicked is restarted.
const RESTART_PAUSE: Duration = Duration::from_secs(5);

/// How long a shard that was read to its end is not read. Then its checkpoint is read again, because an operator may
/// have moved it.
const PAST_REST: Duration = Duration::from_secs(60);

/// Maximum number of consecutive panics without a completed log in between. More are not caused by a single page.
const MAX_PANICS: u32 = 3;

/// How the work ended, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drained {
    /// All pulled logs are durable, and the checkpoint is saved.
    Clean,
    /// The deadline passed first. Logs in flight will be pulled again.
    Cut,
    /// A bug stopped all work. Logs in flight will be pulled again.
    Broken,
}

/// Works on the assigned shards until `leave` is raised; then releases all of them.
/// At a stop, or when the group reassigns a shard, the shard is released: it has `drain` to deliver and save the logs
/// in flight. The rest is dropped, and the next owner of the shard pulls it again.
pub async fn run<S: Source, K: Destination>(
    pipeline: Arc<Pipeline<S, K>>,
    mut end: TaskEnd,
    leave: Stop,
    drain: Duration,
) -> Drained {
    let mut tasks = Tasks {
        pipeline,
        drain,
        running: BTreeMap::new(),
        started: BTreeMap::new(),
        by_id: BTreeMap::new(),
        set: JoinSet::new(),
        broken: Breakdowns::default(),
    };
    let mut leaving = false;
    let mut beats_gone = false;
    let mut drained = Drained::Clean;
    loop {
        if leaving && tasks.set.is_empty() {
            return drained;
        }
        let deadline = tasks.next_deadline();
        let event = tokio::select! {
            biased;
            Some(joined) = tasks.set.join_next_with_id() => TaskEvent::Joined(joined),
            () = leave.raised(), if !leaving => TaskEvent::Leave,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => TaskEvent::Deadline,
            changed = end.view.changed(), if !beats_gone => changed.map_or(TaskEvent::BeatsGone, |()| TaskEvent::View),
        };
        match event {
            TaskEvent::Joined(joined) => {
                if leaving && matches!(joined, Ok((_, ShardEnd::GivenBack))) {
                    drained = Drained::Cut;
                }
                // If the heartbeat loop has ended, nobody receives this; the view reports that too.
                let _ = end.reports.send(tasks.on_joined(joined)).await;
                if tasks.broken.in_a_row >= MAX_PANICS {
                    return Drained::Broken;
                }
                // A shard that waited for the end of this task can start now.
                if !leaving {
                    let view = end.view.borrow().clone();
                    tasks.follow(&view);
                }
            }
            TaskEvent::View => {
                let view = end.view.borrow_and_update().clone();
                if leaving {
                    tasks.drop_lost(&view);
                } else {
                    tasks.follow(&view);
                }
            }
            TaskEvent::Leave => {
                debug!(shards = tasks.running.len(), "releasing all shards");
                let _ = end.reports.send(Report::Leave).await;
                tasks.stop_all();
                leaving = true;
            }
            TaskEvent::BeatsGone => {
                error!("BUG: the heartbeats stopped by themselves: all shards dropped");
                tasks.drop_all();
                (leaving, beats_gone) = (true, true);
                drained = Drained::Cut;
            }
            TaskEvent::Deadline => {
                tasks.drop_overdue(Instant::now());
                if leaving {
                    drained = Drained::Cut;
                }
            }
        }
    }
}

enum TaskEvent {
    Joined(Result<(Id, ShardEnd), JoinError>),
    Leave,
    Deadline,
    View,
    BeatsGone,
}

struct Tasks<S, K> {
    pipeline: Arc<Pipeline<S, K>>,
    /// Time limit for delivering and saving the logs in flight when a shard is released.
    drain: Duration,
    /// At most one task per shard: a new tenure waits until the task of the old one has ended.
    running: BTreeMap<ShardId, Running>,
    /// The last tenure that each shard was started for. A tenure has one task, and the view lists it until the
    /// heartbeat loop knows that the task has ended.
    started: BTreeMap<ShardId, u64>,
    by_id: BTreeMap<Id, ShardId>,
    set: JoinSet<ShardEnd>,
    broken: Breakdowns,
}

/// Recent tasks that panicked.
#[derive(Default)]
struct Breakdowns {
    in_a_row: u32,
    /// Completed logs of all shards at the last panic.
    settled: u64,
}

struct Running {
    tenure: u64,
    stop: Stopper,
    over: Stopper,
    /// Set when the task was asked to stop: the time at which it is dropped.
    deadline: Option<Instant>,
}

impl<S: Source, K: Destination> Tasks<S, K> {
    /// Starts and stops tasks to match the view.
    fn follow(&mut self, view: &View) {
        self.drop_lost(view);
        let deadline = Instant::now() + self.drain;
        for (shard, target) in &view.shards {
            match self.running.get_mut(shard) {
                None if target.hold && self.started.get(shard) != Some(&target.tenure) => {
                    self.start(*shard, *target, &view.lease)
                }
                Some(running) if !target.hold && running.tenure == target.tenure => running.stop_by(deadline),
                _ => {}
            }
        }
    }

    /// Ends tasks at once whose shards the view no longer lists.
    fn drop_lost(&self, view: &View) {
        for (shard, running) in &self.running {
            if view.shards.get(shard).is_none_or(|target| target.tenure != running.tenure) {
                running.over.raise();
            }
        }
    }

    fn start(&mut self, shard: ShardId, target: ShardTarget, lease: &Lease) {
        info!(shard = %self.name(shard), "shard acquired");
        let (stopper, stopped) = stop();
        let (over, is_over) = stop();
        let tenure = Tenure::new(lease.clone(), is_over);
        let task = self.set.spawn(pipeline::run(Arc::clone(&self.pipeline), shard, stopped, tenure));
        self.by_id.insert(task.id(), shard);
        self.started.insert(shard, target.tenure);
        self.running.insert(shard, Running { tenure: target.tenure, stop: stopper, over, deadline: None });
    }

    fn on_joined(&mut self, joined: Result<(Id, ShardEnd), JoinError>) -> Report {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let shard = self.by_id.remove(&id).expect("every task was entered when it was spawned");
        let running = self.running.remove(&shard).expect("a shard has one task at a time");
        // The destination may still hold events of this task. They must not be sent after the task has ended.
        running.over.raise();
        let again = match joined {
            Ok((_, ShardEnd::Moved | ShardEnd::Reloaded)) => Some(Instant::now()),
            Ok((_, ShardEnd::Past)) => Some(Instant::now() + PAST_REST),
            Ok((
                _,
                ShardEnd::Released
                | ShardEnd::GivenBack
                | ShardEnd::Over
                | ShardEnd::CutShort
                | ShardEnd::Unsaved
                | ShardEnd::Unread
                | ShardEnd::Lost,
            )) => None,
            Err(panic) => {
                let name = self.name(shard);
                error!(shard = %name, %panic, "BUG: the task of the shard panicked; it starts again from its checkpoint");
                self.pipeline.ledger.account(&name).released();
                self.broken.count(settled(&self.pipeline.ledger, &self.pipeline.source_name));
                Some(Instant::now() + RESTART_PAUSE)
            }
        };
        Report::Ended { shard, tenure: running.tenure, again }
    }

    fn name(&self, shard: ShardId) -> ShardName {
        ShardName { source: self.pipeline.source_name.clone(), shard }
    }

    fn stop_all(&mut self) {
        let deadline = Instant::now() + self.drain;
        self.running.values_mut().for_each(|running| running.stop_by(deadline));
    }

    /// When the next shard that is being released must be dropped.
    fn next_deadline(&self) -> Option<Instant> {
        self.running.values().filter_map(|running| running.deadline).min()
    }

    /// Drops shards whose release is overdue.
    fn drop_overdue(&mut self, now: Instant) {
        let mut dropped = Vec::new();
        for (shard, running) in &mut self.running {
            if running.deadline.is_some_and(|deadline| now >= deadline) {
                running.deadline = None;
                running.over.raise();
                dropped.push(format!("{}/{shard}", self.pipeline.source_name));
            }
        }
        warn!(
            shards = dropped.join(" "),
            "not everything was delivered and saved within {}; the rest will be pulled again from the checkpoint",
            in_words(self.drain)
        );
    }

    fn drop_all(&self) {
        self.running.values().for_each(|running| running.over.raise());
    }
}

/// Number of completed logs over all shards of a source. Logs of other sources do not count.
fn settled(ledger: &Ledger, source: &SourceName) -> u64 {
    let shards = ledger.read();
    let of_it = shards.iter().filter(|(shard, _)| shard.source == *source);
    of_it.map(|(_, entry)| entry.counts.delivered + entry.counts.dropped + entry.counts.dead_lettered).sum()
}

impl Breakdowns {
    fn count(&mut self, settled: u64) {
        self.in_a_row = if settled == self.settled { self.in_a_row + 1 } else { 1 };
        self.settled = settled;
    }
}

impl Running {
    /// Asks the task to stop in order by `deadline`. The first deadline stays valid.
    fn stop_by(&mut self, deadline: Instant) {
        if !self.stop.is_raised() {
            self.stop.raise();
            self.deadline = Some(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ledger::Settled;

    #[test]
    fn only_its_own_logs_show_that_a_source_makes_progress() {
        let ledger = Ledger::default();
        let [broken, well] = ["broken", "well"].map(SourceName::new);
        let mut breakdowns = Breakdowns::default();
        for round in 1..=MAX_PANICS {
            let account = ledger.account(&ShardName { source: well.clone(), shard: ShardId(0) });
            account.pulled(1, 10, None);
            account.settled(Settled { delivered: 1, ..Settled::default() }, None);
            assert_eq!((settled(&ledger, &broken), settled(&ledger, &well)), (0, u64::from(round)));
            breakdowns.count(settled(&ledger, &broken));
        }
        assert!(breakdowns.in_a_row >= MAX_PANICS);
    }
}
