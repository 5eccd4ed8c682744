//! How many requests may be in flight, and which request probes after a failure.
//!
//! The limit grows by one for every round of successes that filled it, and is halved when the collector shows load
//! (AIMD, as TCP does). A failure closes the flow: one request probes, the others wait for it. When a probe fails
//! too, the limit restarts at one and doubles per round up to half of where it was (slow start). It also restarts
//! after a timeout that may be the fault of the request.

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

impl FlowState {
    /// Whether requests may be sent, at once or when another has ended.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Room | Self::Full)
    }
}

/// The right to send one request. It is returned with the result of the request.
#[derive(Debug)]
pub struct Ticket {
    cuts: u64,
    probe: bool,
    /// The request counts against the limit.
    under_way: bool,
}

impl Ticket {
    /// Whether the request probes a member that failed.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe
    }
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
        let ticket = Ticket { cuts: self.cuts, probe: self.closed.is_some(), under_way: true };
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
        self.ended(ticket);
        if ticket.probe {
            self.closed = None;
            self.busy.reset();
        }
        self.closed.is_none()
    }

    /// The request got no answer, and another member's will show why. The ticket is still good for one result.
    /// `was_silent`: it timed out, so one request at a time is risked from now on.
    pub fn doubted(&mut self, ticket: &mut Ticket, was_silent: bool) {
        self.ended(ticket);
        ticket.under_way = false;
        if was_silent && ticket.cuts == self.cuts {
            self.round = 0;
            self.limit = 1;
        }
    }

    /// The request failed with a transient error. `floor`: the minimum pause that the collector asks for. Returns
    /// whether this is new: many requests that fail together count once.
    pub fn failed(&mut self, ticket: &Ticket, now: Instant, floor: Option<Duration>) -> bool {
        self.ended(ticket);
        let news = self.is_news(ticket);
        if news {
            if ticket.probe || !ticket.under_way {
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
        self.ended(ticket);
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
        self.ended(ticket);
        if let Some(closed) = &mut self.closed
            && ticket.probe
        {
            closed.probing = false;
        }
    }

    fn ended(&mut self, ticket: &Ticket) {
        self.under_way -= usize::from(ticket.under_way);
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
mod tests;
