//! Decides when a member whose indexers do not acknowledge gets a request. Pure.
//!
//! Such a member accepts events that then wait for `hec.ack_timeout` and are sent again elsewhere. From the first request
//! that expires on, it therefore gets only probes, one at a time, until its indexers acknowledge any request. A probe
//! is a copy of a few events that another member delivers, so no log waits for it. An event that a probe shows to be bad
//! is rejected.

use std::time::Duration;

use tokio::time::Instant;

use super::concurrency::FlowState;

/// Maximum size of a probe, in bytes. A single event is sent whatever its size is.
pub(super) const PROBE_BYTES: usize = 16 * 1024;

/// The probes of one member.
#[derive(Debug)]
pub(super) struct AckProbes {
    /// From one to the next: one that is refused must not be followed by another at once.
    interval: Duration,
    /// One is in flight, or waits for its acknowledgement.
    is_probing: bool,
    /// When the next one may begin.
    not_before: Option<Instant>,
}

impl AckProbes {
    /// None is sent yet. `interval`: the shortest time from one to the next.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, is_probing: false, not_before: None }
    }

    /// Whether the member can take a request, if its flow is in this state.
    pub(super) fn state(&self, flow: FlowState, now: Instant) -> FlowState {
        let earliest = self.not_before.unwrap_or(now);
        match flow {
            _ if self.is_probing => FlowState::Probing,
            FlowState::Room => FlowState::Closed { until: earliest },
            FlowState::Closed { until } => FlowState::Closed { until: until.max(earliest) },
            FlowState::Full | FlowState::Probing => FlowState::Probing,
        }
    }

    /// Begins a probe, which may be sent at the returned time. `None`: there is one already.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Instant> {
        let is_free = !std::mem::replace(&mut self.is_probing, true);
        is_free.then(|| self.not_before.unwrap_or(now))
    }

    /// The probe is sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.not_before = Some(now + self.interval);
    }

    /// The probe that was sent decides nothing, because one of its events was refused.
    pub(super) fn undecided(&mut self) {
        self.not_before = None;
    }

    /// The probe was not sent or not accepted, or its acknowledgement arrived or expired.
    pub(super) fn end(&mut self) {
        self.is_probing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn one_probe_at_a_time_and_the_next_one_after_a_pause() {
        let (now, mut probes) = (Instant::now(), AckProbes::new(INTERVAL));
        assert_eq!(probes.state(FlowState::Room, now), FlowState::Closed { until: now });
        assert_eq!(probes.begin(now), Some(now));
        assert_eq!(probes.state(FlowState::Room, now), FlowState::Probing);
        assert_eq!(probes.begin(now), None);
        probes.end();
        assert_eq!(probes.begin(now), Some(now), "the first one was not sent");
        probes.sent(now);
        probes.end();
        let next = now + INTERVAL;
        assert_eq!(probes.state(FlowState::Room, now), FlowState::Closed { until: next });
        assert_eq!(probes.begin(now), Some(next));
        probes.undecided();
        probes.end();
        assert_eq!(probes.begin(now), Some(now), "an event was refused, and the next probe does not have it");
    }

    #[test]
    fn a_member_that_fails_too_is_probed_when_both_pauses_are_over() {
        let (now, mut probes) = (Instant::now(), AckProbes::new(INTERVAL));
        let closed = |seconds| FlowState::Closed { until: now + Duration::from_secs(seconds) };
        assert_eq!(probes.state(closed(5), now), closed(5));
        probes.sent(now);
        assert_eq!(probes.state(closed(5), now), closed(10));
        assert_eq!(probes.state(closed(15), now), closed(15));
        assert_eq!(probes.state(FlowState::Probing, now), FlowState::Probing);
        assert_eq!(probes.state(FlowState::Full, now), FlowState::Probing, "earlier requests are in flight");
    }
}
