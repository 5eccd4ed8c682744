//! Decides where the events of an isolated destination go, so that the other destinations continue. Pure.
//!
//! ```text
//!          down, and its share of memory is full                  it answers again
//!   Direct ─────────────────────────────────────▶ DeadLettering ──────────────────▶ Returning ◀─┐
//!     ▲                                                ▲                              │   │     │ its share is full
//!     │                                                └──────── down for long ───────┘   │     │
//!     │   nothing is left                                         little is left          ▼     │
//!     └──────────────────────────────────────────────────────────────────────────────── Last ───┘
//! ```
//!
//! While missed events are delivered, newer ones are still written behind them. So the others run at their own rate, and
//! the order is kept. Each pass delivers what was written before it. When what was written during a pass fits into half
//! of the destination's share of memory, the next pass is the last: newer events wait for it in memory, and go directly
//! after it.

use crate::destination::IsolationMode;

/// Where the events of an isolated destination go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    phase: Phase,
    /// Bytes that may wait for the destination before the rest becomes dead letters.
    most: usize,
    /// Bytes that wait.
    waiting: usize,
    /// Batches that are being written as dead letters.
    writing: usize,
    /// Bytes that were given up so far.
    missed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Directly to the destination.
    Direct,
    /// They become dead letters at once.
    DeadLettering,
    /// The same, while earlier ones are delivered.
    Returning,
    /// They wait while the last missed ones are delivered.
    Last,
}

/// The moment before a pass over the missed events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    missed: usize,
    writing: usize,
}

impl Course {
    /// For a destination for which up to `most` bytes may wait. Its events wait until it is known that it missed
    /// nothing.
    pub(super) fn new(most: usize) -> Self {
        Self { phase: Phase::Last, most, waiting: 0, writing: 0, missed: 0 }
    }

    /// For people.
    pub(super) fn mode(&self) -> IsolationMode {
        match self.phase {
            Phase::Direct => IsolationMode::Direct,
            Phase::DeadLettering => IsolationMode::DeadLettering,
            Phase::Returning | Phase::Last => IsolationMode::Returning,
        }
    }

    /// `bytes` wait for the destination.
    pub(super) fn waits(&mut self, bytes: usize) {
        self.waiting += bytes;
    }

    /// They wait no more.
    pub(super) fn waits_no_more(&mut self, bytes: usize) {
        self.waiting -= bytes;
    }

    /// Whether a batch of `bytes` that waits becomes dead letters now. `is_down`: the destination is down.
    /// `is_pressed`: the shard can accept no more batches, or must stop.
    pub(super) fn gives_up(&mut self, bytes: usize, is_down: bool, is_pressed: bool) -> bool {
        let is_spent = self.waiting >= self.most || is_pressed;
        let next = match self.phase {
            Phase::Direct if is_spent && is_down => Phase::DeadLettering,
            Phase::Last if is_spent => Phase::Returning,
            Phase::DeadLettering | Phase::Returning => self.phase,
            Phase::Direct | Phase::Last => return false,
        };
        self.phase = next;
        self.writing += 1;
        self.missed = self.missed.saturating_add(bytes);
        true
    }

    /// A batch that was given up is on disk, or its shard is lost.
    pub(super) fn is_written(&mut self) {
        self.writing -= 1;
    }

    /// The destination answers again.
    pub(super) fn answers(&mut self) {
        if self.phase == Phase::DeadLettering {
            self.phase = Phase::Returning;
        }
    }

    /// There may be more missed events than those that were given up here. Newer ones wait until that is known.
    pub(super) fn looks_again(&mut self) {
        if self.phase == Phase::Direct {
            self.phase = Phase::Last;
        }
    }

    /// The destination has been down for long during a pass.
    pub(super) fn is_gone(&mut self) {
        if self.phase != Phase::Direct {
            self.phase = Phase::DeadLettering;
        }
    }

    /// A pass over the missed events begins.
    pub(super) fn begins(&self) -> Pass {
        Pass { missed: self.missed, writing: self.writing }
    }

