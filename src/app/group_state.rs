//! How our membership of the consumer group is, for whoever asks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::admin::GroupHealth;
use crate::core::failing::Failing;
use crate::core::source::SourceError;
use crate::group::membership::View;

/// Written by whoever joins and watches, read by the admin listener.
#[derive(Debug, Default)]
pub(super) struct GroupState(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Joining fails at present.
    failing: Option<Failing>,
    /// What the heartbeats publish, once there are any.
    view: Option<watch::Receiver<View>>,
    /// Whose the shards are that we have none of.
    waiting: Option<String>,
}

impl GroupState {
    /// Joining failed at `now`.
    pub(super) fn failed(&self, error: &SourceError, now: Instant) {
        let mut known = self.lock();
        known.failing = Some(Failing::again(known.failing.as_ref(), error, now));
    }

    /// The group is joined; from now on the heartbeats tell.
    pub(super) fn joined(&self, view: watch::Receiver<View>) {
        *self.lock() = Known { view: Some(view), ..Known::default() };
    }

    /// We have no shard for the time being, or have one again.
    pub(super) fn waits(&self, waiting: Option<String>) {
        self.lock().waiting = waiting;
    }

    /// How it is now.
    pub(super) fn read(&self) -> GroupHealth {
        let known = self.lock();
        let view = known.view.as_ref().map(|view| view.borrow().clone());
        let Some(view) = view else {
            return GroupHealth { failing: known.failing.clone(), ..GroupHealth::default() };
        };
        // Whoever looks now and then may not have seen yet that a shard has come.
        let waiting = known.waiting.clone().filter(|_| view.shards.is_empty());
        GroupHealth {
            joined: true,
            failing: view.failing,
            last_heartbeat: view.heartbeat,
            waiting,
            surplus: view.surplus,
        }
    }

    /// Every writer leaves it whole before it can panic.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
