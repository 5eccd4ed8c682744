//! The position of a shard, and when to save it. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::StartPoint;
use crate::core::cursor::{Cursor, Interval, Place};

/// How often the checkpoint is read while there is nothing to save: an operator may have moved it, or another process
/// may use our consumer name.
const CHECK_INTERVAL: Duration = Duration::from_secs(20);

/// Maximum number of saves of unknown outcome that are remembered.
const MAX_ATTEMPTED: usize = 32;

/// The position of the shard.
#[derive(Debug)]
pub(super) struct CheckpointState {
    /// Everything before it is durable. Within a page that is delivered in parts it moves too, though only the end of
    /// the page is saved.
    durable: Place,
    /// The checkpoint in SLS, as far as known.
    saved: Option<Cursor>,
    /// Cursors of saves with an unknown outcome, oldest first. A request may arrive long after its caller has given
    /// up. All of them are our own, and not after the durable position.
    attempted: Vec<Cursor>,
    began: Instant,
    /// When the checkpoint was last saved, or found to be what we saved.
    saved_at: Option<Instant>,
    /// No save before this time: the last one failed.
    not_before: Instant,
}

/// A batch does not begin where the durable prefix ends: logs between the two would be skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a batch covers {interval}, but everything is durable only up to {durable}")]
pub(super) struct OutOfOrder {
    /// Where the durable prefix ends.
    durable: Place,
    /// The interval of the batch.
    interval: Interval,
}

impl CheckpointState {
    /// At the start of the work on a shard, at `now`.
    pub(super) fn new(start: StartPoint, now: Instant) -> Self {
        Self {
            durable: start.cursor.into(),
            saved: start.saved,
            attempted: Vec::new(),
            began: now,
            saved_at: None,
            not_before: now,
        }
    }

    /// Moves the end of the durable prefix over an interval. Gaps are intervals too.
    ///
    /// # Errors
    /// The interval does not begin where the prefix ends; nothing was moved.
    pub(super) fn advance(&mut self, interval: Interval) -> Result<(), OutOfOrder> {
        if interval.from != self.durable {
            return Err(OutOfOrder { durable: self.durable.clone(), interval });
        }
        self.durable = interval.to;
        Ok(())
    }

    /// The last cursor before which everything is durable: the next checkpoint.
    pub(super) fn durable(&self) -> &Cursor {
        &self.durable.cursor
    }

    /// The possible checkpoints in SLS if nobody else changed it.
    pub(super) fn expected(&self) -> Vec<Option<Cursor>> {
        std::iter::once(self.saved.clone()).chain(self.attempted.iter().cloned().map(Some)).collect()
    }

    /// Whether the checkpoint is at the last cursor of the durable prefix.
    pub(super) fn is_saved(&self) -> bool {
        self.saved.as_ref() == Some(self.durable())
    }

    /// When to save, or to read the checkpoint when there is nothing to save. The first save after a start is due at
    /// once, so that even a process that is killed repeatedly makes progress.
    pub(super) fn save_due(&self, hurry: bool, interval: Duration) -> Instant {
        if self.is_saved() {
            return self.not_before.max(self.saved_at.unwrap_or(self.began) + CHECK_INTERVAL);
        }
        match self.saved_at {
            Some(at) if !hurry => self.not_before.max(at + interval),
            _ => self.not_before,
        }
    }

    /// The checkpoint is `cursor`. Returns whether that is new.
    pub(super) fn on_saved(&mut self, cursor: Cursor, now: Instant) -> bool {
        let is_new = self.saved.as_ref() != Some(&cursor);
        self.saved = Some(cursor);
        self.saved_at = Some(now);
        is_new
    }

    /// The outcome of a save is unknown: the checkpoint may be `cursor`. The next save is not tried before
    /// `not_before`.
    pub(super) fn on_unknown(&mut self, cursor: Cursor, not_before: Instant) {
        self.not_before = not_before;
        if self.attempted.contains(&cursor) {
            return;
        }
        if self.attempted.len() == MAX_ATTEMPTED {
            self.attempted.remove(0);
        }
        self.attempted.push(cursor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(number: i64) -> Cursor {
        Cursor::from_number(number)
    }

    fn interval(from: i64, to: i64) -> Interval {
        Interval { from: cursor(from).into(), to: cursor(to).into() }
    }

    fn behind(number: i64, logs: u32) -> Place {
        Place { cursor: cursor(number), logs }
    }

    fn state(now: Instant) -> CheckpointState {
        CheckpointState::new(StartPoint { cursor: cursor(5), saved: Some(cursor(5)) }, now)
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_interval_that_begins_where_the_prefix_ends_moves_the_checkpoint() {
        let mut state = state(Instant::now());
        state.advance(interval(5, 7)).unwrap();
        let skipped = state.advance(interval(8, 9)).unwrap_err();
        assert_eq!(skipped.interval, interval(8, 9));
        state.advance(interval(5, 7)).unwrap_err();
        assert_eq!(state.durable(), &cursor(7), "a refusal moves nothing");
        state.advance(interval(7, 7)).unwrap();
        state.advance(interval(7, 9)).unwrap();
        assert_eq!(state.durable(), &cursor(9));
    }

    #[tokio::test(start_paused = true)]
    async fn the_checkpoint_moves_only_when_all_parts_of_a_page_are_durable_in_order() {
        let mut state = state(Instant::now());
        let [first, second, last] = [
            Interval { from: behind(5, 0), to: behind(5, 10) },
            Interval { from: behind(5, 10), to: behind(5, 12) },
            Interval { from: behind(5, 12), to: cursor(7).into() },
        ];
        state.advance(second.clone()).unwrap_err();
        state.advance(first.clone()).unwrap();
        state.advance(last.clone()).unwrap_err();
        state.advance(first).unwrap_err();
        state.advance(second).unwrap();
        assert_eq!((state.durable(), state.is_saved()), (&cursor(5), true), "nothing to save yet");
        state.advance(last).unwrap();
        assert_eq!((state.durable(), state.is_saved()), (&cursor(7), false));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_save_is_due_at_once_and_the_next_after_the_interval() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut state = state(now);
        assert_eq!(state.save_due(false, second), now + CHECK_INTERVAL, "nothing to save, only to look");
        state.advance(interval(5, 6)).unwrap();
        assert_eq!(state.save_due(false, second), now);
        assert!(state.on_saved(cursor(6), now));
        assert!(!state.on_saved(cursor(6), now), "it was there already");
        state.advance(interval(6, 7)).unwrap();
        assert_eq!(state.save_due(false, second), now + second);
        assert_eq!(state.save_due(true, second), now, "nothing else is to come");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_save_of_unknown_outcome_either_checkpoint_is_ours() {
        let now = Instant::now();
        let mut state = state(now);
        state.advance(interval(5, 6)).unwrap();
        let later = now + Duration::from_secs(3);
        state.on_unknown(cursor(6), later);
        state.on_unknown(cursor(6), later);
        assert_eq!(state.expected(), [Some(cursor(5)), Some(cursor(6))]);
        assert_eq!(state.save_due(true, Duration::ZERO), later);
        (10..100).for_each(|number| state.on_unknown(cursor(number), later));
        assert_eq!(state.expected().len(), MAX_ATTEMPTED + 1, "the memory of them is bounded");
    }
}
