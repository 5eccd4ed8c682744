//! Decides whether the events of an isolated destination wait for it or become its dead letters, so that the others
//! continue.
//!
//! ```text
//!            down, and its share of memory is full                 it answers again
//!   Direct ───────────────────────────────────────▶ DeadLettering ──────────────────▶ Returning
//!     ▲                                                   ▲       its share is full     │ │
//!     │                                                   └─────────────────────────────┘ │
//!     └──────────────────── no missed events are left ────────────────────────────────────┘
//! ```
//!
//! Missed events are delivered before newer ones: while it is returning, newer events wait.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::destination::IsolationMode;

/// How often a waiting batch checks its limits.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(250);

/// What happens to the events of an isolated destination.
#[derive(Debug)]
pub struct Isolation {
    /// Bytes that may wait for the destination before the rest becomes dead letters.
    most: usize,
    state: watch::Sender<State>,
    /// Locked by the batch whose events are being written: one at a time, in order.
    writing: Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: IsolationMode,
    /// Bytes that wait.
    waiting: usize,
    /// Batches that are being written as dead letters.
    writing: usize,
}

/// The limits of waiting, for one batch.
pub(super) struct WaitLimits<'a> {
    /// Whether the destination is down.
    pub(super) is_down: &'a (dyn Fn() -> bool + Send + Sync),
    /// Whether the shard can accept no more batches, or must stop.
    pub(super) is_pressed: &'a (dyn Fn() -> bool + Send + Sync),
}

impl Isolation {
    /// For a destination for which up to `most` bytes may wait. It is returning until it is known that it missed
    /// nothing.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let state = State { mode: IsolationMode::Returning, waiting: 0, writing: 0 };
        Self { most, state: watch::Sender::new(state), writing: Mutex::default() }
    }

    /// The current mode.
    #[must_use]
    pub fn mode(&self) -> IsolationMode {
        self.state.borrow().mode
    }

    /// Resolves while the destination gets its events directly.
    pub(super) async fn is_direct(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| state.mode == IsolationMode::Direct).await;
    }

    /// Resolves once the destination may have missed something.
    pub(super) async fn has_missed(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| state.mode != IsolationMode::Direct).await;
    }

    /// `bytes` wait for the destination until the returned value is dropped.
    pub(super) fn waits(&self, bytes: usize) -> Waiting<'_> {
        // No task needs to be woken: this one checks by itself.
        self.state.send_if_modified(|state| {
            state.waiting += bytes;
            false
        });
        Waiting { isolation: self, bytes }
    }

    /// The destination answers again: newer events wait while the missed ones are delivered.
    pub(super) fn returns(&self) {
        self.state.send_modify(|state| {
            if state.mode == IsolationMode::DeadLettering {
                state.mode = IsolationMode::Returning;
            }
        });
    }

    /// All missed events have just been delivered. Returns whether newer events go there directly now: not while
    /// others are still being written as dead letters.
    pub(super) fn goes_direct(&self) -> bool {
        self.state.send_if_modified(|state| {
            let is_through = state.mode == IsolationMode::Returning && state.writing == 0;
            if is_through {
                state.mode = IsolationMode::Direct;
            }
            is_through
        })
    }
}

/// A batch that waits for an isolated destination.
pub(super) struct Waiting<'a> {
    isolation: &'a Isolation,
    bytes: usize,
}

impl<'a> Waiting<'a> {
    /// Resolves when the events must become dead letters: other events do already, or a limit is exceeded.
    pub(super) async fn is_given_up(&self, limits: WaitLimits<'_>) -> Missing<'a> {
        let mut looks = interval(LOOKUP_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.isolation.state.subscribe();
        loop {
            let is_missed = self.isolation.state.send_if_modified(|state| {
                let is_spent = state.waiting >= self.isolation.most || (limits.is_pressed)();
                let gives_up = match state.mode {
                    IsolationMode::DeadLettering => true,
                    IsolationMode::Direct => is_spent && (limits.is_down)(),
                    IsolationMode::Returning => is_spent,
                };
                if gives_up {
                    state.mode = IsolationMode::DeadLettering;
                    state.writing += 1;
                }
                gives_up
            });
            if is_missed {
                return Missing { isolation: self.isolation };
            }
            tokio::select! {
                _ = looks.tick() => {}
                _ = changes.changed() => {}
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // No task needs to be woken: they check by themselves.
        self.isolation.state.send_if_modified(|state| {
            state.waiting -= self.bytes;
            false
        });
    }
}

/// Events that are being written as dead letters, until dropped.
#[derive(Debug)]
pub(super) struct Missing<'a> {
    isolation: &'a Isolation,
}

impl<'a> Missing<'a> {
    /// Waits for the turn to write.
    pub(super) async fn turn(&self) -> MutexGuard<'a, ()> {
        self.isolation.writing.lock().await
    }
}

impl Drop for Missing<'_> {
    fn drop(&mut self) {
        self.isolation.state.send_modify(|state| state.writing -= 1);
    }
}
