//! Assigns the requests of all shards to members.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::choice::{Candidate, Choice, choose};
use super::concurrency::{Admit, ConcurrencyLimit, FlowState, Ticket};
use super::failures::Failures;
use super::indexing::AckProbe;
use super::member::Member;
use super::roster::Roster;
use super::suspicion::Failure;
use super::verdict::Verdict;
use crate::destination::Health;

/// The members, and which of them gets a request.
#[derive(Debug)]
pub(super) struct Members {
    roster: Roster,
    /// How often the token's file is read while a member refuses requests.
    token_poll: Duration,
}

impl Members {
    /// Creates the assignment for these members.
    pub(super) fn new(roster: Roster, token_poll: Duration) -> Self {
        Self { roster, token_poll }
    }

    /// The current members.
    pub(super) fn all(&self) -> Arc<[Arc<Member>]> {
        self.roster.all()
    }

    /// These, and the ones that get no more requests but still wait for acknowledgements.
    pub(super) fn with_leaving(&self) -> Vec<Arc<Member>> {
        self.roster.with_leaving()
    }

    /// Looks up new and removed members, if that is due.
    pub(super) async fn refresh(&self) {
        if self.roster.refresh().await {
            self.roster.changed().notify_waiters();
        }
    }

    /// The same, as if it were this time.
    #[cfg(test)]
    pub(super) async fn look_up(&self, now: Instant) {
        self.roster.look_up(now).await;
        self.roster.changed().notify_waiters();
    }

    /// The largest request size that any open member accepts, or any member if none is open.
    pub(super) fn most_bytes(&self, now: Instant) -> usize {
        let largest = self.all().iter().map(|member| (member.is_open(now), member.most_bytes(now))).max();
        largest.map(|(_, bytes)| bytes).unwrap_or_default()
    }

    /// The members that take a request, at which it has not failed.
    pub(super) fn others_for(&self, wanted: &Wanted<'_>) -> Vec<Arc<Member>> {
        let now = Instant::now();
        let takes = |member: &Arc<Member>| member.is_open(now) && wanted.fits(member, now);
        let all = self.all();
        all.iter().filter(|member| takes(member) && !wanted.failures.include(member)).cloned().collect()
    }

    /// Waits for the right to send one request.
    pub(super) async fn turn(&self, wanted: &Wanted<'_>) -> Permit<'_> {
        loop {
            self.refresh().await;
            // Subscribes before it asks, so that no change is missed in between.
            let changed = self.roster.changed().notified();
            let members = self.all();
            let last = wanted.failures.last();
            let prefer = last.and_then(|last| members.iter().position(|member| Arc::ptr_eq(member, last)));
            let now = Instant::now();
            let candidates: Vec<Candidate> = members.iter().map(|member| wanted.candidate(member, now)).collect();
            let member = match choose(&candidates, prefer, now) {
                Choice::Send(number) | Choice::Probe(number) => &members[number],
                Choice::Wait(None) => {
                    changed.await;
                    continue;
                }
                Choice::Wait(Some(until)) => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                    continue;
                }
            };
            let admitted = member.limit().admit();
            let (ticket, mut at) = match admitted {
                Admit::Go(ticket) => (ticket, now),
                Admit::Probe(ticket, at) => (ticket, at),
                // Another request was faster.
                Admit::Wait => continue,
            };
            let mut permit =
                Permit { members: self, member: Arc::clone(member), ticket: Some(ticket), ack_probe: None };
            if let Some(acks) = member.acks.as_ref().filter(|_| member.takes_only_probes()) {
                let Some((probe, earliest)) = acks.probe(now) else { continue };
                at = at.max(earliest);
                permit.ack_probe = Some(probe);
            }
            // A timer may end slightly early, and another member's free slot would end this wait.
            if at <= Instant::now() {
                return permit;
            }
            let refused = matches!(member.request_health.health(), Health::Refusing { .. });
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(at) => return permit,
                () = member.endpoint.token_changed(self.token_poll), if refused => return permit,
                () = self.another_opens(member) => {}
            }
        }
    }

    /// Resolves when a request may go to another member, or may not go to this one.
    async fn another_opens(&self, this: &Arc<Member>) {
        loop {
            let changed = self.roster.changed().notified();
            let members = self.all();
            let now = Instant::now();
            let (these, others): (Vec<_>, Vec<_>) = members.iter().partition(|member| Arc::ptr_eq(member, this));
            if these.is_empty() || others.iter().any(|member| member.state(now) == FlowState::Room) {
                return;
            }
            changed.await;
        }
    }
}

/// A request that wants to be sent.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Its size.
    pub(super) bytes: usize,
    /// Its number of events.
    pub(super) events: usize,
    /// Where it failed.
    pub(super) failures: &'a Failures,
}

impl Wanted<'_> {
    /// Whether a member takes its size. A single event is sent whatever its size is.
    pub(super) fn fits(&self, member: &Member, now: Instant) -> bool {
        self.events <= 1 || self.bytes <= member.most_bytes(now)
    }

    fn candidate(&self, member: &Arc<Member>, now: Instant) -> Candidate {
        // A probe for acknowledgements is only a part of the request.
        let takes_its_size = self.fits(member, now) || member.takes_only_probes();
        member.candidate(takes_its_size && !self.failures.avoid(member), now)
    }
}

/// The right to send a request to a member. It is returned even if the request is dropped.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    members: &'a Members,
    member: Arc<Member>,
    ticket: Option<Ticket>,
    ack_probe: Option<AckProbe>,
}

impl Permit<'_> {
    /// The member.
    pub(super) fn member(&self) -> Arc<Member> {
        Arc::clone(&self.member)
    }

    /// Whether the request probes a member that failed.
    pub(super) fn is_probe(&self) -> bool {
        self.ticket.as_ref().is_some_and(Ticket::is_probe)
    }

    /// The right to probe the member for acknowledgements, if it takes only that.
    pub(super) fn take_ack_probe(&mut self) -> Option<AckProbe> {
        self.ack_probe.take()
    }

    /// The request got no answer, and another member's will show why. Frees its slot.
    pub(super) fn doubt(&mut self, how: Failure) {
        if let Some(ticket) = &mut self.ticket {
            self.member.limit().doubted(ticket, how == Failure::Silence);
        }
        self.members.roster.changed().notify_waiters();
    }

    /// The member failed a request that was sent at this time: a transient error, or a refusal.
    pub(super) fn fail(self, verdict: &Verdict, sent_at: Instant) {
        let now = Instant::now();
        let member = self.member();
        let is_news = self.settle(|flow, ticket| match verdict {
            Verdict::Retry { floor, .. } => flow.failed(ticket, now, *floor),
            _ => flow.held(ticket, now),
        });
        match verdict {
            Verdict::Retry { floor, cause, .. } if is_news => {
                member.request_health.failed_until(sent_at, now, now + floor.unwrap_or_default(), cause);
            }
            Verdict::Hold { cause } if is_news => member.request_health.held(now, cause),
            _ => {}
        }
    }

    /// Reports the result of the request to the member's limit, and returns its decision.
    pub(super) fn settle(mut self, account: impl FnOnce(&mut ConcurrencyLimit, &Ticket) -> bool) -> bool {
        self.ticket.take().is_some_and(|ticket| account(&mut self.member.limit(), &ticket))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.member.limit().dropped(&ticket);
        }
        self.members.roster.changed().notify_waiters();
    }
}
