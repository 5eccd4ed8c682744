//! The state of our membership in the consumer group, for the admin listener.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::shard_holders::ShardHolders;
use crate::admin::GroupHealth;
use crate::core::cause::Cause;
use crate::core::failing::Failing;
use crate::core::source::SourceError;
use crate::group::membership::View;

/// Written by the join and the watch tasks, read by the admin listener.
#[derive(Debug, Default)]
pub(super) struct GroupState(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The current failure of joining.
    failing: Option<Failing>,
    /// The view that the heartbeat loop publishes, once it runs.
    view: Option<watch::Receiver<View>>,
    /// What we wait for, while we have no shard.
    waiting: Option<Wait>,
}

/// What a process without shards waits for.
#[derive(Debug)]
pub(super) enum Wait {
    /// Their holders.
    For(ShardHolders),
    /// The holders cannot be looked up.
    Unknown(Cause),
}

impl Wait {
    fn at(&self, now: Instant) -> String {
        match self {
            Self::For(holders) => holders.at(now),
            Self::Unknown(cause) => format!("waiting for shards, whose owners cannot be looked up: {cause}"),
        }
    }
}

impl GroupState {
    /// Joining failed at `now`.
    pub(super) fn failed(&self, error: &SourceError, now: Instant) {
        let mut known = self.lock();
        known.failing = Some(Failing::again(known.failing.as_ref(), error, now));
    }

    /// The group is joined; from now on `view` has the state.
    pub(super) fn joined(&self, view: watch::Receiver<View>) {
        *self.lock() = Known { view: Some(view), ..Known::default() };
    }

    /// We have no shard at present, or have one again.
    pub(super) fn waits(&self, waiting: Option<Wait>) {
        self.lock().waiting = waiting;
    }

    /// The current state.
    pub(super) fn read(&self) -> GroupHealth {
        let known = self.lock();
        let view = known.view.as_ref().map(|view| view.borrow().clone());
        let Some(view) = view else {
            return GroupHealth { failing: known.failing.clone(), ..GroupHealth::default() };
        };
        // The periodic check may not have noticed a new shard yet.
        let waiting = known.waiting.as_ref().filter(|_| view.shards.is_empty());
        let waiting = waiting.map(|wait| wait.at(Instant::now()));
        GroupHealth {
            joined: true,
            failing: view.failing,
            last_heartbeat: view.heartbeat,
            member_since: view.member_since,
            waiting,
            surplus: view.surplus,
            short_of: view.short_of,
        }
    }

    /// Every writer leaves the value consistent before it can panic.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
