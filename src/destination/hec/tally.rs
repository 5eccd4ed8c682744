//! Counts what succeeds while a request fails.

use std::ops::Range;
use std::sync::Mutex;

use tokio::time::Instant;

use super::suspicion::Evidence;

/// Counts over all batches since the start.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    accepted: u64,
    last_accepted: Option<Instant>,
    /// When the latest request that was answered was sent.
    last_answered_sent: Option<Instant>,
    /// When the last answer arrived.
    last_answer: Option<Instant>,
    unanswered: u64,
}

/// What succeeded until a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Successes(Counts);

/// The first failure of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstFailure {
    sent: Instant,
    counts: Counts,
}

impl Tally {
    /// A request that was sent at this time fails for the first time.
    pub(super) fn first_failure(&self, sent: Instant) -> FirstFailure {
        FirstFailure { sent, counts: self.counts() }
    }

    /// This many events were accepted.
    pub(super) fn accepted(&self, events: usize, now: Instant) {
        let mut counts = self.0.lock().expect("counting cannot panic");
        counts.accepted += events as u64;
        counts.last_accepted = Some(now);
    }

    /// A request that was sent at this time was answered.
    pub(super) fn answered(&self, sent: Instant, now: Instant) {
        let mut counts = self.0.lock().expect("counting cannot panic");
        counts.last_answered_sent = counts.last_answered_sent.max(Some(sent));
        counts.last_answer = Some(now);
    }

    /// Whether no answer arrived after this time.
    pub(super) fn is_silent_since(&self, time: Instant) -> bool {
        self.counts().last_answer.is_none_or(|at| at <= time)
    }

    /// Whether a request that was sent after this time was answered.
    pub(super) fn has_answered_since(&self, time: Instant) -> bool {
        self.counts().last_answered_sent.is_some_and(|sent| sent > time)
    }

    /// An event was rejected because its request gets no answer.
    pub(super) fn unanswered(&self) {
        self.0.lock().expect("counting cannot panic").unanswered += 1;
    }

    /// What succeeded until now.
    pub(super) fn successes(&self) -> Successes {
        Successes(self.counts())
    }

    /// The results of other events since the first failure. What is accepted after the last failure, which these
    /// successes precede, is no evidence.
    pub(super) fn between(&self, first: FirstFailure, Successes(last): Successes, now: Instant) -> Evidence {
        let counts = self.counts();
        let quiet_since = counts.last_accepted.map_or(first.sent, |at| at.max(first.sent));
        Evidence {
            accepted: last.accepted.saturating_sub(first.counts.accepted),
            rejected: counts.unanswered - first.counts.unanswered,
            quiet: now - quiet_since,
        }
    }

    fn counts(&self) -> Counts {
        *self.0.lock().expect("counting cannot panic")
    }
}

/// The requests of a batch that were halved, with the first failure of each, which also applies to its halves.
#[derive(Debug)]
pub(super) struct Suspects<F>(Vec<(Range<usize>, F)>);

impl<F> Default for Suspects<F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<F: Clone> Suspects<F> {
    /// These events are sent in halves.
    pub(super) fn add(&mut self, range: Range<usize>, first: F) {
        if self.of(&range).is_none() {
            self.0.push((range, first));
        }
    }

    /// The first failure of the request that these events belong to.
    pub(super) fn of(&self, part: &Range<usize>) -> Option<F> {
        let found = self.0.iter().find(|(whole, _)| whole.start <= part.start && part.end <= whole.end);
        found.map(|(_, first)| first.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn since(tally: &Tally, first: FirstFailure, now: Instant) -> Evidence {
        tally.between(first, tally.successes(), now)
    }

    #[test]
    fn events_accepted_after_the_last_failure_are_no_evidence() {
        let (tally, now) = (Tally::default(), Instant::now());
        let (before_first, first) = (tally.successes(), tally.first_failure(now));
        tally.accepted(3, now);
        let last = tally.successes();
        tally.accepted(5, now);
        assert_eq!(tally.between(first, last, now).accepted, 3);
        assert_eq!(tally.between(tally.first_failure(now), before_first, now).accepted, 0);
    }

    #[test]
    fn events_accepted_before_the_first_failure_are_no_evidence() {
        let (tally, now) = (Tally::default(), Instant::now());
        tally.accepted(5_000, now);
        tally.unanswered();
        let first = tally.first_failure(now);
        assert_eq!((since(&tally, first, now).accepted, since(&tally, first, now).rejected), (0, 0));
        tally.accepted(3, now);
        tally.unanswered();
        assert_eq!((since(&tally, first, now).accepted, since(&tally, first, now).rejected), (3, 1));
    }

    #[test]
    fn the_quiet_time_begins_with_the_failed_request_or_the_latest_accepted_one() {
        let (tally, sent) = (Tally::default(), Instant::now());
        let first = tally.first_failure(sent);
        assert_eq!(since(&tally, first, sent + 5 * SECOND).quiet, 5 * SECOND);
        tally.accepted(1, sent + 3 * SECOND);
        assert_eq!(since(&tally, first, sent + 5 * SECOND).quiet, 2 * SECOND);
        let later = tally.first_failure(sent + 4 * SECOND);
        assert_eq!(since(&tally, later, sent + 5 * SECOND).quiet, SECOND);
    }

    #[test]
    fn a_part_of_a_request_failed_first_when_the_whole_did() {
        let (tally, now) = (Tally::default(), Instant::now());
        let mut suspects = Suspects::default();
        suspects.add(10..20, tally.first_failure(now));
        suspects.add(10..15, tally.first_failure(now + SECOND));
        suspects.add(30..40, tally.first_failure(now + SECOND));
        let sent = |part: Range<usize>| suspects.of(&part).map(|first| first.sent - now);
        assert_eq!(sent(12..13), Some(Duration::ZERO));
        assert_eq!(sent(35..40), Some(SECOND));
        assert_eq!((sent(0..10), sent(15..25), sent(25..30)), (None, None, None));
    }
}
