//! How long to wait before the next attempt.

use std::time::Duration;

use fastrand::Rng;

/// Exponential backoff with full jitter. Each wait is a random part of a ceiling that doubles with each attempt, so
/// that clients that failed together do not retry together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    ceiling: Duration,
    random: Rng,
}

impl Backoff {
    /// A ceiling of `first`, doubled each time up to `most`. The same seed gives the same waits.
    #[must_use]
    pub fn new(first: Duration, most: Duration, seed: u64) -> Self {
        Self { first, most, ceiling: first.min(most), random: Rng::with_seed(seed) }
    }

    /// The default waits: ceilings from 250 ms to 30 s.
    #[must_use]
    pub fn usual(seed: u64) -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(30), seed)
    }

    /// How long to wait after one more failure. `floor` is the wait that the server asked for (`Retry-After`). The
    /// jitter is added to it, so that clients with the same `Retry-After` do not retry together.
    pub fn next(&mut self, floor: Option<Duration>) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = ceiling.saturating_mul(2).min(self.most);
        floor.unwrap_or_default().saturating_add(self.part_of(ceiling))
    }

    /// Resets the ceiling to the first one, after a success.
    pub fn reset(&mut self) {
        self.ceiling = self.first.min(self.most);
    }

    /// A random part of `whole`, evenly distributed.
    fn part_of(&mut self, whole: Duration) -> Duration {
        whole.mul_f64(self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(250);
    const CAP: Duration = Duration::from_secs(30);

    /// The longest of many first, second, … waits.
    fn longest(tries: usize) -> Vec<Duration> {
        let mut longest = vec![Duration::ZERO; tries];
        for seed in 0..2_000 {
            let mut backoff = Backoff::new(FIRST, CAP, seed);
            for longest in &mut longest {
                *longest = backoff.next(None).max(*longest);
            }
        }
        longest
    }

    #[test]
    fn ceilings_double_up_to_the_cap_and_stay_there() {
        let ceilings = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].map(Duration::from_millis);
        for (longest, ceiling) in longest(ceilings.len()).into_iter().zip(ceilings) {
            assert!(longest <= ceiling, "{longest:?} is over {ceiling:?}");
            assert!(longest > ceiling.mul_f64(0.98), "{longest:?} never comes near {ceiling:?}");
        }
    }

    #[test]
    fn waits_spread_evenly_below_the_ceiling() {
        let total: Duration = (0..4_000).map(|seed| Backoff::new(FIRST, CAP, seed).next(None)).sum();
        let mean = total / 4_000;
        assert!(mean > FIRST.mul_f64(0.47) && mean < FIRST.mul_f64(0.53), "{mean:?}");
    }

    #[test]
    fn the_servers_retry_after_is_the_minimum_wait_and_still_jittered() {
        let floor = Duration::from_secs(7);
        let waits: Vec<_> = (0..50).map(|seed| Backoff::usual(seed).next(Some(floor))).collect();
        assert!(waits.iter().all(|wait| *wait >= floor && *wait <= floor + FIRST));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }

    #[test]
    fn a_reset_starts_again_with_the_first_wait() {
        let mut backoff = Backoff::new(FIRST, CAP, 1);
        for _ in 0..10 {
            backoff.next(None);
        }
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }

    #[test]
    fn equal_seeds_give_equal_waits_and_different_seeds_do_not() {
        let waits = |seed| {
            let mut backoff = Backoff::usual(seed);
            (0..5).map(|_| backoff.next(None)).collect::<Vec<_>>()
        };
        assert_eq!(waits(3), waits(3));
        assert_ne!(waits(3), waits(4));
    }

    #[test]
    fn a_huge_retry_after_does_not_overflow() {
        assert_eq!(Backoff::usual(0).next(Some(Duration::MAX)), Duration::MAX);
    }

    #[test]
    fn a_first_wait_above_the_cap_is_the_cap() {
        assert!(Backoff::new(CAP, FIRST, 9).next(None) <= FIRST);
    }
}
