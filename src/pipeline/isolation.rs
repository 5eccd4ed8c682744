//! Whether the events of an isolated destination wait for it, or become its dead letters so that the others go on.
//!
//! ```text
//!            down, and its part of memory is spent            it answers again
//!   Direct ─────────────────────────────────────────▶ Aside ──────────────────▶ Returning
//!     ▲                                                 ▲     its part is spent     │ │
//!     │                                                 └───────────────────────────┘ │
//!     └────────────────── nothing that it missed is left ─────────────────────────────┘
//! ```
//!
//! What it missed is delivered before anything newer: while it is returning, newer events wait behind that.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::destination::IsolationMode;

/// How often somebody who waits looks whether waiting has become too much.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What becomes of the events of an isolated destination.
#[derive(Debug)]
pub struct Isolation {
    /// Bytes that may wait for the destination before the rest becomes dead letters.
    most: usize,
    state: watch::Sender<State>,
    /// Held by the batch whose events are being written: one at a time, in their order.
    writing: Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: IsolationMode,
    /// Bytes that wait.
    waiting: usize,
    /// Batches on their way into the dead letters.
    writing: usize,
}

/// What waiting is measured against, for one batch.
pub(super) struct Patience<'a> {
    /// Whether the destination is down.
    pub(super) is_down: &'a (dyn Fn() -> bool + Send + Sync),
    /// Whether the shard can take no more batches, or is to stop.
    pub(super) is_pressed: &'a (dyn Fn() -> bool + Send + Sync),
}

impl Isolation {
    /// Of a destination for which up to `most` bytes may wait. It is returning until it is known that it missed nothing.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let state = State { mode: IsolationMode::Returning, waiting: 0, writing: 0 };
        Self { most, state: watch::Sender::new(state), writing: Mutex::default() }
    }

    /// How it gets its events.
    #[must_use]
    pub fn mode(&self) -> IsolationMode {
        self.state.borrow().mode
    }

    /// Resolves while the destination gets its events as they come.
    pub(super) async fn is_direct(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| state.mode == IsolationMode::Direct).await;
    }

    /// Resolves once the destination may have missed something.
    pub(super) async fn has_missed(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| state.mode != IsolationMode::Direct).await;
    }

    /// `bytes` wait for the destination until what this returns is dropped.
    pub(super) fn waits(&self, bytes: usize) -> Waiting<'_> {
        // Nobody waits for more to wait: this one looks itself.
        self.state.send_if_modified(|state| {
            state.waiting += bytes;
            false
        });
        Waiting { isolation: self, bytes }
    }

    /// The destination answers again: newer events wait while it gets what it missed.
    pub(super) fn returns(&self) {
        self.state.send_modify(|state| {
            if state.mode == IsolationMode::Aside {
                state.mode = IsolationMode::Returning;
            }
        });
    }

    /// Nothing that it missed was left a moment ago; whether newer events go there directly now. They do not while others are
    /// still on their way into the dead letters.
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
    /// Resolves when the events are to become dead letters: others do already, or waiting has become too much.
    pub(super) async fn is_given_up(&self, patience: Patience<'_>) -> Missing<'a> {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.isolation.state.subscribe();
        loop {
            let is_missed = self.isolation.state.send_if_modified(|state| {
                let is_spent = state.waiting >= self.isolation.most || (patience.is_pressed)();
                let gives_up = match state.mode {
                    IsolationMode::Aside => true,
                    IsolationMode::Direct => is_spent && (patience.is_down)(),
                    IsolationMode::Returning => is_spent,
                };
                if gives_up {
                    state.mode = IsolationMode::Aside;
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
        // Nobody waits for less to wait: they look by themselves.
        self.isolation.state.send_if_modified(|state| {
            state.waiting -= self.bytes;
            false
        });
    }
}

/// Events on their way into the dead letters, until it is dropped.
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
