//! Decides whether a newly loaded version fails more than the previous one. Pure, with `now` as an argument.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// When a new version is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// It fails on more than this percentage of logs, and the previous version did not. 100 disables the rollback.
    pub share: u32,
    /// How long a version counts as new.
    pub within: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { share: 20, within: Duration::from_secs(300) }
    }
}

/// Minimum number of logs for a decision.
const MIN_LOGS: u64 = 50;

/// Above this number of logs, the counts are halved, so that the share represents recent logs.
const MANY_LOGS: u64 = 10_000;

/// Failed logs, and all logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    failed: u64,
    logs: u64,
}

impl Share {
    fn is_above(self, percent: u32) -> bool {
        self.failed * 100 > u64::from(percent) * self.logs
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} logs", self.failed, self.logs)
    }
}

/// The share of logs that the running version fails on, and that of the last good one.
#[derive(Debug)]
pub(crate) struct Probation {
    rules: Rules,
    seen: Share,
    fresh: Option<Fresh>,
}

#[derive(Debug)]
struct Fresh {
    since: Instant,
    /// The share of the last good version.
    usual: Share,
}

impl Probation {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, seen: Share::default(), fresh: None }
    }

    /// Begins with another version. Returns whether the previous version has proved good, and so becomes the rollback
    /// target; otherwise the earlier target stays.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        let (is_proved, usual) = match &self.fresh {
            Some(fresh) if self.seen.logs < MIN_LOGS && now < fresh.since + self.rules.within => (false, fresh.usual),
            _ => (true, self.seen),
        };
        self.fresh = Some(Fresh { since: now, usual });
        self.seen = Share::default();
        is_proved
    }

    /// Counts a page of the running version. Returns the version's share if it must be rolled back; the counts of the
    /// last good version then continue.
    pub(crate) fn saw(&mut self, now: Instant, logs: u32, failed: usize) -> Option<Share> {
        self.seen.logs += u64::from(logs);
        self.seen.failed += failed as u64;
        let Some(Fresh { since, usual }) = self.fresh else {
            if self.seen.logs > MANY_LOGS {
                self.seen = Share { failed: self.seen.failed / 2, logs: self.seen.logs / 2 };
            }
            return None;
        };
        if now >= since + self.rules.within {
            self.fresh = None;
            return None;
        }
        let (seen, share) = (self.seen, self.rules.share);
        let is_worse = seen.logs >= MIN_LOGS && seen.is_above(share) && !usual.is_above(share);
        is_worse.then(|| {
            self.seen = usual;
            self.fresh = None;
            seen
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page: minutes since the version was loaded, logs, failed.
    type Seen = (u64, u32, usize);

    /// Checks which page, from 0, causes a rollback when the previous version failed on `usual`; `None`: no page
    /// does.
    fn check(usual: (u32, usize), pages: &[Seen], expected: Option<usize>) {
        let start = Instant::now();
        let mut probation = Probation::new(Rules::default());
        assert_eq!(probation.saw(start, usual.0, usual.1), None, "nothing to go back to");
        assert!(probation.begin(start));
        let after = |minutes| start + Duration::from_secs(60 * minutes);
        let back =
            pages.iter().position(|&(minutes, logs, failed)| probation.saw(after(minutes), logs, failed).is_some());
        assert_eq!(back, expected, "{usual:?} {pages:?}");
    }

    #[test]
    fn a_fresh_version_that_fails_where_the_one_before_did_not_is_rolled_back() {
        check((1000, 0), &[(0, 100, 21)], Some(0));
        check((1000, 0), &[(0, 100, 20)], None);
        check((1000, 0), &[(0, 40, 40), (1, 9, 0), (2, 1, 0)], Some(2));
        check((0, 0), &[(0, 50, 50)], Some(0));
    }

    #[test]
    fn a_version_stays_when_the_one_before_was_no_better() {
        check((1000, 210), &[(0, 1000, 900)], None);
    }

    #[test]
    fn a_version_stays_once_it_is_no_longer_fresh() {
        check((1000, 0), &[(4, 1000, 0), (5, 10_000, 10_000)], None);
        check((1000, 0), &[(4, 1000, 0), (4, 10_000, 10_000)], Some(1));
    }

    #[test]
    fn a_version_that_has_not_proved_itself_is_not_rolled_back_to() {
        let start = Instant::now();
        let mut probation = Probation::new(Rules::default());
        probation.saw(start, 1000, 0);
        assert!(probation.begin(start));
        probation.saw(start, 10, 10);
        assert!(!probation.begin(start), "ten logs are not enough");
        probation.saw(start, 100, 10);
        assert!(probation.begin(start));
        assert!(probation.saw(start, 100, 50).is_some());
    }

    #[test]
    fn only_recent_logs_count_for_the_share() {
        let start = Instant::now();
        let mut probation = Probation::new(Rules::default());
        probation.saw(start, 10_000, 10_000);
        (0..100).for_each(|_| assert_eq!(probation.saw(start, 1_000, 0), None));
        probation.begin(start);
        assert!(probation.saw(start, 100, 50).is_some());
    }

    #[test]
    fn a_share_of_a_hundred_percent_is_never_reached() {
        let start = Instant::now();
        let mut probation = Probation::new(Rules { share: 100, ..Rules::default() });
        probation.begin(start);
        assert_eq!(probation.saw(start, 1_000, 1_000), None);
    }
}
