//! How many requests may be in flight, and which request probes after a failure.
//!
//! The limit grows by one for every round of successes that filled it, and is halved when the collector shows load
//! (AIMD, as TCP does). A failure closes the flow: one request probes, the others wait for it. When a probe fails
//! too, the limit restarts at one and doubles per round up to half of where it was (slow start).

use tokio::time::{Duration, Instant};

use crate::core::backoff::Backoff;

/// Requests in flight at the start.
const INITIAL_REQUESTS: usize = 4;

/// The concurrency limit of one member, for all shards. Pure: `now` is an argument, decisions are returned.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    most: usize,
    limit: usize,
    /// Below it the limit grows with every success.
    threshold: usize,
    /// Successes since the limit last grew.
    round: usize,
    under_way: usize,
    /// Counts the cuts: a request sent before a cut must not cause another cut.
    cuts: u64,
    closed: Option<Closed>,
    busy: Backoff,
    hold: Backoff,
    hold_floor: Duration,
}

#[derive(Debug)]
struct Closed {
    until: Instant,
    probing: bool,
}

/// The answer to a request that wants to be sent.
#[derive(Debug)]
pub enum Admit {
    /// Send.
    Go(Ticket),
    /// Probe: wait until then, and send.
    Probe(Ticket, Instant),
    /// Ask again after a change.
    Wait,
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowState {
    /// Yes.
    Room,
    /// When another request has ended.
    Full,
    /// One may probe, from then on; the others wait for its result.
    Closed {
        /// When.
        until: Instant,
    },
    /// One is probing, and the others wait for its result.
    Probing,
}

/// The right to send one request. It is returned with the result of the request.
#[derive(Debug)]
pub struct Ticket {
    cuts: u64,
    probe: bool,
}

impl ConcurrencyLimit {
    /// An open flow of at most `most` requests. It waits `busy` after a failure, `hold_floor` and `hold` after a
    /// refusal.
    #[must_use]
    pub fn new(most: usize, busy: Backoff, hold: Backoff, hold_floor: Duration) -> Self {
        let most = most.max(1);
        Self {
            most,
            limit: INITIAL_REQUESTS.min(most),
            threshold: INITIAL_REQUESTS.min(most),
            round: 0,
            under_way: 0,
            cuts: 0,
            closed: None,
            busy,
            hold,
            hold_floor,
        }
    }

    /// The answer that a request would get now.
    #[must_use]
    pub fn state(&self) -> FlowState {
        match &self.closed {
            Some(closed) if closed.probing => FlowState::Probing,
            Some(closed) => FlowState::Closed { until: closed.until },
            None if self.under_way < self.limit => FlowState::Room,
            None => FlowState::Full,
        }
    }

    /// Requests the right to send.
    pub fn admit(&mut self) -> Admit {
        let ticket = Ticket { cuts: self.cuts, probe: self.closed.is_some() };
        match &mut self.closed {
            Some(closed) if closed.probing => Admit::Wait,
            Some(closed) => {
                closed.probing = true;
                self.under_way += 1;
                Admit::Probe(ticket, closed.until)
            }
            None if self.under_way < self.limit => {
                self.under_way += 1;
                Admit::Go(ticket)
            }
            None => Admit::Wait,
        }
    }

    /// The request was accepted. `slow_down`: the collector reported that its queue fills up. Returns whether the
    /// flow is open.
    pub fn taken(&mut self, ticket: &Ticket, slow_down: bool) -> bool {
        let was_full = self.under_way >= self.limit;
        let open = self.answered(ticket);
        if slow_down {
            self.cut(ticket);
        } else if was_full && open && self.limit < self.most {
            self.round += 1;
            if self.limit < self.threshold || self.round >= self.limit {
                self.limit += 1;
                self.round = 0;
            }
        }
        open
    }

    /// The collector works, and its answer concerns only the events of the request. Returns whether the flow is open:
    /// what was sent before it closed does not open it.
    pub fn answered(&mut self, ticket: &Ticket) -> bool {
        self.under_way -= 1;
        if ticket.probe {
            self.closed = None;
            self.busy.reset();
        }
        self.closed.is_none()
    }

    /// The request failed with a transient error. `floor`: the minimum pause that the collector asks for. Returns
    /// whether this is new: many requests that fail together count once.
    pub fn failed(&mut self, ticket: &Ticket, now: Instant, floor: Option<Duration>) -> bool {
        self.under_way -= 1;
        let news = self.is_news(ticket);
        if news {
            if ticket.probe {
                self.restart();
            } else {
                self.cut(ticket);
            }
            let until = now + self.busy.next(floor);
            self.closed = Some(Closed { until, probing: false });
        } else if let (Some(closed), Some(floor)) = (&mut self.closed, floor) {
            closed.until = closed.until.max(now + floor);
        }
        news
    }

    /// The collector refuses requests until the operator changes something. Returns whether this is new.
    pub fn held(&mut self, ticket: &Ticket, now: Instant) -> bool {
        self.under_way -= 1;
        let news = self.is_news(ticket);
        if news {
            self.restart();
            let until = now + self.hold.next(Some(self.hold_floor));
            self.closed = Some(Closed { until, probing: false });
        }
        news
    }

