//! Chooses the member for the next request. Pure.
//!
//! The member with the fewest outstanding bytes for its weight is next, so that a slow one gets less. Among
//! equals, the one with the fewest bytes sent for its weight is next; [`Level`] says what counts as sent. A member that
//! failed is closed: its requests go to the others at once. When its pause is over, one request goes to it as a probe.
//!
//! A request goes to a member that takes its size and at which it has not failed. If none of those is open, it goes to
//! any.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::concurrency::FlowState;

/// The state of a member.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Whether it can take a request now.
    pub state: FlowState,
    /// Bytes that were sent to it and are not answered (or, with acknowledgements, not acknowledged).
    pub outstanding: u64,
    /// Bytes sent to it, and those that it missed while it took no requests ([`Level::after`]).
    pub sent: u64,
    /// Its weight relative to the others. Not 0.
    pub weight: u32,
    /// Whether it takes requests of this size, and this one has not failed there.
    pub suits: bool,
}

/// The bytes sent by weight at which all members stand that take requests. One that is new, or comes back, is raised to
/// it: it gets its share from then on, and does not catch up on what the others got.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// [`Candidate::sent`] of a member with this `weight` that had `sent` and gets a request of `bytes` now.
    pub fn after(&self, sent: u64, weight: u32, bytes: u64) -> u64 {
        let weight = u64::from(weight);
        let level = self.0.load(Ordering::Relaxed);
        let start = sent.max(level.saturating_mul(weight));
        self.0.fetch_max(start / weight, Ordering::Relaxed);
        start.saturating_add(bytes)
    }
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Send it to this member.
    Send(usize),
    /// Probe this failed member when its pause is over.
    Probe(usize),
    /// Ask again after a change, or at this time at the latest.
    Wait(Option<Instant>),
}

