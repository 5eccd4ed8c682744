//! The progress of a backfill. Pure.

use std::time::Duration;

use crate::core::cursor::Cursor;

/// The part of a shard in the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The first cursor.
    pub from: Cursor,
    /// Where the range ends.
    pub to: Cursor,
}

impl Extent {
    /// Log groups in it, if the cursors can be counted.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.before(&self.to)
    }

    /// Log groups of it before `cursor`.
    #[must_use]
    pub fn before(&self, cursor: &Cursor) -> u64 {
        match (self.from.number(), self.to.number(), cursor.number()) {
            (Some(from), Some(to), Some(at)) => u64::try_from(at.min(to).saturating_sub(from)).unwrap_or(0),
            _ => 0,
        }
    }
}

/// The progress of a backfill.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Log groups in the range.
    pub groups: u64,
    /// Completed log groups.
    pub done: u64,
    /// Log groups that were complete when this process started.
    pub done_before: u64,
    /// Logs that this process delivered, dropped or wrote as dead letters.
    pub logs: u64,
    /// Elapsed time.
    pub took: Duration,
    /// How long the next pull waits because of the rate limit.
    pub debt: Duration,
}

impl Progress {
    /// The completed share, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.groups == 0 { 1.0 } else { self.done as f64 / self.groups as f64 }
    }

    /// Logs per second.
    #[must_use]
    pub fn logs_a_second(&self) -> f64 {
        self.logs as f64 / self.took.as_secs_f64().max(0.001)
    }

    /// How long the rest will take at the rate so far, for which the debt is a part of the time. `None`: nothing is
    /// complete yet, or all of it is.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let done = self.done.checked_sub(self.done_before).filter(|done| *done > 0)?;
        let left = self.groups.checked_sub(self.done).filter(|left| *left > 0)?;
        Some((self.took + self.debt).mul_f64(left as f64 / done as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_log_groups_within_the_range_are_counted() {
        let at = Cursor::from_number;
        let extent = Extent { from: at(10), to: at(30) };
        assert_eq!([5, 10, 17, 30, 99].map(|number| extent.before(&at(number))), [0, 0, 7, 20, 20]);
        assert_eq!(extent.groups(), 20);
        assert_eq!(Extent { from: at(30), to: at(10) }.groups(), 0);
        assert_eq!(Extent { from: Cursor::new("x"), to: Cursor::new("y") }.groups(), 0);
    }

    #[test]
    fn the_time_left_is_estimated_from_the_work_of_this_process() {
        let took = Duration::from_secs(10);
        let progress = Progress { groups: 100, done: 60, done_before: 40, logs: 2_000, took, debt: Duration::ZERO };
        assert_eq!(progress.left(), Some(Duration::from_secs(20)));
        let indebted = Progress { debt: Duration::from_secs(50), ..progress };
        assert_eq!(indebted.left(), Some(Duration::from_secs(120)), "the rest comes at the limited rate");
        assert_eq!(Progress { done: 100, ..indebted }.left(), None, "the end does not wait for the debt");
        assert_eq!((progress.share(), progress.logs_a_second()), (0.6, 200.0));
        assert_eq!(Progress { done: 40, ..progress }.left(), None);
        assert_eq!(Progress::default().share(), 1.0, "there is nothing to do");
    }
}
