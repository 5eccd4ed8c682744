//! Lets the batches of all shards wait for an isolated destination, or give it up. [`Course`] decides.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::course::{Course, Pass};
use crate::destination::IsolationMode;

/// How often a waiting batch checks its limits.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(250);

/// Memory for the dead letters that are written at the same time, in KiB. It is beside `run.memory`.
const WRITING_KIB: u32 = 32 << 10;

/// Memory that a dead letter takes for each byte of its event: the log, the event, and the line of both.
const PER_BYTE: usize = 4;

/// What happens to the events of an isolated destination.
#[derive(Debug)]
pub struct Isolation {
    course: watch::Sender<Course>,
    /// Memory for dead letters that are being written.
    writing: Semaphore,
    /// Why missed events cannot be replayed. A standard mutex: it is never held across an await.
    replay_fault: Mutex<Option<String>>,
}

/// The limits of waiting, for one batch.
pub(super) struct WaitLimits<'a> {
    /// Whether the destination is down.
    pub(super) is_down: &'a (dyn Fn() -> bool + Send + Sync),
    /// Whether the shard can accept no more batches, or must stop.
    pub(super) is_pressed: &'a (dyn Fn() -> bool + Send + Sync),
}

impl Isolation {
    /// For a destination for which up to `most` bytes may wait.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            course: watch::Sender::new(Course::new(most)),
            writing: Semaphore::new(WRITING_KIB as usize),
            replay_fault: Mutex::default(),
        }
    }

    /// The current mode.
    #[must_use]
    pub fn mode(&self) -> IsolationMode {
        self.course.borrow().mode()
    }

    /// Why its missed events cannot be replayed at present, if that failed last time.
    #[must_use]
    pub fn replay_fault(&self) -> Option<String> {
        self.replay_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A pass over the missed events failed because of `fault`, or it has begun.
    pub(super) fn set_replay_fault(&self, fault: Option<String>) {
        *self.replay_fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Resolves while the destination gets its events directly.
    pub(super) async fn is_direct(&self) {
        let mut course = self.course.subscribe();
        let _ = course.wait_for(|course| course.mode() == IsolationMode::Direct).await;
    }

    /// Resolves once the destination may have missed something.
    pub(super) async fn has_missed(&self) {
        let mut course = self.course.subscribe();
        let _ = course.wait_for(|course| course.mode() != IsolationMode::Direct).await;
    }

    /// `bytes` wait for the destination until the returned value is dropped.
    pub(super) fn waits(&self, bytes: usize) -> Waiting<'_> {
        self.silently(|course| course.waits(bytes));
        Waiting { isolation: self, bytes }
    }

    /// The destination answers again.
    pub(super) fn answers(&self) {
        self.course.send_modify(Course::answers);
    }

    /// The destination has been down for long while missed events were delivered.
    pub(super) fn is_gone(&self) {
        self.course.send_modify(Course::is_gone);
    }

    /// There may be more missed events than this process has written.
    pub fn looks_again(&self) {
        self.course.send_modify(Course::looks_again);
    }

    /// A pass over the missed events begins.
    pub(super) fn begins(&self) -> Pass {
        self.course.borrow().begins()
    }

    /// The pass has delivered the `found` events that it found. Returns the mode after it.
    pub(super) fn ends(&self, pass: Pass, found: usize) -> IsolationMode {
        self.course.send_modify(|course| course.ends(pass, found));
        self.mode()
    }

    /// Changes something that no task waits for.
    fn silently(&self, change: impl FnOnce(&mut Course)) {
        self.course.send_if_modified(|course| {
            change(course);
            false
        });
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
        let mut changes = self.isolation.course.subscribe();
        loop {
            let mut is_missed = false;
            self.isolation.course.send_if_modified(|course| {
                let mode = course.mode();
                is_missed = course.gives_up(self.bytes, (limits.is_down)(), (limits.is_pressed)());
                course.mode() != mode || (is_missed && mode == IsolationMode::Returning)
            });
            if is_missed {
                return Missing { isolation: self.isolation };
            }
            tokio::select! {
                biased;
                _ = looks.tick() => {}
                _ = changes.changed() => {}
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.isolation.silently(|course| course.waits_no_more(self.bytes));
    }
}

/// Events that are being written as dead letters, until dropped.
#[derive(Debug)]
pub(super) struct Missing<'a> {
    isolation: &'a Isolation,
}

impl<'a> Missing<'a> {
    /// Waits until there is memory for the dead letters of `bytes` bytes of events.
    pub(super) async fn room(&self, bytes: usize) -> SemaphorePermit<'a> {
        let kib = u32::try_from(bytes.saturating_mul(PER_BYTE) >> 10).unwrap_or(u32::MAX);
        self.isolation.writing.acquire_many(kib.clamp(1, WRITING_KIB)).await.expect("it is never closed")
    }
}

impl Drop for Missing<'_> {
    fn drop(&mut self) {
        self.isolation.silently(Course::is_written);
    }
}
