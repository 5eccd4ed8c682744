//! The batches of the shards, until each has its outcome.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::window::Id;
use crate::core::batch::Output;
use crate::core::lease::Tenure;
use crate::destination::{Outcome, Rejected, Rejection};

/// A batch with a waiting caller.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) batch: Arc<Output>,
    pub(super) tenure: Tenure,
    pub(super) done: oneshot::Sender<Outcome>,
}

/// All batches. Their size is bounded by the budget of the waiting shards.
#[derive(Debug)]
pub(super) struct Jobs {
    incoming: mpsc::Receiver<Job>,
    open: BTreeMap<Id, Open>,
    next: Id,
}

#[derive(Debug)]
struct Open {
    job: Job,
    rejected: Vec<Rejected>,
}

impl Jobs {
    pub(super) fn new(incoming: mpsc::Receiver<Job>) -> Self {
        Self { incoming, open: BTreeMap::new(), next: 0 }
    }

    /// The next batch; `None` when the destination is dropped. May be cancelled.
    pub(super) async fn recv(&mut self) -> Option<(Id, Arc<Output>)> {
        let job = self.incoming.recv().await?;
        self.next += 1;
        let batch = Arc::clone(&job.batch);
        self.open.insert(self.next, Open { job, rejected: Vec::new() });
        Some((self.next, batch))
    }

    /// Whether another one has arrived.
    pub(super) fn has_more(&self) -> bool {
        !self.incoming.is_empty()
    }

    /// The batch and the right to send it.
    pub(super) fn get(&self, id: Id) -> Option<&Job> {
        self.open.get(&id).map(|open| &open.job)
    }

    /// Drops batches whose caller no longer waits.
    pub(super) fn reap(&mut self) -> Vec<Id> {
        let gone = |open: &Open| open.job.done.is_closed() || !open.job.tenure.holds();
        let ids: Vec<Id> = self.open.iter().filter(|(_, open)| gone(open)).map(|(id, _)| *id).collect();
        for id in &ids {
            self.abandon(*id);
        }
        ids
    }

    /// Its tenure ended.
    pub(super) fn abandon(&mut self, id: Id) {
        if let Some(open) = self.open.remove(&id) {
            // The caller may no longer wait.
            let _ = open.job.done.send(Outcome::Abandoned);
        }
    }

    /// One of its events is refused for good.
    pub(super) fn reject(&mut self, id: Id, event: usize, reason: String) {
        if let Some(open) = self.open.get_mut(&id) {
            let code = "syslog".to_owned();
            open.rejected.push(Rejected { event, rejection: Rejection::Refused, code, reason });
        }
    }

    /// All its events are completed.
    pub(super) fn finish(&mut self, id: Id) {
        if let Some(mut open) = self.open.remove(&id) {
            open.rejected.sort_by_key(|rejected| rejected.event);
            // The caller may no longer wait.
            let _ = open.job.done.send(Outcome::Done(open.rejected));
        }
    }
}