/// Chooses a member. A request that may itself be the cause of its failure stays at `prefer`, as long as that member
/// takes requests and no other suits; it probes a member only when no other takes it.
#[must_use]
pub fn choose(candidates: &[Candidate], prefer: Option<usize>, now: Instant) -> Choice {
    let some_suit = candidates.iter().any(|candidate| candidate.suits && candidate.state.is_open());
    let eligible = || candidates.iter().enumerate().filter(|(_, candidate)| candidate.suits || !some_suit);
    let closed = eligible().filter_map(|(number, candidate)| match candidate.state {
        FlowState::Closed { until } => Some((until, number)),
        _ => None,
    });
    let first_back = closed.min();
    let is_full = eligible().any(|(_, candidate)| candidate.state == FlowState::Full);
    let room = || eligible().filter(|(_, candidate)| candidate.state == FlowState::Room);
    let is_room = |number: &usize| room().any(|(with_room, _)| with_room == *number);
    if let Some(preferred) = prefer.filter(is_room) {
        return Choice::Send(preferred);
    }
    let may_probe = prefer.is_none();
    if let Some((until, number)) = first_back
        && may_probe
        && until <= now
    {
        return Choice::Probe(number);
    }
    let share = |bytes: u64, candidate: &Candidate| bytes as f64 / f64::from(candidate.weight);
    let least = room().min_by(|(_, one), (_, other)| {
        let outstanding = share(one.outstanding, one).total_cmp(&share(other.outstanding, other));
        outstanding.then(share(one.sent, one).total_cmp(&share(other.sent, other)))
    });
    if let Some((number, _)) = least {
        return Choice::Send(number);
    }
    match first_back {
        Some((_, number)) if !is_full => Choice::Probe(number),
        _ => Choice::Wait(first_back.filter(|_| may_probe).map(|(until, _)| until)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ROOM: FlowState = FlowState::Room;

    fn candidate(state: FlowState, outstanding: u64) -> Candidate {
        Candidate { state, outstanding, sent: 0, weight: 1, suits: true }
    }

    fn closed(until: Instant) -> Candidate {
        candidate(FlowState::Closed { until }, 0)
    }

    #[test]
    fn the_member_with_the_fewest_outstanding_bytes_per_weight_wins_and_then_the_fewest_sent() {
        let now = Instant::now();
        let bytes = |bytes: [u64; 3]| bytes.map(|bytes| candidate(ROOM, bytes));
        assert_eq!(choose(&bytes([30, 10, 20]), None, now), Choice::Send(1));
        let heavy = [candidate(ROOM, 10), Candidate { weight: 4, ..candidate(ROOM, 30) }];
        assert_eq!(choose(&heavy, None, now), Choice::Send(1));
        let idle = [5, 3, 4].map(|sent| Candidate { sent, ..candidate(ROOM, 0) });
        assert_eq!(choose(&idle, None, now), Choice::Send(1));
        let heavy_and_idle = [(1, 10), (4, 30)].map(|(weight, sent)| Candidate { sent, weight, ..candidate(ROOM, 0) });
        assert_eq!(choose(&heavy_and_idle, None, now), Choice::Send(1));
        let busy = [(30, 1), (10, 99)].map(|(outstanding, sent)| Candidate { sent, ..candidate(ROOM, outstanding) });
        assert_eq!(choose(&busy, None, now), Choice::Send(1), "what was sent long ago decides between equals alone");
        assert_eq!(choose(&bytes([0, 10, 20]), Some(2), now), Choice::Send(2), "it is to stay where it is");
    }

    /// Sends a request of `bytes` to one of the members with room, as if it were answered at once.
    fn send(members: &mut [Candidate], level: &Level, bytes: u64) -> usize {
        let Choice::Send(number) = choose(members, None, Instant::now()) else { panic!("a member has room") };
        let member = &mut members[number];
        member.sent = level.after(member.sent, member.weight, bytes);
        number
    }

    #[test]
    fn a_member_that_comes_back_or_is_new_gets_its_share_from_then_on_and_not_what_it_missed() {
        let level = Level::default();
        let mut members = [1, 3, 1].map(|weight| Candidate { weight, ..candidate(ROOM, 0) });
        let check = |members: &mut [Candidate], requests: u64, expected: &[u64]| {
            let mut shares = vec![0_u64; members.len()];
            (0..requests).for_each(|number| shares[send(members, &level, 100 + number % 7)] += 1);
            let is_near = shares.iter().zip(expected).all(|(share, expected)| share.abs_diff(*expected) <= 2);
            assert!(is_near, "{shares:?} instead of {expected:?}");
        };
        check(&mut members, 500, &[100, 300, 100]);
        members[1].state = FlowState::Closed { until: Instant::now() + Duration::from_secs(3_600) };
        check(&mut members, 1_000, &[500, 0, 500]);
        members[1].state = ROOM;
        check(&mut members, 500, &[100, 300, 100]);
        let mut with_new = [members.as_slice(), &[candidate(ROOM, 0)]].concat();
        check(&mut with_new, 600, &[100, 300, 100, 100]);
    }

    #[test]
    fn requests_of_a_closed_member_go_to_the_others_until_a_probe_succeeds() {
        let now = Instant::now();
        let soon = now + Duration::from_secs(1);
        let members = [closed(soon), candidate(ROOM, 99)];
        assert_eq!(choose(&members, None, now), Choice::Send(1));
        assert_eq!(choose(&members, Some(0), now), Choice::Send(1), "it does not take it");
        assert_eq!(choose(&members, None, soon), Choice::Probe(0));
        let probed = [candidate(FlowState::Probing, 0), candidate(ROOM, 99)];
        assert_eq!(choose(&probed, None, soon), Choice::Send(1));
    }

    #[test]
    fn when_no_member_accepts_requests_one_waits_for_the_first_that_will() {
        let now = Instant::now();
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
        let full = candidate(FlowState::Full, 5);
        assert_eq!(choose(&[full, full], None, now), Choice::Wait(None));
        assert_eq!(choose(&[full, closed(soon)], None, now), Choice::Wait(Some(soon)));
        assert_eq!(
            choose(&[closed(later), closed(soon)], None, now),
            Choice::Probe(1),
            "there is nothing better to do"
        );
        let probing = candidate(FlowState::Probing, 0);
        assert_eq!(choose(&[probing, probing], None, now), Choice::Wait(None));
        assert_eq!(choose(&[probing, closed(soon)], None, now), Choice::Probe(1), "the other's probe may take long");
    }

    /// It does not take the request's size, or the request has failed there.
    fn unsuited(state: FlowState) -> Candidate {
        Candidate { suits: false, ..candidate(state, 0) }
    }

    #[test]
    fn a_request_goes_or_waits_for_a_member_that_suits_and_to_another_only_if_none_is_open() {
        let now = Instant::now();
        let soon = now + Duration::from_secs(1);
        let full = candidate(FlowState::Full, 5);
        assert_eq!(choose(&[unsuited(ROOM), candidate(ROOM, 99)], None, now), Choice::Send(1));
        assert_eq!(choose(&[unsuited(ROOM), full], None, now), Choice::Wait(None));
        assert_eq!(choose(&[unsuited(ROOM), closed(soon)], None, now), Choice::Send(0));
        let due = Candidate { suits: false, ..closed(now) };
        assert_eq!(choose(&[due, candidate(ROOM, 99)], None, now), Choice::Send(1), "nor does it probe there");
        assert_eq!(choose(&[due], None, now), Choice::Probe(0));
    }

    #[test]
    fn a_request_that_failed_goes_to_another_member_and_stays_where_it_failed_last_when_there_is_none() {
        let now = Instant::now();
        assert_eq!(choose(&[unsuited(ROOM), candidate(ROOM, 99)], Some(0), now), Choice::Send(1));
        assert_eq!(choose(&[unsuited(ROOM), unsuited(ROOM)], Some(1), now), Choice::Send(1));
    }

    #[test]
    fn a_request_that_failed_probes_no_member_while_another_takes_it() {
        let now = Instant::now();
        assert_eq!(choose(&[unsuited(ROOM), closed(now), candidate(ROOM, 99)], Some(0), now), Choice::Send(2));
        let full = candidate(FlowState::Full, 5);
        assert_eq!(choose(&[unsuited(ROOM), closed(now), full], Some(0), now), Choice::Wait(None));
        assert_eq!(choose(&[closed(now)], Some(0), now), Choice::Probe(0));
    }
}
