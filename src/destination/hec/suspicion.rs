//! Decides whether a request without an answer from a collector is itself the cause. A pure state machine.
//!
//! A request that is cut off, or answered by something other than a collector, proves little by itself. The collector
//! may be down; or a device on the way rejects the size of this request, or one of its events.
//!
//! So the request goes to other members first. If one of them answers it, those where it failed are at fault, and the
//! request is not suspected. If it fails there too, or no other member takes it, an empty request is sent after each
//! failure. If that is not answered either, the destination is down, and the request is not suspected. If it is
//! answered, the request itself fails: it is sent again, then in halves, down to one event.
//!
//! An event is rejected when its request was ended five times in a row while the empty ones were answered, and other
//! events were accepted since it failed first, alone or in a larger request: each rejection uses one accepted event
//! as evidence. A collector that accepts nothing is broken, however it answers empty requests. Timeouts and gateway
//! errors halve a request, but never reject an event: a slow or partly broken collector causes them for any request.

use std::time::Duration;

/// A request goes to this many members before it is suspected.
const MEMBERS: usize = 3;

/// Failures in a row at one member after which a request of several events is halved.
const FAILURES_TOGETHER: u32 = 2;

/// Number of times in a row that the peer must end a request of one event before the event is the cause.
const FAILURES_ALONE: u32 = 5;

/// How a request got no answer from a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The peer ended the connection, or something else answered: the request itself may be the cause.
    Ended,
    /// No reply arrived in time, or a gateway reports that it got none.
    Silence,
}

/// Results of other events since the first failure of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Events that the collector accepted.
    pub accepted: u64,
    /// Events that were rejected for the end of their requests.
    pub rejected: u64,
    /// How long nothing has been accepted, counted at most from the time the request was sent.
    pub quiet: Duration,
}

impl Evidence {
    /// Whether the destination accepts nothing, whatever it answers to empty requests.
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
    /// Its only event is refused for good: it ended this many requests in a row.
    Reject(u32),
}

/// Whether a request that failed at this many members may still go to others before it is suspected.
#[must_use]
pub fn may_go_elsewhere(failed_at: usize) -> bool {
    failed_at < MEMBERS
}

/// The failures of one request at one member.
#[derive(Debug, Default)]
pub struct Suspicion {
    failures: u32,
    ended: u32,
}

impl Suspicion {
    /// The request of this many events failed, and an empty one after it was answered.
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

    /// It goes to another member, where the cause may not exist; or the empty request was not answered either, and
    /// earlier failures may have been caused by the destination too.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS_PASS: Evidence = Evidence { accepted: 1, rejected: 0, quiet: Duration::ZERO };
    const NOTHING_PASSES: Evidence = Evidence { accepted: 0, rejected: 0, quiet: Duration::ZERO };

    /// The decisions after each of these failures of a request of this many events.
    fn after(failures: &[Failure], events: usize, evidence: Evidence) -> Vec<Next> {
        let mut suspicion = Suspicion::default();
        failures.iter().map(|how| suspicion.failed(*how, events, evidence)).collect()
    }

    #[test]
    fn a_request_goes_to_three_members_before_it_is_suspected() {
        assert_eq!([1, 2, 3, 4].map(may_go_elsewhere), [true, true, false, false]);
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
    fn an_event_is_rejected_when_it_ended_five_requests_in_a_row_while_others_passed() {
        let nexts = after(&[Failure::Ended; 5], 1, OTHERS_PASS);
        assert_eq!(nexts, [Next::Again, Next::Again, Next::Again, Next::Again, Next::Reject(5)]);
    }

    #[test]
    fn no_event_is_rejected_while_nothing_else_is_accepted() {
        assert!(after(&[Failure::Ended; 100], 1, NOTHING_PASSES).iter().all(|next| *next == Next::Again));
    }

    #[test]
    fn every_rejection_requires_another_accepted_event() {
        let spent = Evidence { accepted: 3, rejected: 3, quiet: Duration::ZERO };
        assert!(after(&[Failure::Ended; 100], 1, spent).iter().all(|next| *next == Next::Again));
        let left = Evidence { accepted: 4, ..spent };
        assert_eq!(after(&[Failure::Ended; 5], 1, left).last(), Some(&Next::Reject(5)));
    }

    #[test]
    fn late_evidence_counts_at_the_next_failure() {
        let mut suspicion = Suspicion::default();
        for _ in 0..7 {
            assert_eq!(suspicion.failed(Failure::Ended, 1, NOTHING_PASSES), Next::Again);
        }
        assert_eq!(suspicion.failed(Failure::Ended, 1, OTHERS_PASS), Next::Reject(8));
    }

    #[test]
    fn a_timeout_rejects_nothing_and_restarts_the_count() {
        assert!(after(&[Failure::Silence; 100], 1, OTHERS_PASS).iter().all(|next| *next == Next::Again));
        let mut failures = [Failure::Ended; 9];
        failures[4] = Failure::Silence;
        assert!(after(&failures, 1, OTHERS_PASS).iter().all(|next| *next == Next::Again));
    }

    #[test]
    fn failures_during_an_outage_do_not_count_against_a_request() {
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
