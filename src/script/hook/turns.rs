//! Decides which job runs next on the hook threads. Pure.
//!
//! Start-time fair queueing. Every shard has a clock of its used time, and the job of the shard with the least used
//! time goes first. An idle shard does not accumulate credit: its clock is set to that of the job that began last. A
//! shard whose script is slow, or loops, therefore takes no more than its share.

use std::collections::BTreeMap;
use std::time::Duration;

/// The jobs that wait for a thread: at most one per shard.
#[derive(Debug)]
pub(super) struct Turns<T> {
    /// The clock of the job that began last.
    now: Duration,
    /// By start time; jobs with the same start time in the order of their arrival.
    waiting: BTreeMap<(Duration, u64), T>,
    came: u64,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { now: Duration::ZERO, waiting: BTreeMap::new(), came: 0 }
    }
}

impl<T> Turns<T> {
    /// Adds a job of a shard whose clock is `used_to`.
    pub(super) fn push(&mut self, used_to: Duration, job: T) {
        self.waiting.insert((used_to.max(self.now), self.came), job);
        self.came += 1;
    }

    /// The next job, and its shard's clock when it starts.
    pub(super) fn next(&mut self) -> Option<(Duration, T)> {
        let ((begin, _), job) = self.waiting.pop_first()?;
        self.now = begin;
        Some((begin, job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Simulates shards that always have a job, each of this length, on `threads` threads: returns the time that each
    /// shard got in ten seconds.
    fn play(threads: usize, jobs: &[Duration]) -> Vec<Duration> {
        let mut turns = Turns::default();
        let mut got = vec![Duration::ZERO; jobs.len()];
        (0..jobs.len()).for_each(|shard| turns.push(Duration::ZERO, shard));
        // By end time: a shard, and the start of its job on the shard's clock.
        let mut at_work: BTreeMap<(Duration, usize), Duration> = BTreeMap::new();
        let mut now = Duration::ZERO;
        while now < 10 * SECOND {
            while at_work.len() < threads
                && let Some((begin, shard)) = turns.next()
            {
                at_work.insert((now + jobs[shard], shard), begin);
            }
            let ((end, shard), begin) = at_work.pop_first().unwrap();
            now = end;
            got[shard] += jobs[shard];
            turns.push(begin + jobs[shard], shard);
        }
        got
    }

    #[test]
    fn two_slow_shards_get_no_more_of_two_threads_than_two_quick_ones() {
        let (slow, quick) = (SECOND / 4, SECOND / 100);
        for got in play(2, &[slow, slow, quick, quick]) {
            assert!(got > 4 * SECOND && got < 6 * SECOND, "{got:?} of 5 s");
        }
    }

    #[test]
    fn one_thread_is_shared_equally() {
        for got in play(1, &[SECOND / 2, SECOND / 50, SECOND / 10, SECOND / 10, SECOND / 3]) {
            assert!(got > SECOND * 3 / 2 && got < SECOND * 5 / 2, "{got:?} of 2 s");
        }
    }

    #[test]
    fn an_idle_shard_goes_next_but_accumulates_no_credit() {
        let mut turns = Turns::default();
        turns.push(Duration::ZERO, "busy");
        assert_eq!(turns.next(), Some((Duration::ZERO, "busy")));
        turns.push(9 * SECOND, "busy");
        assert_eq!(turns.next(), Some((9 * SECOND, "busy")));
        turns.push(10 * SECOND, "busy");
        turns.push(Duration::ZERO, "idle");
        assert_eq!(turns.next(), Some((9 * SECOND, "idle")), "as if it had used as much as the others");
        assert_eq!(turns.next(), Some((10 * SECOND, "busy")));
        assert_eq!(turns.next(), None);
    }
}
