//! Assigns the requests of all shards to members.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::choice::{Candidate, Choice, choose};
use super::concurrency::{Admit, ConcurrencyLimit, FlowState, Ticket};
use super::member::Member;
use super::roster::Roster;
use crate::destination::Health;

/// The members, and a notification that something may have changed.
#[derive(Debug)]
pub(super) struct Members {
    roster: Roster,
    changed: Notify,
    /// How often the token's file is read while a member refuses requests.
    token_poll: Duration,
}

impl Members {
    /// Creates the assignment for these members.
    pub(super) fn new(roster: Roster, token_poll: Duration) -> Self {
        Self { roster, changed: Notify::new(), token_poll }
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
            self.changed.notify_waiters();
        }
    }

    /// The same, as if it were this time.
    #[cfg(test)]
    pub(super) async fn look_up(&self, now: Instant) {
        self.roster.look_up(now).await;
        self.changed.notify_waiters();
    }

    /// The largest request size that any of them accepts.
    pub(super) fn most_bytes(&self, now: Instant) -> usize {
        self.all().iter().map(|member| member.most_bytes(now)).min().unwrap_or_default()
    }

    /// Waits for the right to send one request, to `prefer` if that member takes it.
    pub(super) async fn turn(&self, prefer: Option<&Arc<Member>>) -> Permit<'_> {
        loop {
            self.refresh().await;
            // Subscribes before it asks, so that no change is missed in between.
            let changed = self.changed.notified();
            let members = self.all();
            let prefer = prefer.and_then(|prefer| members.iter().position(|member| Arc::ptr_eq(member, prefer)));
            let candidates: Vec<Candidate> = members.iter().map(|member| member.candidate()).collect();
            let member = match choose(&candidates, prefer, Instant::now()) {
                Choice::Send(number) | Choice::Probe(number) => &members[number],
                Choice::Wait(None) => {
                    changed.await;
                    continue;
                }
                Choice::Wait(Some(until)) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                    continue;
                }
            };
            let admitted = member.limit().admit();
            let permit = |ticket| Permit { members: self, member: Arc::clone(member), ticket: Some(ticket) };
            match admitted {
                Admit::Go(ticket) => return permit(ticket),
                Admit::Probe(ticket, at) => {
                    let permit = permit(ticket);
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
                // Another request was faster.
                Admit::Wait => {}
            }
        }
    }

    /// Resolves when a request may go to another member, or may not go to this one.
    async fn another_opens(&self, this: &Arc<Member>) {
        loop {
            let changed = self.changed.notified();
            let members = self.all();
            let (these, others): (Vec<_>, Vec<_>) = members.iter().partition(|member| Arc::ptr_eq(member, this));
            if these.is_empty() || others.iter().any(|member| member.limit().state() == FlowState::Room) {
                return;
            }
            changed.await;
        }
    }
}

/// The right to send a request to a member. It is returned even if the request is dropped.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    members: &'a Members,
    member: Arc<Member>,
    ticket: Option<Ticket>,
}

impl Permit<'_> {
    /// The member.
    pub(super) fn member(&self) -> Arc<Member> {
        Arc::clone(&self.member)
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
        self.members.changed.notify_waiters();
    }
}