    /// The pass has delivered everything that it found, which is `found` events.
    pub(super) fn ends(&mut self, pass: Pass, found: usize) {
        let missed = self.missed - pass.missed;
        self.phase = match self.phase {
            // Everything was written before the pass looked for it, and it found nothing.
            Phase::Last if found == 0 && missed == 0 && pass.writing == 0 => Phase::Direct,
            Phase::Returning if missed <= self.most / 2 => Phase::Last,
            phase => phase,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1_000;

    /// The destination is down, and one batch was given up and written.
    fn aside() -> Course {
        let mut course = direct();
        course.waits(MOST);
        assert!(course.gives_up(MOST, true, false));
        course.waits_no_more(MOST);
        course.is_written();
        course
    }

    fn direct() -> Course {
        let mut course = Course::new(MOST);
        course.ends(course.begins(), 0);
        assert_eq!(course.mode(), IsolationMode::Direct);
        course
    }

    #[test]
    fn missed_events_that_come_from_elsewhere_are_looked_for_and_nothing_overtakes_them() {
        let mut course = direct();
        course.looks_again();
        assert_eq!(course.mode(), IsolationMode::Returning);
        course.ends(course.begins(), 3);
        assert_eq!(course.mode(), IsolationMode::Returning, "there may be more");
        course.ends(course.begins(), 0);
        assert_eq!(course.mode(), IsolationMode::Direct);
        let mut course = aside();
        course.looks_again();
        assert_eq!(course.mode(), IsolationMode::DeadLettering, "it is down");
    }

    /// A batch arrives while others are written: whether it is written too.
    fn writes(course: &mut Course, bytes: usize) -> bool {
        course.waits(bytes);
        let gives_up = course.gives_up(bytes, false, false);
        if gives_up {
            course.waits_no_more(bytes);
            course.is_written();
        }
        gives_up
    }

    #[test]
    fn events_wait_for_a_destination_that_is_down_until_its_share_is_full_or_the_shard_must_go_on() {
        let mut course = direct();
        course.waits(MOST - 1);
        assert!(!course.gives_up(MOST - 1, true, false));
        course.waits(1);
        assert!(!course.gives_up(1, false, true), "it is up");
        assert!(course.gives_up(1, true, false));
        assert_eq!(course.mode(), IsolationMode::DeadLettering);
        assert!(direct().gives_up(1, true, true));
    }

    #[test]
    fn while_a_large_backlog_is_delivered_newer_events_are_written_at_once_and_the_others_wait_for_nothing() {
        let mut course = aside();
        course.answers();
        for _ in 0..100 {
            let pass = course.begins();
            assert!(writes(&mut course, MOST));
            course.ends(pass, 10);
            assert_eq!(course.mode(), IsolationMode::Returning);
        }
        assert!(writes(&mut course, 1));
    }

    #[test]
    fn a_return_whose_passes_shrink_ends_and_newer_events_wait_only_for_the_last_of_them() {
        let mut course = aside();
        course.answers();
        for bytes in [4 * MOST, 2 * MOST, MOST, MOST / 2] {
            let pass = course.begins();
            assert!(writes(&mut course, bytes), "{bytes}");
            course.ends(pass, 10);
        }
        assert!(!writes(&mut course, 10), "it waits for the last pass");
        let pass = course.begins();
        course.ends(pass, 10);
        assert_eq!(course.mode(), IsolationMode::Returning, "what was being written meanwhile is looked for");
        course.ends(course.begins(), 0);
        assert_eq!(course.mode(), IsolationMode::Direct);
    }

    #[test]
    fn a_last_pass_that_takes_too_long_lets_newer_events_be_written_again() {
        let mut course = aside();
        course.answers();
        course.ends(course.begins(), 10);
        let pass = course.begins();
        assert!(!writes(&mut course, MOST - 1));
        assert!(writes(&mut course, 2 * MOST));
        course.ends(pass, 10);
        assert_eq!(course.mode(), IsolationMode::Returning);
        assert!(writes(&mut course, 1), "the next pass is not the last one");
    }

    #[test]
    fn it_goes_direct_only_when_nothing_was_being_written_as_the_pass_began() {
        let mut course = aside();
        assert!(course.gives_up(1, true, false));
        course.answers();
        course.ends(course.begins(), 10);
        let pass = course.begins();
        course.is_written();
        course.ends(pass, 0);
        assert_eq!(course.mode(), IsolationMode::Returning, "the pass may have been too early for the batch");
        course.ends(course.begins(), 1);
        course.ends(course.begins(), 0);
        assert_eq!(course.mode(), IsolationMode::Direct);
    }

    #[test]
    fn a_destination_that_goes_down_during_a_pass_is_waited_for_again() {
        let mut course = aside();
        course.answers();
        course.is_gone();
        assert_eq!(course.mode(), IsolationMode::DeadLettering);
        assert!(writes(&mut course, 1));
        let mut course = direct();
        course.is_gone();
        assert_eq!(course.mode(), IsolationMode::Direct);
    }
}