    /// Nothing was sent, or the answer was not awaited.
    pub fn dropped(&mut self, ticket: &Ticket) {
        self.under_way -= 1;
        if let Some(closed) = &mut self.closed
            && ticket.probe
        {
            closed.probing = false;
        }
    }

    /// The probe decides, or the first of several requests in flight.
    fn is_news(&self, ticket: &Ticket) -> bool {
        ticket.probe || (self.closed.is_none() && ticket.cuts == self.cuts)
    }

    /// From one request up again; the threshold stays.
    fn restart(&mut self) {
        self.cuts += 1;
        self.round = 0;
        self.limit = 1;
    }

    /// Halves the limit, once for all requests that were in flight together.
    fn cut(&mut self, ticket: &Ticket) {
        if ticket.cuts == self.cuts {
            self.cuts += 1;
            self.round = 0;
            self.limit = (self.limit / 2).max(1);
            self.threshold = self.limit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(250);

    fn flow(most: usize) -> ConcurrencyLimit {
        let busy = Backoff::new(STEP, 100 * STEP, 1);
        let hold = Backoff::new(Duration::from_secs(20), Duration::from_secs(20), 2);
        ConcurrencyLimit::new(most, busy, hold, Duration::from_secs(10))
    }

    /// All requests that may be sent now.
    fn admitted(flow: &mut ConcurrencyLimit) -> Vec<Ticket> {
        std::iter::from_fn(|| match flow.admit() {
            Admit::Go(ticket) => Some(ticket),
            Admit::Probe(..) | Admit::Wait => None,
        })
        .collect()
    }

    fn round_of_successes(flow: &mut ConcurrencyLimit) -> usize {
        let tickets = admitted(flow);
        for _ in &tickets {
            // Each is replaced at once, so that the limit stays full.
            flow.taken(&Ticket { cuts: flow.cuts, probe: false }, false);
            let _ = admitted(flow);
        }
        let count = tickets.len();
        flow.under_way = 0;
        count
    }

    #[track_caller]
    fn probe(flow: &mut ConcurrencyLimit) -> (Ticket, Instant) {
        match flow.admit() {
            Admit::Probe(ticket, at) => (ticket, at),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_starts_with_four_and_adds_one_per_full_round_up_to_the_maximum() {
        let mut flow = flow(6);
        let rounds: Vec<_> = (0..4).map(|_| round_of_successes(&mut flow)).collect();
        assert_eq!(rounds, [4, 5, 6, 6]);
    }

    #[test]
    fn a_limit_that_is_not_used_up_does_not_grow() {
        let mut flow = flow(8);
        for _ in 0..100 {
            let Admit::Go(ticket) = flow.admit() else { panic!() };
            flow.taken(&ticket, false);
        }
        assert_eq!(admitted(&mut flow).len(), 4);
    }

    #[test]
    fn signs_of_load_halve_the_limit_once_for_all_requests_in_flight() {
        let mut flow = flow(8);
        for ticket in admitted(&mut flow) {
            flow.taken(&ticket, true);
        }
        assert_eq!(admitted(&mut flow).len(), 2);
    }

    #[test]
    fn after_a_failure_one_probes_and_the_others_wait() {
        let (mut flow, now) = (flow(8), Instant::now());
        let tickets = admitted(&mut flow);
        let news: Vec<_> = tickets.iter().map(|ticket| flow.failed(ticket, now, None)).collect();
        assert_eq!(news, [true, false, false, false]);
        let (ticket, at) = probe(&mut flow);
        assert!(at <= now + STEP, "all four failures are one");
        assert!(matches!(flow.admit(), Admit::Wait));
        flow.taken(&ticket, false);
        assert_eq!(admitted(&mut flow).len(), 2);
    }

    #[test]
    fn after_an_outage_it_starts_with_one_and_doubles_per_round() {
        let (mut flow, now) = (flow(64), Instant::now());
        flow.limit = 32;
        let tickets = admitted(&mut flow);
        for ticket in &tickets {
            flow.failed(ticket, now, None);
        }
        for _ in 0..5 {
            let (ticket, _) = probe(&mut flow);
            flow.failed(&ticket, now, None);
        }
        let (ticket, _) = probe(&mut flow);
        flow.taken(&ticket, false);
        let limits: Vec<_> = (0..6).map(|_| round_of_successes(&mut flow)).collect();
        assert_eq!(limits, [2, 4, 8, 16, 17, 18], "doubles up to half of 32");
    }

    #[test]
    fn the_probe_waits_longer_from_failure_to_failure_and_short_again_after_a_success() {
        let (mut flow, now) = (flow(8), Instant::now());
        let Admit::Go(ticket) = flow.admit() else { panic!() };
        flow.failed(&ticket, now, None);
        let mut longest = Duration::ZERO;
        for _ in 0..8 {
            let (ticket, at) = probe(&mut flow);
            longest = longest.max(at - now);
            flow.failed(&ticket, now, None);
        }
        assert!(longest > 4 * STEP, "{longest:?}");
        let (ticket, _) = probe(&mut flow);
        flow.taken(&ticket, false);
        let Admit::Go(ticket) = flow.admit() else { panic!() };
        flow.failed(&ticket, now, None);
        assert!(probe(&mut flow).1 <= now + STEP);
    }

    #[test]
    fn a_retry_after_is_respected_even_if_it_comes_with_a_late_failure() {
        let (mut flow, now) = (flow(8), Instant::now());
        let tickets = admitted(&mut flow);
        flow.failed(&tickets[0], now, None);
        flow.failed(&tickets[1], now, Some(Duration::from_secs(9)));
        assert!(probe(&mut flow).1 >= now + Duration::from_secs(9));
    }

    #[test]
    fn a_failure_from_before_the_probe_does_not_close_what_the_probe_opened() {
        let (mut flow, now) = (flow(8), Instant::now());
        let tickets = admitted(&mut flow);
        flow.failed(&tickets[0], now, None);
        let (ticket, _) = probe(&mut flow);
        flow.taken(&ticket, false);
        flow.failed(&tickets[1], now, None);
        flow.held(&tickets[2], now);
        assert!(matches!(flow.admit(), Admit::Go(_)));
    }

    #[test]
    fn a_success_from_before_the_failure_does_not_open_what_is_closed() {
        let (mut flow, now) = (flow(8), Instant::now());
        let tickets = admitted(&mut flow);
        flow.failed(&tickets[0], now, None);
        assert!(!flow.taken(&tickets[1], false));
        assert!(matches!(flow.admit(), Admit::Probe(..)));
    }

    #[test]
    fn a_refusal_is_probed_by_one_request_every_ten_to_thirty_seconds() {
        let (mut flow, now) = (flow(8), Instant::now());
        let Admit::Go(ticket) = flow.admit() else { panic!() };
        flow.held(&ticket, now);
        for _ in 0..50 {
            let (ticket, at) = probe(&mut flow);
            let wait = at - now;
            assert!(wait >= Duration::from_secs(10) && wait <= Duration::from_secs(30), "{wait:?}");
            assert!(matches!(flow.admit(), Admit::Wait));
            flow.held(&ticket, now);
        }
    }

    #[test]
    fn concurrent_refusals_count_as_one_and_delivery_resumes_slowly() {
        let (mut flow, now) = (flow(8), Instant::now());
        let tickets = admitted(&mut flow);
        let news: Vec<_> = tickets.iter().map(|ticket| flow.held(ticket, now)).collect();
        assert_eq!(news, [true, false, false, false]);
        let (ticket, _) = probe(&mut flow);
        flow.taken(&ticket, false);
        assert_eq!(admitted(&mut flow).len(), 2);
    }

    #[test]
    fn a_cancelled_request_frees_its_slot() {
        let mut flow = flow(8);
        for ticket in admitted(&mut flow) {
            flow.dropped(&ticket);
        }
        assert_eq!(admitted(&mut flow).len(), 4);
    }

    /// When each of fifty instances that failed at the same time tries again after an outage of this length.
    fn first_tries(outage: Duration) -> Vec<Duration> {
        let began = Instant::now();
        let first_try = |seed| {
            let hold = Backoff::new(Duration::ZERO, Duration::ZERO, 0);
            let mut flow = ConcurrencyLimit::new(8, Backoff::usual(seed), hold, Duration::ZERO);
            for ticket in admitted(&mut flow) {
                flow.failed(&ticket, began, None);
            }
            loop {
                let (ticket, at) = probe(&mut flow);
                if at >= began + outage {
                    assert!(matches!(flow.admit(), Admit::Wait), "one request, not four");
                    return at - began - outage;
                }
                flow.failed(&ticket, at, None);
            }
        };
        (0..50).map(first_try).collect()
    }

    #[test]
    fn f85_fifty_instances_do_not_return_at_once() {
        for outage in [60, 600, 3_600] {
            let tries = first_tries(Duration::from_secs(outage));
            let in_second = |second: u64| tries.iter().filter(|at| at.as_secs() == second).count();
            let busiest = (0..=30).map(in_second).max().unwrap();
            assert!(busiest <= 8, "{busiest} of 50 in one second after {outage} s");
            assert!(tries.iter().all(|at| *at <= Duration::from_secs(30)), "{tries:?}");
        }
    }

    #[test]
    fn a_cancelled_probe_passes_its_turn_on() {
        let (mut flow, now) = (flow(8), Instant::now());
        let Admit::Go(ticket) = flow.admit() else { panic!() };
        flow.failed(&ticket, now, None);
        let (ticket, at) = probe(&mut flow);
        flow.dropped(&ticket);
        assert_eq!(probe(&mut flow).1, at);
    }

    #[test]
    fn a_reply_about_single_events_also_ends_the_outage() {
        let (mut flow, now) = (flow(8), Instant::now());
        let Admit::Go(ticket) = flow.admit() else { panic!() };
        flow.failed(&ticket, now, None);
        let (ticket, _) = probe(&mut flow);
        flow.answered(&ticket);
        assert!(matches!(flow.admit(), Admit::Go(_)));
    }
}
