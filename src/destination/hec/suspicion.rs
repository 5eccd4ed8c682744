//! Whether a request that gets no answer of a collector has itself to blame: a pure machine.
//!
//! A request that is cut off, or answered by something that is no collector, says little by itself. The collector may
//! be away; or something on the way dislikes the size of this request, or one of its events. So an empty request is sent
//! behind each such failure. If that is not answered either, the destination is down, and nothing is held against the
//! request. If it is, the request fails by itself: it is sent again, then in halves, down to one event.
//!
//! An event is rejected when its request was ended five times in a row while the empty ones were answered,
//! and other events were accepted since it failed first, alone or in a larger request: each rejection takes one accepted
//! event for its evidence. A collector that takes nothing is just broken, however it answers what is empty. Silence and a
//! gateway's error halve a request, and never reject an event: a slow or half-broken collector does that to anything.

use std::time::Duration;

/// How often in a row a request of several events fails before it is halved.
const FAILURES_TOGETHER: u32 = 2;

/// How often in a row a request of one event has to be ended by the peer before it is the event's fault.
const FAILURES_ALONE: u32 = 5;

/// How a request failed to get an answer of a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The peer ended the connection, or something else answered: this very request may be what it dislikes.
    Ended,
    /// Nothing came in time, or a gateway says that it got nothing.
    Silence,
}

/// What happened to other events since a request failed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Events that the collector accepted.
    pub accepted: u64,
    /// Events that were rejected for the end of their requests.
    pub rejected: u64,
    /// For how long nothing was accepted, counted from when the request was sent at the earliest.
    pub quiet: Duration,
}

impl Evidence {
    /// Whether the destination takes nothing from us, whatever it says to empty requests.
    #[must_use]
    pub fn is_outage(&self, patience: Duration) -> bool {
        self.quiet >= patience
    }
}

/// What to do with a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send it again after a pause.
    Again,
    /// Send its events in two halves.
    Halve,
    /// Its one event will never be taken: it ended so many requests in a row.
    Reject(u32),
}

/// The failures of one request.
#[derive(Debug, Default)]
pub struct Suspicion {
    failures: u32,
    ended: u32,
}

impl Suspicion {
    /// The request of so many events failed, and an empty one behind it was answered.
    pub fn failed(&mut self, how: Failure, events: usize, evidence: Evidence) -> Next {
        self.failures += 1;
        match how {
            Failure::Ended => self.ended += 1,
            Failure::Silence => self.ended = 0,
        }
        if events > 1 {
            return if self.failures < FAILURES_TOGETHER { Next::Again } else { Next::Halve };
        }
        if self.ended >= FAILURES_ALONE && evidence.accepted > evidence.rejected {
            Next::Reject(self.ended)
        } else {
            Next::Again
        }
    }

    /// The empty request was not answered either: what failed before may have been the destination's fault too.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS_PASS: Evidence = Evidence { accepted: 1, rejected: 0, quiet: Duration::ZERO };
    const NOTHING_PASSES: Evidence = Evidence { accepted: 0, rejected: 0, quiet: Duration::ZERO };

    /// What is done after each of these failures of a request of so many events.
    fn after(failures: &[Failure], events: usize, evidence: Evidence) -> Vec<Next> {
        let mut suspicion = Suspicion::default();
        failures.iter().map(|how| suspicion.failed(*how, events, evidence)).collect()
    }

    #[test]
    fn several_events_are_halved_when_they_failed_twice_however_they_failed() {
        for how in [Failure::Ended, Failure::Silence] {
            for evidence in [OTHERS_PASS, NOTHING_PASSES] {
                assert_eq!(after(&[how, how], 2, evidence), [Next::Again, Next::Halve]);
            }
        }
    }

    #[test]
    fn one_event_is_rejected_when_it_ended_five_requests_in_a_row_while_others_passed() {
        let nexts = after(&[Failure::Ended; 5], 1, OTHERS_PASS);
        assert_eq!(nexts, [Next::Again, Next::Again, Next::Again, Next::Again, Next::Reject(5)]);
    }

    #[test]
    fn no_event_is_rejected_while_nothing_else_is_accepted() {
        assert!(after(&[Failure::Ended; 100], 1, NOTHING_PASSES).iter().all(|next| *next == Next::Again));
    }

    #[test]
    fn every_rejection_takes_an_accepted_event_of_its_own() {
        let spent = Evidence { accepted: 3, rejected: 3, quiet: Duration::ZERO };
        assert!(after(&[Failure::Ended; 100], 1, spent).iter().all(|next| *next == Next::Again));
        let left = Evidence { accepted: 4, ..spent };
        assert_eq!(after(&[Failure::Ended; 5], 1, left).last(), Some(&Next::Reject(5)));
    }

    #[test]
    fn evidence_that_comes_late_counts_at_the_next_failure() {
        let mut suspicion = Suspicion::default();
        for _ in 0..7 {
            assert_eq!(suspicion.failed(Failure::Ended, 1, NOTHING_PASSES), Next::Again);
        }
        assert_eq!(suspicion.failed(Failure::Ended, 1, OTHERS_PASS), Next::Reject(8));
    }

    #[test]
    fn silence_rejects_nothing_and_breaks_the_row() {
        assert!(after(&[Failure::Silence; 100], 1, OTHERS_PASS).iter().all(|next| *next == Next::Again));
        let mut failures = [Failure::Ended; 9];
        failures[4] = Failure::Silence;
        assert!(after(&failures, 1, OTHERS_PASS).iter().all(|next| *next == Next::Again));
    }

    #[test]
    fn what_failed_together_with_the_destination_is_not_held_against_a_request() {
        let mut suspicion = Suspicion::default();
        for _ in 0..20 {
            for _ in 0..4 {
                assert_eq!(suspicion.failed(Failure::Ended, 1, OTHERS_PASS), Next::Again);
            }
            suspicion.clear();
            assert_eq!(suspicion.failed(Failure::Ended, 2, OTHERS_PASS), Next::Again);
            suspicion.clear();
        }
    }

    #[test]
    fn it_is_an_outage_when_nothing_was_accepted_for_long() {
        let patience = Duration::from_secs(10);
        let quiet = |seconds| Evidence { accepted: 9, rejected: 0, quiet: Duration::from_secs(seconds) };
        assert!(quiet(10).is_outage(patience));
        assert!(!quiet(9).is_outage(patience));
    }
}
